"""Find the image files in a folder."""

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from common.preprocessing.image_decoding import FORMATS
from common.preprocessing.image_facts import NAMED, ImageFacts

OTHER_IMAGES = frozenset(
    {".ai", ".arw", ".avi", ".cr2", ".cr3", ".dcm", ".dng", ".heic", ".heif", ".jxl", ".mkv", ".mov", ".mp4", ".nef"}
    | {".nii", ".npy", ".npz", ".orf", ".raf", ".raw", ".rw2", ".srw", ".svg", ".webm", ".xcf"}
)
"""Extensions of images, videos and arrays that Pillow does not know."""


@dataclass
class FoundFiles:
    """The files in a folder and its subfolders, without hidden ones."""

    folder: Path
    images: list[Path] = field(default_factory=list)
    """Files with the extension of a format that is read."""
    others: list[Path] = field(default_factory=list)
    faults: list[ImageFacts] = field(default_factory=list)
    """Files and folders that cannot be read at all."""


def is_hidden(name: str) -> bool:
    """Return whether a file or folder of this name was put there by a program, not by the user."""
    known = ("__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "@eadir", "$recycle.bin")
    return name.startswith(".") or name.lower() in known


def extensions() -> frozenset[str]:
    """Return the extensions of the formats that are read."""
    known = (*FORMATS, "MPO")  # a JPEG file with several images
    return frozenset(extension for extension, name in Image.registered_extensions().items() if name in known)


def other_images() -> frozenset[str]:
    """Return the extensions of images, videos and arrays that are not read."""
    return OTHER_IMAGES | (frozenset(Image.registered_extensions()) - extensions())


def find(folder: Path, root: Path) -> FoundFiles:
    """Find the files in `folder` and its subfolders, in the order of their paths.

    A link to a folder is followed if it leads out of `root`; others would give a file twice, or never end.
    """
    found, known, top = FoundFiles(folder), extensions(), root.resolve()

    def unreadable(error: OSError) -> None:
        found.faults.append(ImageFacts(Path(error.filename), f"cannot be read: {error.strerror}"))

    visited = set()
    for place, folders, names in os.walk(folder, onerror=unreadable, followlinks=True):
        for name in sorted(folders):
            path = Path(place, name)
            target = path.resolve()
            if is_hidden(name):
                folders.remove(name)
            elif not is_text(name):
                folders.remove(name)
                found.faults.append(_unnameable(path))
            elif path.is_symlink() and (target in visited or target.is_relative_to(top) or top.is_relative_to(target)):
                folders.remove(name)
                found.faults.append(ImageFacts(path, "a link to a folder that is read already"))
            visited.add(target)
        folders.sort()
        for name in names:
            path = Path(place, name)
            if is_hidden(name):
                continue
            if not is_text(name):
                found.faults.append(_unnameable(path))
            elif path.suffix.lower() not in known:
                found.others.append(path)
            elif path.is_file():
                found.images.append(path)
            else:
                found.faults.append(ImageFacts(path, "not a file, or a link to a missing one"))
    found.images.sort()
    return found


def is_text(name: str) -> bool:
    """Return whether a name can be printed and recorded. The names of files may be any bytes."""
    return name.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in name)


def _unnameable(path: Path) -> ImageFacts:
    return ImageFacts(Path(str(path).encode(errors="replace").decode()), "its name is not UTF-8; rename it")


def other_types(files: Iterable[Path], where: str) -> list[str]:
    """Return a note with the number of files of each type that is not read, or none."""
    counts = Counter(file.suffix.lower() or "without an extension" for file in files)
    if not counts:
        return []
    words = ", ".join(f"{number:,} {name}" for name, number in counts.most_common(NAMED))
    return [f"{where}: files that are no images, or of a type that is not read, are left out: {words}"]
