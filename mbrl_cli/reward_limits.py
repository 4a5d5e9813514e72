"""Check that rewards and returns are within the range that an agent's networks can represent."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, NoReturn

from mbrl_cli.errors import UserError


class RewardLimits(NamedTuple):
    """Largest magnitudes that the networks of an agent can represent, after `env.reward_scale`."""

    reward: float = math.inf
    value: float = math.inf
    discount: float = 1.0  # per step, of the values


class RewardCheck:
    """Compare the rewards of an episode, and their discounted sum, with the limits.

    The discounted sum is the value target of the episode's first step, as far as it is known.
    """

    def __init__(self, limits: RewardLimits, scale: float) -> None:
        self.limits = limits
        self.scale = scale
        self.start_episode()

    def start_episode(self) -> None:
        """Set the discounted sum to zero."""
        self._value = 0.0
        self._weight = 1.0

    def add(self, reward: float) -> None:
        """Check the next reward of the episode, in units of the environment.

        Raises:
            UserError: if the scaled reward or the discounted sum is beyond its limit.
        """
        scaled = reward * self.scale
        if abs(scaled) > self.limits.reward:
            refuse_saturated("reward", scaled, self.limits.reward, self.scale)
        self._value += self._weight * scaled
        self._weight *= self.limits.discount
        if abs(self._value) > self.limits.value:
            refuse_saturated("discounted return", self._value, self.limits.value, self.scale)


def refuse_saturated(
    what: Literal["reward", "discounted return"], value: float, limit: float, scale: float
) -> NoReturn:
    """Raise UserError that names a value of `env.reward_scale` for which `value` is in range."""
    # A reward becomes a number below 10, a return one below 1,000.
    digits = math.floor(math.log10(abs(value / scale))) - (0 if what == "reward" else 2)
    raise UserError(
        f"env.reward_scale={scale:g}: a {what} of {value / scale:.3g} is beyond "
        f"{limit / scale:.5g}, the largest that this agent's networks can represent; start again "
        f"with env.reward_scale={10.0**-digits:g}"
    )
