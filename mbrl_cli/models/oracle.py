"""The environment itself as a model: what planning can reach with a perfect model."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mbrl_cli.envs.copy_choice import choose_copies
from mbrl_cli.envs.env import Env
from mbrl_cli.envs.env_copies import DeepCopies, EnvCopies, EnvState
from mbrl_cli.envs.global_random import restored_global_generators
from mbrl_cli.errors import UserError
from mbrl_cli.models.base import Trajectories
from mbrl_cli.models.markov import MarkovModel, Prediction
from mbrl_cli.types import Count, EnvSpec, Simulator, State, Step


class Oracle(MarkovModel):
    """Imagine with the environment's true dynamics.

    If the environment has a batched simulator, a step of all rows is one computation. A random
    simulator draws one outcome for each particle.

    Any other environment is copied once for every imagined step of every row, which is slow. Each
    copy is reseeded, so that the model knows the distribution of random outcomes, but not the
    outcomes that the environment itself will draw. A state is then {"obs": [M, 1, O],
    "copy": [M, 1] index of a copy, "terminated": [M, 1] bool}.

    Axes: B environments, M rows, P particles, O obs_dim, A action dim.
    """

    is_fitted = True

    def __init__(
        self,
        spec: EnvSpec,
        device: torch.device,
        generator: torch.Generator,
        num_particles: Count = 10,
    ) -> None:
        """Choose between the simulator and copies.

        Args:
            spec: the environment.
            device: where states live.
            generator: unused; nothing is drawn.
            num_particles: P if the simulator is random; otherwise P is 1.
        """
        super().__init__(spec, device)
        simulator = spec.simulator
        self.state_source = "environment" if simulator is None else "observation"
        if simulator is not None and simulator.is_random:
            self.num_particles = num_particles
        self._copies: EnvCopies = DeepCopies()
        self._states: dict[int, EnvState] = {}  # imagined since the last observation, by index
        self._taken = 0  # number of states since then
        self._last: set[int] = set()  # states at the end of the last `unroll`

    def choose_copies(self, env: Env) -> None:
        """Choose how environments are copied, by a test in `env`, which cannot be used afterwards.

        Raises:
            UserError: if no copy behaves as the original, or if copies change the original.
        """
        if self.spec.simulator is None:
            self._copies = choose_copies(env)

    def observe(
        self, state: State, action: Tensor, obs: Tensor, envs: Sequence[Env] | None = None
    ) -> State:
        """Return the state after an observation; see `Model.observe`."""
        observed = super().observe(state, action, obs)
        if self.spec.simulator is not None:
            return observed
        if envs is None:
            raise ValueError("an oracle without a batched simulator needs the environments")
        try:
            self._states = {i: self._copies.take(env) for i, env in enumerate(envs)}
            self._taken, self._last = len(envs), set()
        except (TypeError, RuntimeError, ValueError) as error:
            raise UserError(
                f"model=oracle: {self.spec.id} cannot be copied ({error}); "
                "use a learned model: linear, mlp, ensemble, gaussian_ensemble"
            ) from error
        index = torch.arange(len(envs), device=self.device)  # [B]
        return {**observed, "copy": index, "terminated": torch.zeros_like(index, dtype=torch.bool)}

    def step(
        self, state: State, action: Tensor, generator: torch.Generator, common_noise: bool = False
    ) -> Step:
        """Imagine one step; see `Model.step`. Rows that have terminated stay as they are."""
        if self.spec.simulator is not None:
            return super().step(state, action, generator, common_noise)
        next_obs = state["obs"].clone()  # [M, 1, O]
        index, terminated = state["copy"].clone(), state["terminated"].clone()  # [M, 1]
        reward = torch.zeros_like(index, dtype=torch.float32)
        seeds = torch.randint(2**31, (1 if common_noise else len(index),), generator=generator)
        with restored_global_generators():
            rows = (~terminated[:, 0]).nonzero()[:, 0].tolist()
            outcomes = self._copies.step_all(
                [self._states[int(index[row, 0])] for row in rows],
                action[rows].flatten(start_dim=1).cpu().numpy(),
                [int(seeds[row % len(seeds)]) for row in rows],
            )
            for row, (outcome, env_state) in zip(rows, outcomes, strict=True):
                obs, row_reward, row_terminated, _ = outcome
                next_obs[row, 0] = torch.from_numpy(obs)
                reward[row, 0] = row_reward
                terminated[row, 0] = row_terminated
                index[row, 0] = self._taken
                self._states[self._taken] = env_state
                self._taken += 1
        next_state = {"obs": next_obs, "copy": index, "terminated": terminated}
        return Step(next_state, reward, 1.0 - terminated.float())

    def unroll(
        self,
        state: State,
        actions: Tensor,
        generator: torch.Generator,
        with_disagreement: bool = False,
    ) -> Trajectories:
        """Imagine actions [H, M, A]; see `Model.unroll`.

        Copies between the first and the last step are deleted, and those of the last step in the
        next call: a copy can take megabytes.
        """
        if self.spec.simulator is not None:
            return super().unroll(state, actions, generator, with_disagreement)
        rewards, continues = [], []
        kept = _indices(state)
        self._delete(self._last - kept)
        for action in actions:
            step = self.step(state, action, generator, common_noise=True)
            self._delete(_indices(state) - _indices(step.state) - kept)
            state = step.state
            rewards.append(step.reward)
            continues.append(step.continues)
        self._last = _indices(state) - kept
        return Trajectories(torch.stack(rewards), torch.stack(continues), None, state)

    def _delete(self, indices: set[int]) -> None:
        for index in indices:
            del self._states[index]

    def transition(
        self, obs: Tensor, action: Tensor, generator: torch.Generator, common_noise: bool
    ) -> tuple[Tensor, Tensor]:
        """Return the next observation and the reward; see `MarkovModel.transition`."""
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
        """Return the batched simulator, or raise ValueError if there is none."""
        if self.spec.simulator is None:
            raise ValueError(f"{self.spec.id} has no batched simulator")
        return self.spec.simulator

    def predict(self, obs: Tensor, action: Tensor) -> Prediction:
        """Return the next observation, the most likely one if it is random, without uncertainty."""
        mean = self._simulator().step(obs, action)
        return Prediction(mean, torch.zeros_like(mean), torch.zeros_like(mean[:, 0]))


def _indices(state: State) -> set[int]:
    return set(state["copy"].flatten().tolist())
