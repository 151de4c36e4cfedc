"""Files that a training writes for those who watch it: an animation, and logs for TensorBoard."""

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import keras
import numpy as np
from PIL import Image

from common.app import App
from common.data import Data
from common.errors import UserError
from common.files import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GROWTH = 1.05
"""Ratio of the numbers of two epochs that are drawn; at first, every epoch is."""
COLOURS = 32
"""Number of colours of a frame."""
FRAME, LAST = 150, 2000
"""Time in milliseconds for which a frame is shown, and for the last one."""


@dataclass(frozen=True)
class Watching:
    """The files to write, none by default."""

    animation: Path | None = None
    """GIF that shows the network after each epoch."""
    tensorboard: Path | None = None
    """Folder for TensorBoard's logs, one folder in it for each run."""

    def check(self, app: App) -> None:
        """Check before the training that the files can be written.

        Raises:
            UserError: if the app has no animation, or the place of a file is wrong.
        """
        if self.animation:
            if not app.animate:
                raise UserError(f"`animation`: {app.name} draws none; leave it out")
            if self.animation.suffix != ".gif":
                raise UserError(f"`animation` {self.animation}: the name must end in .gif")
            folder = self.animation.absolute().parent
            if not folder.is_dir() or not os.access(folder, os.W_OK):
                raise UserError(f"`animation` {self.animation}: there is no folder {folder} that can be written to")
        if self.tensorboard and self.tensorboard.exists() and not self.tensorboard.is_dir():
            raise UserError(f"`tensorboard` {self.tensorboard}: a file; name a folder")

    def callbacks(self, app: App, data: Data, run_id: str) -> list[keras.callbacks.Callback]:
        """Return the callbacks that write the files of a run."""
        used = list[keras.callbacks.Callback]()
        if self.animation and app.animate:
            used.append(Animation(self.animation, app.animate, data))
        if self.tensorboard:
            used.append(keras.callbacks.TensorBoard(self.tensorboard / f"{app.name}-{run_id[:8]}", write_graph=False))
        return used

    @property
    def commands(self) -> list[str]:
        """Commands that show the files."""
        return [f"tensorboard --logdir {self.tensorboard}"] if self.tensorboard else []


NOTHING = Watching()


class Animation(keras.callbacks.Callback):
    """A callback that draws the network before training and after epochs, and writes the frames as a GIF at the end.

    Later epochs change a network less: of these, the first and each are drawn that is 5 % after the one before.

    Args:
        file: The GIF.
        draw: Draws a frame, as `App.animate`.
        data: The data.
    """

    def __init__(self, file: Path, draw: Callable[["Figure", keras.Model, Data], None], data: Data) -> None:
        super().__init__()
        self.file, self.draw, self.data = file, draw, data
        self.frames = list[Image.Image]()
        self.epoch = self.drawn = 0

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        if not self.frames:
            self._add("at the start")

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.epoch = epoch + 1
        if self.epoch >= math.floor(GROWTH * self.drawn) + 1:
            self._add(f"epoch {self.epoch}")

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        if self.epoch > self.drawn:
            self._add(f"epoch {self.epoch}")
        times = [FRAME] * (len(self.frames) - 1) + [LAST]
        with replacing(self.file) as temporary:
            first, *others = self.frames
            first.save(temporary, "GIF", save_all=True, append_images=others, duration=times, loop=0)

    def _add(self, title: str) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.drawn = self.epoch
        figure = Figure(figsize=(5.2, 4), dpi=90, layout="constrained")
        canvas = FigureCanvasAgg(figure)
        self.draw(figure, self.model, self.data)
        figure.suptitle(title)
        canvas.draw()
        frame = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
        self.frames.append(frame.quantize(COLOURS))
