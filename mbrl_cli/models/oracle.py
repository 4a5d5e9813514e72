"""The true simulator as a model: what planning could reach if the model were perfect."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mbrl_cli.envs.env import Env
from mbrl_cli.errors import UserError
from mbrl_cli.models.base import MarkovModel, Prediction
from mbrl_cli.replay.buffer import ReplayBuffer
from mbrl_cli.types import Count, EnvSpec, Simulator, State, Step


class Oracle(MarkovModel):
    """Step the environment's own dynamics.

    Where the environment has a batched simulator, imagination is one computation. Any other
    environment is copied, once for every imagined step: right, but slow. A copy goes on with luck
    of its own, each particle with another: what chance will really bring stays unknown.
    """

    is_fitted = True

    def __init__(
        self,
        spec: EnvSpec,
        device: torch.device,
        generator: torch.Generator,
        num_particles: Count = 1,
    ) -> None:
        super().__init__(spec, device)
        self.num_particles = num_particles
        self._copies: list[Env] = []  # one for each state imagined since the last observation

    def observe(
        self, state: State, action: Tensor, obs: Tensor, envs: Sequence[Env] | None = None
    ) -> State:
        """Take the observations and, where environments are copied, the environments themselves."""
        observed = super().observe(state, action, obs)
        if self.spec.simulator is not None:
            return observed
        if envs is None:
            raise ValueError("an oracle without a batched simulator needs the environments")
        self._copies = list(envs)  # never stepped, only copied
        slots = torch.arange(len(envs), device=self.device)
        return {**observed, "slot": slots, "ended": torch.zeros_like(slots, dtype=torch.bool)}

    def step(
        self, state: State, action: Tensor, generator: torch.Generator, common_noise: bool = False
    ) -> Step:
        """Take one true step; see `Model.step`."""
        if self.spec.simulator is not None:
            return super().step(state, action, generator, common_noise)
        next_obs = state["obs"].clone()  # [M, P, O]
        slot, ended = state["slot"].clone(), state["ended"].clone()  # [M, P]
        reward = torch.zeros_like(slot, dtype=torch.float32)
        each = action[:, None].expand(*slot.shape, -1) if action.dim() == 2 else action
        rows = 1 if common_noise else len(slot)
        luck = torch.randint(2**31, (rows, slot.shape[1]), generator=generator).expand_as(slot)
        for place in (~ended).nonzero().tolist():
            row = tuple(place)
            env = self._copy(self._copies[int(slot[row])])
            env.reseed(int(luck[row]))
            obs, reward_now, terminated, _ = env.step(each[row].cpu().numpy())
            next_obs[row] = torch.from_numpy(obs)
            reward[row] = reward_now
            ended[row] = terminated
            slot[row] = len(self._copies)
            self._copies.append(env)
        return Step({"obs": next_obs, "slot": slot, "ended": ended}, reward, 1.0 - ended.float())

    def _copy(self, env: Env) -> Env:
        try:
            return copy.deepcopy(env)
        except (TypeError, RuntimeError, ValueError) as error:
            raise UserError(
                f"model=oracle: {self.spec.id} cannot be copied ({error}); "
                "use a learned model: linear, mlp, ensemble, gaussian_ensemble"
            ) from error

    def _transition(
        self, obs: Tensor, action: Tensor, generator: torch.Generator, common_noise: bool
    ) -> tuple[Tensor, Tensor]:
        simulator = self._simulator()
        next_obs = simulator.step(obs, action)
        return next_obs, simulator.reward(obs, action, next_obs)

    def _continues(self, obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
        return 1.0 - self._simulator().terminated(obs, action, next_obs).float()

    def _simulator(self) -> Simulator:
        if self.spec.simulator is None:
            raise ValueError("this environment has no batched simulator, only copies of itself")
        return self.spec.simulator

    def predict(self, obs: Tensor, action: Tensor) -> Prediction:
        """Return the true next observation, without doubt."""
        mean = self._simulator().step(obs, action)
        return Prediction(mean, torch.zeros_like(mean), torch.zeros_like(mean[:, 0]))

    def fit(self, replay: ReplayBuffer, generator: torch.Generator) -> dict[str, float]:
        """Learn nothing: the truth is known."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Return nothing: there is nothing to save."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore nothing."""
