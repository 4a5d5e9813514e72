"""Conversion of gymnasium's spaces: flat float32 observations and encoded actions."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from mbrl_cli.errors import UserError
from mbrl_cli.types import ActionSpec

_ACTION_SPACES = (spaces.Box, spaces.Discrete, spaces.MultiBinary, spaces.MultiDiscrete)
_NESTED_SPACES = (spaces.Dict, spaces.Tuple)
# Some environments use the largest float32 to mean "no bound".
_NO_BOUND = float(np.finfo(np.float32).max)


class ActionCodec:
    """Converts encoded actions (see `ActionSpec`) to the environment's own.

    A bounded Box entry is rescaled linearly from [-1, 1]. An entry without bounds is unchanged.
    With one bound only, [-1, 1] is mapped to the interval of length 2 that starts (or ends) at the
    bound.

    Axes: A encoded action dim, K components of the action space.
    """

    def __init__(self, space: gymnasium.Space[Any]):
        self._space = space
        self.num_unbounded = 0  # entries without bounds
        if isinstance(space, spaces.Box):
            low, high = space.low.astype(np.float64), space.high.astype(np.float64)
            low_known = space.bounded_below & (low > -_NO_BOUND)
            high_known = space.bounded_above & (high < _NO_BOUND)
            self.num_unbounded = int((~(low_known & high_known)).sum())
            low = np.where(low_known, low, np.where(high_known, high - 2.0, -1.0))
            high = np.where(high_known, high, low + 2.0)
            self._center = torch.from_numpy((low / 2 + high / 2).reshape(-1))  # [A]
            self._half_range = torch.from_numpy((high / 2 - low / 2).reshape(-1))  # [A]
            self.spec = ActionSpec("continuous", dim=int(np.prod(space.shape)))
            return
        if isinstance(space, spaces.Discrete):
            nvec, start = np.array([space.n]), np.array([space.start])
        elif isinstance(space, spaces.MultiDiscrete):
            nvec, start = space.nvec.reshape(-1), space.start.reshape(-1)
        else:
            nvec = np.full(int(np.prod(space.shape or ())), 2)
            start = np.zeros_like(nvec)
        sizes = tuple(int(n) for n in nvec)
        self._start = torch.from_numpy(start.astype(np.int64))  # [K]
        self.spec = ActionSpec("discrete", dim=sum(sizes), sizes=sizes)

    def decode(self, action: Tensor) -> Tensor:
        """Map encoded actions [..., A] to the environment's own units.

        Continuous: [..., A], clipped to [-1, 1] first. Discrete: integers [..., K], and [...]
        for a single component (`Discrete`); they count from the space's `start`.
        """
        if self.spec.kind == "continuous":
            center, half_range = self._center.to(action), self._half_range.to(action)
            value = center + half_range * action.clamp(-1.0, 1.0)
            return value if np.issubdtype(self._space.dtype, np.floating) else value.round()
        blocks = torch.split(action, list(self.spec.sizes), dim=-1)
        index = torch.stack([block.argmax(dim=-1) for block in blocks], dim=-1)  # [..., K]
        index = index + self._start.to(index.device)
        return index.squeeze(-1) if isinstance(self._space, spaces.Discrete) else index

    def encode(self, action: Any) -> NDArray[np.float32]:
        """Return the encoded form [A] of one of the environment's own actions.

        Raises:
            ValueError: if the action space does not contain the action.
        """
        own = np.asarray(action)
        if own.dtype.kind not in "biuf":
            raise ValueError(f"action {action!r}: must hold numbers")
        if own.size == int(np.prod(self._space.shape or ())):
            own = own.reshape(self._space.shape or ())
        with np.errstate(invalid="ignore"):
            typed = own.astype(self._space.dtype)
        is_exact = typed.dtype.kind == "f" or np.array_equal(typed, own)
        if not is_exact or not self._space.contains(typed):
            raise ValueError(f"action {action!r}: the action space is {self._space}")
        value = own.astype(np.float64).reshape(-1)
        if self.spec.kind == "discrete":
            chosen = (value - self._start.numpy()).astype(np.int64)  # [K]
            blocks = [
                np.eye(n, dtype=np.float32)[k] for n, k in zip(self.spec.sizes, chosen, strict=True)
            ]
            return np.concatenate(blocks)
        center, half_range = self._center.numpy(), self._half_range.numpy()
        with np.errstate(invalid="ignore"):
            scaled = np.where(half_range > 0, (value - center) / half_range, 0.0)
        if np.abs(scaled).max(initial=0.0) > 1.0 + 1e-5:
            raise ValueError(
                f"action {action!r}: entries without bounds are limited to [-1, 1], those with one "
                "bound to an interval of length 2 at it"
            )
        return scaled.clip(-1.0, 1.0).astype(np.float32)

    def to_env(self, action: NDArray[Any]) -> Any:
        """Return the argument of `gym.step` for one encoded action [A]."""
        return self.all_to_env(action[None])[0]

    def all_to_env(self, actions: NDArray[Any]) -> list[Any]:
        """Return the arguments of `gym.step` for encoded actions [n, A]."""
        value = self.decode(torch.as_tensor(actions, dtype=torch.float64)).numpy()
        if isinstance(self._space, spaces.Discrete):  # the type that `sample` returns
            return [self._space.dtype.type(row) for row in value]
        value = value.reshape(len(actions), *(self._space.shape or ())).astype(self._space.dtype)
        if isinstance(self._space, spaces.Box):  # the cast may round past a bound
            value = value.clip(self._space.low, self._space.high)
        return [np.asarray(row) for row in value]


def check_spaces(
    env_id: str, observation: gymnasium.Space[Any], action: gymnasium.Space[Any]
) -> None:
    """Raise UserError, with the space's name, if a space is not supported or empty."""
    allowed = (*_ACTION_SPACES, *_NESTED_SPACES)
    _check("observation", env_id, observation, allowed, _without_parts(observation, allowed))
    _check("action", env_id, action, _ACTION_SPACES)


def obs_integer(space: gymnasium.Space[Any]) -> tuple[bool, ...]:
    """Return for each entry of the flat observation whether it is always an integer."""
    if isinstance(space, spaces.Dict):
        return tuple(integer for part in space.spaces.values() for integer in obs_integer(part))
    if isinstance(space, spaces.Tuple):
        return tuple(integer for part in space.spaces for integer in obs_integer(part))
    is_float = isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.floating)
    return (not is_float,) * spaces.flatdim(space)


def _without_parts(space: gymnasium.Space[Any], allowed: tuple[type, ...]) -> str:
    """Return how to leave out the parts of a Dict that are not supported, or an empty text."""
    parts = space.spaces if isinstance(space, spaces.Dict) else {}
    supported = [key for key, part in parts.items() if isinstance(part, allowed)]
    if not supported:
        return ""
    return (
        ", or leave it out: 'env.wrappers=[{_target_: gymnasium.wrappers.FilterObservation, "
        f"filter_keys: [{', '.join(supported)}]}}]'"
    )


def _check(
    role: str,
    env_id: str,
    space: gymnasium.Space[Any],
    allowed: tuple[type, ...],
    without: str = "",
) -> None:
    """Check a space and its parts; `without` says how to leave the space out."""
    if not isinstance(space, allowed):
        names = ", ".join(kind.__name__ for kind in allowed)
        pixels = ", or use env.obs=pixels" if role == "observation" else ""
        raise UserError(
            f"env.id={env_id}: {role} space {type(space).__name__} is not supported; "
            f"supported are {names}; convert it with a wrapper: "
            f"env.wrappers=[package.Wrapper]{without}{pixels}"
        )
    if isinstance(space, _NESTED_SPACES):
        parts = space.spaces.values() if isinstance(space, spaces.Dict) else space.spaces
        for part in parts:
            _check(role, env_id, part, allowed, without)
    if spaces.flatdim(space) == 0:
        raise UserError(f"env.id={env_id}: {role} space {space} is empty; it needs an entry")
