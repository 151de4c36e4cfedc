"""The linear expert of a table: it is the app's baseline, and the validation set gives its share."""

import dataclasses
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
from scipy.special import log_softmax

from apps.table_mlp import Settings, app
from benchmarks import measure
from common import baselines, training
from common.data import Array, Data
from common.nn import experts, tabular_expert
from common.preprocessing import splits

SMALL: dict[str, Any] = {"epochs": 8, "hidden": (32,), "members": 3}


def table(path: Any, kind: str, rows: int = 300) -> tuple[Settings, Data]:
    """A table whose target is linear, with noise: a quantity in thousands, or a class."""
    draw = np.random.default_rng(1)
    frame = pd.DataFrame(draw.normal(size=(rows, 5)), columns=list("abcde")).assign(town=draw.choice(["x", "y"], rows))
    score = 3 * frame["a"] - 2 * frame["b"] + frame["c"] + 2 * (frame["town"] == "x")
    frame["quantity"] = 1e5 + 1e3 * (score + draw.normal(size=rows))
    frame["class"] = np.where(score + draw.logistic(size=rows) > 0, "good", "bad")
    file = path / "table.csv"
    frame.drop(columns={"quantity": "class", "class": "quantity"}[kind]).to_csv(file, index=False)
    config = Settings(csv=str(file), target=kind, **SMALL)
    return config, app.load_data(config)


def parts(model: keras.Model, data: Data, pair: str) -> tuple[Array, Array, Array]:
    """The scores of the network and of the linear expert for a part of the data, and its targets in their scale."""
    inputs, targets = getattr(data, pair)
    columns = {name: column[:, None] for name, column in inputs.items()}
    network, linear = (model.get_layer(name) for name in (experts.TRAINED, experts.LINEAR))
    found = [keras.ops.convert_to_numpy(keras.Model(model.input, one.input)(columns)) for one in (network, linear)]
    last = model.layers[-1]
    scaled = (targets - last.offset) / last.scale if targets.ndim == 2 else targets
    return found[0], found[1] + keras.ops.convert_to_numpy(linear.bias), scaled


def baseline(config: Settings, data: Data) -> Any:
    """The app's linear baseline, fitted to the training rows."""
    estimators = baselines.of_tables(config, data)
    return next(one for name, one in estimators.items() if "regression" in name).fit(*data.train)


@pytest.mark.parametrize("kind", ["quantity", "class"])
def test_the_expert_is_the_baseline_fitted_to_training_and_validation_rows(kind: str, tmp_path: Any) -> None:
    config, data = table(tmp_path, kind)
    model = measure.train(app, config, data).model
    both = dataclasses.replace(data, train=splits.join_pairs(data.train, data.validation))
    expected = app.for_data(data).task.predict(baseline(config, both), data.test[0])
    _, scores, _ = parts(model, data, "test")
    last = model.layers[-1]
    if kind == "quantity":
        np.testing.assert_allclose(scores * last.scale + last.offset, expected.reshape(-1, 1), rtol=1e-4)
    else:
        np.testing.assert_allclose(np.exp(log_softmax(scores, axis=1)), expected, atol=0.02)  # other deviations


def test_a_linear_target_is_predicted_nearly_as_well_as_by_a_line(tmp_path: Any) -> None:
    config, data = table(tmp_path, "quantity")
    network, product = (
        measure.train(app, dataclasses.replace(config, linear=one), data).model for one in (False, True)
    )
    line = baseline(config, data).predict(data.test[0]).reshape(-1, 1)
    errors = [
        float(np.sqrt(np.square(one - data.test[1]).mean()))
        for one in (line, *(training.predict(model, data.test[0]) for model in (product, network)))
    ]
    assert errors[0] < errors[1] < 1.1 * errors[0] < errors[2]


@pytest.mark.parametrize("kind", ["quantity", "class"])
def test_the_share_has_the_largest_posterior_probability(kind: str, tmp_path: Any) -> None:
    config, data = table(tmp_path, kind)
    model = measure.train(app, config, data).model
    network, _, targets = parts(model, data, "validation")
    line = app.for_data(data).task.predict(baseline(config, data), data.validation[0])
    last = model.layers[-1]
    linear = (line.reshape(-1, 1) - last.offset) / last.scale if kind == "quantity" else np.log(line)
    posterior = []
    for share in tabular_expert.SHARES:
        scores = share * network + (1 - share) * linear
        if kind == "quantity":
            fit = len(targets) / 2 * np.log(np.mean((scores - targets) ** 2))
        else:
            fit = -log_softmax(scores, axis=1)[np.arange(len(targets)), targets].sum()
        posterior.append(fit + 4 * (share - 0.5) ** 2)
    share = tabular_expert.SHARES[int(np.argmin(posterior))]
    assert 0.1 < share < 0.9
    assert float(model.get_layer(experts.TRAINED).exponent) == pytest.approx(share, abs=0.03)
    assert float(model.get_layer(experts.LINEAR).exponent) == pytest.approx(1 - share, abs=0.03)


def test_fit_trains_the_network_alone_and_metrics_of_an_epoch_are_its_own(tmp_path: Any) -> None:
    config, data = table(tmp_path, "class")
    both, alone = (training.build(app, dataclasses.replace(config, linear=one), data) for one in (True, False))
    alone.set_weights([one for one, weight in zip(both.get_weights(), both.weights, strict=True) if _own(weight)])
    first, second = (training.fit(model, data, config, app.for_data(data).task) for model in (both, alone))
    assert first["val_loss"] == pytest.approx(second["val_loss"], rel=1e-4)


def _own(weight: Any) -> bool:
    names = (experts.TRAINED, experts.LINEAR, tabular_expert.COEFFICIENTS)
    return not any(weight.path.startswith(f"{name}/") for name in names)
