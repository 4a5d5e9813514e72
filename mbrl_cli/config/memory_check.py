"""Refuse sizes that do not fit into memory, before anything is allocated.

The estimates are lower bounds: they count the largest arrays that a key implies, from its value and
the sizes of the environment. So a run that fits is never refused.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from mbrl_cli.errors import UserError
from mbrl_cli.run_settings import RunSettings
from mbrl_cli.types import EnvSpec

FLOAT = 4  # bytes
BYTES_PER_ENV = 10_000  # of the smallest environments, with their wrappers
COPIES_TO_LEARN = 4  # weights, gradients, and the two moments of Adam
GB = 1e9


def check_memory(
    settings: RunSettings,
    spec: EnvSpec,
    groups: Mapping[str, Mapping[str, Any]],
    device: torch.device,
) -> None:
    """Raise UserError with the key whose value needs more memory than is available.

    Args:
        settings: the run-level settings.
        spec: the environment.
        groups: the checked arguments of model, planner and agent.
        device: where the networks and plans are.
    """
    on_host = available_bytes()
    on_device = on_host
    if device.type == "cuda":
        on_device = torch.cuda.mem_get_info(device)[0]
    for limit, estimates in (
        (on_host, _host_estimates(settings, spec)),
        (on_device, _device_estimates(spec, groups)),
    ):
        for key, value, needed in estimates:
            if needed > limit:
                raise UserError(
                    f"{key}={value}: needs about {_gigabytes(needed)}, and {_gigabytes(limit)} are "
                    "available; use a smaller value"
                )


def available_bytes() -> float:
    """Return the bytes of memory that this process can still use; infinite if unknown."""
    limits = [float("inf")]
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        for line in meminfo.read_text(encoding="ascii").splitlines():
            name, _, amount = line.partition(":")
            if name == "MemAvailable":
                limits.append(float(amount.split()[0]) * 1024)
    elif hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        limits.append(float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")))
    limits.append(_control_group_bytes())
    return min(limits)


def replay_bytes(steps: int, spec: EnvSpec) -> float:
    """Return the bytes of a replay of this number of transitions."""
    entry = 1 if spec.obs_shape is not None else FLOAT  # bytes per entry of an observation
    return float(steps) * (2 * entry * spec.obs_dim + FLOAT * (spec.action.dim + 2) + 16)


def _control_group_bytes() -> float:
    """Return what the limit of a container leaves; infinite if there is none."""
    folder = Path("/sys/fs/cgroup")
    try:
        limit = (folder / "memory.max").read_text(encoding="ascii").strip()
        used = (folder / "memory.current").read_text(encoding="ascii").strip()
        return float("inf") if limit == "max" else max(0.0, float(limit) - float(used))
    except (OSError, ValueError):
        return float("inf")


def _host_estimates(settings: RunSettings, spec: EnvSpec) -> Iterator[tuple[str, Any, float]]:
    """Yield (key, value, bytes) of the run-level keys."""
    yield "total_steps", settings.total_steps, replay_bytes(settings.total_steps, spec)
    for key in ("num_envs", "eval_episodes", "final_eval_episodes"):
        episodes = getattr(settings, key)
        yield key, episodes, float(episodes) * (BYTES_PER_ENV + FLOAT * spec.obs_dim)


def _device_estimates(
    spec: EnvSpec, groups: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[str, Any, float]]:
    """Yield (key, value, bytes) of the keys of model, planner and agent."""
    planner = groups.get("planner", {})
    for key in ("population", "num_simulations", "leaf_plans"):
        if key in planner:
            horizon, plans = _number(planner, "horizon"), _number(planner, key)
            largest = _largest(planner, (key, "horizon"))
            plan = FLOAT * (horizon * spec.action.dim + spec.obs_dim)
            yield f"planner.{largest}", planner[largest], plans * plan
    for group in ("model", "agent"):
        yield from _learner_estimates(group, groups.get(group, {}), spec)


def _learner_estimates(
    section: str, arguments: Mapping[str, Any], spec: EnvSpec
) -> Iterator[tuple[str, Any, float]]:
    """Yield (key, value, bytes) of networks and batches; nested sections too, as agent.sac."""
    transition = FLOAT * (2 * spec.obs_dim + spec.action.dim)
    members = _number(arguments, "num_members")
    hidden = arguments.get("hidden")
    if isinstance(hidden, int):
        hidden = [hidden] * int(min(_number(arguments, "layers"), 1000))
    if isinstance(hidden, list | tuple) and hidden:
        widths = [spec.obs_dim + spec.action.dim, *map(float, hidden), spec.obs_dim]
        weights = sum(before * after for before, after in pairwise(widths))
        # Of a single network, because the number of members may not be the cause.
        network = COPIES_TO_LEARN * FLOAT * weights
        yield f"{section}.hidden", arguments["hidden"], network
        yield f"{section}.num_members", arguments.get("num_members"), network * members
    largest = _largest(arguments, ("batch_size", "sequence_length"))
    rows = members * _number(arguments, "batch_size") * _number(arguments, "sequence_length")
    yield f"{section}.{largest}", arguments.get(largest), rows * transition
    for key in ("imagined_capacity", "rollouts"):
        yield f"{section}.{key}", arguments.get(key), _number(arguments, key) * transition
    for key, nested in arguments.items():
        if isinstance(nested, Mapping):
            yield from _learner_estimates(f"{section}.{key}", nested, spec)


def _largest(arguments: Mapping[str, Any], keys: tuple[str, ...]) -> str:
    """Return the one of `keys` with the largest value: the one to change."""
    return max(keys, key=lambda key: _number(arguments, key))


def _number(arguments: Mapping[str, Any], key: str) -> float:
    """Return the value of a key as a number; 1 if the key is missing or not a number."""
    value = arguments.get(key)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(min(value, 1e300)) if is_number and value is not None else 1.0


def _gigabytes(amount: float) -> str:
    return f"{amount / GB:,.1f} GB" if amount < 1e6 * GB else f"{amount / GB:.1e} GB"
