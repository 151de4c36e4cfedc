"""Time one epoch of mnist_mlp for several ways from arrays to batches; `batches.Batches` rests on this.

    python -m benchmarks.input_pipeline

All but plain `fit` keep the suite's order of examples, a function of (seed, epoch). `gathered in the graph` gathers
the examples inside the training step, so that XLA compiles this too.
"""

from collections.abc import Callable

import tensorflow as tf
import tyro

from apps import mnist_mlp
from benchmarks import measure
from common import training
from common.data import Array
from common.training.batches import Batches, GatheredBatches

import keras  # isort: skip - deferred by `common`


class GatheringModel(keras.Sequential):
    """A network whose training step takes indices and gathers the examples."""

    def train_step(self, data: Array) -> dict[str, Array]:
        """Gather the batch at these indices, then train on it."""
        return super().train_step((tf.gather(self.inputs_kept, data), tf.gather(self.targets_kept, data)))


def main(rounds: int = 5) -> None:
    """Measure all alternately.

    Args:
        rounds: Epochs of each. The medians are printed.
    """
    config = mnist_mlp.Settings()
    data = mnist_mlp.load_data(config)
    x, y = data.train

    def contestant(feed: str, steps_per_execution: int) -> Callable[[], None]:
        model = mnist_mlp.build_model(config, data)
        if feed == "graph":
            gathering = GatheringModel(model.layers)
            gathering.compile(model.optimizer, model.loss, metrics=["accuracy"])
            gathering.inputs_kept, gathering.targets_kept = tf.constant(x), tf.constant(y)
            gathering.build(x.shape)
            model = gathering
        model.jit_compile = training.benefits_from_xla(model, config.batch_size, config.epochs * data.steps(config))
        model.steps_per_execution = steps_per_execution
        batches = Batches(data.train, config.batch_size, config.seed)

        def epoch() -> None:
            batches.on_epoch_begin(batches.epoch + 1)
            match feed:
                case "arrays":
                    model.fit(x, y, batch_size=config.batch_size, verbose=0)
                case "tf.data":
                    model.fit(batches.dataset(), shuffle=False, verbose=0)
                case "PyDataset":
                    model.fit(GatheredBatches(batches), shuffle=False, verbose=0)
                case "graph":
                    model.fit(tf.data.Dataset.from_tensor_slices(batches.order()), shuffle=False, verbose=0)

        epoch()
        return epoch

    contestants = {
        "plain fit": contestant("arrays", 1),
        "plain fit, 32 steps": contestant("arrays", 32),
        "PyDataset": contestant("PyDataset", 1),
        "tf.data": contestant("tf.data", 1),
        "tf.data, 32 steps (the suite)": contestant("tf.data", 32),
        "gathered in the graph, 32 steps": contestant("graph", 32),
    }
    measure.compare("mnist_mlp, one epoch", contestants, rounds)


if __name__ == "__main__":
    tyro.cli(main)
