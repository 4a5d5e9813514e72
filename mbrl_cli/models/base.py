"""The contract of a model of the environment, and what all Markov models share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import torch
from torch import Tensor

from mbrl_cli.replay.buffer import ReplayBuffer
from mbrl_cli.types import EnvSpec, State, Step

if TYPE_CHECKING:
    from mbrl_cli.envs.env import Env


class Prediction(NamedTuple):
    """Moments of the predicted next observation for n real transitions, in observation units."""

    mean: Tensor  # [n, O]
    std: Tensor  # [n, O] of noise and disagreement together
    disagreement: Tensor  # [n] spread of the members' means, in standard deviations of the data


class Model(Protocol):
    """What agents and planners may ask of a model; the state's content is the model's own matter.

    Axes: B environments, N plans, P particles, M = B * N rows, O obs_dim, A action dim.
    """

    spec: EnvSpec
    num_particles: int
    has_disagreement: bool
    is_fitted: bool

    def initial(self, num_rows: int) -> State:
        """Return the state of B environments before their first observation."""
        ...

    def observe(
        self, state: State, action: Tensor, obs: Tensor, envs: Sequence[Env] | None = None
    ) -> State:
        """Filter obs [B, O], reached by action [B, A], into the state.

        Only the oracle looks at `envs`, the environments that showed the observations.
        """
        ...

    def branch(self, state: State, num_plans: int) -> State:
        """Lay out B observed states as M = B * N rows of P particles each, to be imagined from."""
        ...

    def step(
        self, state: State, action: Tensor, generator: torch.Generator, common_noise: bool = False
    ) -> Step:
        """Imagine one step of action [M, A], or [M, P, A] where each particle has its own.

        With `common_noise` all rows see the same random numbers: plans are then compared under
        equal luck, and fewer numbers are drawn.
        """
        ...

    def decode(self, state: State) -> Tensor:
        """Return the observations [M, P, O] that belong to imagined states."""
        ...

    def disagreement(self, state: State) -> Tensor:
        """Return the spread [M] of the members in a state that was just imagined."""
        ...

    def fit(self, replay: ReplayBuffer, generator: torch.Generator) -> dict[str, float]:
        """Train on the replay; return metrics by name, without the `model/` in front."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return all that was learned as tensors and numbers."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        ...


class MarkovModel(ABC):
    """A model whose state is the observation itself: {"obs": [B, O]}, imagined {"obs": [M, P, O]}.

    A subclass predicts transitions; here the environment's known functions, where it has them,
    replace the learned reward and termination, and whole-number observations are rounded.
    """

    num_particles = 1
    has_disagreement = False
    is_fitted = False

    def __init__(self, spec: EnvSpec, device: torch.device) -> None:
        self.spec = spec
        self.device = device
        self._integer = torch.tensor(spec.obs_integer, device=device)  # [O]
        self._any_integer = any(spec.obs_integer)
        self._all_integer = all(spec.obs_integer)

    def initial(self, num_rows: int) -> State:
        """Return zeros; a Markov state holds nothing from before the observation."""
        return {"obs": torch.zeros(num_rows, self.spec.obs_dim, device=self.device)}

    def observe(
        self, state: State, action: Tensor, obs: Tensor, envs: Sequence[Env] | None = None
    ) -> State:
        """Take the observation as the state."""
        return {"obs": obs.to(self.device)}

    def branch(self, state: State, num_plans: int) -> State:
        """Repeat every state for N plans and P particles."""
        return {
            key: value[:, None, None]
            .expand(-1, num_plans, self.num_particles, *value.shape[1:])
            .reshape(-1, self.num_particles, *value.shape[1:])  # [B * N, P, ...]
            for key, value in state.items()
        }

    def step(
        self, state: State, action: Tensor, generator: torch.Generator, common_noise: bool = False
    ) -> Step:
        """Imagine one step; see `Model.step`."""
        obs = state["obs"]
        next_obs, reward = self._transition(obs, action, generator, common_noise)
        if self._all_integer:
            next_obs = next_obs.round()
        elif self._any_integer:
            next_obs = torch.where(self._integer, next_obs.round(), next_obs)
        each = action_of_each(obs, action)
        if self.spec.known_reward is not None:
            reward = self.spec.known_reward(obs, each, next_obs)
        if self.spec.known_termination is not None:
            continues = 1.0 - self.spec.known_termination(obs, each, next_obs).float()
        else:
            continues = self._continues(obs, each, next_obs)
        return Step({"obs": next_obs}, reward, continues)

    def decode(self, state: State) -> Tensor:
        """Return the observations [M, P, O]."""
        return state["obs"]

    def disagreement(self, state: State) -> Tensor:
        """Return zeros [M]: one model does not disagree with itself."""
        return torch.zeros(len(state["obs"]), device=self.device)

    @abstractmethod
    def _transition(
        self, obs: Tensor, action: Tensor, generator: torch.Generator, common_noise: bool
    ) -> tuple[Tensor, Tensor]:
        """Map obs [M, P, O], action [M, A] or [M, P, A] to next_obs [M, P, O], reward [M, P]."""

    @abstractmethod
    def _continues(self, obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
        """Return the chance [M, P] that the task goes on after obs, action, next_obs [M, P, ..]."""

    @abstractmethod
    def predict(self, obs: Tensor, action: Tensor) -> Prediction:
        """Return the moments of the next observation for obs [n, O] and action [n, A]."""

    @abstractmethod
    def fit(self, replay: ReplayBuffer, generator: torch.Generator) -> dict[str, float]:
        """Train on the replay and return metrics."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Return all that was learned."""

    @abstractmethod
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""


def action_of_each(obs: Tensor, action: Tensor) -> Tensor:
    """Return the action [M, P, A] of each particle in obs [M, P, O]; [M, A] stands for all."""
    return action if action.dim() == 3 else action[:, None].expand(-1, obs.shape[1], -1)
