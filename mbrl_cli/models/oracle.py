"""The true simulator as a model: what planning could reach if the model were perfect."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor

from mbrl_cli.envs.env import Env
from mbrl_cli.errors import UserError
from mbrl_cli.models.markov import MarkovModel, Prediction
from mbrl_cli.types import Count, EnvSpec, Simulator, State, Step


class Oracle(MarkovModel):
    """Step the environment's own dynamics.

    Where the environment has a batched simulator, imagination is one computation; if it is random,
    every particle has luck of its own. Any other environment is copied, once for every imagined
    step: right, but slow; a copy goes on with luck of its own, so what chance will bring stays
    unknown.

    Args:
        spec: the environment.
        device: where states live.
        generator: unused; there is nothing to draw.
        num_particles: futures of each plan, where the simulator is random; else there is one.
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
        simulator = spec.simulator
        self.state_source = "environment" if simulator is None else "observation"
        if simulator is not None and simulator.is_random:
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
        next_obs = state["obs"].clone()  # [M, 1, O]
        slot, ended = state["slot"].clone(), state["ended"].clone()  # [M, 1]
        reward = torch.zeros_like(slot, dtype=torch.float32)
        luck = torch.randint(2**31, (1 if common_noise else len(slot),), generator=generator)
        for row in (~ended[:, 0]).nonzero()[:, 0].tolist():
            env = self._copy(self._copies[int(slot[row, 0])])
            env.reseed(int(luck[row % len(luck)]))
            obs, reward_now, terminated, _ = env.step(action[row].flatten().cpu().numpy())
            next_obs[row, 0] = torch.from_numpy(obs)
            reward[row, 0] = reward_now
            ended[row, 0] = terminated
            slot[row, 0] = len(self._copies)
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

    def transition(
        self, obs: Tensor, action: Tensor, generator: torch.Generator, common_noise: bool
    ) -> tuple[Tensor, Tensor]:
        """Predict the next observation and the reward; see `MarkovModel.transition`."""
        simulator = self._simulator()
        if simulator.is_random:
            rows = 1 if common_noise else len(obs)
            uniform = torch.rand(rows, obs.shape[1], generator=generator, device=generator.device)
            uniform = uniform.to(obs).expand(obs.shape[:2])  # [M, P]
            next_obs = simulator.step(obs, action, uniform)
        else:
            next_obs = simulator.step(obs, action)
        return next_obs, simulator.reward(obs, action, next_obs)

    def continues(self, obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
        """Return the continue probability; see `MarkovModel.continues`."""
        return 1.0 - self._simulator().terminated(obs, action, next_obs).float()

    def _simulator(self) -> Simulator:
        if self.spec.simulator is None:
            raise ValueError("this environment has no batched simulator, only copies of itself")
        return self.spec.simulator

    def predict(self, obs: Tensor, action: Tensor) -> Prediction:
        """Return the true next observation, without doubt."""
        mean = self._simulator().step(obs, action)
        return Prediction(mean, torch.zeros_like(mean), torch.zeros_like(mean[:, 0]))
