"""The contract of agents and of the policies that they return."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch

from mbrl_cli.envs.env import Env
from mbrl_cli.replay.buffer import ReplayBuffer


class Decision(NamedTuple):
    """Actions for B environments, and the return that is predicted for them."""

    action: np.ndarray  # [B, A] encoded, float32
    predicted_return: np.ndarray | None = None  # [B] over the policy's `prediction_horizon`


class Policy(ABC):
    """Base class of policies: acts in B environments at once and holds the state of B episodes.

    Training and evaluation use separate policies, so an evaluation does not change training.

    Attributes:
        prediction_horizon: steps that `Decision.predicted_return` covers; 0: no prediction.
        discount: discount per step of that prediction.
    """

    prediction_horizon: int = 0
    discount: float = 1.0

    def reset(self) -> None:  # noqa: B027  (a valid default)
        """Start new episodes in all B environments, after they have been reset."""

    @abstractmethod
    def act(self, obs: np.ndarray) -> Decision:
        """Return actions for obs [B, O]."""

    def retain(self, rows: np.ndarray) -> None:  # noqa: B027  (a valid default)
        """Continue with the environments at `rows` only: the other episodes have ended."""

    def metrics(self) -> dict[str, float]:
        """Return counts since the last call by tag, and reset them to zero."""
        return {}


class Agent(ABC):
    """Base class of agents: learns from the replay and returns policies.

    Attributes:
        trains_models_from: the values of `Model.learns_from` that the agent can train.
        divergence_advice: what to change if losses, actions or weights are not finite.
        cost_advice: what to change if decisions take too long.
    """

    trains_models_from: ClassVar[tuple[str, ...]] = ("replay",)
    divergence_advice: str = "lower the learning rate of the agent"
    cost_advice: str = ""

    @abstractmethod
    def policy(self, envs: Sequence[Env], explore: bool, generator: torch.Generator) -> Policy:
        """Return a policy for B environments; `explore` is true while data are collected."""

    def update(self, replay: ReplayBuffer, env_step: int) -> dict[str, float]:
        """Learn from the replay if an update is due; return metrics by tag, empty if none are due.

        The runner calls it before every environment step after the prefill.
        """
        return {}

    def fit_steps(self, first: int, last: int) -> Sequence[int]:
        """Return the environment steps in [first, last) before which `update` fits a model.

        The console estimates the remaining time from them: these updates take longer than others.
        """
        return range(0)

    def video(self, replay: ReplayBuffer, generator: torch.Generator) -> np.ndarray | None:
        """Return a video [T, height, width, channels], uint8, for the log, or None.

        The runner calls it after every evaluation. The call changes no state.
        """
        return None

    def is_finite(self) -> bool:
        """Return whether all learned weights are finite; only then is a checkpoint written."""
        return True

    def state_dict(self) -> dict[str, Any]:
        """Return everything that was learned, as nested dicts of tensors and numbers."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:  # noqa: B027  (a valid default)
        """Restore the values that `state_dict` returned."""
