"""Count the weights of each of two devices that share AlexNet, and the bytes that they send, in compiled programs."""

import os
import re
import subprocess
import sys
from typing import Any, Literal

import numpy as np

from apps import alexnet
from benchmarks.scaling.cost import network
from common.config import Count

import keras  # isort: skip - deferred by `common`

SENT = {"all-reduce": 1, "all-gather": 0.5, "reduce-scatter": 1, "all-to-all": 0.5, "collective-permute": 1}
"""Bytes that each of two devices sends, for a byte of the result."""


def model_parallel(size: Count = 227, batch: Count = 128) -> None:
    """Print how two devices divide AlexNet's step with `--model-parallel`, from the program that XLA compiled.

    Args:
        size: Side of the patches in pixels.
        batch: Images of a batch.
    """
    environment = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    for kind in ("one", "batch", "model parallel"):
        flags = f"--xla_force_host_platform_device_count={1 if kind == 'one' else 2}"
        code = f"from benchmarks.scaling.model_parallel import compiled; compiled({kind!r}, {size}, {batch})"
        subprocess.run([sys.executable, "-c", code], env=environment | {"XLA_FLAGS": flags}, check=True)


def compiled(kind: Literal["one", "batch", "model parallel"], size: int, batch: int) -> None:
    """Compile the gradient on the devices of this process, and print a device's weights and the communication."""
    import jax

    from common.training import devices

    config = alexnet.Settings(
        images="folder", image_size=size, backend="jax", model_parallel=kind == "model parallel", crops=1
    )
    count = jax.device_count()
    with devices.parallel(count, lambda found: alexnet.layout(config, found)):
        model = network(config)
        weights, others = (
            [one.value for one in some] for some in (model.trainable_variables, model.non_trainable_variables)
        )
        distribution = keras.distribution.distribution()

        def inputs(shape: tuple[int, ...], kind: str) -> Any:
            layout = distribution.get_data_layout(shape).backend_layout
            return jax.ShapeDtypeStruct(shape, kind, sharding=layout)

        def loss(weights: list[Any], x: Any, y: Any) -> Any:
            outputs, others_after, losses = model.stateless_call(weights, others, x, training=True, return_losses=True)
            return keras.losses.SparseCategoricalCrossentropy()(y, outputs) + sum(losses), others_after

        shardings = [one.sharding for one in weights]
        gradient = jax.jit(jax.grad(loss, has_aux=True), out_shardings=(shardings, None))
        images, labels = inputs((batch, config.side, config.side, 3), "uint8"), inputs((batch,), "int32")
        program: Any = gradient.lower(weights, images, labels).compile()
    own = sum(one.addressable_shards[0].data.nbytes for one in weights)
    sent = communication(program.as_text())
    operations = program.cost_analysis()["flops"]
    lines = ", ".join(f"{number} {name} of {size / 1e6:.1f} MB" for name, (number, size) in sent.items())
    total = sum(SENT[name] * size for name, (_, size) in sent.items())
    print(
        f"{kind}: {own / 1e6:.1f} MB of weights and {operations / 1e9:.0f} GFLOP on each device, "
        f"which sends {total / 1e6:.0f} MB ({lines or 'nothing'})"
    )


def communication(program: str) -> dict[str, tuple[int, int]]:
    """Return the number of messages of each kind in a compiled program, and the bytes of their results."""
    widths = {"f32": 4, "bf16": 2, "s32": 4, "u32": 4, "u8": 1, "pred": 1}
    found: dict[str, tuple[int, int]] = {}
    for line in re.sub(r"/\*.*?\*/", "", program).splitlines():
        message = re.search(rf"= (.+?) ({'|'.join(SENT)})(?:-start)?\(", line)
        if not message or "replica_groups={{0},{1}}" in line:  # each device alone
            continue
        result, name = message.groups()
        size = sum(
            widths[kind] * int(np.prod([int(side) for side in shape.split(",") if side]))
            for kind, shape in re.findall(r"(\w+)\[([\d,]*)\]", result)
        )
        count, total = found.get(name, (0, 0))
        found[name] = count + 1, total + size
    return found
