"""Imports that wait for first use, so that `--help` and a wrong flag answer at once.

TensorFlow takes seconds to import and writes log lines that nobody can act on. `defer("keras")` puts a stand-in into
`sys.modules`: an app still says `import keras`, and the real import happens, quietly, when the first attribute is
asked for. (`importlib.util.LazyLoader` does not serve: the import statement's own check already loads the module.)
"""

import contextlib
import importlib
import os
import pkgutil
import re
import sys
import tempfile
import threading
import types
from collections.abc import Iterable, Iterator
from typing import Any

# What the native libraries below Keras write of themselves while they load: glog lines, and TensorFlow's oneDNN hints.
_NATIVE_LOG = re.compile(
    rb"[IWE]\d{4} |\d{4}-\d\d-\d\d .*: [IWE] |WARNING: All log messages before absl|To enable the following instruc"
    rb"|INFO: Created TensorFlow Lite "
)
_import_lock = threading.RLock()


class _Deferred(types.ModuleType):
    """A stand-in for a module, which becomes a view of the real one at the first attribute."""

    def __getattr__(self, attribute: str) -> Any:
        name = self.__name__
        with _import_lock:
            if sys.modules.get(name) is self:
                del sys.modules[name]
                try:
                    with quiet_native_log():
                        importlib.import_module(name)
                except BaseException:
                    sys.modules[name] = self
                    raise
        return getattr(sys.modules[name], attribute)


def defer(*names: str) -> None:
    """Let `import name` cost nothing until the module is used; a module that is already imported stays as it is."""
    for name in names:
        if name not in sys.modules:
            sys.modules[name] = _Deferred(name)


def defer_room(package: str, path: Iterable[str]) -> None:
    """Defer every module of a package: for its `__init__`, with `__name__` and `__path__`."""
    defer(*(f"{package}.{module.name}" for module in pkgutil.iter_modules(path)))


def register_layers() -> None:
    """Import now all that still waits, so that Keras knows the layers that are defined there."""
    for module in list(sys.modules.values()):
        if isinstance(module, _Deferred):
            module.__getattr__("__name__")


@contextlib.contextmanager
def quiet_native_log(everything: bool = False) -> Iterator[None]:
    """Drop the native libraries' log lines, or `everything`, from stderr; what else is written follows at the end.

    C++ code writes the lines to file descriptor 2: nothing less than redirecting the descriptor catches them.
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
