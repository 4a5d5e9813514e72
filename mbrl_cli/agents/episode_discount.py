"""TD-MPC2's discount from the length of an episode."""

from __future__ import annotations

DISCOUNT_RANGE = (0.95, 0.995)
EFFECTIVE_HORIZONS = 5  # of the discount, in one episode


def discount_for(max_episode_steps: int | None) -> float:
    """Return the discount for episodes of this length: five effective horizons in an episode.

    The effective horizon of a discount is 1 / (1 - discount) steps. The discount is at least 0.95
    and at most 0.995, also if the length is unknown.
    """
    low, high = DISCOUNT_RANGE
    if max_episode_steps is None:
        return high
    return min(max(1.0 - EFFECTIVE_HORIZONS / max_episode_steps, low), high)
