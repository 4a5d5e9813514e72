"""Conversion of an environment's values to float32, which refuses values that a cast changes.

Every function raises ValueError with the value and what is allowed.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

FLOAT32_MAX = float(np.finfo(np.float32).max)
# A cast to a float type may round by this many units in the last place.
ROUNDING = 4.0


def flatten_obs(space: spaces.Space[Any], obs: Any) -> NDArray[np.float32]:
    """Return an observation as a new float32 vector [O]; discrete parts become one-hot."""
    if isinstance(space, spaces.Box):
        # The common cases, in which no cast loses anything.
        same_type = type(obs) is np.ndarray and obs.dtype == space.dtype
        if same_type and (obs.dtype == np.float32 or obs.dtype.kind in "biu"):
            return _with_shape(obs, space).astype(np.float32, copy=True).reshape(-1)
        return _box_values(space, obs)
    return np.concatenate(_parts(space, obs)).astype(np.float32)


def scalar_reward(reward: Any) -> float:
    """Return a reward as a float: a number, or an array or tensor with one entry."""
    if isinstance(reward, Tensor):
        reward = reward.detach().cpu().numpy()
    if isinstance(reward, np.ndarray) or hasattr(reward, "__array__"):
        entries = np.asarray(reward)
        if entries.size != 1:
            weights = ", ".join(["1.0"] * min(entries.size, 10))
            raise ValueError(
                f"the reward has {entries.size} entries {_shown(entries)}, it must be one number; "
                "weigh them with a wrapper: 'env.wrappers=[{_target_: "
                f"mo_gymnasium.wrappers.LinearReward, weight: [{weights}]}}]'"
            )
        reward = entries.reshape(-1)[0].item()
    if not isinstance(reward, numbers.Real):
        raise ValueError(f"the reward is {_shown(reward)}; it must be a number")
    value = float(reward)
    if not math.isfinite(value):
        raise ValueError(f"the reward is {value}")
    if abs(value) > FLOAT32_MAX:
        raise ValueError(
            f"the reward {value:g} is beyond float32 ({FLOAT32_MAX:.2g}); scale the rewards"
        )
    return value


def flag(name: str, value: Any) -> bool:
    """Return `terminated` or `truncated` as a bool: a bool, 0 or 1, or an array of one."""
    if isinstance(value, bool | np.bool_):
        return bool(value)
    entries = np.asarray(value.detach().cpu() if isinstance(value, Tensor) else value)
    if entries.size == 1 and entries.dtype.kind in "biuf" and entries.item() in (0, 1):
        return bool(entries.item())
    raise ValueError(f"{name} is {_shown(value)}; it must be a bool")


def _parts(space: spaces.Space[Any], obs: Any) -> list[NDArray[np.float32]]:
    """Return the vectors of the parts of an observation, in the order of the space."""
    if isinstance(space, spaces.Dict):
        if not isinstance(obs, Mapping) or space.spaces.keys() - obs.keys():
            shown = list(obs) if isinstance(obs, Mapping) else _shown(obs)
            raise ValueError(
                f"an observation is {shown}, its observation_space has the keys "
                f"{list(space.spaces)}"
            )
        return [v for key, part in space.spaces.items() for v in _parts(part, obs[key])]
    if isinstance(space, spaces.Tuple):
        if not isinstance(obs, tuple | list) or len(obs) != len(space.spaces):
            raise ValueError(
                f"an observation is {_shown(obs)}, its observation_space is a tuple of "
                f"{len(space.spaces)}"
            )
        pairs = zip(space.spaces, obs, strict=True)
        return [v for part, value in pairs for v in _parts(part, value)]
    if isinstance(space, spaces.Discrete):
        return [_one_hot(space, obs, np.array([space.n]), np.array([space.start]))]
    if isinstance(space, spaces.MultiDiscrete):
        return [_one_hot(space, obs, space.nvec.reshape(-1), space.start.reshape(-1))]
    return [_box_values(space, obs)]  # Box, MultiBinary


def _box_values(space: Any, obs: Any) -> NDArray[np.float32]:
    before = _with_shape(_numbers(obs), space)
    with np.errstate(all="ignore"):
        after = before.astype(space.dtype)
        flat = after.astype(np.float32, copy=True).reshape(-1)
    known = np.isfinite(before.astype(np.float64))
    if space.dtype.kind in "fc":
        bound = max(np.finfo(space.dtype).eps, np.finfo(np.float32).eps) * ROUNDING
        lost = ~np.isfinite(flat) & known.reshape(-1)
        # float16 rounds more than float32; a subnormal number may become 0.
        exact = before.reshape(-1).astype(np.float64)
        with np.errstate(invalid="ignore"):  # infinity minus infinity; the caller refuses it
            change = np.abs(flat - exact)
        smallest = float(np.finfo(np.float32).tiny)
        if space.dtype == np.float16:
            smallest = float(np.finfo(np.float16).tiny)
        lost |= change > bound * np.abs(exact) + smallest
        lost &= known.reshape(-1)
    else:
        lost = (after != before).reshape(-1)
    if isinstance(space, spaces.MultiBinary):
        lost |= (flat != 0) & (flat != 1)
    if lost.any():
        raise ValueError(
            f"an observation holds {before.reshape(-1)[lost][0]!s}, which observation_space "
            f"{_space_name(space)} cannot hold; give it the dtype of the values, such as float32"
        )
    return flat


def _one_hot(space: Any, obs: Any, sizes: NDArray[Any], start: NDArray[Any]) -> NDArray[np.float32]:
    values = _with_shape(_numbers(obs), space).reshape(-1)
    index = values - start
    outside = (index < 0) | (index >= sizes) | (index != np.floor(index))
    if outside.any():
        raise ValueError(
            f"an observation holds {values[outside][0]!s}, which observation_space "
            f"{_space_name(space)} does not contain"
        )
    blocks = np.zeros(int(sizes.sum()), np.float32)
    blocks[np.concatenate([[0], sizes.cumsum()[:-1]]) + index.astype(np.int64)] = 1.0
    return blocks


def _numbers(obs: Any) -> NDArray[Any]:
    """Return an array of real numbers; texts and complex numbers with an imaginary part fail."""
    if isinstance(obs, Tensor):
        obs = obs.detach().cpu()
    values = np.asarray(obs)
    if values.dtype.kind == "O":
        entries = values.reshape(-1).tolist()
        if all(isinstance(entry, numbers.Real) for entry in entries):
            values = np.array([float(entry) for entry in entries]).reshape(values.shape)
    if values.dtype.kind == "c" and not values.imag.any():
        values = values.real
    if values.dtype.kind not in "biuf":
        raise ValueError(f"an observation is {_shown(obs)}; it must hold real numbers")
    return values


def _with_shape(values: NDArray[Any], space: Any) -> NDArray[Any]:
    """Return the values; they may have other axes of length 1 than the space's shape."""
    shape = space.shape
    if values.shape == shape:
        return values
    if values.size != int(np.prod(shape)):
        raise ValueError(
            f"an observation has {values.size} entries, its observation_space says "
            f"{int(np.prod(shape))}"
        )
    if [n for n in values.shape if n != 1] != [n for n in shape if n != 1]:
        raise ValueError(
            f"an observation has the shape {list(values.shape)}, its observation_space says "
            f"{list(shape)}"
        )
    return values


def _space_name(space: Any) -> str:
    if isinstance(space, spaces.Box):
        return f"Box({list(space.shape)}, {space.dtype})"
    return str(space)


def _shown(value: Any) -> str:
    return f"{' '.join(repr(value).split())[:60]} ({type(value).__name__})"
