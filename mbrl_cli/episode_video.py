"""Images of evaluation episodes, small enough for an event file."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mbrl_cli.envs.env import Env

FRAME_MS = 60
MAX_SIDE = 200  # pixels of the longer side
MAX_FRAMES = 120  # of an episode; of longer ones every second, fourth, ... image is kept


class EpisodeVideo:
    """Records the first episodes of an evaluation, in environments that render `rgb_array`.

    Args:
        episodes: number of episodes, from the first one on.
    """

    def __init__(self, episodes: int) -> None:
        self._episodes = episodes
        self._frames: dict[int, list[NDArray[np.uint8]]] = {}
        self._stride: dict[int, int] = {}  # steps between two images that are kept
        self._seen: dict[int, int] = {}  # images that were offered

    def record(self, episode: int, env: Env) -> None:
        """Add the image of an episode's present state, if this episode is recorded."""
        if episode >= self._episodes or env.gym.render_mode != "rgb_array":
            return
        frames = self._frames.setdefault(episode, [])
        stride = self._stride.setdefault(episode, 1)
        seen = self._seen.get(episode, 0)
        self._seen[episode] = seen + 1
        if seen % stride:
            return
        if len(frames) == MAX_FRAMES:
            del frames[1::2]
            self._stride[episode] = stride = 2 * stride
            if seen % stride:
                return
        frames.append(_small(env.render()))

    def frames(self) -> NDArray[np.uint8] | None:
        """Return the episodes after each other [T, height, width, 3]; None without images."""
        if not self._frames:
            return None
        return np.stack([frame for _, frames in sorted(self._frames.items()) for frame in frames])


def _small(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an image whose longer side has at most `MAX_SIDE` pixels."""
    factor = MAX_SIDE / max(image.shape[:2])
    if factor >= 1.0:
        return image
    height, width = (max(1, round(factor * side)) for side in image.shape[:2])
    picture = Image.fromarray(image).resize((width, height), Image.Resampling.BOX)
    return np.asarray(picture)
