"""Metrics of soft actor-critic, logged as means over gradient steps."""

from __future__ import annotations

from typing import Any, NamedTuple

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
        self._means = RunningMeans(_Statistics._fields, log_every, device)
        self._num_real = 0  # real transitions since the last log
        self._num_imagined = 0

    def add(
        self,
        critic_loss: Tensor,
        actor_loss: Tensor,
        temperature: Tensor,
        entropy: Tensor,
        q: Tensor,
        num_real: int,
    ) -> None:
        """Add one gradient step.

        Args:
            critic_loss: scalar, like the three that follow.
            actor_loss: scalar.
            temperature: scalar.
            entropy: mean over the batch.
            q: values of a critic [n]; the first `num_real` rows are real transitions.
            num_real: number of real transitions in the batch.
        """
        statistics = _Statistics(
            critic_loss=critic_loss,
            actor_loss=actor_loss,
            temperature=temperature,
            entropy=entropy,
            q_real=q[:num_real].sum(),
            q_imagined=q[num_real:].sum(),
        )
        self._means.add(torch.stack(statistics))
        self._num_real += num_real
        self._num_imagined += len(q) - num_real

    def take(self, env_step: int) -> dict[str, float]:
        """Return the means since the last log by tag and start new ones; empty if no log is due."""
        if not self._means.due(env_step):
            return {}
        num_updates, num_real, num_imagined = self._means.count, self._num_real, self._num_imagined
        sums = self._means.take_sums(env_step)
        self._num_real = self._num_imagined = 0
        counts = dict.fromkeys(sums, num_updates) | {"q_real": num_real, "q_imagined": num_imagined}
        metrics = {
            f"agent/{name}": total / counts[name] for name, total in sums.items() if counts[name]
        }
        metrics["agent/imagined_ratio"] = num_imagined / (num_real + num_imagined)
        return metrics

    def state_dict(self) -> dict[str, Any]:
        """Return sums and counters."""
        return {
            "means": self._means.state_dict(),
            "num_real": self._num_real,
            "num_imagined": self._num_imagined,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the values that `state_dict` returned."""
        self._means.load_state_dict(state["means"])
        self._num_real, self._num_imagined = state["num_real"], state["num_imagined"]


class _Statistics(NamedTuple):
    """Scalars of one gradient step, in the order in which they are logged."""

    critic_loss: Tensor
    actor_loss: Tensor
    temperature: Tensor
    entropy: Tensor
    q_real: Tensor  # sum over the real transitions
    q_imagined: Tensor  # sum over the imagined transitions
