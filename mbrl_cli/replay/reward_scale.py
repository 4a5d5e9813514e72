"""The unit of rewards for networks that predict rewards or values."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from mbrl_cli.replay.buffer import ReplayBuffer

MAX_DRIFT = 4.0  # default of `max_drift`
# For values that are distributions over bins: these cannot be multiplied by a factor. With a
# discount of at most 0.995 a value sums 200 rewards: at most 20,000 where rewards have grown a
# hundredfold. The outermost bin is 22,000.
MAX_DRIFT_OF_BINS = 100.0


class RewardScale:
    """Measure the typical size of rewards: networks learn rewards and values in this unit.

    The size is the root mean square of all rewards of the replay that are not zero, so sparse
    rewards have the same scale as dense ones. A task with rewards in another unit then gives the
    same numbers in the unit of the networks. The scale is 1 before the first reward. Afterwards it
    is constant while the typical reward changes by at most the factor `max_drift`, because networks
    are trained with it.

    A reward is at most sqrt(transitions) times the root mean square, and so at most `max_drift`
    times that many scales. `TwoHot` clips what is above 22,026 scales: with a `max_drift` of 100 no
    reward of up to 48,000 transitions, and afterwards only one that is far above the typical one.

    Args:
        device: where the scale is.
        max_drift: see above. After a change of the scale a learned value is wrong by the factor,
            until it is multiplied by it or has learned anew; see `MAX_DRIFT_OF_BINS`.

    Attributes:
        scale: scalar tensor, changed in place because a recorded CUDA graph reads it.
    """

    def __init__(self, device: torch.device | str = "cpu", max_drift: float = MAX_DRIFT) -> None:
        self.max_drift = max_drift
        self.scale = torch.ones((), device=device)
        self._size = 1.0  # the scale on the CPU: reading it from a GPU would wait for all updates
        self.is_set = False  # whether there was a reward
        self.seen = 0  # transitions in the sums
        self.count = 0  # of these, rewards that are not zero
        self.sum_of_squares = 0.0

    def normalize(self, reward: Tensor) -> Tensor:
        """Return rewards or values [...] of the environment in the unit of the networks."""
        return reward / self.scale

    def restore(self, value: Tensor) -> Tensor:
        """Return rewards or values [...] of the networks in the unit of the environment."""
        return value * self.scale

    def refit(self, replay: ReplayBuffer) -> float:
        """Measure the transitions that were added since the last call.

        Returns:
            the old scale divided by the new one: what a learned value must be multiplied with to
            keep its meaning; 1 if the scale is the same, or was not set before.
        """
        if replay.total_added < self.seen:  # another replay: the model was learned in another run
            self.seen, self.count, self.sum_of_squares = 0, 0, 0.0
        rewards = replay.rewards_since(self.seen)
        self.seen = replay.total_added
        self.count += int((rewards != 0.0).sum())
        self.sum_of_squares += float((rewards * rewards).sum())
        typical = math.sqrt(self.sum_of_squares / max(self.count, 1))
        old = self._size
        drifted = not 1.0 / self.max_drift <= typical / old <= self.max_drift
        if typical == 0.0 or (self.is_set and not drifted):
            return 1.0
        self.scale.fill_(typical)
        self._size = float(self.scale)
        factor = old / self._size if self.is_set else 1.0
        self.is_set = True
        return factor

    def state_dict(self) -> dict[str, Any]:
        """Return the scale and the sums."""
        return {
            "scale": self.scale.clone(),
            "is_set": self.is_set,
            "seen": self.seen,
            "count": self.count,
            "sum_of_squares": self.sum_of_squares,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the values that `state_dict` returned."""
        self.scale.copy_(state["scale"])
        self._size = float(self.scale)
        self.is_set = state["is_set"]
        self.seen, self.count = state["seen"], state["count"]
        self.sum_of_squares = state["sum_of_squares"]
