"""Train a perceptron on 1,000 images of MNIST for an epoch with PyTorch, test it and save it: MNIST MODEL."""

import sys

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

mnist, path = sys.argv[1:]
with np.load(mnist) as data:
    arrays = [torch.from_numpy(data[name]) for name in ("x_train", "y_train", "x_test", "y_test")]
x_train, y_train, x_test, y_test = (part.flatten(1).float() / 255 if part.ndim == 3 else part.long() for part in arrays)

layers: list[nn.Module] = [nn.Dropout(0.2)]
for before in (784, 512, 512):
    layers += [nn.Linear(before, 512), nn.ELU(), nn.BatchNorm1d(512), nn.Dropout(0.2)]
model = nn.Sequential(*layers, nn.Linear(512, 10))
optimizer = torch.optim.Adam(model.parameters(), 0.004, fused=True)
for rows in torch.randperm(1000).split(256):
    loss = F.cross_entropy(model(x_train[rows]), y_train[rows])
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
model.eval()
with torch.no_grad():
    valid = (model(x_train[-3000:]).argmax(dim=1) == y_train[-3000:]).float().mean()
    test = (model(x_test).argmax(dim=1) == y_test).float().mean()
print(f"validation accuracy {valid:.4f}\ntest accuracy {test:.4f}")
torch.save(model.state_dict(), path)
