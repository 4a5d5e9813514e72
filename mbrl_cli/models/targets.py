"""Real transitions as the normalised inputs and targets that Markov models are fitted to."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from mbrl_cli.replay.normalizer import Normalizer
from mbrl_cli.types import Batch, EnvSpec

MAX_TERMINATION_WEIGHT = 10.0


class Targets:
    """Normalise observations, their changes and rewards; know which heads have to be learned.

    Inputs are [obs normalised, action]; actions are encoded and need no scale.
    Targets are [change of the observation normalised O | reward normalised 1].

    An episode ends once, so ends are rare, and a limit that was met once in a thousand steps would
    hardly be learned: with `termination_weight` the ends count as much as all other transitions,
    within a limit, past which safe states near an end are given up too.

    A reward above all that were ever paid is an error of the model, and a planner looks for just
    such errors: predicted rewards are held within the range of the observed ones.
    """

    def __init__(self, spec: EnvSpec, device: torch.device) -> None:
        self.learns_reward = spec.known_reward is None
        self.learns_termination = spec.known_termination is None
        self.obs = Normalizer(spec.obs_dim, device)
        self.delta = Normalizer(spec.obs_dim, device)
        self.reward = Normalizer(1, device)
        self.reward_range = torch.tensor([-math.inf, math.inf], device=device)  # [low, high]
        self.termination_weight = 1.0
        self.ends_seen = False  # until then everything goes on

    def fit(self, batch: Batch) -> None:
        """Take the statistics from real transitions."""
        self.obs.fit(batch.obs)
        self.delta.fit(batch.next_obs - batch.obs)
        self.reward.fit(batch.reward[:, None])
        self.reward_range = torch.stack(batch.reward.aminmax())
        ends = float(batch.terminated.sum())
        if ends:
            self.ends_seen = True
            balanced = (len(batch.terminated) - ends) / ends
            self.termination_weight = min(max(balanced, 1.0), MAX_TERMINATION_WEIGHT)

    def limit_reward(self, reward: Tensor) -> Tensor:
        """Hold predicted rewards [...] within the observed range; what diverged becomes NaN."""
        limited = torch.clamp(reward, self.reward_range[0], self.reward_range[1])
        return limited.masked_fill_(reward.isinf(), math.nan)

    def inputs(self, obs: Tensor, action: Tensor) -> Tensor:
        """Return [..., O + A]."""
        return torch.cat([self.obs(obs), action], dim=-1)

    def transitions(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return inputs [n, O + A] and targets [n, O + 1]."""
        delta = self.delta(batch.next_obs - batch.obs)
        targets = torch.cat([delta, self.reward(batch.reward[:, None])], dim=-1)
        return self.inputs(batch.obs, batch.action), targets

    def endings(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return what was reached [n, O], normalised, and whether it goes on from there [n, 1]."""
        return self.obs(batch.next_obs), 1.0 - batch.terminated[:, None]

    def state_dict(self) -> dict[str, Any]:
        """Return the statistics."""
        statistics = {name: getattr(self, name).state_dict() for name in self._NORMALIZERS}
        return statistics | {"ends_seen": self.ends_seen, "reward_range": self.reward_range}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the statistics."""
        for name in self._NORMALIZERS:
            getattr(self, name).load_state_dict(state[name])
        self.ends_seen = state["ends_seen"]
        self.reward_range = state["reward_range"].to(self.reward_range.device)

    _NORMALIZERS = ("obs", "delta", "reward")
