"""Check that an environment has gymnasium's interface, not that of Gym before version 0.26."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
from gymnasium import spaces, wrappers

# Wrappers that `gymnasium.make` puts around an environment.
_OF_MAKE = (
    wrappers.TimeLimit,
    wrappers.OrderEnforcing,
    wrappers.PassiveEnvChecker,
    wrappers.HumanRendering,
    wrappers.RenderCollection,
)
_OLD = "this is the interface of Gym before 0.26"


class InterfaceCheck(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Raise TypeError if `reset` does not return 2 values, or `step` 5, as gymnasium defines."""

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start an episode."""
        try:
            result: Any = self.env.reset(seed=seed, options=options)
        except TypeError as error:
            if "unexpected keyword argument" not in str(error):
                raise
            raise TypeError(
                f"reset does not take seed and options ({error}): {_OLD}; define "
                "reset(self, *, seed=None, options=None), which returns (observation, info)"
            ) from error
        # A tuple may be an observation; then a dict in second place tells it from the new result.
        of_tuples = isinstance(self.env.observation_space, spaces.Tuple)
        right = isinstance(result, tuple) and len(result) == 2
        if not right or (of_tuples and not isinstance(result[1], Mapping)):
            raise TypeError(
                f"reset returned only an observation: {_OLD}; it must return (observation, info)"
            )
        return result  # type: ignore[no-any-return]

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take one step."""
        result: Any = self.env.step(action)
        if isinstance(result, tuple) and len(result) == 5:
            return result
        returned = f"{len(result)} values" if isinstance(result, tuple) else type(result).__name__
        old = f": {_OLD}" if isinstance(result, tuple) and len(result) == 4 else ""
        raise TypeError(
            f"step returned {returned}{old}; it must return "
            "(observation, reward, terminated, truncated, info)"
        )


def with_interface_check(gym_env: gymnasium.Env[Any, Any]) -> gymnasium.Env[Any, Any]:
    """Insert the check below the wrappers of `gymnasium.make`, which expect the new interface."""
    if not isinstance(gym_env, _OF_MAKE):
        return InterfaceCheck(gym_env)
    layer: gymnasium.Wrapper[Any, Any, Any, Any] = gym_env
    while isinstance(layer.env, _OF_MAKE):
        layer = layer.env
    layer.env = InterfaceCheck(layer.env)
    return gym_env
