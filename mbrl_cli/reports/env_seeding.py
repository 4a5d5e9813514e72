"""Whether the same seed and the same actions give the same trajectory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from mbrl_cli.agents.random import random_actions
from mbrl_cli.envs.env import Env
from mbrl_cli.envs.global_random import global_generators_used, restored_global_generators

MIN_STEPS, MAX_STEPS = 10, 100
MAX_SECONDS = 1.0  # of a trajectory
SEED, OTHER_SEED = 1, 2
# Larger differences, relative to 1 + the value, are not rounding.
ROUNDING = 1e-5


@dataclass(frozen=True)
class Trajectory:
    """Observations, rewards and ends of some steps.

    Attributes:
        rows: [T + number of resets, O + 2] observation, reward, and 1 where an episode ended.
        uses_globals: whether the environment drew from a global random generator.
    """

    rows: np.ndarray
    uses_globals: bool

    @classmethod
    def of(cls, env: Env, seed: int, steps: int, reset_twice: bool = False) -> Trajectory:
        """Play random actions, which are the same in every trajectory.

        Args:
            env: the environment.
            seed: of the first reset; a further episode has the next seed.
            steps: number of actions.
            reset_twice: whether an episode with another seed is begun first.

        Raises:
            EnvironmentFault: if the environment fails.
        """
        generator = torch.Generator().manual_seed(SEED)
        actions = random_actions(env.spec.action, steps, generator)
        with restored_global_generators():
            if reset_twice:
                env.reset(OTHER_SEED)
                env.step(actions[0])
            rows = [np.append(env.reset(seed), [0.0, 0.0])]
            uses_globals = False
            for action in actions:
                obs, reward, terminated, truncated = env.step(action)
                rows.append(np.append(obs, [reward, float(terminated or truncated)]))
                if terminated or truncated:
                    uses_globals |= global_generators_used(seed)
                    seed += 1
                    rows.append(np.append(env.reset(seed), [0.0, 0.0]))
            return cls(np.stack(rows), uses_globals or global_generators_used(seed))

    def first_difference(self, other: Trajectory) -> tuple[int, float] | None:
        """Return the first differing row and its largest difference, relative to 1 + the value."""
        length = min(len(self.rows), len(other.rows))
        first, second = self.rows[:length], other.rows[:length]  # they differ where one ends
        relative = np.abs(first - second) / (1.0 + np.abs(first))  # [T, O + 2]
        largest = relative.max(axis=1)
        rows = np.flatnonzero(largest > 0.0)
        if len(rows):
            beyond = np.flatnonzero(largest > ROUNDING)
            row = int(beyond[0] if len(beyond) else rows[0])
            return row, float(largest[row])
        return (length, np.inf) if len(self.rows) != len(other.rows) else None


def num_steps(env_seconds: float) -> int:
    """Return the length of a trajectory, from the duration of a step of the environment."""
    return max(MIN_STEPS, min(MAX_STEPS, int(MAX_SECONDS / max(env_seconds, 1e-9))))


def difference_text(found: tuple[int, float]) -> str:
    """Return the place of a difference as text."""
    row, size = found
    place = "the first observation" if row == 0 else f"step {row}"
    return f"{place} differs" if np.isinf(size) else f"{place} differs by {size:.2g}"
