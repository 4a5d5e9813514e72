"""Metrics of soft actor-critic, logged as means over gradient steps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mbrl_cli.agents.running_means import RunningMeans


class SACMetrics:
    """Collect statistics of gradient steps, and Q-values of real and imagined transitions apart.

    Args:
        log_every: environment steps between two logs.
        device: where the statistics are; nothing waits for it before a log is due.
    """

    def __init__(self, log_every: int, device: torch.device) -> None:
        self._critics = RunningMeans(("critic_loss", "q_real", "q_imagined"), log_every, device)
        self._actor = RunningMeans(("actor_loss", "temperature", "entropy"), log_every, device)
        self._num_real = 0  # real transitions since the last log
        self._num_imagined = 0

    def add_critics(self, loss: Tensor, q: Tensor, num_real: int) -> None:
        """Add one gradient step of the critics.

        Args:
            loss: scalar.
            q: values of a critic [n]; the first `num_real` rows are real transitions.
            num_real: number of real transitions in the batch.
        """
        self._critics.add(torch.stack([loss, q[:num_real].sum(), q[num_real:].sum()]))
        self._num_real += num_real
        self._num_imagined += len(q) - num_real

    def add_actor(self, loss: Tensor, temperature: Tensor, entropy: Tensor) -> None:
        """Add one gradient step of actor and temperature; all three are scalars."""
        self._actor.add(torch.stack([loss, temperature, entropy]))

    def take(self, env_step: int) -> dict[str, float]:
        """Return the means since the last log by tag and start new ones; empty if no log is due."""
        if not self._critics.due(env_step):
            return {}
        counts = {
            "critic_loss": self._critics.count,
            **dict.fromkeys(self._actor.names, self._actor.count),
            "q_real": self._num_real,
            "q_imagined": self._num_imagined,
        }
        sums = self._critics.take_sums(env_step) | self._actor.take_sums(env_step)
        metrics = {f"agent/{name}": sums[name] / count for name, count in counts.items() if count}
        metrics["agent/imagined_ratio"] = self._num_imagined / (self._num_real + self._num_imagined)
        self._num_real = self._num_imagined = 0
        return metrics

    def state_dict(self) -> dict[str, Any]:
        """Return sums and counters."""
        return {
            "critics": self._critics.state_dict(),
            "actor": self._actor.state_dict(),
            "num_real": self._num_real,
            "num_imagined": self._num_imagined,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the values that `state_dict` returned."""
        self._critics.load_state_dict(state["critics"])
        self._actor.load_state_dict(state["actor"])
        self._num_real, self._num_imagined = state["num_real"], state["num_imagined"]
