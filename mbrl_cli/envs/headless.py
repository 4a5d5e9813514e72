"""Rendering and sound on a machine without a display or a sound card."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def use_no_display() -> None:
    """Let MuJoCo and pygame work without a display or a sound card, on Linux.

    Environment variables that the user has set are not changed.
    """
    if sys.platform != "linux":
        return
    if "DISPLAY" not in os.environ and "WAYLAND_DISPLAY" not in os.environ:
        os.environ.setdefault("MUJOCO_GL", "egl")
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
    if not Path("/dev/snd").exists():
        os.environ.setdefault("SDL_AUDIODRIVER", "dummy")


def rendering_hint() -> str:
    """Return what to try if images cannot be rendered, or an empty text."""
    backend = os.environ.get("MUJOCO_GL")
    if backend is None or "mujoco" not in sys.modules:
        return ""
    other = "osmesa" if backend == "egl" else "egl"
    return f"rendering used MUJOCO_GL={backend}, try MUJOCO_GL={other}"
