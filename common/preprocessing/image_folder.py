"""A folder of images with a subfolder for each class: checking and splitting it.

    photographs/cats/1.jpg          photographs/train/cats/1.jpg
    photographs/dogs/1.jpg          photographs/test/cats/2.jpg     parts that the user made are used

Nothing is left out without a note, and all problems are reported at once.
"""

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from common.data import Array, Data, Description, Formats, Pair, PixelRange, RawData, fingerprint
from common.errors import Problems, UserError
from common.preprocessing import image_facts, image_search, image_shards, shards, splits, storage
from common.preprocessing.image_facts import ImageFacts, counted
from common.preprocessing.image_files import ImageFiles
from common.preprocessing.image_search import FoundFiles

if TYPE_CHECKING:
    import pandas as pd

PARTS = {
    "train": "training",
    "training": "training",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
"""Part of the data by the name of a folder."""
FEWEST = 3
"""Minimum number of different images of a class, one for each part."""
RARE = 10
"""Number of images from which a class is not named as rare."""


@dataclass(frozen=True)
class _Image:
    """A good image file, with its class and, if the folder is divided into parts, its part."""

    facts: ImageFacts
    label: str
    part: str


def load_folder(folder: str, side: int, validation: float, seed: int) -> Data:
    """Load and split the images of a folder with one subfolder per class, or of a folder of shards made from it.

    Args:
        folder: Path of the folder, or its address in an object storage. If its subfolders are train, val and test, they
            are the parts of the data, with one subfolder per class in each.
        side: Side of the images in pixels, after scaling.
        validation: Share of the images in the validation part, and in the test part.
        seed: Seed of the validation part. The test part is the same for every seed.

    Returns:
        `ImageFiles` or `ImageShards` (images, side, side, 3) and int32 labels (images,).

    Raises:
        UserError: if there is no such folder, or a class has too few images, or the range of the pixels is not known.
    """
    folder = storage.local(folder)
    stored = shards.is_shards(Path(folder))
    raw = image_shards.read(Path(folder), side) if stored else read_folder(folder, side)
    return splits.split(raw, validation / (1 - validation), seed, test=validation, test_seed=0)


def read_folder(folder: str, side: int) -> RawData:
    """Check the images of a folder with one subfolder per class.

    Args:
        folder: As in `load_folder`.
        side: Side of the images in pixels, after scaling.

    Returns:
        `ImageFiles` (images, side, side, 3) and int32 labels (images,), in the parts of the folder if it has some.

    Raises:
        UserError: as `load_folder`.
    """
    root = Path(folder)
    if not root.is_dir():
        raise UserError(f"{folder}: no such folder")
    found, notes = _find(root)
    facts = image_facts.inspect([file for files in found.values() for file in files.images])
    by_path = {one.path: one for one in facts}
    images = [
        _Image(by_path[file], label, part)
        for (part, label), files in found.items()
        for file in files.images
        if not by_path[file].fault
    ]
    skipped = [one for files in found.values() for one in files.faults] + [one for one in facts if one.fault]
    notes += image_facts.skipped_notes(skipped)
    notes += image_search.other_types((file for files in found.values() for file in files.others), folder)
    problems = Problems()
    notes += _check_classes(folder, found, images, {one.path: one.fault for one in skipped}, problems)
    problems.check()
    readable = len(images)
    images = _without_conflicts(images, notes)
    images = _without_leaks(images, notes)
    _check_counts(folder, found, images, problems)
    _check_darkness(folder, images, problems)
    good = [image.facts for image in images]
    pixel_range, range_notes = None, list[str]()
    with problems.collect():
        pixel_range, range_notes = image_facts.choose_range(good, folder)
    problems.check()
    notes += range_notes + image_facts.animated_notes(good) + _plain_notes(good) + _rare_notes(images)
    copies = len(good) - len({one.digest for one in good})
    if copies:
        notes.append(
            f"{counted(copies, 'file')} with the same content as another; the copies of an image stay in one part"
        )
    facts_by_name = {
        "images": f"{len(images):,}",
        "skipped files": f"{len(skipped):,}",
        "copies of other images": f"{copies:,}",
        "left out for a copy in another class or part": f"{readable - len(images):,}",
    }
    description = Description(tuple(notes), facts_by_name, {"types of the images": _types(good)})
    return _raw(root, images, side, pixel_range, description)


def _find(root: Path) -> tuple[dict[tuple[str, str], FoundFiles], list[str]]:
    """Find the files of each class, by part ("" without parts) and class, and notes on the folder.

    Raises:
        UserError: if the folder cannot be read, or is divided into parts and classes at once.
    """
    found = _classes(root, root)
    folders = {name: PARTS.get(name.lower()) for name in found}
    part_names = [name for name, part in folders.items() if part]
    nested = {name: _classes(root / name, root) for name in part_names}
    divided = [name for name in part_names if any(files.images for files in nested[name].values())]
    if len(part_names) < 2 or not (divided or {"training", "test"} <= set(folders.values())):
        return {("", name): files for name, files in found.items()}, _beside([root])
    if direct := [name for name in part_names if not divided and found[name].images]:
        raise UserError(
            f"{root}: {' and '.join(direct)} have no folder for each class; sort the images into such folders"
        )
    if classes := [name for name, part in folders.items() if not part and found[name].images]:
        raise UserError(
            f"{root}: {', '.join(part_names)} are parts of the data, but {', '.join(classes[:5])} are none; "
            "name a folder with classes, or one with parts"
        )
    parts = [PARTS[name.lower()] for name in part_names]
    if len(set(parts)) < len(parts) or "training" not in parts:
        raise UserError(
            f"{root}: the folders {', '.join(part_names)} are no parts; use train, val and test, or train and test"
        )
    words = ", ".join(f"{name} for {PARTS[name.lower()]}" for name in part_names)
    notes = [
        f"{root}: its folders are used as the parts: {words}",
        *_beside([root, *(root / name for name in part_names)]),
    ]
    return {(PARTS[name.lower()], label): files for name in part_names for label, files in nested[name].items()}, notes


def _classes(folder: Path, root: Path) -> dict[str, FoundFiles]:
    """Find the files in each subfolder of `folder`, by its name.

    Raises:
        UserError: if the folder cannot be read.
    """
    try:
        paths = sorted(path for path in folder.iterdir() if path.is_dir() and not image_search.is_hidden(path.name))
    except OSError as error:
        raise UserError(f"{folder}: cannot be read ({error.strerror})") from error
    if unnamed := next((path for path in paths if not image_search.is_text(path.name)), None):
        raise UserError(f"{folder}: the name of the folder {unnamed.name!a} is not UTF-8; rename it")
    outer = root.resolve()
    return {path.name: image_search.find(path, root) for path in paths if not outer.is_relative_to(path.resolve())}


def _beside(folders: Iterable[Path]) -> list[str]:
    """Return a note on the images beside the folders of the classes, or none."""
    known = image_search.extensions()
    images = [
        path
        for folder in folders
        for path in sorted(folder.iterdir())
        if path.is_file() and path.suffix.lower() in known and not image_search.is_hidden(path.name)
    ]
    if not images:
        return []
    return [f"{counted(len(images), 'image')} left out, in no folder of a class: {image_facts.names(images)}"]


def _check_classes(
    folder: str,
    found: Mapping[tuple[str, str], FoundFiles],
    images: Sequence[_Image],
    faults: Mapping[Path, str],
    problems: Problems,
) -> list[str]:
    """Add a problem for each class without a readable image, and for too few classes.

    Returns:
        A note that names folders without any image, or none.
    """
    readable, pictures, none = {(image.part, image.label) for image in images}, image_search.other_images(), []
    for key in found.keys() - readable:
        files = found[key]
        unread = [
            *files.images,
            *(one.path for one in files.faults),
            *(file for file in files.others if file.suffix.lower() in pictures),
        ]
        if unread:
            problems.add(
                f"{files.folder}: no image in this folder can be read, of {len(unread):,} such as {unread[0].name}: "
                f"{faults.get(unread[0], 'its type is not read')}; "
                "replace them, or remove the folder"
            )
        else:
            none.append(files.folder)
    classes = {label for _, label in readable}
    if len(classes) < 2 and not problems.found:
        inside = [files.folder for files in found.values() if len({file.parent for file in files.images}) > 1]
        hint = f"; if the folders of the classes are in {inside[0]}, name that folder" if inside else ""
        problems.add(f"{folder}: {len(classes)} folders with images; put the images of each class into a folder{hint}")
    return [f"folders without images are no classes: {image_facts.names(sorted(none))}"] if none else []


def _without_conflicts(images: Sequence[_Image], notes: list[str]) -> list[_Image]:
    """Leave out the images whose copies are in several classes, with a note."""
    labels = defaultdict[bytes, dict[str, Path]](dict)
    for image in images:
        labels[image.facts.digest].setdefault(image.label, image.facts.path)
    conflicts = [list(paths.values()) for paths in labels.values() if len(paths) > 1]
    if not conflicts:
        return list(images)
    kept = [image for image in images if len(labels[image.facts.digest]) == 1]
    pairs = "; ".join(" = ".join(map(str, paths)) for paths in conflicts[:5])
    more = f" and {len(conflicts) - 5:,} more" if len(conflicts) > 5 else ""
    notes.append(
        f"{counted(len(images) - len(kept), 'file')} left out, the same image is in several classes: {pairs}{more}"
    )
    return kept


def _without_leaks(images: Sequence[_Image], notes: list[str]) -> list[_Image]:
    """Leave out training images with a copy in another part, and validation images with one in the test part."""
    later = {"training": ("validation", "test"), "validation": ("test",)}
    digests = defaultdict[str, set[bytes]](set)
    for image in images:
        digests[image.part].add(image.facts.digest)
    leaks = [any(image.facts.digest in digests[part] for part in later.get(image.part, ())) for image in images]
    if any(leaks):
        paths = image_facts.names([image.facts.path for image in itertools.compress(images, leaks)])
        notes.append(f"{counted(sum(leaks), 'image')} left out, because a later part has a copy: {paths}")
    return [image for image, leak in zip(images, leaks, strict=True) if not leak]


def _check_counts(
    folder: str, found: Mapping[tuple[str, str], FoundFiles], images: Sequence[_Image], problems: Problems
) -> None:
    """Add a problem if a part lacks a class, or a class has too few different images for the parts to be drawn."""
    digests = defaultdict[tuple[str, str], set[bytes]](set)
    for image in images:
        digests[image.part, image.label].add(image.facts.digest)
    parts, labels = {part for part, _ in found}, sorted({label for part, label in found if found[part, label].images})
    fewest = FEWEST - len(parts) + 1
    for part in sorted(parts - {"", "training"}):
        if missing := [label for label in labels if not digests[part, label]]:
            problems.add(
                f"{folder}: no images of {', '.join(missing[:10])} in the {part} part; each part needs every class"
            )
    drawn = "" if "" in parts else "training"
    counts = {label: len(digests[drawn, label]) for label in labels}
    if rare := [f"{label} has {number:,}" for label, number in counts.items() if number < fewest]:
        problems.add(
            f"{folder}: too few different images: {', '.join(rare[:10])}; each class needs {fewest}, "
            "one for each part that is drawn; add images, or remove the folder"
        )


def _check_darkness(folder: str, images: Sequence[_Image], problems: Problems) -> None:
    """Add a problem if all images of 8 bits are nearly black."""
    highest = max((image.facts.high for image in images if not image.facts.deep), default=255)
    if highest < image_facts.DARKEST:
        problems.add(
            f"{folder}: the brightest pixel of all images is {highest:.0f}, where white is 255; "
            "save the images with values up to 255"
        )


def _plain_notes(facts: Sequence[ImageFacts]) -> list[str]:
    """Return a note that names images of a single colour, or none."""
    plain = [one.path for one in facts if one.low == one.high]
    return [f"{counted(len(plain), 'image')} of a single colour: {image_facts.names(plain)}"] if plain else []


def _rare_notes(images: Sequence[_Image]) -> list[str]:
    """Return a note that names classes with few images, or none."""
    counts = Counter(image.label for image in images)
    rare = [f"{label} has {number}" for label, number in sorted(counts.items()) if number < RARE]
    return [f"few images: {', '.join(rare[:10])}; metrics of such a class rest on single images"] if rare else []


def _types(facts: Sequence[ImageFacts]) -> "pd.DataFrame":
    """Return the table of the modes of the images, with their number and sizes."""
    import pandas as pd

    sizes = defaultdict[str, list[tuple[int, int]]](list)
    for one in facts:
        sizes[one.mode].append(one.size)
    rows = []
    for mode, found in sorted(sizes.items(), key=lambda item: -len(item[1])):
        smallest, largest = (pick(found, key=lambda size: size[0] * size[1]) for pick in (min, max))
        words = [f"{width} x {height}" for width, height in (smallest, largest)]
        rows.append({"mode": mode, "images": len(found), "smallest": words[0], "largest": words[1]})
    return pd.DataFrame(rows)


def _raw(
    root: Path, images: Sequence[_Image], side: int, pixel_range: PixelRange | None, description: Description
) -> RawData:
    """Return the data set before the missing parts are drawn."""
    classes = tuple(sorted({image.label for image in images}))
    parts = {part: [image for image in images if image.part == part] for part in ("validation", "test")}
    training = [image for image in images if image.part not in parts]
    cache = dict[Path, Array]()

    def pair(part: Sequence[_Image]) -> Pair:
        labels = np.array([classes.index(image.label) for image in part], dtype=np.int32)
        return ImageFiles(tuple(image.facts.path for image in part), side, pixel_range, cache), labels

    _, groups = np.unique([image.facts.digest for image in training], return_inverse=True)
    content = (image.facts.digest + image.label.encode() + image.part.encode() for image in images)
    return RawData(
        name=root.resolve().name,
        digest=fingerprint(*content),
        kind="image",
        outputs=classes,
        train=pair(training),
        validation=pair(parts["validation"]) if parts["validation"] else None,
        test=pair(parts["test"]) if parts["test"] else None,
        formats=Formats(pixels=pixel_range),
        groups=groups if len(set(groups)) < len(groups) else None,
        description=description,
    )
