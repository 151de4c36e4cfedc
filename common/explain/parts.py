"""Split a saved model before its first differentiable layer, and split inputs into parts for attribution.

Bytes and words have no gradient: images are converted to real numbers, sentences to embeddings, table columns to
features. A class's score is its log-odds, which unlike its probability still varies when the network is certain.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from common import training
from common.app import App
from common.data import Array, Inputs, LazyArray, SavedModel
from common.layer_names import FEATURES
from common.nn.calibration import Recalibration
from common.nn.text_expert import WordPairs
from common.preprocessing import features, row_shards, text

MAP_SIDE = 4
"""Smallest number of rows and columns of a feature map that can locate a part of an image."""


@dataclass(frozen=True)
class ScoreModel:
    """A model split before its first differentiable layer."""

    front: keras.Model | None
    """From the model's inputs to the network's; None if these are the inputs as real numbers."""
    network: keras.Model
    """From [numbers, *context] to scores (examples, outputs). The context is the mask of a sequence, if it has one."""
    maps: tuple[keras.Model, keras.Model] | None
    """From the numbers to the last convolution's maps, and from those to the scores; None without convolutions."""

    def enter(self, inputs: Inputs) -> tuple[Array, list[Array]]:
        """Convert a model's `inputs` to the network's: the numbers (examples, …) and their context."""
        if self.front is None:
            if isinstance(inputs, dict):  # a window, and what is known of the steps after it
                x, *context = (part.astype("float32") for part in keras.tree.flatten(inputs))
                return x, context
            return inputs[:].astype("float32"), []
        x, *context = keras.tree.flatten(training.predict(self.front, inputs))
        return x, context


def split_model(model: keras.Model, classes: bool) -> ScoreModel:
    """Split `model` before its first differentiable layer, and replace its outputs by scores.

    Args:
        model: The model.
        classes: Whether it predicts classes, whose scores are log-odds.
    """
    if isinstance(model.layers[-1], Recalibration):  # to log-odds it adds much the same for all examples
        model = keras.Model(model.input, model.layers[-1].input)
    cut = next((layer for layer in model.layers if _begins(layer)), None)
    beside = next((layer for layer in model.layers if isinstance(layer, WordPairs)), None)
    unit = _unit(model) if classes else None
    softmax = classes and isinstance(model.layers[-1], keras.layers.Softmax)
    inputs, outputs, end = graph(model)
    if unit or softmax:
        end = outputs[(unit or model.layers[-2]).name]
    front, begin = None, keras.tree.flatten(inputs)
    if cut:
        # In Keras's graph a mask is a separate tensor, an input of the later layers.
        mask = getattr(outputs[cut.name], "_keras_mask", None)
        begin = [outputs[cut.name], *([] if mask is None else [mask]), *([outputs[beside.name]] if beside else [])]
        front = keras.Model(inputs, begin)
    part = keras.Model(begin, end)
    body, bare = _real(part, classes)
    bare = bare or softmax
    if unit:
        score = ops.concatenate([-body.output, body.output], axis=-1)
    elif classes:
        score = LogOdds(bare, name="log_odds")(body.output)
    else:
        # A layer with a name: an operation may get the name of one in the network.
        mean = keras.layers.GlobalAveragePooling1D(name="mean_over_steps")
        score = mean(body.output) if len(body.output.shape) == 3 else body.output
    seen = next((layer.output for layer in reversed(body.layers) if _has_maps(layer)), None)
    network = keras.Model(body.inputs, score)
    if beside:
        front, network = _side_by_side(front, network)
    maps = None if seen is None else (keras.Model(body.inputs, seen), keras.Model([seen], score))
    return ScoreModel(front, network, maps)


def _side_by_side(front: keras.Model, network: keras.Model) -> tuple[keras.Model, keras.Model]:
    """Join the embeddings of a sentence's words and their scores in a linear expert, so that both are attributed.

    Args:
        front: From sentences to embeddings (batch, read, size), mask and scores (batch, words, classes), of which the
            embeddings may be of fewer words.
        network: From those to scores of the classes.

    Returns:
        From sentences to numbers (batch, words, size + classes) and mask, and from those to scores of the classes.
    """
    embeddings, mask, scores = front.outputs
    read, size = embeddings.shape[1:]
    missing = scores.shape[1] - read
    joined = ops.concatenate([ops.pad(embeddings, [(0, 0), (0, missing), (0, 0)]), scores], axis=-1)
    numbers, present = keras.Input(joined.shape[1:], dtype=joined.dtype), keras.Input(mask.shape[1:], dtype="bool")
    outputs = network([numbers[:, :read, :size], present, numbers[:, :, size:]])
    return keras.Model(front.inputs, [joined, mask]), keras.Model([numbers, present], outputs)


def graph(model: keras.Model) -> tuple[Any, dict[str, Any], Any]:
    """Return the inputs of `model`, by name if it has several, each layer's output by its name, and the last output."""
    if not isinstance(model, keras.Sequential):
        if any(isinstance(layer, keras.layers.Embedding) for layer in model.layers):
            return _called_again(model)
        return model.input, {layer.name: layer.output for layer in model.layers}, model.outputs[0]
    # Its layers may have several outputs, as after loading: calling them again in order gives one each.
    inputs = tensor = keras.Input(model.input_shape[1:], dtype=model.inputs[0].dtype)
    outputs = {}
    for layer in model.layers:
        outputs[layer.name] = tensor = layer(tensor)
    return inputs, outputs, tensor


def _called_again(model: keras.Model) -> tuple[Any, dict[str, Any], Any]:
    """Return the same as `graph` after new calls of the layers, in which each mask is that of the layer's own input.

    After loading, the masks in the graph are other tensors than those of the layers' outputs.
    """
    outputs = {}

    def call(layer: keras.layers.Layer, *arguments: Any, **options: Any) -> Any:
        outputs[layer.name] = layer(*arguments, **{name: one for name, one in options.items() if name != "mask"})
        return outputs[layer.name]

    functional = keras.Model(model.inputs, model.outputs)
    copy = keras.models.clone_model(functional, clone_function=lambda layer: layer, call_function=call)
    return copy.inputs[0], outputs, copy.outputs[0]


def _begins(layer: keras.layers.Layer) -> bool:
    """Return whether predictions are attributed to this layer's outputs."""
    return layer.name == FEATURES or isinstance(layer, keras.layers.Embedding | keras.layers.Masking)


def _unit(model: keras.Model) -> keras.layers.Layer | None:
    """Return the last layer if its only unit decides between two classes by its sign."""
    last = next(layer for layer in reversed(model.layers) if layer.weights)
    return last if getattr(last, "units", None) == 1 else None


def _real(part: keras.Model, classes: bool) -> tuple[keras.Model, bool]:
    """Copy `part` for real inputs, for `classes` without its softmax; also return whether it had a softmax."""
    removed = []

    def copy(layer: keras.layers.Layer) -> keras.layers.Layer:
        config = layer.get_config()
        if classes and getattr(layer, "activation", None) is keras.activations.softmax:
            removed.append(layer)
            config |= {"activation": "linear"}
        return type(layer).from_config(config)

    first, *context = part.inputs
    numbers = [
        keras.Input(first.shape[1:], dtype="float64" if first.dtype == "float64" else "float32"),
        *(keras.Input(one.shape[1:], dtype=one.dtype) for one in context),
    ]
    body = keras.models.clone_model(part, numbers, copy)
    body.set_weights(part.get_weights())
    return body, bool(removed)


def _has_maps(layer: keras.layers.Layer) -> bool:
    if isinstance(layer, keras.layers.InputLayer) or len(layer.output.shape) != 4:
        return False
    return min(layer.output.shape[1:3]) >= MAP_SIDE


@keras.saving.register_keras_serializable("common")
class LogOdds(keras.layers.Layer):
    """The log-odds of each class, log(p / (1 - p)), (batch, classes).

    Args:
        logits: Whether the inputs z are logits; the log-odds are then z_c - log sum exp of the others' z. Otherwise the
            inputs are the probabilities p.
    """

    def __init__(self, logits: bool, **kwargs: Any) -> None:
        super().__init__(**({"dtype": "float32" if logits else "float64"} | kwargs))
        self.logits = logits

    def call(self, inputs: Any) -> Any:
        if not self.logits:
            p = ops.clip(inputs, 1e-300, 1 - 1e-15)
            return ops.log(p) - ops.log1p(-p)
        others = inputs[:, None] - 1e9 * ops.eye(inputs.shape[-1], dtype=inputs.dtype)
        return inputs - ops.logsumexp(others, axis=-1)


SQUARES = 7
"""Squares along each side of an image; one square is occluded at a time."""
STEP = "step "
"""Prefix of a step's name."""


@dataclass(frozen=True)
class Parts:
    """The parts of some examples and their baseline."""

    baseline: Array
    """Numbers without information, of the shape of all examples."""
    words: str
    """The baseline's name."""
    groups: Array
    """Part of each number of an example, from 0."""
    names: Sequence[Sequence[str]]
    """Names of the parts of each example; absent parts, as after a sentence's end, have the name ""."""


def parts_of(app: App, saved: SavedModel, scored: ScoreModel, inputs: Any, x: Array, context: Sequence[Array]) -> Parts:
    """Split inputs into the parts of their kind.

    Args:
        app: The app of the model.
        saved: The model.
        scored: The same model, split.
        inputs: The examples.
        x: The same examples as numbers, from `scored.enter`.
        context: Their context.
    """
    match saved.kind:
        case "table":
            return _of_table(app, saved, scored, inputs, x)
        case "text":
            return _of_text(inputs, x)
        case "sequence":
            return _of_sequence(x, context)
        case _:
            return _of_image(x)


def _of_image(x: Array) -> Parts:
    """Split images into squares of pixels; the baseline is black."""
    height, width = x.shape[1:3]
    rows, columns = (np.arange(length) * SQUARES // length for length in (height, width))
    squares = rows[:, None] * SQUARES + columns
    names = [
        f"rows {_span(rows == row)}, columns {_span(columns == column)}"
        for row in range(SQUARES)
        for column in range(SQUARES)
    ]
    groups = squares if x.ndim == 3 else np.repeat(squares[..., None], x.shape[-1], axis=-1)
    return Parts(np.zeros_like(x), "a black image", groups, [names] * len(x))


def _span(chosen: Array) -> str:
    places = np.flatnonzero(chosen)
    return f"{places[0]}-{places[-1]}"


def _of_table(app: App, saved: SavedModel, scored: ScoreModel, inputs: dict[str, Array], x: Array) -> Parts:
    """Split rows into columns, each with all its features; the baseline is the mean of the training set."""
    data = app.data_of(saved)
    origins = [column for column, _ in features.made_of(data)]
    columns = list(dict.fromkeys(origins))
    mean = scored.enter(row_shards.sample(data.train)[0])[0].mean(axis=0, dtype="float64")
    baseline = np.broadcast_to(mean.astype(x.dtype), x.shape)
    groups = np.array([columns.index(name) for name in origins])
    parts = [[f"{name} = {_cell(inputs[name][row])}" for name in columns] for row in range(len(x))]
    return Parts(baseline, "the mean of the training set", groups, parts)


def _cell(value: Any) -> str:
    text = value if isinstance(value, str) else "" if np.isnan(value) else f"{value:.4g}"
    return text or "missing"


def _of_sequence(x: Array, context: Sequence[Array]) -> Parts:
    """Split sequences into steps; the baseline is zero with a mask, otherwise the mean of the window."""
    steps = x.shape[1]
    groups = np.repeat(np.arange(steps)[:, None], x.shape[2], axis=1)
    if context and context[0].dtype == bool:
        parts = [[f"{STEP}{step}" if present else "" for step, present in enumerate(mask)] for mask in context[0]]
        return Parts(np.zeros_like(x), "zeros", groups, parts)
    baseline = np.broadcast_to(x.mean(axis=1, keepdims=True), x.shape)
    names = [f"{STEP}{step - steps}" for step in range(steps)]
    return Parts(baseline, "the window's own mean", groups, [names] * len(x))


def _of_text(sentences: Array | LazyArray, x: Array) -> Parts:
    """Split sentences into the words that the network reads; the baseline is embeddings of zero."""
    length, numbers = x.shape[1:]
    read = [text.words(sentence)[:length] for sentence in sentences[:]]
    present = min(length, max(map(len, read)) + 1)  # all that follows the longest sentence is one part
    parts = [words + [""] * (present - len(words)) for words in read]
    groups = np.repeat(np.minimum(np.arange(length), present - 1)[:, None], numbers, axis=1)
    return Parts(np.zeros_like(x), "embeddings of zero", groups, parts)
