"""The learned continue probability of an ensemble."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from mbrl_cli.models.fitting import FitSettings, fit_members
from mbrl_cli.nets.termination import (
    TerminationNet,
    calibrated,
    cross_entropy,
    factor_logits,
    log_continue_probability,
    termination_loss,
)
from mbrl_cli.replay.normalizer import Normalizer
from mbrl_cli.types import Batch, EnvSpec

LIKELY = 0.5  # probability from which a termination counts as predicted
MAX_TERMINATION_WEIGHT = 10.0  # a larger one is not more precise


class TerminationModel:
    """Predict the probability that the task continues from the observation that was reached.

    Terminations are rare: an episode has at most one. Therefore the loss gives all terminations
    together the same weight as all other transitions, up to `MAX_TERMINATION_WEIGHT` for each, and
    the fit uses all training data: a bootstrap sample would miss some terminations. The prediction
    has the odds of the network divided by this weight, so that imagined rollouts terminate as often
    as real ones.

    Axes: E members, n rows, P particles, O obs_dim.

    Attributes:
        has_seen_termination: whether a fit's data had a termination; before, the net is not trained
            and the task always continues.
        termination_weight: of a termination in the loss of the last fit.
    """

    def __init__(
        self,
        spec: EnvSpec,
        num_members: int,
        batch_size: int,
        steps: int,
        learning_rate: float,
        generator: torch.Generator,
        device: torch.device,
    ) -> None:
        """Draw the weights.

        Args:
            spec: the environment.
            num_members: E.
            batch_size: transitions per member and gradient step.
            steps: gradient steps per fit.
            learning_rate: of AdamW; without weight decay.
            generator: draws the weights.
            device: of the weights.
        """
        self.is_learned = spec.known_termination is None
        self.num_members = num_members
        self.settings = FitSettings(
            batch_size=batch_size,
            max_steps=steps,
            check_every=steps,
            patience=1,
            learning_rate=learning_rate,
            weight_decay=0.0,
            fresh_bootstrap=False,
        )
        self.net = TerminationNet(num_members, spec.obs_dim, generator, device)
        self.has_seen_termination = False
        self.termination_weight = 1.0
        identity = Normalizer(spec.obs_dim, device)
        self.fold_weights(torch.arange(num_members, device=device), identity)

    def reset(self, generator: torch.Generator) -> None:
        """Draw new weights."""
        self.net.reset(generator)

    def fit(
        self,
        train: Batch,
        holdout: Batch | None,
        obs_normalizer: Normalizer,
        generator: torch.Generator,
    ) -> dict[str, float]:
        """Train all members; return metrics, empty if there is nothing to learn.

        Args:
            train: training transitions.
            holdout: held-out transitions, or None; they are only measured.
            obs_normalizer: normalizer of observations.
            generator: draws the minibatches.
        """
        num_terminated = float(train.terminated.sum())
        if num_terminated:
            self.has_seen_termination = True
            self.termination_weight = balanced_weight(len(train.terminated), num_terminated)
        if not (self.is_learned and self.has_seen_termination):
            return {}
        loss = partial(self._loss, weight=self.termination_weight)
        result = fit_members(
            list(self.net.parameters()),
            training_loss=loss,
            selection_loss=loss,
            train=_data(train, obs_normalizer),
            holdout=None,
            num_members=self.num_members,
            settings=self.settings,
            generator=generator,
        )
        metrics = {"termination_loss": float(result.train_loss.mean())}
        if holdout is not None:
            metrics |= self._holdout_metrics(*_data(holdout, obs_normalizer))
        return metrics

    @torch.no_grad()
    def _holdout_metrics(self, next_obs: Tensor, continues: Tensor) -> dict[str, float]:
        """Return loss, termination rates, precision and recall on data of the form of `_data`.

        Precision is left out if no termination is predicted, recall if none occurred.
        """
        next_obs, continues = (
            part.mT.expand(self.num_members, -1, -1) for part in (next_obs, continues)
        )  # [E, O, n], [E, 1, n]
        log_continues = calibrated(
            log_continue_probability(self.net(next_obs)), self.termination_weight
        )  # [E, n]
        metrics = {
            "termination_holdout_loss": float(cross_entropy(log_continues, continues[:, 0]).mean()),
            "termination_rate": -float(torch.expm1(log_continues).mean()),
            "true_termination_rate": 1.0 - float(continues.mean()),
        }
        predicted = log_continues.exp().mean(0) <= LIKELY  # [n]
        true = continues[0, 0] == 0.0  # [n]
        hits = float((predicted & true).sum())
        if bool(predicted.any()):
            metrics["termination_precision"] = hits / float(predicted.sum())
        if bool(true.any()):
            metrics["termination_recall"] = hits / float(true.sum())
        return metrics

    def _loss(self, next_obs: Tensor, continues: Tensor, weight: float) -> Tensor:
        """Return the loss [E] of normalized next_obs [E, O, n] and continues [E, 1, n]."""
        return termination_loss(self.net(next_obs), continues[:, 0], weight)

    @torch.no_grad()
    def fold_weights(self, members: Tensor, obs_normalizer: Normalizer) -> None:
        """Copy the weights of the `members` [E] in use, with normalization folded into them."""
        w1, b1, w2, b2 = (weight[members] for weight in self.net.masked_weights())
        w1 = w1 / obs_normalizer.std * (obs_normalizer.spread > 0.0)  # constants: never trained
        self._folded_weights = w1, b1 - (w1 @ obs_normalizer.mean)[..., None], w2, b2

    def continue_probability(self, next_obs: Tensor, mean_over_members: bool) -> Tensor:
        """Return the probability [..., P] that the task continues after next_obs [..., P, O].

        Args:
            next_obs: not normalized. Each member in use has P / E consecutive particles.
            mean_over_members: use the mean probability of all members for each particle instead.
        """
        *rows, particles, obs_dim = next_obs.shape
        members = len(self._folded_weights[0])  # E in use
        groups = 1 if mean_over_members else members  # G
        by_group = next_obs.view(*rows, groups, particles // groups, obs_dim)
        x = by_group.transpose(-3, -2)  # [..., J, G, O] with J particles in each group
        x = x.flatten(0, -3).permute(1, 2, 0).expand(members, -1, -1)  # [E, O, n]
        log_continues = log_continue_probability(factor_logits(x, *self._folded_weights))
        probability = calibrated(log_continues, self.termination_weight).exp()  # [E, n]
        if groups < members:
            probability = probability.mean(0, keepdim=True)  # [G, n]
        by_row = probability.T.reshape(*rows, -1, groups)  # [..., J, G]
        return by_row.transpose(-2, -1).flatten(-2)  # [..., P]

    def state_dict(self) -> dict[str, Any]:
        """Return the weights and what is known about terminations."""
        return {
            "net": {name: value.clone() for name, value in self.net.state_dict().items()},
            "has_seen_termination": self.has_seen_termination,
            "termination_weight": self.termination_weight,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the values that `state_dict` returned; then `fold_weights` must be called."""
        self.net.load_state_dict(state["net"])
        self.has_seen_termination = state["has_seen_termination"]
        self.termination_weight = state["termination_weight"]


def balanced_weight(num_rows: int, num_terminated: float) -> float:
    """Return the weight of one termination with which all have the weight of all other rows.

    It is at least 1 and at most `MAX_TERMINATION_WEIGHT`.
    """
    balanced = (num_rows - num_terminated) / num_terminated
    return min(max(balanced, 1.0), MAX_TERMINATION_WEIGHT)


def _data(batch: Batch, obs_normalizer: Normalizer) -> tuple[Tensor, Tensor]:
    """Return normalized next observations [n, O] and whether the task continues there [n, 1]."""
    return obs_normalizer(batch.next_obs), 1.0 - batch.terminated[:, None]
