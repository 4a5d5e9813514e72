"""The contract of agents. An agent learns; the policies that it hands out act."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch

from mbrl_cli.envs.env import Env
from mbrl_cli.replay.buffer import ReplayBuffer


class Decision(NamedTuple):
    """What to do in B environments, and what was expected of it."""

    action: np.ndarray  # [B, A] encoded
    predicted_return: np.ndarray | None = None  # [B] over the policy's `prediction_horizon`


class Policy(Protocol):
    """Acts in B environments at once; holds what must be remembered within an episode.

    Training and evaluation each have their own, so that neither disturbs the other.
    """

    prediction_horizon: int  # steps that `Decision.predicted_return` covers; 0: none is made
    discount: float

    def reset(self) -> None:
        """Forget the past: all B environments have just been reset."""
        ...

    def act(self, obs: np.ndarray) -> Decision:
        """Decide for obs [B, O]."""
        ...

    def keep(self, rows: np.ndarray) -> None:
        """Go on with these of the B environments only; the others have ended."""
        ...

    def metrics(self) -> dict[str, float]:
        """Return what was counted since the last call, by tag, and start counting anew."""
        ...


class Agent(Protocol):
    """Learns from the replay and hands out policies that use what was learned."""

    def policy(self, envs: Sequence[Env], explore: bool, generator: torch.Generator) -> Policy:
        """Return a policy for these environments; `explore` is for collecting data."""
        ...

    def update(self, replay: ReplayBuffer, env_step: int) -> dict[str, float]:
        """Learn, if it is time to; return metrics by tag, empty if nothing was done."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return all that was learned as tensors and numbers."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        ...


@runtime_checkable
class Filmed(Protocol):
    """An agent whose model can show what it imagines."""

    def film(self, replay: ReplayBuffer, generator: torch.Generator) -> np.ndarray | None:
        """Return pictures [T, height, width, channels], uint8; None where there is nothing to see.

        It changes nothing.
        """
        ...
