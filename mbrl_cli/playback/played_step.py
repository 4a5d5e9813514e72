"""One step of an episode, as a frame of a video shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class PlayedStep:
    """What is known about a step after it was taken.

    Attributes:
        image: [height, width, 3] uint8, rendered before the step.
        episode: number of the episode, from 0.
        step: number of the step in its episode, from 0.
        action: the environment's own.
        reward: of this step.
        episode_return: sum of the rewards up to this step.
        end: "terminated", "truncated", or "" if the episode goes on.
        path: [n, 2] column and row in the image of the present state and the imagined ones; None if
            there is no plan, or if their place in the image is not known.
        predicted_reward: of this step; None if there is no plan.
        predicted_return: of the plan; None if the planner does not predict it.
        horizon: number of steps of the plan; 0: there is none.
        last_image: rendered after the step, if it ended the episode.
    """

    image: NDArray[np.uint8]
    episode: int
    step: int
    action: Any
    reward: float
    episode_return: float
    end: str
    path: NDArray[np.float64] | None = None
    predicted_reward: float | None = None
    predicted_return: float | None = None
    horizon: int = 0
    last_image: NDArray[np.uint8] | None = None
