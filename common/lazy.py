"""Deferred imports, so that `--help` and errors in flags need no TensorFlow.

TensorFlow takes seconds to import and writes log lines that users cannot act on. `defer("keras")` puts a placeholder
into `sys.modules`. The first access to an attribute imports the module, without the log lines.
(`importlib.util.LazyLoader` does not work here: the import statement's own check already loads the module.)
"""

import contextlib
import importlib
import importlib.util
import os
import pkgutil
import re
import sys
import tempfile
import threading
import types
from collections.abc import Iterable, Iterator
from typing import Any
from unittest.mock import patch

from common.errors import UserError

# Log lines of the native libraries below Keras: glog lines, and TensorFlow's oneDNN hints.
_NATIVE_LOG = re.compile(
    rb"[IWE]\d{4} |\d{4}-\d\d-\d\d .*: [IWE] |WARNING: All log messages before absl|To enable the following instruc"
    rb"|INFO: Created TensorFlow Lite "
)
_import_lock = threading.RLock()


class _Deferred(types.ModuleType):
    """A placeholder that imports its module at the first access to an attribute."""

    def __getattr__(self, attribute: str) -> Any:
        name = self.__name__
        with _import_lock:
            if sys.modules.get(name) is self:
                if attribute == "__file__":  # `inspect` asks every module for it
                    raise AttributeError(attribute)
                del sys.modules[name]
                try:
                    with quiet_native_log():
                        importlib.import_module(name)
                except BaseException:
                    sys.modules[name] = self
                    raise
        return getattr(sys.modules[name], attribute)


def defer(*names: str) -> None:
    """Defer the import of modules until their first use. Modules that are already imported stay as they are."""
    for name in names:
        if name not in sys.modules:
            sys.modules[name] = _Deferred(name)


def defer_room(package: str, path: Iterable[str]) -> None:
    """Defer every module of a package, given the `__name__` and `__path__` of its `__init__`."""
    defer(*(f"{package}.{module.name}" for module in pkgutil.iter_modules(path)))


def use_backend(name: str) -> None:
    """Make `name` Keras's backend, before Keras is imported.

    Raises:
        UserError: if its library is not installed, or Keras already runs on another backend.
    """
    require(name, f"`backend` {name}", name)
    keras = sys.modules.get("keras")
    if keras and not isinstance(keras, _Deferred) and keras.backend.backend() != name:
        raise UserError(f"`backend` {name}: Keras already runs on {keras.backend.backend()} in this process")
    os.environ["KERAS_BACKEND"] = name


@contextlib.contextmanager
def keras_on_numpy() -> Iterator[None]:
    """Import Keras with its NumPy backend in this context, in half the time. It cannot train."""
    with patch.dict(os.environ, KERAS_BACKEND="numpy"):
        yield


def require(package: str, words: str, extra: str) -> None:
    """Check that a package is installed, given words for it and the name of the requirements that have it.

    Raises:
        UserError: if it is not.
    """
    if importlib.util.find_spec(package) is None:
        raise UserError(f"{words} is not installed; pip install -r requirements-{extra}.txt")


def register_layers() -> None:
    """Import all deferred modules of the suite but those that draw, which registers their layers with Keras."""
    for name, module in list(sys.modules.items()):
        if isinstance(module, _Deferred) and name.startswith("common.") and not name.startswith("common.plots."):
            module.__getattr__("__name__")


@contextlib.contextmanager
def without_tensorflow() -> Iterator[None]:
    """Keep Keras from importing TensorFlow on another backend: the import takes 2 s and 500 MiB.

    Keras imports it when it seeds random numbers, and to compare types when it saves a model.
    """
    from keras.src.utils import module_utils  # private to Keras: `patch.object` fails if the name is gone

    found = module_utils.tensorflow.module is not None or "tensorflow" in sys.modules
    with contextlib.nullcontext() if found else patch.object(module_utils.tensorflow, "_available", False):
        yield


@contextlib.contextmanager
def quiet_native_log(everything: bool = False) -> Iterator[None]:
    """Drop the log lines of native libraries, or `everything`, from stderr. Other lines are written at the end.

    C++ code writes to file descriptor 2, so the descriptor itself is redirected.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as written:
        os.dup2(written.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(saved, 2)
            os.close(saved)
            written.seek(0)
            for line in written:
                if not everything and not _NATIVE_LOG.match(line):
                    os.write(2, line)
