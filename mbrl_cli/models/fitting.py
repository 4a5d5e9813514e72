"""Gradient fitting of stacked members: bootstrapped data, held-out loss, early stopping.

All members take every optimiser step together; the minibatch rows of a whole fit are drawn at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mbrl_cli.nets.adamw import AdamW

# (inputs [E, in, n], targets [E, out, n]) -> loss of each member [E]
MemberLoss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class FitSettings:
    """How a fit is run; the keys of the same name in a model's YAML explain each."""

    batch_size: int
    max_steps: int
    check_every: int
    patience: int
    learning_rate: float
    weight_decay: float
    bootstrap: bool


@dataclass(frozen=True)
class FitResult:
    """What a fit came to, per member."""

    train_loss: Tensor  # [E] mean over the last stretch between two checks
    holdout_loss: Tensor | None  # [E] of the weights that were kept; None without held-out data
    steps: int
    rolled_back: int  # members that diverged and have their last good weights again


def fit_members(
    parameters: list[nn.Parameter],
    member_loss: MemberLoss,
    judged_loss: MemberLoss,
    train: tuple[Tensor, Tensor],
    holdout: tuple[Tensor, Tensor] | None,
    num_members: int,
    settings: FitSettings,
    generator: torch.Generator,
) -> FitResult:
    """Minimise each member's loss on its own resample of the training data.

    Every parameter's leading axis is the member. With held-out data each member keeps its own best
    weights of this fit (never those from before it, which know less of the world), and the fit
    stops when no member has improved for `patience` checks in a row; without, it runs to
    `max_steps`. A member whose loss is not finite any more gets its last good weights back: its
    best ones of this fit or, where there are none, those from before it.

    Args:
        parameters: leaves to optimise.
        member_loss: loss [E] of a minibatch, minimised.
        judged_loss: loss [E] of the held-out data, by which weights are kept.
        train: inputs [n, in] and targets [n, out].
        holdout: the same of the held-out episodes, or None.
        num_members: E.
        settings: see `FitSettings`.
        generator: draws the resamples and minibatches; on the CPU.
    """
    inputs, targets = train
    device = inputs.device
    num_rows, batch = len(inputs), min(settings.batch_size, len(inputs))
    rows = _minibatch_rows(num_members, num_rows, batch, settings, generator).to(device)
    optimiser = AdamW(parameters, settings.weight_decay)
    kept = _KeptWeights(parameters, num_members)
    train_loss = torch.zeros(num_members, device=device)
    checks_without_gain, steps = 0, 0
    while steps < settings.max_steps:
        stretch = min(settings.check_every, settings.max_steps - steps)
        train_loss.zero_()
        for step in range(steps, steps + stretch):
            flat = rows[step].flatten()  # [E * batch]
            x = inputs.index_select(0, flat).view(num_members, batch, -1).mT  # [E, in, batch]
            y = targets.index_select(0, flat).view(num_members, batch, -1).mT
            loss = member_loss(x, y)  # [E]
            gradients = torch.autograd.grad(loss.sum(), parameters)
            # It falls along a cosine to a tenth: the last steps average the noise out.
            share = 0.5 + 0.5 * math.cos(math.pi * step / settings.max_steps)
            optimiser.step(gradients, settings.learning_rate * (0.1 + 0.9 * share))
            train_loss += loss.detach() / stretch
        steps += stretch
        if holdout is not None:
            gained = kept.offer(_holdout_loss(judged_loss, holdout, num_members))
            checks_without_gain = 0 if gained else checks_without_gain + 1
            if checks_without_gain >= settings.patience:
                break
    good = train_loss.isfinite()  # [E]
    for parameter in parameters:
        good &= parameter.detach().isfinite().flatten(1).all(1)
    kept.restore(~good if holdout is None else torch.ones_like(good))
    found = None if holdout is None else kept.loss
    return FitResult(train_loss, found, steps, int((~good).sum()))


def _minibatch_rows(
    num_members: int, num_rows: int, batch: int, settings: FitSettings, generator: torch.Generator
) -> Tensor:
    """Return the rows [steps, E, batch] of all minibatches, drawn from each member's resample."""
    shape = (settings.max_steps, num_members, batch)
    drawn = torch.randint(num_rows, shape, generator=generator)
    if not settings.bootstrap:
        return drawn
    resample = torch.randint(num_rows, (num_members, num_rows), generator=generator)
    flat = drawn.transpose(0, 1).reshape(num_members, -1)  # [E, steps * batch]
    return resample.gather(1, flat).view(num_members, -1, batch).transpose(0, 1)


@torch.no_grad()
def _holdout_loss(
    judged_loss: MemberLoss, holdout: tuple[Tensor, Tensor], num_members: int
) -> Tensor:
    x, y = (part.mT.expand(num_members, -1, -1) for part in holdout)  # [E, in, n], [E, out, n]
    return judged_loss(x, y)


class _KeptWeights:
    """Each member's weights at its lowest held-out loss; at first those from before the fit."""

    def __init__(self, parameters: list[nn.Parameter], num_members: int) -> None:
        self.parameters = parameters
        self.loss = torch.full((num_members,), float("inf"), device=parameters[0].device)
        self.kept = [parameter.detach().clone() for parameter in parameters]

    @torch.no_grad()
    def offer(self, loss: Tensor) -> bool:
        """Keep the current weights of the members whose loss [E] is lower; say whether any was."""
        better = loss < self.loss  # NaN is never better
        self.loss = torch.where(better, loss, self.loss)
        for kept, parameter in zip(self.kept, self.parameters, strict=True):
            kept.copy_(torch.where(_each(better, parameter), parameter, kept))
        return bool(better.any())

    @torch.no_grad()
    def restore(self, members: Tensor) -> None:
        """Put the kept weights of these members [E] back."""
        for kept, parameter in zip(self.kept, self.parameters, strict=True):
            parameter.copy_(torch.where(_each(members, parameter), kept, parameter))


def _each(members: Tensor, parameter: Tensor) -> Tensor:
    """Shape a mask [E] so that it applies to a parameter [E, ...]."""
    return members.view(-1, *[1] * (parameter.dim() - 1))
