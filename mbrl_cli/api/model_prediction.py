"""What a learned model predicts, in the environment's own units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ModelPrediction:
    """Predicted transitions, with leading axes `...`.

    `...` is nothing for `predict`, [n] for `predict_batch`, [H] for `imagine` and [n, H] for
    `imagine_batch`, where H is the number of imagined steps.

    Attributes:
        obs: mean of the next observation in the structure of the observation space: an array
            [..., *shape], or a dict or tuple of them. Discrete parts are the most likely number.
        obs_std: standard deviation in the same structure. Discrete parts have one for each of
            their numbers.
        reward: [...] mean reward, in the environment's units.
        reward_std: [...] its standard deviation.
        termination: [...] probability that this step ends the task, given that it goes on until
            then; a time limit is not an end of the task.
    """

    obs: Any
    obs_std: Any
    reward: NDArray[np.float64]
    reward_std: NDArray[np.float64]
    termination: NDArray[np.float64]
