"""Fit a linear regression to a CSV file with pandas and scikit-learn: FILE TARGET."""

import sys

import pandas as pd
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import train_test_split

frame = pd.read_csv(sys.argv[1])
target = frame.pop(sys.argv[2])
x_train, x_test, y_train, y_test = train_test_split(frame, target, test_size=0.2, random_state=0)
model = LinearRegression().fit(x_train, y_train)
print(model.intercept_, model.coef_)
print(f"test R² {model.score(x_test, y_test):.4f}")
