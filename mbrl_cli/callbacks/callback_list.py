"""All callbacks of one run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mbrl_cli.callbacks.base import Callback, Episode
from mbrl_cli.evaluation import Evaluation


class CallbackList:
    """Calls several callbacks and joins what they return.

    Args:
        callbacks: by name; the name is the key of the callback's state.
    """

    def __init__(self, callbacks: Mapping[str, Callback]) -> None:
        self._callbacks = dict(callbacks)

    def __len__(self) -> int:
        return len(self._callbacks)

    def after_episode(self, env_step: int, fields: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Return the metrics of all callbacks for an episode, given by the replay's fields."""
        episode = Episode(
            obs=fields["obs"], action=fields["action"], reward=fields["reward"],
            next_obs=fields["next_obs"], terminated=bool(fields["terminated"][-1]),
        )  # fmt: skip
        metrics: dict[str, float] = {}
        for callback in self._callbacks.values():
            metrics |= callback.after_episode(env_step, episode)
        return metrics

    def after_evaluation(self, env_step: int, evaluation: Evaluation) -> dict[str, float]:
        """Return the metrics of all callbacks for an evaluation."""
        metrics: dict[str, float] = {}
        for callback in self._callbacks.values():
            metrics |= callback.after_evaluation(env_step, evaluation)
        return metrics

    def stop_reason(self) -> str | None:
        """Return the reason of the first callback that ends the run, None to go on."""
        reasons = (callback.stop_reason() for callback in self._callbacks.values())
        return next((reason for reason in reasons if reason), None)

    def state_dict(self) -> dict[str, Any]:
        """Return the states by name."""
        return {name: callback.state_dict() for name, callback in self._callbacks.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the values that `state_dict` returned; callbacks that are new start anew."""
        for name, callback in self._callbacks.items():
            if name in state:
                callback.load_state_dict(state[name])
