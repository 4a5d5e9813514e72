"""The policy of AlphaZero: a tree search at every decision."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from mbrl_cli.agents.base import Decision
from mbrl_cli.agents.model_policy import ModelPolicy
from mbrl_cli.envs.env import Env
from mbrl_cli.models.base import Model
from mbrl_cli.planners.mcts import MCTS
from mbrl_cli.planners.world import World


class AlphaZeroPolicy(ModelPolicy):
    """Search from every observation and take the recommended action.

    While data are collected there is noise at the root, and with PUCT the action is drawn from the
    search policy; Gumbel noise is enough exploration by itself.

    Axes: B environments, O obs_dim, A actions.

    Args:
        model: filters the observations.
        planner: searches.
        world: functions of the model that the search calls.
        envs: the B environments.
        explore: whether data are collected.
        generator: source of all random numbers.
        discount: of the search, per step.
        store_policies: called with the search policies [B, A] at each decision while data are
            collected.
    """

    def __init__(
        self,
        model: Model,
        planner: MCTS,
        world: World,
        envs: Sequence[Env],
        explore: bool,
        generator: torch.Generator,
        discount: float,
        store_policies: Callable[[np.ndarray], None],
    ) -> None:
        super().__init__(model, envs, planner)
        self.planner: MCTS = planner
        self.world = world
        self.explore = explore
        self.generator = generator
        self.discount = discount
        self.store_policies = store_policies
        self.nonfinite = 0
        self.reset()

    @torch.inference_mode()
    def act(self, obs: np.ndarray) -> Decision:
        """Search from obs [B, O]."""
        self.observe(obs)
        result = self.planner.search(
            self.world, self.state, self.memory, self.generator, noise=self.explore
        )
        self.memory = result.memory
        self.nonfinite += result.nonfinite
        action = torch.from_numpy(result.action)  # [B] index of the root's actions
        if self.explore:
            self.store_policies(result.policy)
            if self.planner.select == "puct":
                policy = torch.from_numpy(result.policy)  # [B, A]
                action = torch.multinomial(policy, 1, generator=self.generator)[:, 0]
        self.action = result.root_actions[torch.arange(len(action)), action]  # [B, A] one-hot
        return Decision(self.action.cpu().numpy())

    def metrics(self) -> dict[str, float]:
        """Return the number of imagined steps whose predictions were not finite."""
        counts = {"planner/nonfinite": float(self.nonfinite)}
        self.nonfinite = 0
        return counts
