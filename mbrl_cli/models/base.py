"""The contract of a model of the environment, and what all Markov models share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import torch
from torch import Tensor

from mbrl_cli.errors import UserError
from mbrl_cli.replay.buffer import ReplayBuffer
from mbrl_cli.types import EnvSpec, State, Step

if TYPE_CHECKING:
    from mbrl_cli.envs.env import Env


class Prediction(NamedTuple):
    """Moments of the predicted next observation for n real transitions, in observation units."""

    mean: Tensor  # [n, O]
    std: Tensor  # [n, O] of noise and disagreement together
    disagreement: Tensor  # [n] spread of the members' means, in standard deviations of the data


class Unrolled(NamedTuple):
    """What was imagined along H steps of M rows with P particles each."""

    reward: Tensor  # [H, M, P]
    continues: Tensor | None  # [H, M, P] chance that the task goes on; None: it always does
    disagreement: Tensor | None  # [H, M] spread of the members, in standard deviations of the data
    last: State  # of the M rows after the last step; the next call may overwrite it


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
        """Imagine one step of action [M, A], or of an action [M, P, A] for each particle.

        With `common_noise` all rows see the same random numbers: plans are then compared under
        equal luck, and fewer numbers are drawn.
        """
        ...

    def unroll(
        self,
        state: State,
        actions: Tensor,
        generator: torch.Generator,
        with_disagreement: bool = False,
    ) -> Unrolled:
        """Imagine actions [H, M, A] with common noise; disagreement only where it is asked for."""
        ...

    def decode(self, state: State) -> Tensor:
        """Return the observations [M, P, O] that belong to imagined states."""
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


def unroll_by_steps(
    model: Model, state: State, actions: Tensor, generator: torch.Generator
) -> Unrolled:
    """Imagine actions [H, M, A] with one `step` after the other: the plain way, for any model."""
    rewards, continues = [], []
    for action in actions:
        state, reward, goes_on = model.step(state, action, generator, common_noise=True)
        rewards.append(reward)
        continues.append(goes_on)
    return Unrolled(torch.stack(rewards), torch.stack(continues), None, state)


class MarkovModel(ABC):
    """A model whose state is the observation itself: {"obs": [B, O]}, imagined {"obs": [M, P, O]}.

    A subclass predicts transitions; here the environment's known functions, where it has them,
    replace the learned reward and termination, and whole-number observations are rounded.
    """

    num_particles = 1
    has_disagreement = False
    is_fitted = False

    def __init__(self, spec: EnvSpec, device: torch.device) -> None:
        if spec.obs_shape is not None:
            raise UserError(
                "model: env.obs=pixels shows pictures, and one picture is no state; use model=rssm "
                "or model=latent (agent=dreamer, or agent=mpc with any planner)"
            )
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
        each = action[:, None].expand(-1, obs.shape[1], -1) if action.dim() == 2 else action
        next_obs, reward = self._transition(obs, each, generator, common_noise)
        if self._all_integer:
            next_obs = next_obs.round()
        elif self._any_integer:
            next_obs = torch.where(self._integer, next_obs.round(), next_obs)
        reward, continues = self._judge(obs, each, next_obs, reward)
        if continues is None:
            continues = torch.ones_like(reward)
        return Step({"obs": next_obs}, reward, continues)

    def _judge(
        self, obs: Tensor, action: Tensor, next_obs: Tensor, reward: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Return reward and chance to go on [..., P], known or learned, of transitions [..., P, .].

        The chance is None where nothing can end.
        """
        spec = self.spec
        if spec.known_reward is not None:
            reward = spec.known_reward(obs, action, next_obs)
        if spec.known_termination is not None:
            return reward, 1.0 - spec.known_termination(obs, action, next_obs).float()
        return reward, self._continues(obs, action, next_obs)

    def unroll(
        self,
        state: State,
        actions: Tensor,
        generator: torch.Generator,
        with_disagreement: bool = False,
    ) -> Unrolled:
        """Imagine step by step; see `Model.unroll`."""
        return unroll_by_steps(self, state, actions, generator)

    def decode(self, state: State) -> Tensor:
        """Return the observations [M, P, O]."""
        return state["obs"]

    @abstractmethod
    def _transition(
        self, obs: Tensor, action: Tensor, generator: torch.Generator, common_noise: bool
    ) -> tuple[Tensor, Tensor]:
        """Map obs [M, P, O], action [M, P, A] to next_obs [M, P, O] and reward [M, P]."""

    @abstractmethod
    def _continues(self, obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor | None:
        """Return the chance [..., P] that the task goes on after transitions [..., P, .].

        None where nothing can end.
        """

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
