"""A network with each fault that the diagnosis reports, trained on real digits, and a healthy one."""

import dataclasses
import re
from collections.abc import Callable, Sequence

import keras
import mlflow
import numpy as np
import pytest

from apps.mnist_mlp import Settings as MnistMlp
from apps.mnist_mlp import build_model
from common import tasks, training
from common.app import App
from common.data import Array, Data, RawData
from common.errors import DivergenceError
from common.nn import augmentation, gradients
from common.preprocessing import arrays
from common.training.diagnosis import Diagnosis
from common.training.symptoms import advice, few_steps, learning_rate, overfitting, still_improving
from tests.conftest import few

HEALTHY_RUN = MnistMlp(
    hidden=(64,), epochs=8, batch_size=64, activation="relu", dropout=0.1, input_dropout=0.0, learning_rate=0.002
)


def findings(
    config: MnistMlp,
    data: Data,
    build: Callable[[MnistMlp, Data], keras.Model] = build_model,
) -> list[str]:
    keras.utils.set_random_seed(config.seed)
    model = build(config, data)
    examined = Diagnosis(model, *keras.tree.map_structure(lambda part: part[:256], data.train))
    return examined.findings(training.fit(model, data, config, tasks.Regression(), training.FitOptions()))


def plain(activation: str, initializer: object, layers: int = 1) -> Callable[[MnistMlp, Data], keras.Model]:
    """A builder of networks without normalisation: `layers` of 32 units."""

    def build(config: MnistMlp, data: Data) -> keras.Model:
        hidden = [
            keras.layers.Dense(32, activation, kernel_initializer=initializer, name=f"hidden_{depth}")
            for depth in range(1, layers + 1)
        ]
        model = keras.Sequential(
            [
                keras.Input(data.input_shape, dtype="uint8"),
                keras.layers.Rescaling(1 / 255),
                keras.layers.Flatten(),
                *hidden,
                keras.layers.Dense(10, "softmax", name="output"),
            ]
        )
        model.compile(keras.optimizers.SGD(config.learning_rate), "sparse_categorical_crossentropy")
        return model

    return build


def starting(lines: Sequence[str], *words: str) -> list[str]:
    return [line for line in lines if line.startswith(words)]


def test_a_healthy_network_is_found_healthy(mnist: RawData) -> None:
    assert findings(HEALTHY_RUN, few(mnist)) == []


def test_overfitting_is_reported_with_its_epoch(mnist: RawData) -> None:
    config = dataclasses.replace(
        HEALTHY_RUN, hidden=(256,), dropout=0.0, epochs=30, patience=30, batch_normalization="none", learning_rate=0.01
    )
    (line,) = findings(config, few(mnist, train=128))
    assert line.startswith("overfitting from epoch ")
    assert "dropout" in advice(line)


def test_overfitting_begins_after_the_best_epoch() -> None:
    history = {"loss": [1.0, 0.8, 0.5, 0.3], "val_loss": [1.1, 0.9, 1.0, 1.25]}
    assert list(overfitting(history)) == [
        "overfitting from epoch 3: since epoch 2 the validation loss rose from 0.9 to 1.25, "
        "the training loss fell from 0.8 to 0.3"
    ]
    assert not list(overfitting(history | {"val_loss": [1.1, 0.9, 0.91, 0.92]}))
    assert not list(overfitting(history | {"loss": [1.0, 0.8, 0.9, 1.0]}))  # both rise: it diverges


def test_underfitting_is_reported_when_all_images_are_alike(mnist: RawData) -> None:
    data = few(mnist)
    (x, y), (x_validation, y_validation) = data.train, data.validation
    alike = dataclasses.replace(
        data, train=(np.full_like(x, 99), y), validation=(np.full_like(x_validation, 99), y_validation)
    )
    (line,) = findings(HEALTHY_RUN, alike, plain("tanh", "lecun_normal"))
    assert line.startswith("underfitting: the loss on training examples is 2.3")
    assert "larger network" in advice(line)


@pytest.mark.parametrize(("rate", "words"), [(1e-5, "learning rate too small"), (50.0, "learning rate too large")])
def test_a_wrong_learning_rate_is_reported(rate: float, words: str, mnist: RawData) -> None:
    config = dataclasses.replace(HEALTHY_RUN, learning_rate=rate, schedule="constant")
    lines = findings(config, few(mnist), plain("relu", "he_normal"))
    assert starting(lines, words)
    assert ("smaller" if words.endswith("large") else "larger") in advice(starting(lines, words)[0])
    assert not starting(lines, "overfitting")


def test_a_rate_that_makes_the_loss_infinite_ends_the_training(mnist: RawData) -> None:
    config = dataclasses.replace(HEALTHY_RUN, learning_rate=1e30, schedule="constant")
    with pytest.raises(DivergenceError, match=r"try a lower `learning_rate` than 1e\+30"):
        findings(config, few(mnist), plain("relu", "he_normal"))


def test_learning_rate_findings_of_known_curves() -> None:
    def found(*losses: float) -> str:
        return " ".join(learning_rate(losses, initial=2.3))

    assert found(0.5, 0.3, 0.2, 0.15, 0.13, 0.12) == ""
    assert found(2.3, 2.29, 2.3, 2.29, 0.4, 0.1) == ""  # a plateau that is left at last
    assert found(9.0, 3.0, 1.0, 0.5) == ""  # momentum overshoots, and comes back
    assert found(9.0, 3.0, 2.4, 2.3).endswith("the loss, at first 2.3, was 9 in epoch 1")
    assert "in 3 of 6 epochs the training loss rose by more than 0.1" in found(1.0, 1.4, 0.9, 1.3, 0.8, 1.2)
    noisy = [2.3, 2.6, 2.2, 2.7, 2.3, 2.6]
    assert [*learning_rate(noisy, 2.3, validation=[2.0, 2.5, 2.1, 2.6, 2.0, 2.5])]
    assert not [*learning_rate(noisy, 2.3, validation=[2.01, 2.0, 1.99, 2.0, 2.01, 2.0])]  # noise of dropout
    assert found(2.2, 2.1, 2.0, 1.9).startswith("learning rate too small, or too few epochs")
    assert found(2.2, 2.1, 2.0, 1.9).endswith("the second half of the epochs took 67 %")


def test_a_slow_fall_after_the_best_epoch_is_not_the_rates_fault() -> None:
    x = np.linspace(-1, 1, 64, dtype="float32")[:, None]
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="zeros")])
    model.compile("sgd", "mean_squared_error")
    examined, loss = Diagnosis(model, x, 3 * x), [2.2, 2.1, 2.0, 1.9]
    assert starting(examined.findings({"loss": loss, "val_loss": [2.2, 2.1, 2.0, 1.9]}), "learning rate too small")
    assert not starting(examined.findings({"loss": loss, "val_loss": [2.0, 2.1, 2.1, 2.1]}), "learning rate")


def test_a_network_is_judged_by_examples_from_all_parts_of_the_training_set() -> None:
    inputs, targets = {"x": np.arange(1000)}, np.arange(1000)
    chosen, answers = arrays.spread((inputs, targets), 4)
    assert chosen["x"].tolist() == answers.tolist() == [0, 333, 666, 999]
    assert len(arrays.spread((inputs, targets), 2000)[1]) == 1000


def test_dead_units_are_counted_in_their_layer(mnist: RawData) -> None:
    def build(config: MnistMlp, data: Data) -> keras.Model:
        model = plain("relu", "he_normal", layers=2)(config, data)
        model.get_layer("hidden_2").bias.assign(np.where(np.arange(32) < 20, -100.0, 0.0))
        return model

    config = dataclasses.replace(HEALTHY_RUN, learning_rate=0.1)
    (line,) = findings(config, few(mnist), build)
    assert re.fullmatch(r"dead ReLU units: 2[0-3] of 32 in hidden_2 are 0 for all of 256 examples", line)
    assert "leaky_relu" in advice(line)


def test_a_unit_is_judged_by_all_batches_and_by_one_patch_of_each_image() -> None:
    """Each unit is active for one example alone, of 64 in two batches; the network averages over ten patches."""
    inputs = x = keras.Input((6, 6, 1))
    x = keras.layers.Flatten()(augmentation.Crops(4)(x))
    x = keras.layers.Dense(64, "relu", kernel_initializer="ones", name="hidden")(x)
    outputs = augmentation.CropMean(10)(keras.layers.Dense(2, "softmax")(x))
    model = keras.Model(inputs, outputs)
    model.compile("sgd", "sparse_categorical_crossentropy")
    images = np.zeros((64, 6, 6, 1), "float32")
    images[40, 2, 2] = 1.0
    examined = Diagnosis(model, images, np.zeros(64, "int32"))
    assert not starting(examined.findings({"loss": [1.0]}), "dead")
    images[40] = 0.0
    images[:, 0, 0] = 1.0  # the corner is in other patches alone
    (line,) = starting(Diagnosis(model, images, np.zeros(64, "int32")).findings({"loss": [1.0]}), "dead")
    assert line == "dead ReLU units: 64 of 64 in hidden are 0 for all of 64 examples"


def test_a_vanishing_gradient_is_reported_for_the_layers_that_lose_it(mnist: RawData) -> None:
    lines = findings(HEALTHY_RUN, few(mnist), plain("sigmoid", "lecun_normal", layers=10))
    vanishing = starting(lines, "vanishing gradient in ")
    assert any("in hidden_1 before training" in line for line in vanishing)
    assert not any("in hidden_10 " in line or "in output " in line for line in vanishing)


def behind_output_weights(deviation: float, x: Array, y: Array) -> tuple[Diagnosis, keras.Model]:
    """A network of one hidden layer whose output weights have this standard deviation."""
    small = keras.initializers.RandomNormal(stddev=deviation, seed=0)
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(16, "tanh", name="hidden"), keras.layers.Dense(1, kernel_initializer=small)]
    model = keras.Sequential([keras.Input((4,)), *layers])
    model.compile(keras.optimizers.Adam(0.05), "mean_squared_error")
    return Diagnosis(model, x, y), model


def test_a_vanishing_gradient_that_training_overcame_is_no_fault() -> None:
    """Behind output weights of 1e-6 the hidden layer's gradient is small, and that of the output large."""
    x = np.random.default_rng(0).normal(size=(256, 4)).astype("float32")
    y = x.sum(axis=1, keepdims=True)
    examined, model = behind_output_weights(1e-6, x, y)
    assert examined.early["hidden"].startswith("vanishing")
    history = model.fit(x, y, epochs=40, verbose=0).history
    assert not starting(examined.findings(history), "vanishing")
    assert not behind_output_weights(3e-3, x, y)[0].early  # such a layer may correct another forecast


def test_an_exploding_gradient_is_reported(mnist: RawData) -> None:
    wide = keras.initializers.RandomNormal(stddev=1.0, seed=0)
    config = dataclasses.replace(HEALTHY_RUN, learning_rate=1e-9)
    assert starting(
        findings(config, few(mnist), plain("relu", wide, layers=6)), "exploding gradient in hidden_1 before"
    )


def test_a_penalty_of_a_layer_counts_once_and_no_validation_set_is_needed(mnist: RawData) -> None:
    """The loss that the finding gives is the one that Keras's `evaluate` measures on the same examples."""
    data, config = few(mnist), MnistMlp(epochs=1, restore="last")
    x, y = data.train[0][:256], data.train[1][:256]
    layers = [
        keras.layers.Rescaling(1 / 255),
        keras.layers.Flatten(),
        keras.layers.Dense(32, "sigmoid", activity_regularizer="l1", name="hidden"),
        keras.layers.Dense(10, "softmax", name="output"),
    ]
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input(data.input_shape, dtype="uint8"), *layers])
    model.compile("sgd", "sparse_categorical_crossentropy")
    diagnosis = Diagnosis(model, x, y)
    assert diagnosis.initial_loss == pytest.approx(model.evaluate(x, y, batch_size=256, verbose=0), rel=1e-5)
    history = training.fit(model, data, config, tasks.Regression(), training.FitOptions(validate=False))
    assert "val_loss" not in history
    (line,) = starting(diagnosis.findings(history), "underfitting")
    loss = model.evaluate(x, y, batch_size=256, verbose=0)
    assert line.startswith(f"underfitting: the loss on training examples is {loss:.3g}, ")


def test_the_gradient_of_a_linear_unit_is_the_closed_form() -> None:
    """L = mean (Xw + b - y)²: dL/dw = 2 X'(Xw + b - y) / n, and the model keeps its weights."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 3)).astype("float32"), rng.normal(size=(20, 1)).astype("float32")
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile("sgd", "mean_squared_error")
    weight, bias = (np.array(array) for array in model.get_weights())
    found = list(gradients.by_weight(model, model.loss)(x, y).values())
    error = x @ weight + bias - y
    np.testing.assert_allclose(found[0], 2 * x.T @ error / 20, rtol=1e-5)
    np.testing.assert_allclose(found[1], 2 * error.mean(axis=0), rtol=1e-5)
    np.testing.assert_array_equal(model.get_weights()[0], weight)


def test_few_steps_are_reported_instead_of_a_small_rate(mnist: RawData) -> None:
    """The loss of a short training falls as fast at its end as at its start."""
    config = dataclasses.replace(HEALTHY_RUN, learning_rate=1e-4, epochs=6, batch_size=128)
    data = few(mnist, train=160)
    keras.utils.set_random_seed(0)
    model = build_model(config, data)
    diagnosis = Diagnosis(model, *data.train)
    history = training.fit(model, data, config, tasks.Regression(), training.FitOptions())
    lines = diagnosis.findings(history, data.steps(config), config.epochs)
    assert starting(lines, "few steps: only 6 gradient steps in all")
    assert not starting(lines, "learning rate too small")
    stopped = diagnosis.findings(history, data.steps(config), epochs=100)  # after epochs that did not improve it
    assert not starting(stopped, "few steps")


def test_few_steps_are_enough_where_the_loss_has_settled() -> None:
    """A linear model may need five: with the longest stable step, gradient descent is at its solution."""
    assert not list(few_steps(1, [900.0, 2.0, 1.5, 1.45, 1.44]))
    assert list(few_steps(1, [900.0, 700.0, 600.0, 550.0, 530.0]))
    assert list(few_steps(1, [900.0, 2.0]))
    assert not list(few_steps(100, [900.0, 700.0]))


def test_a_validation_loss_that_still_falls_at_the_end_is_reported() -> None:
    (line,) = still_improving([1.0, 0.9, 0.8, 0.7])
    assert "in the last two epochs the validation loss fell from 0.9 to 0.7; train for more epochs" in line
    for losses in ([1.0, 0.9, 0.7, 0.8], [1.0, 0.9, 0.89, 0.88], [1.0, 0.5], [0.5]):
        assert not list(still_improving(losses))


def test_a_class_that_is_never_predicted_is_named() -> None:
    predictions = np.eye(3)[[0] * 20 + [1] * 6]
    targets = np.array([0] * 18 + [2] * 5 + [1] * 3)
    (line,) = tasks.Classification().symptoms(targets, predictions, ["blame", "advice", "praise"])
    assert line == "the class praise is never predicted: it has 5 of the test examples"
    assert not tasks.Classification().symptoms(targets[:22], predictions[:22], ["blame", "advice", "praise"])
    two = np.eye(2)[[0] * 26]
    (line,) = tasks.Classification(threshold=0.0).symptoms(np.arange(26) % 2, two, ["no", "yes"])
    assert line.startswith("the class no is never predicted")


def test_an_accuracy_below_that_of_the_most_frequent_class_is_explained() -> None:
    """At the threshold of the best F1, many examples of the frequent class count as the rare one."""
    targets = np.array([0] * 75 + [1] * 25)

    def predictions(rare: list[float]) -> Array:
        return np.stack([1 - np.array(rare), rare], axis=1)

    many = predictions([0.2] * 40 + [0.4] * 60)
    (line,) = tasks.Classification(threshold=0.3).symptoms(targets, many, ["no", "yes"])
    aim = "the threshold 0.3 is chosen for the F1 of yes"
    assert line == f"less accurate than the answer no for every example: 65.0 % are correct, not 75.0 %; {aim}"
    by_chance = predictions([0.2] * 50 + [0.4] * 47 + [0.2] * 3)  # 72 % are correct
    assert not tasks.Classification(threshold=0.3).symptoms(targets, by_chance, ["no", "yes"])
    (_, line) = tasks.Classification().symptoms(targets[:60], 1 - many[:60], ["no", "yes"])
    assert line == "less accurate than the answer no for every example: 0.0 % are correct, not 100.0 %"


def test_intervals_that_do_not_hold_on_the_test_part_are_reported() -> None:
    errors = np.random.default_rng(0).normal(size=(100, 3, 1))
    task = tasks.Forecast().choose_threshold(errors, lambda: np.zeros_like(errors))
    assert not task.symptoms(errors, np.zeros_like(errors), ["sold"])
    (line,) = task.symptoms(3 * errors, np.zeros_like(errors), ["sold"])
    inside = float((np.abs(3 * errors) <= task.half_widths(np.zeros_like(errors))[1]).mean())
    assert line.startswith(f"intervals too narrow: those of 95 % contain {100 * inside:.0f} % of the test values")
    assert advice(line).startswith("The series may have changed")
    assert not tasks.Forecast().symptoms(3 * errors, np.zeros_like(errors), ["sold"])


@pytest.mark.usefixtures("store")
def test_findings_are_printed_and_saved_with_the_run(tiny_app: App, capsys: pytest.CaptureFixture[str]) -> None:
    from common.cli import terminal

    result = training.train(tiny_app, dataclasses.replace(HEALTHY_RUN, learning_rate=1e-7, epochs=4))
    assert starting(result.findings, "underfitting")
    kept = mlflow.artifacts.load_text(f"runs:/{result.run_id}/diagnosis.txt")
    assert kept.splitlines() == result.findings
    terminal.summarise(tiny_app, result)
    printed = capsys.readouterr().out
    assert "diagnosis" in printed
    lines = [" ".join(line.split()) for line in printed.splitlines()]
    assert f"device {', '.join(keras.distribution.list_devices())}" in lines
