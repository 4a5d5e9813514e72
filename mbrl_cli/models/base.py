"""Base class of models of the environment: the interface for agents and planners."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from mbrl_cli.errors import UserError
from mbrl_cli.replay.buffer import ReplayBuffer
from mbrl_cli.types import EnvSpec, State, Step

if TYPE_CHECKING:
    from mbrl_cli.envs.env import Env


class Trajectories(NamedTuple):
    """Imagined trajectories of M rows with P particles each, H steps long."""

    reward: Tensor  # [H, M, P]
    continues: Tensor | None  # [H, M, P] probability that the task continues; None: always 1
    disagreement: Tensor | None  # [H, M] of the members, in standard deviations of the data
    last_state: State  # of the M rows after the last step; the next call may overwrite it


class Model(ABC):
    """Base class of all models. The content of a state is known to the model alone.

    A state is a dict of tensors whose leading axis is the row. Callers may repeat, index and
    concatenate rows. An observed state has one row for each environment, [B, ...]; an imagined
    state has P particles in each row, [M, P, ...].

    Axes: B environments, N plans, P particles, M = B * N rows, H horizon, O obs_dim, A action dim.

    Attributes:
        spec: sizes and known functions of the environment.
        device: where the model's tensors live.
        num_particles: P.
        has_disagreement: whether `unroll` can return the disagreement of several members.
        is_fitted: whether the model can predict; `fit` sets it.
        state_source: what a state is made of. "observation": the last observation is enough, so
            the model can imagine from any stored transition. "history": all observations of the
            episode. "environment": the live environment itself.
        learns_from: "replay": `fit` trains the model on stored transitions. "search": the model
            predicts policy and value too, and an agent that searches trains it. "td": its values
            belong to the policy of an agent, which trains it by temporal differences.
        is_latent_world_model: whether the model can train an actor and a critic in its latent
            space, as Dreamer does; see `RSSM`.
        errors: root mean squared error after k imagined steps on held-out episodes, by k, in
            standard deviations of the data; empty before it is measured.
    """

    spec: EnvSpec
    device: torch.device
    num_particles: int = 1
    has_disagreement: bool = False
    is_fitted: bool = False
    state_source: Literal["observation", "history", "environment"] = "observation"
    learns_from: Literal["replay", "search", "td"] = "replay"
    is_latent_world_model: bool = False
    errors: Mapping[int, float] = MappingProxyType({})

    def __init__(self, spec: EnvSpec, device: torch.device) -> None:
        self.spec = spec
        self.device = device

    @abstractmethod
    def initial(self, num_rows: int) -> State:
        """Return the state of B environments before their first observation."""

    @abstractmethod
    def observe(
        self, state: State, action: Tensor, obs: Tensor, envs: Sequence[Env] | None = None
    ) -> State:
        """Return the state after action [B, A] led to obs [B, O].

        `envs` are the environments that returned the observations; only a model whose
        `state_source` is "environment" reads them.
        """

    def branch(self, state: State, num_plans: int) -> State:
        """Repeat B observed states for N plans and P particles, to imagine from them."""
        return {
            key: value[:, None, None]
            .expand(-1, num_plans, self.num_particles, *value.shape[1:])
            .reshape(-1, self.num_particles, *value.shape[1:])  # [B * N, P, ...]
            for key, value in state.items()
        }

    @abstractmethod
    def step(
        self, state: State, action: Tensor, generator: torch.Generator, common_noise: bool = False
    ) -> Step:
        """Imagine one step of action [M, A], or of an action [M, P, A] for each particle.

        With `common_noise` all rows use the same random numbers. Differences between plans are
        then due to the plans alone, and fewer numbers are drawn.
        """

    def unroll(
        self,
        state: State,
        actions: Tensor,
        generator: torch.Generator,
        with_disagreement: bool = False,
    ) -> Trajectories:
        """Imagine actions [H, M, A] with common noise, one `step` after the other.

        A model with `has_disagreement` overrides this and returns the disagreement on request.
        """
        rewards, continues = [], []
        for action in actions:
            step = self.step(state, action, generator, common_noise=True)
            state = step.state
            rewards.append(step.reward)
            continues.append(step.continues)
        return Trajectories(
            reward=torch.stack(rewards),
            continues=torch.stack(continues),
            disagreement=None,
            last_state=state,
        )

    @abstractmethod
    def decode(self, state: State) -> Tensor:
        """Return the observations [M, P, O] of imagined states."""

    def fit(self, replay: ReplayBuffer, generator: torch.Generator) -> dict[str, float]:
        """Train on the replay; return metrics by name, without the prefix `model/`."""
        return {}

    def video(self, replay: ReplayBuffer, generator: torch.Generator) -> np.ndarray | None:
        """Return a video of predictions beside the truth [T, height, width, channels], uint8.

        None: the model has no images to show. The call changes no state.
        """
        return None

    def state_dict(self) -> dict[str, Any]:
        """Return everything that was learned, as nested dicts of tensors and numbers."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:  # noqa: B027  (a valid default)
        """Restore the values that `state_dict` returned."""


def require_state_source(model: Model, agent: str, allowed: Sequence[str]) -> None:
    """Raise UserError if an agent cannot use the model on stored transitions.

    Args:
        model: the model of a run.
        agent: the agent, as it is typed: `agent=mbpo`.
        allowed: values of `Model.state_source` that the agent can use.
    """
    if model.state_source in allowed:
        return
    need = {
        "history": "the observations of a whole episode; use agent=dreamer, or a model without "
        "memory",
        "environment": f"the environment itself, since {model.spec.id} has no batched simulator; "
        "use a learned model",
    }[model.state_source]
    raise UserError(
        f"model: {agent} imagines from stored observations, and a state of "
        f"{type(model).__name__} needs {need}: linear, mlp, ensemble, gaussian_ensemble"
    )
