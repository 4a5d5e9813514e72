"""Known bounds of the returns of environments, and returns at which a task counts as solved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

# Environment id -> lowest and highest return of an episode, with the registered time limit.
KNOWN = {
    "CartPole-v0": (0.0, 200.0),
    "CartPole-v1": (0.0, 500.0),
    "mbrl/CartPoleContinuous-v0": (0.0, 200.0),
    "InvertedPendulum-v4": (0.0, 1000.0),
    "InvertedPendulum-v5": (0.0, 1000.0),
    "mbrl/GridWorld-v0": (-50.0, 93.0),
}
DEEPMIND_CONTROL = (0.0, 1000.0)
GRID_DEFAULTS = {
    "size": 5, "start": [0, 0], "goal": [4, 4], "obstacles": [[2, 2], [2, 3], [3, 2]],
    "max_steps": 50,
}  # fmt: skip
SOLVED_FRACTION = 0.9  # of the range between the bounds, where gymnasium names no threshold


class Bounds(NamedTuple):
    """Lowest and highest return of an environment."""

    low: float
    high: float


def known_bounds(env: Mapping[str, object]) -> Bounds | None:
    """Return the bounds for the `env` section of a config; None if they are not known.

    A time limit, wrappers or arguments that differ from the defaults can change the bounds.
    """
    env_id = str(env.get("id"))
    arguments = {key: value for key, value in _mapping(env.get("kwargs")).items()}
    if env.get("max_episode_steps") is not None or env.get("wrappers"):
        return None
    if arguments and not (env_id == "mbrl/GridWorld-v0" and arguments == GRID_DEFAULTS):
        return None
    if env_id.startswith("dm_control/"):
        return Bounds(*DEEPMIND_CONTROL)
    return Bounds(*KNOWN[env_id]) if env_id in KNOWN else None


def solved_return(env: Mapping[str, object], bounds: Bounds | None) -> tuple[float, str] | None:
    """Return a threshold and where it comes from; None if the environment has none.

    The first one that exists counts: gymnasium's reward threshold, then 90 % of the range between
    the bounds. No package is imported to register an environment.
    """
    import gymnasium

    spec = gymnasium.registry.get(str(env.get("id")))
    threshold = getattr(spec, "reward_threshold", None)
    if threshold is not None and env.get("max_episode_steps") is None:
        return float(threshold), "gymnasium's reward threshold"
    if bounds is not None:
        value = bounds.low + SOLVED_FRACTION * (bounds.high - bounds.low)
        return value, f"{100 * SOLVED_FRACTION:.0f} % of the range of returns"
    return None


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}
