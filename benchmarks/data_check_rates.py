"""False alarms and power of the data checks of `mbrl diagnose`, on random actions.

Every case plays an environment with random actions, some of them behind a wrapper that makes the
data wrong in one known way, and prints how often each check reports a problem.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import planted_wrappers as planted

from mbrl_cli.diagnosis.data_check_section import check_transitions
from mbrl_cli.diagnosis.data_checks.action_probe import random_actions
from mbrl_cli.diagnosis.data_checks.transitions import Transitions
from mbrl_cli.envs.env import Env
from mbrl_cli.envs.make import make_env
from mbrl_cli.errors import UserError

MUJOCO = ("Hopper-v5", "HalfCheetah-v5", "Reacher-v5")
HEALTHY = [
    "CartPole-v1", "Pendulum-v1", "Acrobot-v1", "MountainCar-v0", "MountainCarContinuous-v0",
    "mbrl/GridWorld-v0", "mbrl/CartPoleContinuous-v0", "mbrl/CartPoleSwingUp-v0",
    "InvertedPendulum-v5", "InvertedDoublePendulum-v5", "Hopper-v5", "HalfCheetah-v5",
    "Walker2d-v5", "Reacher-v5", "Swimmer-v5", "Pusher-v5", "Ant-v5", "FrozenLake-v1", "Taxi-v4",
    "CliffWalking-v1", "LunarLander-v3", "LunarLanderContinuous-v3", "BipedalWalker-v3",
    "dm_control/cartpole-swingup-v0", "dm_control/walker-walk-v0", "dm_control/finger-spin-v0",
    "dm_control/reacher-easy-v0", "dm_control/cheetah-run-v0", "dm_control/ball_in_cup-catch-v0",
    "minigrid:MiniGrid-Empty-5x5-v0", "minigrid:MiniGrid-DoorKey-5x5-v0", "bsuite/catch-v0",
]  # fmt: skip
STACKED = ("Pendulum-v1", "Hopper-v5")  # correct data in stacked observations
SMALL = ("CartPole-v1", "Pendulum-v1", "mbrl/CartPoleSwingUp-v0", "Hopper-v5", "HalfCheetah-v5",
         "Reacher-v5", "dm_control/walker-walk-v0", "dm_control/cartpole-swingup-v0")  # fmt: skip

Wrap = Callable[[Any], Any]
# fault that a check must report -> (environments, wrapper)
PLANTED: dict[str, tuple[str, tuple[str, ...], Wrap]] = {
    "late action": ("shifted_actions", SMALL, planted.LateAction),
    "late observation": ("shifted_observations", SMALL, planted.LateObservation),
    "limit as termination": (
        "time_limit_as_termination",
        ("Pendulum-v1", "mbrl/CartPoleSwingUp-v0", "Reacher-v5", "dm_control/finger-spin-v0"),
        planted.LimitAsTermination,
    ),
    "own limit as termination": (
        "time_limit_as_termination",
        ("CartPole-v1", "Hopper-v5", "Pendulum-v1", "HalfCheetah-v5"),
        partial(planted.LimitAsTermination, limit=25),
    ),
    "reset observation": (
        "crosses_reset",
        ("CartPole-v1", "Pendulum-v1", "Hopper-v5", "Reacher-v5", "mbrl/CartPoleSwingUp-v0"),
        planted.ResetObservation,
    ),
    "hidden resets": (
        "crosses_reset",
        ("CartPole-v1", "Pendulum-v1", "Hopper-v5", "Reacher-v5"),
        planted.HiddenResets,
    ),
    "clock in the reward": (
        "hidden_reward",
        ("CartPole-v1", "Pendulum-v1", "Hopper-v5", "Reacher-v5", "mbrl/CartPoleSwingUp-v0"),
        partial(planted.ClockReward, scale=0.5),
    ),
    "hidden goal in the reward": (
        "hidden_reward",
        ("CartPole-v1", "Pendulum-v1", "Hopper-v5", "Reacher-v5", "mbrl/CartPoleSwingUp-v0"),
        planted.HiddenGoalReward,
    ),
    "ignored action": ("ignores_action", SMALL, planted.IgnoredAction),
    "ignored action entry": (
        "action_without_effect",
        ("Hopper-v5", "HalfCheetah-v5", "Reacher-v5", "dm_control/walker-walk-v0"),
        planted.IgnoredEntry,
    ),
    "clipped observation": (
        "saturated",
        ("Pendulum-v1", *MUJOCO),
        partial(planted.ClippedObservation, bound=1.0),
    ),
    "duplicated entry": (
        "duplicated_entry",
        ("CartPole-v1", "Pendulum-v1", *MUJOCO),
        planted.DuplicatedEntry,
    ),
    "constant entry": (
        "constant_entry",
        ("CartPole-v1", "Pendulum-v1", *MUJOCO),
        planted.ConstantEntry,
    ),
    "gravity changes": (
        "non_stationary",
        ("CartPole-v1", "Pendulum-v1", "mbrl/CartPoleSwingUp-v0", "Hopper-v5"),
        partial(planted.ChangesAfter, attribute="gravity", factor=1.5),
    ),
    "reward changes": (
        "non_stationary",
        ("Pendulum-v1", "Hopper-v5", "Reacher-v5", "mbrl/CartPoleSwingUp-v0"),
        partial(planted.ChangesAfter, reward_bonus=1.0),
    ),
}


def build(name: str, wrap: Wrap | None) -> Env:
    """Return an environment behind a wrapper; None: as it is."""
    if name.startswith("minigrid"):
        return make_env(name, wrappers=["minigrid.wrappers.ImgObsWrapper"])
    repeat = 2 if name.startswith("dm_control") else 1
    env = make_env(name, action_repeat=repeat)
    return env if wrap is None else Env(wrap(env.gym))


def collect(env: Env, steps: int, seed: int) -> Transitions:
    """Return the transitions of random actions."""
    rng = np.random.default_rng(seed)
    columns: list[list[Any]] = [[] for _ in range(6)]
    obs, episode = env.reset(seed * 100_000), 0
    for action in random_actions(env.spec.action, steps, rng):
        next_obs, reward, terminated, truncated = env.step(action)
        row = (obs, action, reward, next_obs, terminated, episode)
        for column, value in zip(columns, row, strict=True):
            column.append(value)
        obs = next_obs
        if terminated or truncated:
            episode += 1
            obs = env.reset(seed * 100_000 + episode)
    arrays = [np.array(column) for column in columns]
    return Transitions(
        env.spec,
        arrays[0].astype(np.float32).astype(np.float64),
        arrays[1].astype(np.float64),
        arrays[2].astype(np.float32).astype(np.float64),
        arrays[3].astype(np.float32).astype(np.float64),
        arrays[4].astype(bool),
        arrays[5],
    )


def found(
    name: str, wrap: Wrap | None, steps: int, seed: int, verbose: bool
) -> tuple[set[str], set[str]]:
    """Return the faults that are reported as problems, and as notes."""
    env = build(name, wrap)
    data = collect(env, steps, seed)
    env.close()
    # A planted change after N steps is over in a fresh environment.
    section = check_transitions(data, partial(build, name, wrap), np.random.default_rng(seed))
    if verbose:
        for finding in section.findings:
            print(
                f"    {finding.severity} {finding.fault} {finding.confidence:.2f}: {finding.text}"
            )
        for row in section.tables[0].rows:
            print("       ", row)
        for line in section.skipped:
            print("     skipped", line)
    problems = {f.fault for f in section.findings if f.severity == "problem"}
    return problems, {f.fault for f in section.findings if f.severity == "note"}


def main() -> None:
    """Measure and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--only", default="", help="part of a case's name")
    parser.add_argument("--planted", action="store_true", help="only cases with a fault")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    logging.getLogger("absl").setLevel(logging.ERROR)  # warnings of MuJoCo's XML reader
    cases: list[tuple[str, str, Wrap | None, str | None]] = [
        ("healthy", name, None, None) for name in HEALTHY
    ]
    cases += [("healthy, stacked", name, planted.StackedObservation, None) for name in STACKED]
    for case, (fault, names, wrap) in PLANTED.items():
        if "changes" in case:
            wrap = partial(wrap, after=args.steps // 2)
        cases += [(case, name, wrap, fault) for name in names]
    results = []
    for case, name, wrap, fault in cases:
        if args.only not in f"{case} {name}" or (args.planted and fault is None):
            continue
        problems: Counter[str] = Counter()
        notes: Counter[str] = Counter()
        start = time.perf_counter()
        try:
            for seed in args.seeds:
                some_problems, some_notes = found(name, wrap, args.steps, seed, args.verbose)
                problems.update(some_problems)
                notes.update(some_notes)
        except (UserError, gymnasium.error.Error) as error:
            print(f"{case:26} {name:34} not measured: {str(error)[:60]}")
            continue
        seconds = (time.perf_counter() - start) / len(args.seeds)
        hits = None if fault is None else (problems | notes)[fault]
        others = {k: v for k, v in problems.items() if k != fault}
        results.append(
            {"case": case, "env": name, "fault": fault, "hits": hits, "problems": dict(problems),
             "notes": dict(notes), "seconds": seconds}
        )  # fmt: skip
        text = "" if fault is None else f"{hits}/{len(args.seeds)} {fault}"
        print(
            f"{case:26} {name:34} {text:34} other problems {others or '-'} notes "
            f"{dict(notes) or '-'} {seconds:.1f} s",
            flush=True,
        )
    if args.out:
        args.out.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
