"""Compare the known functions of MuJoCo tasks with the simulator, on transitions of episodes.

    python benchmarks/mujoco_functions.py --transitions 10000

Half of the transitions have uniform random actions, half have actions at the bounds that are held
for ten steps, which leads to fast motion and falls. Prints a table; `--out` writes JSON.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from mbrl_cli.envs.env import Env
from mbrl_cli.envs.make import make_env

X_OBSERVED = {"exclude_current_positions_from_observation": False}
VELOCITY = ["mbrl_cli.envs.mujoco_tasks.forward_velocity.ForwardVelocity"]
LOCOMOTION = ("HalfCheetah-v5", "Hopper-v5", "Walker2d-v5", "Ant-v5", "Swimmer-v5")
OTHERS = (
    "InvertedPendulum-v5",
    "InvertedDoublePendulum-v5",
    "Reacher-v5",
    "Pusher-v5",
    "HumanoidStandup-v5",
    "mbrl/CartPoleSwingUp-v0",
)


def transitions(env: Env, count: int, seed: int) -> list[torch.Tensor]:
    """Return obs [n, O], action [n, A], next_obs [n, O], reward [n], terminated [n]."""
    rng = np.random.default_rng(seed)
    rows = []
    obs, size = env.reset(seed), env.spec.action.dim
    for step in range(count):
        if step < count // 2:
            action = rng.uniform(-1, 1, size)
        elif step % 10 == 0 or step == count // 2:
            action = rng.choice([-1.0, 1.0], size)
        next_obs, reward, terminated, truncated = env.step(action)
        rows.append((obs, action, next_obs, reward, terminated))
        obs = env.reset(seed + step) if terminated or truncated else next_obs
    columns = zip(*rows, strict=True)
    return [torch.from_numpy(np.asarray(column, np.float32)) for column in columns]


def compare(id: str, how: str, count: int) -> dict[str, object]:
    """Return the differences of one task."""
    kwargs = X_OBSERVED if how == "x position" else None
    wrappers = VELOCITY if how == "ForwardVelocity" else ()
    env = make_env(id, kwargs, wrappers, reward="known", termination="known")
    obs, action, next_obs, reward, terminated = transitions(env, count, seed=0)
    assert env.spec.known_reward is not None
    assert env.spec.known_termination is not None
    difference = env.spec.known_reward(obs, action, next_obs) - reward
    ends = env.spec.known_termination(obs, action, next_obs)
    env.close()
    return {
        "id": id,
        "observed": how,
        "largest": float(difference.abs().max()),
        "rms": float(difference.square().mean().sqrt()),
        "reward std": float(reward.std()),
        "ends": int(terminated.sum()),
        "other ends": int((ends != terminated.bool()).sum()),
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--transitions", type=int, default=10_000)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    cases = [(id, how) for id in LOCOMOTION for how in ("default", "x position", "ForwardVelocity")]
    cases += [("Humanoid-v5", "ForwardVelocity"), *((id, "default") for id in OTHERS)]
    print(
        "| task | observation | largest difference | RMS difference | reward std | ends | wrong |"
    )
    print("|---|---|---|---|---|---|---|")
    rows = []
    for id, how in cases:
        row = compare(id, how, options.transitions)
        rows.append(row)
        largest, rms, std = (f"{row[key]:.2g}" for key in ("largest", "rms", "reward std"))
        ends = f"{row['ends']} | {row['other ends']}"
        print(f"| {id} | {how} | {largest} | {rms} | {std} | {ends} |", flush=True)
    if options.out:
        options.out.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
