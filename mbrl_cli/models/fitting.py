"""Gradient descent on ensembles: bootstrapped data, loss on held-out data, early stopping.

All members take each optimiser step together. The minibatch rows of a whole fit are drawn at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from mbrl_cli.nets.adamw import AdamW

# (inputs [E, in, n], targets [E, out, n]) -> loss of each member [E]
MemberLoss = Callable[[Tensor, Tensor], Tensor]

FINAL_LEARNING_RATE = 0.1  # relative to the first; a small one averages the gradient noise out


@dataclass(frozen=True)
class FitSettings:
    """Hyperparameters of a fit, with the names and meanings of the keys in `configs/model`."""

    batch_size: int
    max_steps: int
    check_every: int
    patience: int
    learning_rate: float
    weight_decay: float
    fresh_bootstrap: bool  # whether each fit draws a new bootstrap sample for each member


@dataclass(frozen=True)
class FitResult:
    """Losses of a fit."""

    train_loss: Tensor  # [E] mean over the steps between the last two checks
    holdout_loss: Tensor | None  # [E] of the selected weights; None without held-out data
    steps: int
    rolled_back: int  # number of members that diverged and have their last good weights again

    def metrics(self) -> dict[str, float]:
        """Return the losses as metrics by name."""
        metrics = {
            "train_loss": float(self.train_loss.mean()),
            "fit_steps": float(self.steps),
            "rolled_back": float(self.rolled_back),
        }
        if self.holdout_loss is not None:
            losses: list[float] = self.holdout_loss.tolist()
            metrics["holdout_loss"] = math.fsum(losses) / len(losses)
            if len(losses) > 1:
                metrics["holdout_loss_spread"] = float(self.holdout_loss.std(correction=0))
        return metrics


def fit_members(
    parameters: list[nn.Parameter],
    training_loss: MemberLoss,
    selection_loss: MemberLoss,
    train: tuple[Tensor, Tensor],
    holdout: tuple[Tensor, Tensor] | None,
    num_members: int,
    settings: FitSettings,
    generator: torch.Generator,
    counts: np.ndarray | None = None,
) -> FitResult:
    """Minimise each member's loss on its own sample of the training data.

    With held-out data, each member ends with the weights that had its lowest selection loss in this
    fit (never with those from before the fit, which were trained on less data), and the fit stops
    when no member has improved for `patience` checks in a row. Without held-out data it runs to
    `max_steps`. A member that diverged gets its last good weights back: the selected ones of this
    fit or, where there are none, those from before it.

    Args:
        parameters: leaves to optimise; their leading axis is the member.
        training_loss: loss [E] of a minibatch, minimised.
        selection_loss: loss [E] of the held-out data, by which weights are selected.
        train: inputs [n, in] and targets [n, out].
        holdout: the same of the held-out episodes, or None.
        num_members: E.
        settings: see `FitSettings`.
        generator: draws the bootstrap samples and minibatches; on the CPU.
        counts: [E, n] how often each member's sample has each row; None: see `FitSettings`.
    """
    inputs, targets = train
    device = inputs.device
    num_rows, batch_size = len(inputs), min(settings.batch_size, len(inputs))
    shape = (settings.max_steps, num_members, batch_size)
    if counts is None:
        rows = _minibatch_rows(shape, num_rows, settings.fresh_bootstrap, generator)
    else:
        rows = _rows_by_counts(shape, counts, generator)
    rows = rows.to(device)
    optimiser = AdamW(parameters, settings.weight_decay)
    selected = _SelectedWeights(parameters, num_members)
    train_loss = torch.zeros(num_members, device=device)
    checks_without_gain, steps = 0, 0
    while steps < settings.max_steps:
        steps_to_check = min(settings.check_every, settings.max_steps - steps)
        train_loss.zero_()
        for step in range(steps, steps + steps_to_check):
            flat = rows[step].flatten()  # [E * batch]
            x = inputs.index_select(0, flat).view(num_members, batch_size, -1).mT  # [E, in, batch]
            y = targets.index_select(0, flat).view(num_members, batch_size, -1).mT
            loss = training_loss(x, y)  # [E]
            gradients = torch.autograd.grad(loss.sum(), parameters)
            optimiser.step(gradients, _learning_rate(step, settings))
            train_loss += loss.detach() / steps_to_check
        steps += steps_to_check
        if holdout is not None:
            gained = selected.update(_holdout_loss(selection_loss, holdout, num_members))
            checks_without_gain = 0 if gained else checks_without_gain + 1
            if checks_without_gain >= settings.patience:
                break
    is_finite = train_loss.isfinite()  # [E]
    for parameter in parameters:
        is_finite &= parameter.detach().isfinite().flatten(1).all(1)
    selected.restore(~is_finite if holdout is None else torch.ones_like(is_finite))
    return FitResult(
        train_loss=train_loss,
        holdout_loss=None if holdout is None else selected.loss,
        steps=steps,
        rolled_back=int((~is_finite).sum()),
    )


def _learning_rate(step: int, settings: FitSettings) -> float:
    """Return the learning rate of a step: a cosine from the first to the final one."""
    cosine = 0.5 + 0.5 * math.cos(math.pi * step / settings.max_steps)  # from 1 to 0
    factor = FINAL_LEARNING_RATE + (1.0 - FINAL_LEARNING_RATE) * cosine
    return settings.learning_rate * factor


def _minibatch_rows(
    shape: tuple[int, int, int], num_rows: int, bootstrap: bool, generator: torch.Generator
) -> Tensor:
    """Draw the rows [steps, E, batch] of all minibatches, from all rows or bootstrap samples."""
    _, num_members, batch_size = shape
    rows = torch.randint(num_rows, shape, generator=generator)
    if not bootstrap:
        return rows
    resample = torch.randint(num_rows, (num_members, num_rows), generator=generator)
    flat = rows.transpose(0, 1).reshape(num_members, -1)  # [E, steps * batch]
    return resample.gather(1, flat).view(num_members, -1, batch_size).transpose(0, 1)


def _rows_by_counts(
    shape: tuple[int, int, int], counts: np.ndarray, generator: torch.Generator
) -> Tensor:
    """Draw the rows [steps, E, batch] of all minibatches from samples with `counts` [E, n]."""
    uniform = torch.rand(shape, generator=generator, dtype=torch.float64)
    rows = torch.empty(shape, dtype=torch.int64)
    for member, count in enumerate(counts):
        sample = torch.from_numpy(np.arange(len(count)).repeat(count))
        rows[:, member] = sample[(uniform[:, member] * len(sample)).long()]
    return rows


@torch.no_grad()
def _holdout_loss(
    selection_loss: MemberLoss, holdout: tuple[Tensor, Tensor], num_members: int
) -> Tensor:
    """Return the loss [E] of every member on the same held-out data."""
    x, y = (part.mT.expand(num_members, -1, -1) for part in holdout)  # [E, in, n], [E, out, n]
    return selection_loss(x, y)


class _SelectedWeights:
    """Each member's weights with the lowest loss so far; at first those from before the fit."""

    def __init__(self, parameters: list[nn.Parameter], num_members: int) -> None:
        self.parameters = parameters
        self.loss = torch.full((num_members,), float("inf"), device=parameters[0].device)
        self.copies = [parameter.detach().clone() for parameter in parameters]

    @torch.no_grad()
    def update(self, loss: Tensor) -> bool:
        """Select the current weights of members whose loss [E] is lower; return whether any is."""
        is_lower = loss < self.loss  # NaN is never lower
        self.loss = torch.where(is_lower, loss, self.loss)
        for copy, parameter in zip(self.copies, self.parameters, strict=True):
            copy.copy_(torch.where(_as_mask(is_lower, parameter), parameter, copy))
        return bool(is_lower.any())

    @torch.no_grad()
    def restore(self, members: Tensor) -> None:
        """Give the members of a mask [E] their selected weights."""
        for copy, parameter in zip(self.copies, self.parameters, strict=True):
            parameter.copy_(torch.where(_as_mask(members, parameter), copy, parameter))


def _as_mask(members: Tensor, parameter: Tensor) -> Tensor:
    """Reshape a mask [E] to [E, 1, ...], so that it applies to a parameter [E, ...]."""
    return members.view(-1, *[1] * (parameter.dim() - 1))
