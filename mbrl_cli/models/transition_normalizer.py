"""Normalization of transitions, for models whose state is the observation."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor

from mbrl_cli.replay.normalizer import Normalizer
from mbrl_cli.types import Batch, EnvSpec


class TransitionNormalizer:
    """Normalize observations, changes of the observation, and rewards; clip predicted rewards.

    The target is the change of the observation, or the next observation, in the scale of the
    observation. What is constant in the data is predicted as this constant.

    Axes: n transitions, O obs_dim, A action dim.

    Attributes:
        obs: normalizer of observations.
        change: normalizer of next_obs - obs.
        reward: normalizer of rewards.
        reward_range: [2] lowest and highest reward in the data of the last fit.
    """

    _NORMALIZERS = ("obs", "change", "reward")

    def __init__(
        self,
        spec: EnvSpec,
        device: torch.device,
        obs_target: Literal["change", "next_obs"] = "change",
    ) -> None:
        self.predicts_change = obs_target == "change"
        self.obs = Normalizer(spec.obs_dim, device)
        self.change = Normalizer(spec.obs_dim, device)
        self.reward = Normalizer(1, device)
        self.reward_range = torch.tensor([-math.inf, math.inf], device=device)

    @property
    def obs_target(self) -> Normalizer:
        """Normalizer of the target."""
        return self.change if self.predicts_change else self.obs

    def fit(self, batch: Batch) -> None:
        """Compute the statistics of real transitions."""
        self.obs.fit(batch.obs)
        # A change is a difference of observations and has their rounding errors.
        size = torch.maximum(batch.obs.abs().amax(0), batch.next_obs.abs().amax(0))
        self.change.fit(batch.next_obs - batch.obs, size)
        self.reward.fit(batch.reward[:, None])
        self.reward_range = torch.stack(batch.reward.aminmax())

    def clip_reward(self, reward: Tensor) -> Tensor:
        """Clip predicted rewards [...] to the observed range; infinite ones become NaN.

        A planner would exploit a predicted reward that is higher than all observed ones. NaN marks
        a prediction that diverged.
        """
        clipped = torch.clamp(reward, self.reward_range[0], self.reward_range[1])
        return clipped.masked_fill_(reward.isinf(), math.nan)

    def inputs(self, obs: Tensor, action: Tensor) -> Tensor:
        """Return a network's inputs [..., O + A]; encoded actions need no scale."""
        return torch.cat([self.obs(obs), action], dim=-1)

    def targets(self, batch: Batch) -> Tensor:
        """Return the targets [n, O + 1]: [change or next observation O | reward 1]."""
        target = batch.next_obs - batch.obs if self.predicts_change else batch.next_obs
        target = self.obs_target(target)
        target = target.masked_fill(self.obs_target.spread == 0.0, 0.0)  # else rounding errors
        return torch.cat([target, self.reward(batch.reward[:, None])], dim=-1)

    def inputs_and_targets(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return `inputs` [n, O + A] and `targets` [n, O + 1]."""
        return self.inputs(batch.obs, batch.action), self.targets(batch)

    def state_dict(self) -> dict[str, Any]:
        """Return the statistics."""
        statistics = {name: getattr(self, name).state_dict() for name in self._NORMALIZERS}
        return {**statistics, "reward_range": self.reward_range}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the statistics."""
        for name in self._NORMALIZERS:
            getattr(self, name).load_state_dict(state[name])
        self.reward_range = state["reward_range"].to(self.reward_range.device)
