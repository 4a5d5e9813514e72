"""Hide the lines that rendering and physics libraries write when they are loaded.

dm_control, OpenGL and GLFW use Python's logging and warnings. Gym and gymnasium-robotics print
notices about their versions. The Arcade Learning Environment has a logger of its own. PyBullet is
written in C and prints its build time when it is imported and its arguments at each connection, so
the descriptors of the process's output are redirected meanwhile. MuJoCo writes its warnings to a
file in the current folder, also about old syntax in gymnasium's models; they go to Python's log.
"""

from __future__ import annotations

import ctypes
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from io import TextIOBase
from types import ModuleType
from typing import Any, TextIO

_NOTICES = (
    "Gym has been unmaintained since 2022",
    "environment's reward functions were updated",
)


@contextmanager
def silent_libraries() -> Iterator[None]:
    """Hide these lines inside the block, in which an environment is imported or built."""
    for name in ("absl", "OpenGL"):
        logging.getLogger(name).setLevel(logging.WARNING)
    atari: Any = sys.modules.get("ale_py")
    if hasattr(atari, "LoggerMode"):
        atari.ALEInterface.setLoggerMode(atari.LoggerMode.Error)
    finder = _LoaderFinder()
    sys.meta_path.insert(0, finder)
    try:
        with warnings.catch_warnings(), redirect_stderr(_WithoutNotices(sys.stderr)):
            warnings.filterwarnings("ignore", module="glfw")
            yield
    finally:
        sys.meta_path.remove(finder)


class _WithoutNotices(TextIOBase):
    """Passes on all texts but the notices of Gym and gymnasium-robotics."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._skip_line_end = False

    def write(self, text: str) -> int:
        is_notice = any(notice in text for notice in _NOTICES)
        is_end = self._skip_line_end and text == "\n"  # `print` writes it in a second call
        self._skip_line_end = is_notice
        return len(text) if is_notice or is_end else self._stream.write(text)

    def flush(self) -> None:
        self._stream.flush()

    def fileno(self) -> int:
        return self._stream.fileno()

    def isatty(self) -> bool:
        return self._stream.isatty()


class _LoaderFinder(MetaPathFinder):
    """Gives PyBullet and MuJoCo loaders that hide their lines."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        loaders = {"pybullet": _PyBulletLoader, "mujoco": _MuJoCoLoader}
        spec = PathFinder.find_spec(fullname, path, target) if fullname in loaders else None
        if spec is not None and spec.loader is not None:
            spec.loader = loaders[fullname](spec.loader)
        return spec


class _MuJoCoLoader(Loader):
    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self._loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self._loader  # for the package's own files
        self._loader.exec_module(module)
        module.set_mju_user_warning(_log_mujoco_warning)


def _log_mujoco_warning(message: str) -> None:
    if "deprecated" not in message:  # the authors of the environment read that, not its users
        logging.getLogger("mujoco").warning(message)


class _PyBulletLoader(Loader):
    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        with _silent_output():
            module: ModuleType | None = self._loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        with _silent_output():
            self._loader.exec_module(module)
        connect = module.connect

        def silent_connect(mode: int, *args: Any, **kwargs: Any) -> Any:
            if mode not in (module.DIRECT, module.SHARED_MEMORY):  # a window may fail with a text
                return connect(mode, *args, **kwargs)
            with _silent_output():
                return connect(mode, *args, **kwargs)

        module.connect = silent_connect  # type: ignore[attr-defined]


@contextmanager
def _silent_output() -> Iterator[None]:
    """Discard what C code writes to the standard output and error inside the block."""
    _flush()
    copies = [os.dup(descriptor) for descriptor in (1, 2)]
    nothing = os.open(os.devnull, os.O_WRONLY)
    try:
        for descriptor in (1, 2):
            os.dup2(nothing, descriptor)
        yield
    finally:
        _flush()
        for descriptor, copy in zip((1, 2), copies, strict=True):
            os.dup2(copy, descriptor)
            os.close(copy)
        os.close(nothing)


def _flush() -> None:
    """Empty the output buffers of Python and of the C library."""
    sys.stdout.flush()
    sys.stderr.flush()
    if sys.platform != "win32":
        ctypes.CDLL(None).fflush(None)
