"""The adding problem as the paper gives it, what counts as success, and the gradients that tell the cells apart."""

import hashlib
from pathlib import Path

import keras
import numpy as np
import pytest

from apps import lstm_memory
from apps.lstm_memory import PADDING, draw_sequences
from apps.lstm_memory import Settings as LstmMemory
from common.data import Array, SavedModel
from common.errors import UserError
from common.nn import gradients

T = 100
SAVED = SavedModel(model=None, label="", data="adding_100", kind="sequence", outputs=("sum",), settings={})


@pytest.fixture(scope="module")
def drawn() -> tuple[Array, Array]:
    return draw_sequences(np.random.default_rng(0), 20_000, T)


def test_a_sequence_is_the_papers(drawn: tuple[Array, Array]) -> None:
    sequences, targets = drawn
    lengths = (sequences[..., 1] != PADDING).sum(axis=1)
    assert set(lengths) == set(range(T, T + T // 10 + 1))
    seconds = set()
    for sequence, length, (target,) in zip(sequences, lengths, targets, strict=True):
        assert (sequence[length:] == PADDING).all()
        values, markers = sequence[:length].T
        marked = np.flatnonzero(markers == 1)
        assert len(marked) == 2
        assert marked[0] < 10
        assert marked[1] <= T // 2
        seconds.add(int(marked[1]))
        assert markers[0] == -1 or (marked[0] == 0 and values[0] == 0)
        assert markers[-1] == -1
        assert set(np.delete(markers, [0, *marked, length - 1])) == {0.0}
        assert abs(values).max() <= 1
        assert target == pytest.approx(0.5 + values[markers == 1].sum() / 4, abs=1e-6)
    assert max(seconds) == T // 2 - 1  # so that the lag to the end is at least T / 2
    # Uniform in [-1, 1], but for the one of twenty that is the first pair's and zero.
    assert sequences[sequences[..., 1] == 1, 0].var() == pytest.approx(1 / 3, rel=0.1)
    assert targets.mean() == pytest.approx(0.5, abs=0.01)


def test_no_training_sequence_is_seen_twice_and_all_come_from_the_seed() -> None:
    config = LstmMemory(length=20, sequences=200, seed=4)
    data, again = lstm_memory.load_data(config), lstm_memory.load_data(config)
    other = lstm_memory.load_data(LstmMemory(length=20, sequences=200, seed=5))
    assert data.generate_epoch
    assert again.generate_epoch
    parts = [data.generate_epoch(epoch)[0] for epoch in range(5)] + [data.validation[0], data.test[0]]
    hashes = [hashlib.sha256(one.tobytes()).digest() for part in parts for one in part]
    assert len(set(hashes)) == len(hashes) == 5 * 200 + 100 + 2560
    np.testing.assert_array_equal(data.train[0], data.generate_epoch(0)[0])
    np.testing.assert_array_equal(data.generate_epoch(3)[0], again.generate_epoch(3)[0])
    assert not np.array_equal(data.train[0], other.train[0])
    np.testing.assert_array_equal(data.test[0], other.test[0])
    assert data.digest == other.digest


def test_padding_changes_nothing() -> None:
    model = lstm_memory.network("LSTM", 4, forget_bias=1.0, input_bias=0.0)
    sequence = draw_sequences(np.random.default_rng(0), 1, 20)[0][:, :20]
    padded = np.concatenate([sequence, np.full((1, 7, 2), PADDING, "float32")], axis=1)
    np.testing.assert_allclose(model.predict(padded, verbose=0), model.predict(sequence, verbose=0), rtol=1e-6)


def test_success_counts_answers_that_are_off_by_more_than_the_papers_tolerance() -> None:
    targets, answers = np.full((4, 1), 0.5), np.array([[0.539], [0.459], [0.7], [0.5]])
    figures = lstm_memory.app.task.score(targets, answers)
    assert figures["wrong"] == 2
    summary = lstm_memory.app.task.summary({f"test_{name}": value for name, value in figures.items()}, 4)
    assert "2 of 4 off by more than 0.04" in summary["test criterion"]


@pytest.mark.parametrize(("cell", "kept"), [("LSTM", slice(4, 8)), ("GRU", slice(0, 4))])
def test_the_gate_that_keeps_the_state_starts_with_the_bias(cell: str, kept: slice) -> None:
    """Where that gate is 1 and nothing is let in, an LSTM's cells and a GRU's outputs stay what they were."""
    memory = lstm_memory.network(cell, 4, forget_bias=50.0, input_bias=-40.0).get_layer("memory")
    bias = keras.ops.convert_to_numpy(memory.cell.bias).reshape(-1)
    assert (bias[kept] == 50).all()
    assert bias.sum() == 200 - (160 if cell == "LSTM" else 0)
    states = [np.random.default_rng(0).normal(size=(3, 4)).astype("float32") for _ in range(2 if cell == "LSTM" else 1)]
    memory.cell.kernel.assign(np.zeros(memory.cell.kernel.shape))
    memory.cell.recurrent_kernel.assign(np.zeros(memory.cell.recurrent_kernel.shape))
    _, after = memory.cell(np.zeros((3, 2), "float32"), states)
    np.testing.assert_allclose(after[-1], states[-1], rtol=1e-6)


def test_the_gradient_by_the_states_of_a_plain_network_is_the_product_of_its_jacobians() -> None:
    """d answer / d h_t = v' D_T W' … D_t W' with D = diag(1 - h²): what vanishes with time (Hochreiter 1991)."""
    keras.utils.set_random_seed(0)
    model = lstm_memory.network("SimpleRNN", 5, forget_bias=0.0, input_bias=0.0)
    memory, head = model.get_layer("memory"), model.get_layer("sum")
    inputs = np.random.default_rng(0).normal(size=(3, 8, 2)).astype("float32")
    kernel, recurrent, bias, reads, _ = model.get_weights()
    found = gradients.by_state(memory, head, inputs)
    np.testing.assert_array_equal(memory.cell.recurrent_kernel, recurrent)
    np.testing.assert_array_equal(head.kernel, reads)
    for example, sequence in enumerate(inputs):
        states = [np.zeros(5)]
        for step in sequence:
            states.append(np.tanh(step @ kernel + states[-1] @ recurrent + bias))
        gradient = reads[:, 0]
        for step in reversed(range(8)):
            gradient = recurrent @ ((1 - states[step + 1] ** 2) * gradient)
            np.testing.assert_allclose(found[example, step], gradient, rtol=1e-4, atol=1e-7)


def test_over_a_hundred_steps_the_gradient_of_an_lstm_lasts_and_that_of_a_plain_network_vanishes() -> None:
    keras.utils.set_random_seed(0)
    sequences, _ = draw_sequences(np.random.default_rng(0), 600, T)
    cells: tuple[str, ...] = ("LSTM", "SimpleRNN")
    lstm, rnn = (
        lstm_memory.gradient_norms(lstm_memory.network(cell, 32, forget_bias=5.0, input_bias=-3.0), sequences)
        for cell in cells
    )
    assert lstm.shape == rnn.shape == (T,)
    assert lstm[0] / lstm[-1] > 0.1
    assert rnn[0] / rnn[-1] < 1e-3


def test_sequences_of_unlike_length_are_read_and_padded(tmp_path: Path) -> None:
    one, several = np.ones((30, 2)), np.zeros((2, 25, 2))
    np.save(tmp_path / "one.npy", one)
    np.save(tmp_path / "several.npy", several)
    examples = lstm_memory.read_sequences([str(tmp_path / "one.npy"), str(tmp_path / "several.npy")], SAVED)
    names, sequences = examples.names, examples.inputs
    assert [Path(name).name for name in names] == ["one.npy", "several.npy[0]", "several.npy[1]"]
    np.testing.assert_array_equal(sequences[0], one)
    np.testing.assert_array_equal(sequences[1:, :25], several)
    assert (sequences[1:, 25:] == PADDING).all()


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (None, "no such file"),
        (np.zeros((3, 5)), r"\(n, 2\) or \(examples, n, 2\)"),
        (np.zeros((0, 2)), r"\(n, 2\) or \(examples, n, 2\)"),
        (np.array([["a", "b"]]), r"\(n, 2\) or \(examples, n, 2\)"),
        (np.array([[np.nan, 1]]), "nan or infinite"),
        (np.array([[-3.5e38, 1]]), "beyond ±3.4e38"),
    ],
)
def test_sequences_that_cannot_be_read_are_one_line(array: Array | None, words: str, tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    if array is not None:
        np.save(path, array)
    with pytest.raises(UserError, match=f"x.npy: .*{words}"):
        lstm_memory.read_sequences([str(path)], SAVED)
