"""Frames in a window (pip extra render)."""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mbrl_cli.errors import UserError, install_extra


def check_window() -> None:
    """Raise UserError if this machine has no display or pygame is missing."""
    has_display = sys.platform != "linux" or any(
        name in os.environ for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER")
    )
    if not has_display:
        raise UserError("play: this machine has no display; write a file: --video out.gif")
    try:
        import pygame  # noqa: F401
    except ImportError:
        raise UserError(
            f"play: a window needs pygame, or write a file: --video out.gif; "
            f"{install_extra('render')}"
        ) from None


class Window:
    """Shows each frame for its time; the viewer ends it with Escape or the close button."""

    def __init__(self, title: str, frames_per_second: float) -> None:
        import pygame

        self._pygame: Any = pygame
        self._title = title
        self._frames_per_second = frames_per_second
        self._surface: Any = None
        pygame.display.init()
        self._clock = pygame.time.Clock()

    def show(self, frame: NDArray[np.uint8]) -> bool:
        """Show a frame; see `Screen.show`."""
        pygame = self._pygame
        height, width = frame.shape[:2]
        if self._surface is None:
            try:
                self._surface = pygame.display.set_mode((width, height))
            except pygame.error as error:
                raise UserError(
                    f"play: no window can be opened ({error}); write a file: --video out.gif"
                ) from error
            pygame.display.set_caption(self._title)
        image = pygame.image.frombuffer(np.ascontiguousarray(frame), (width, height), "RGB")
        self._surface.blit(image, (0, 0))
        pygame.display.flip()
        self._clock.tick(self._frames_per_second)
        return not any(
            event.type == pygame.QUIT
            or (event.type == pygame.KEYDOWN and event.key == pygame.K_ESCAPE)
            for event in pygame.event.get()
        )

    def close(self) -> None:
        """Close the window."""
        self._pygame.display.quit()
