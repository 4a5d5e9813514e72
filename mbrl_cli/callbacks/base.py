"""The contract of callbacks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from mbrl_cli.evaluation import Evaluation


class Episode(NamedTuple):
    """One training episode of T steps."""

    obs: np.ndarray  # [T, O] before each step
    action: np.ndarray  # [T, A] encoded: continuous in [-1, 1], discrete one-hot
    reward: np.ndarray  # [T]
    next_obs: np.ndarray  # [T, O]
    terminated: bool  # false: the time limit ended it


class Callback:
    """Base class of callbacks, whose methods the run calls; each has a default.

    A callback sees the run and does not change it: it has no access to agent or environment.
    """

    def after_episode(self, env_step: int, episode: Episode) -> Mapping[str, float]:
        """Return metrics of a training episode by tag, for the log."""
        return {}

    def after_evaluation(self, env_step: int, evaluation: Evaluation) -> Mapping[str, float]:
        """Return metrics of an evaluation by tag, for the log."""
        return {}

    def stop_reason(self) -> str | None:
        """Return why the run shall end now, None to go on; asked after the methods above."""
        return None

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs, as nested dicts of tensors and numbers."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the values that `state_dict` returned."""
