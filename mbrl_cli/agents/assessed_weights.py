"""Weights that were seen acting well, for evaluations (after TD7; Fujimoto et al. 2023).

TD7 assesses every policy by episodes with exploration, all by the same number, and delays learning
until they have ended. Here the weights act and learn as ever, and copies are assessed that may be
the best ones, without exploration.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from torch import Tensor

from mbrl_cli.nets.weight_average import in_place_of
from mbrl_cli.replay.buffer import ReplayBuffer


class AssessedWeights:
    """After a round as good as the best one yet, let a copy of the weights repeat it.

    A round is one episode in each parallel environment, and as good as its worst episode. The copy
    acts without exploration. It is given up when a round is worse than the best round of the
    weights, or than the worst round of the best copy. It becomes the best copy after `rounds`
    rounds if its worst one is better than that copy's, or if it was as good in more rounds. The
    best copy acts in evaluations, so that single updates cannot spoil what acts there. Where many
    copies reach the best possible return, each must reach it more often than the one before.
    Meanwhile the weights learn from these episodes, which cost no further environment steps.

    Args:
        weights: tensors that an optimiser changes in place.
        rounds: to assess a copy by, at least; with 0 no copy acts, and nothing is stored.
        averages: of the weights, of the same shapes. They are what is copied, and act in
            evaluations as long as no copy is as good as the best round. None: the weights are.

    Attributes:
        target: return of the best round of the weights, with exploration; -inf before the first.
        best_rounds: rounds in which the best copy was at least as good; 0: there is none.
    """

    def __init__(
        self, weights: Sequence[Tensor], rounds: int, averages: Sequence[Tensor] | None = None
    ) -> None:
        self.rounds = rounds
        self.target = -float("inf")
        self.best_rounds = 0
        self._weights = [weight.detach() for weight in weights]
        self._averages = [average.detach() for average in averages or ()]
        self._best: list[Tensor] = []
        self._best_return = -float("inf")  # of its worst round
        self._copy: list[Tensor] = []  # empty in a round with exploration
        self._copy_rounds = 0
        self._copy_return = float("inf")
        self._start: int | None = None  # number of the first transition of this round

    @property
    def explores(self) -> bool:
        """Whether training episodes explore in this round."""
        return not self._copy

    def update(self, replay: ReplayBuffer) -> None:
        """Assess a round that has ended; call before each environment step."""
        if not self.rounds or not replay.all_ended or self._start == replay.total_added:
            return
        if self._start is not None:  # the rounds before belong to the prefill
            result = float(replay.returns_since(self._start).min())
            if self._copy:
                self._assess_copy(result)
            elif result >= self.target:
                self.target = result
                if self._best_return < result:
                    self._best, self._best_return, self.best_rounds = [], -float("inf"), 0
                self._copy = [weight.clone() for weight in self._averages or self._weights]
                self._copy_rounds, self._copy_return = 0, float("inf")
        self._start = replay.total_added

    def _assess_copy(self, result: float) -> None:
        """Note the return of a round in which the copy acted."""
        self._copy_rounds += 1
        self._copy_return = min(self._copy_return, result)
        record, best = (self._copy_return, self._copy_rounds), (self._best_return, self.best_rounds)
        if result < max(self.target, self._best_return):
            self._copy = []
        elif self._copy_rounds >= self.rounds and record > best:
            self._best, self._copy = self._copy, []
            self._best_return, self.best_rounds = record

    def metrics(self) -> dict[str, float]:
        """Return the metrics by tag; none if no copy acts."""
        return {"agent/assessed_rounds": self.best_rounds} if self.rounds else {}

    def acting(self) -> AbstractContextManager[None]:
        """Let the weights be those that act in training inside the context."""
        return in_place_of(self._weights, self._copy)

    def best(self) -> AbstractContextManager[None]:
        """Let the weights be those that act in evaluations inside the context."""
        return in_place_of(self._weights, self._best or self._averages)

    def state_dict(self) -> dict[str, Any]:
        """Return the copies, what is known of them, and where the round began."""
        return {
            "target": self.target,
            "best": self._best,
            "best_return": self._best_return,
            "best_rounds": self.best_rounds,
            "copy": self._copy,
            "copy_return": self._copy_return,
            "copy_rounds": self._copy_rounds,
            "start": self._start,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the values that `state_dict` returned."""
        self.target, self._start = state["target"], state["start"]
        self._best, self._copy = list(state["best"]), list(state["copy"])
        self._best_return, self.best_rounds = state["best_return"], state["best_rounds"]
        self._copy_return, self._copy_rounds = state["copy_return"], state["copy_rounds"]
