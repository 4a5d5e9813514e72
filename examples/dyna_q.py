"""An agent: tabular Dyna-Q (Sutton 1991; Sutton and Barto 2018, section 8.2).

It learns action values from real transitions and, between them, from transitions that it has
stored, which serve as a deterministic model. It needs few distinct observations (`env=gridworld`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from mbrl_cli.agents.base import Agent, Decision, Policy
from mbrl_cli.envs.env import Env
from mbrl_cli.errors import UserError
from mbrl_cli.replay.buffer import ReplayBuffer
from mbrl_cli.types import CountOrZero, EnvSpec, Fraction, LearningRate


class DynaQ(Agent):
    """Learn a table of action values.

    Axes: S observations met so far, A actions.

    Args:
        spec: sizes of the environment.
        generator: draws the stored transitions that are replayed.
        planning_steps: stored transitions that are replayed for each real one.
        step_size: alpha, share of the error by which a value is corrected.
        discount: gamma, per step.
        epsilon: probability of a random action while data are collected.

    Raises:
        UserError: if the actions are not one discrete choice.
    """

    def __init__(
        self,
        spec: EnvSpec,
        generator: torch.Generator,
        planning_steps: CountOrZero = 20,
        step_size: LearningRate = 0.5,
        discount: Fraction = 0.95,
        epsilon: Fraction = 0.1,
    ) -> None:
        if len(spec.action.sizes) != 1:
            raise UserError(f"agent=dyna_q: needs one discrete choice; {spec.id} has other actions")
        self.spec = spec
        self.generator = generator
        self.planning_steps = planning_steps
        self.step_size = step_size
        self.discount = discount
        self.epsilon = epsilon
        self.values: dict[tuple[float, ...], np.ndarray] = {}  # observation -> Q [A]
        self.rows_learned = 0  # transitions of the replay that have been learned from

    def policy(self, envs: Sequence[Env], explore: bool, generator: torch.Generator) -> Policy:
        """Return an epsilon-greedy policy; it is greedy where it does not explore."""
        return _GreedyPolicy(self, self.epsilon if explore else 0.0, generator)

    def update(self, replay: ReplayBuffer, env_step: int) -> dict[str, float]:
        """Learn from the new transitions, then from stored ones (lines d and f of Dyna-Q)."""
        if not len(replay):
            return {}
        for row in range(self.rows_learned, replay.total_added):
            self._learn(replay, row)
        self.rows_learned = replay.total_added
        rows = torch.randint(len(replay), (self.planning_steps,), generator=self.generator)
        for row in rows.tolist():
            self._learn(replay, row)
        return {"agent/num_observations": float(len(self.values))}

    def _learn(self, replay: ReplayBuffer, row: int) -> None:
        """Q(s, a) += alpha (r + gamma max_a' Q(s', a') - Q(s, a)), no Q(s') after a termination."""
        batch = replay.batch(np.array([row]))
        action = int(batch.action[0].argmax())
        future = 0.0 if batch.terminated[0] else self.row(batch.next_obs[0].tolist()).max()
        values = self.row(batch.obs[0].tolist())
        target = float(batch.reward[0]) + self.discount * future
        values[action] += self.step_size * (target - values[action])

    def row(self, obs: Sequence[float]) -> np.ndarray:
        """Return the values [A] of an observation, zero if it is new."""
        return self.values.setdefault(tuple(obs), np.zeros(self.spec.action.dim))

    def state_dict(self) -> dict[str, Any]:
        """Return the table as two arrays, since keys of a state are texts or integers."""
        return {
            "observations": np.array(list(self.values), np.float32).reshape(-1, self.spec.obs_dim),
            "values": np.array(list(self.values.values())).reshape(-1, self.spec.action.dim),
            "rows_learned": self.rows_learned,
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the values that `state_dict` returned."""
        pairs = zip(state["observations"].tolist(), state["values"], strict=True)
        self.values = {tuple(obs): values.copy() for obs, values in pairs}
        self.rows_learned = state["rows_learned"]
        self.generator.set_state(state["generator"])


class _GreedyPolicy(Policy):
    def __init__(self, agent: DynaQ, epsilon: float, generator: torch.Generator) -> None:
        self.agent = agent
        self.epsilon = epsilon
        self.generator = generator

    def act(self, obs: np.ndarray) -> Decision:
        """Return one-hot actions [B, A] for obs [B, O]; ties are broken at random."""
        num_envs, num_actions = len(obs), self.agent.spec.action.dim
        noise = torch.rand(num_envs, num_actions, generator=self.generator).numpy()
        explore = torch.rand(num_envs, generator=self.generator).numpy() < self.epsilon
        values = np.array([self.agent.values.get(tuple(row), np.zeros(num_actions))
                           for row in obs.tolist()])  # [B, A]  # fmt: skip
        ties = values == values.max(1, keepdims=True)
        scores = np.where(explore[:, None], noise, ties * (1.0 + noise))
        return Decision(np.eye(num_actions, dtype=np.float32)[scores.argmax(1)])
