"""Compare transfer learning with networks from random weights and scikit-learn on few images of each class.

    python -m benchmarks.few_images

Fashion-MNIST and MNIST with 20 and 100 training images of each class; and three folders, made from photographs that
scikit-learn and scikit-image ship (requirements-benchmark.txt):

- textures: squares cut out of six photographs of brick, grass, gravel and the like; the test images are from the other
  half of each photograph.
- views: the same of six photographs in colour.
- outlines: circles, squares, triangles, stars and crosses of any size, place, angle and colour, on photographs.

Settings are the defaults, except those of AlexNet for the folders (`ALEXNET`), which is too slow at its full size.
"""

import functools
import importlib.util
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from PIL import Image, ImageDraw, ImageEnhance
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_sample_images

from apps import alexnet, fine_tune, lenet5
from benchmarks import measure
from common import baselines, training
from common.app import App
from common.config import Config
from common.data import Array, Data
from common.preprocessing import splits
from common.training.checkpoint import Stopwatch
from common.training.few_examples import enough_steps

import keras  # isort: skip - deferred by `common`

ALEXNET: dict[str, Any] = {"image_size": 64, "width": 0.1875, "crops": 1}
TEXTURES = ("brick", "grass", "gravel", "coins", "moon", "page")
VIEWS = ("astronaut", "chelsea", "coffee", "rocket", "china", "flower")
BACKGROUNDS = ("coffee", "rocket", "china", "flower")
"""Photographs that the folders are made from."""
EACH = 50
"""Images of each class in a folder; of textures and views, as many more for the test."""
SIDE = 160
"""Side of an image in a folder in pixels."""


def photographs() -> Mapping[str, Image.Image]:
    """Return the photographs of scikit-learn and scikit-image by name."""
    found = importlib.util.find_spec("skimage")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("scikit-image is not installed; pip install -r requirements-benchmark.txt")
    folder = Path(found.submodule_search_locations[0], "data")
    images = {
        path.stem: Image.open(path).convert("RGB") for path in folder.iterdir() if path.suffix in (".png", ".jpg")
    }
    return images | dict(zip(("china", "flower"), map(Image.fromarray, load_sample_images().images), strict=True))


def write_cuts(folder: Path, images: Mapping[str, Image.Image], rng: np.random.Generator) -> None:
    """Write squares of photographs: of the left half for training, of the right half for the test."""
    for name, image in images.items():
        width, height = image.size
        for part, left in (("train", 0), ("test", width // 2)):
            (folder / part / name).mkdir(parents=True)
            for number in range(EACH):
                side = int(rng.uniform(0.3, 0.6) * min(width // 2, height))
                x, y = left + int(rng.integers(0, width // 2 - side)), int(rng.integers(0, height - side))
                cut = image.crop((x, y, x + side, y + side)).resize((SIDE, SIDE))
                cut = ImageEnhance.Brightness(cut).enhance(rng.uniform(0.6, 1.4))
                cut.rotate(90 * int(rng.integers(4))).save(folder / part / name / f"{number}.png")


def write_outlines(folder: Path, backgrounds: Sequence[Image.Image], rng: np.random.Generator) -> None:
    """Write shapes on parts of photographs."""
    angles = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    corners = {name: angles[:: 60 // number] for name, number in (("circle", 60), ("square", 4), ("triangle", 3))}
    star, cross = np.tile([1, 0.4], 5), np.tile([0.35, 1, 1], 4)
    shapes = {name: (at, np.ones(len(at))) for name, at in corners.items()}
    shapes["star"] = angles[::6], star
    tilt = np.arctan(0.35)
    shapes["cross"] = (
        np.concatenate([np.array([-np.pi / 4, -tilt, tilt]) + np.pi / 2 * side for side in range(4)]),
        cross,
    )
    for name, (at, radius) in shapes.items():
        (folder / name).mkdir(parents=True)
        for number in range(EACH):
            photograph = backgrounds[int(rng.integers(len(backgrounds)))]
            x, y = (int(rng.integers(0, length - SIDE)) for length in photograph.size)
            image = photograph.crop((x, y, x + SIDE, y + SIDE))
            size, turn, (x, y) = rng.uniform(20, 45), rng.uniform(0, 2 * np.pi), rng.uniform(50, SIDE - 50, 2)
            points = np.stack([x + size * radius * np.cos(at + turn), y + size * radius * np.sin(at + turn)], axis=1)
            colour = tuple(int(value) for value in rng.integers(0, 256, 3))
            ImageDraw.Draw(image).polygon([tuple(point) for point in points], fill=colour)
            image.save(folder / name / f"{number}.png")


def few(app: App, config: Any, number: int, test: int) -> Data:
    """Return the app's data with `number` training images of each class, and the first `test` test images."""
    data = app.load_data(replace(config, per_class=0) if hasattr(config, "per_class") else config)
    inputs, labels = data.test
    return replace(splits.take_per_class(data, number, config.seed), test=(inputs[:test], labels[:test]))


def network(app: App, config: Config, data: Data, fit: bool = True) -> tuple[float, float]:
    """Return the test accuracy in per cent, and the CPU seconds of the training, which `fit` is a part of."""
    keras.backend.clear_session()
    trained = measure.train(app, enough_steps(config, data), data, fit)
    return accuracy(training.predict(trained.model, data.test[0]), data), trained.cpu


def accuracy(probabilities: Array, data: Data) -> float:
    """Return the accuracy on the test part in per cent."""
    return 100 * float((probabilities.argmax(axis=1) == data.test[1]).mean())


def results(
    data_of: Callable[[App, Any], Data], seed: int, settings: dict[str, Any]
) -> Iterator[tuple[str, float, float]]:
    """Yield the name, the test accuracy in per cent and the CPU seconds of each contestant.

    Args:
        data_of: (app, settings) -> data.
        seed: Seed of all of them.
        settings: Settings that name the data.
    """
    config: Config = fine_tune.Settings(seed=seed, **settings)
    data = data_of(fine_tune.app, config)
    yield "fine_tune", *network(fine_tune.app, config, data)
    yield "its head alone", *network(fine_tune.app, config, data, fit=False)
    stopwatch = Stopwatch()
    pixels = baselines.logistic_regression(config, data).fit(data.train[0], data.train[1])
    _, seconds = stopwatch.seconds()
    yield "pixels", accuracy(pixels.predict_proba(data.test[0]), data), seconds
    others = [(alexnet, ALEXNET)] if "images" in settings else [(alexnet, {}), (lenet5, {})]
    for other, more in others:
        config = other.Settings(seed=seed, **settings, **more)
        yield other.app.name, *network(other.app, config, data_of(other.app, config))


def main(seeds: int = 5, numbers: tuple[int, ...] = (20, 100), test: int = 10_000, only: tuple[str, ...] = ()) -> None:
    """Train all contestants on all sets and print the mean test accuracies.

    Args:
        seeds: Number of seeds.
        numbers: Numbers of training images of each class of Fashion-MNIST and MNIST; a ninth more are for validation.
        test: Number of test images of both.
        only: Names of the sets to use; by default all.
    """
    contestants = ("fine_tune", "its head alone", "pixels", "alexnet", "lenet5")
    table = Table("images", *contestants, title=f"test accuracy in per cent and CPU seconds, means of {seeds} seeds")
    with tempfile.TemporaryDirectory() as place:
        for name, (data_of, settings) in sets(Path(place), numbers, test).items():
            if only and name.split(",")[0] not in only:
                continue
            measured: dict[str, list[tuple[float, float]]] = {}
            for seed in range(seeds):
                for contestant, reached, seconds in results(data_of, seed, settings):
                    measured.setdefault(contestant, []).append((reached, seconds))
                    print(f"{name}, seed {seed}: {contestant} {reached:.2f} %, {seconds:.0f} CPU s", flush=True)
            means = {
                contestant: "{:.1f}, {:.0f} s".format(*map(statistics.fmean, zip(*values, strict=True)))
                for contestant, values in measured.items()
            }
            table.add_row(name, *(means.get(contestant, "") for contestant in contestants))
    Console().print(table)


def sets(
    place: Path, numbers: Sequence[int], test: int
) -> dict[str, tuple[Callable[[App, Any], Data], dict[str, str]]]:
    """Return for each set a function (app, settings) -> data, and the settings that name it; write the folders.

    Args:
        place: Folder in which the folders of images are written.
        numbers: Numbers of training images of each class of Fashion-MNIST and MNIST.
        test: Number of test images of both.
    """
    rng = np.random.default_rng(0)
    images = photographs()
    for name, chosen in (("textures", TEXTURES), ("views", VIEWS)):
        write_cuts(place / name, {one: images[one] for one in chosen}, rng)
    write_outlines(place / "outlines", [image for name, image in images.items() if name in BACKGROUNDS], rng)
    built_in = {
        f"{name}, {number} a class": (functools.partial(few, number=number, test=test), {"data": name})
        for name in ("fashion_mnist", "mnist")
        for number in numbers
    }
    folders = {
        folder.name: (lambda app, config: app.load_data(config), {"images": str(folder)})
        for folder in sorted(place.iterdir())
    }
    return built_in | folders


if __name__ == "__main__":
    tyro.cli(main)
