"""Tables of the entries of observations and actions: index, name, values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from mbrl_cli.envs.env import Env

# A Box with at most this many entries and different bounds has one row for each entry.
MAX_SINGLE_ROWS = 12
MAX_ROWS = 40


def observation_rows(env: Env) -> list[tuple[str, str, str]]:
    """Return (index range, name, values) for the entries of the flat observation, in order."""
    rows: list[tuple[str, str, str]] = []
    start = 0
    for name, space in _leaves(env.gym.observation_space, ""):
        size = spaces.flatdim(space)
        for first, last, suffix, values in _parts(space):
            rows.append((_range(start + first, start + last), f"{name or 'obs'}{suffix}", values))
        start += size
    if len(rows) <= MAX_ROWS:
        return rows
    left_out = len(rows) - MAX_ROWS
    return [*rows[:MAX_ROWS], ("...", "", f"{left_out} more rows")]


def action_rows(env: Env) -> list[tuple[str, str, str]]:
    """Return (index range, name, values and their scaling) for the entries of an encoded action."""
    spec, space = env.spec.action, env.gym.action_space
    if spec.kind == "discrete":
        start = np.asarray(getattr(space, "start", 0)).reshape(-1)
        rows, first = [], 0
        for number, size in enumerate(spec.sizes):
            low = int(start[number]) if number < len(start) else 0
            name = f"action[{number}]" if len(spec.sizes) > 1 else "action"
            values = f"one-hot of {low} to {low + size - 1}"
            rows.append((_range(first, first + size - 1), name, values))
            first += size
        return rows
    lows = np.asarray(env.codec.to_env(np.full(spec.dim, -1.0))).reshape(-1)
    highs = np.asarray(env.codec.to_env(np.full(spec.dim, 1.0))).reshape(-1)
    same = bool((lows == lows[0]).all() and (highs == highs[0]).all())
    if same or spec.dim > MAX_SINGLE_ROWS:
        return [(_range(0, spec.dim - 1), "action", _scaling(lows.min(), highs.max()))]
    return [(str(i), f"action[{i}]", _scaling(lows[i], highs[i])) for i in range(spec.dim)]


def short_space(space: gymnasium.Space[Any]) -> str:
    """Return a space in a few words, for example 'Box [4] float32'."""
    if isinstance(space, spaces.Dict):
        return f"Dict of {', '.join(space.spaces)}"
    if isinstance(space, spaces.Tuple):
        return f"Tuple of {len(space.spaces)} parts"
    if isinstance(space, spaces.Box):
        return f"Box {list(space.shape)} {space.dtype}"
    return " ".join(str(space).split())  # that of a MultiDiscrete may have several lines


def _leaves(space: gymnasium.Space[Any], name: str) -> Iterator[tuple[str, gymnasium.Space[Any]]]:
    """Yield the name and the space of each part that has no parts, in the order of `flatten`."""
    if isinstance(space, spaces.Dict):
        for key, part in space.spaces.items():
            yield from _leaves(part, f"{name}.{key}" if name else key)
    elif isinstance(space, spaces.Tuple):
        for number, part in enumerate(space.spaces):
            yield from _leaves(part, f"{name}[{number}]")
    else:
        yield name, space


def _parts(space: gymnasium.Space[Any]) -> Iterator[tuple[int, int, str, str]]:
    """Yield (first entry, last entry, suffix of the name, values) of a space without parts."""
    size = spaces.flatdim(space)
    if isinstance(space, spaces.Discrete):
        yield 0, size - 1, "", f"one-hot of {space.start} to {space.start + space.n - 1}"
    elif isinstance(space, spaces.MultiDiscrete):
        first = 0
        starts = space.start.reshape(-1)
        for number, n in enumerate(space.nvec.reshape(-1)):
            low = int(starts[number])
            yield first, first + int(n) - 1, f"[{number}]", f"one-hot of {low} to {low + n - 1}"
            first += int(n)
    elif isinstance(space, spaces.Box):
        lows, highs = space.low.reshape(-1), space.high.reshape(-1)
        same = bool((lows == lows[0]).all() and (highs == highs[0]).all())
        kind = f"{space.dtype} {list(space.shape)}"
        if same or size > MAX_SINGLE_ROWS:
            yield 0, size - 1, "", f"{_interval(lows.min(), highs.max())}, {kind}"
            return
        for i in range(size):
            where = ", ".join(map(str, np.unravel_index(i, space.shape)))
            yield i, i, f"[{where}]", f"{_interval(lows[i], highs[i])}, {space.dtype}"
    else:
        yield 0, size - 1, "", str(space)


def _range(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"


def _interval(low: Any, high: Any) -> str:
    no_bound = float(np.finfo(np.float32).max)
    if float(low) <= -no_bound and float(high) >= no_bound:
        return "no bounds"
    return f"[{low:.6g}, {high:.6g}]"


def _scaling(low: Any, high: Any) -> str:
    if (low, high) == (-1.0, 1.0):
        return "[-1, 1], not scaled"
    return f"[-1, 1] of the agent is scaled to [{low:.6g}, {high:.6g}]"
