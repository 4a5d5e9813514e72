"""An ensemble's networks made for imagining: raw observations in, next observations out."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mbrl_cli.models.targets import Targets
from mbrl_cli.nets.activations import ACTIVATIONS, ACTIVATIONS_IN_PLACE
from mbrl_cli.nets.ensemble_mlp import EnsembleMLP


class FoldedEnsemble:
    """Networks of which each imagined step is one batched product a layer and little else.

    Normalisation, and "next observation = observation + change", are folded into the weights; the
    linear path lies in the product of the first layer. An input that is always one, and a hidden
    unit that always is, carry the biases, which would cost a pass over memory each. With features
    before rows every piece of the output is a block of its own, so nothing is split, transposed or
    concatenated on the way.

    Axes: E members, G networks (E of them, or one that is the mean of all), h hidden units,
    n = J * M rows (J particles of a network, M rows of the batch), P = G * J particles, O obs_dim,
    A action dim, I = O + A + 1 inputs, D outputs: [reward 1 | next observation O | log variance O
    (gaussian only)].

    Attributes:
        spread: [G, O, 1] standard deviation where the log variance is at its upper bound, and
        floor: [G, O, 1] lowest variance in units of spread squared; both None without variance.
    """

    spread: Tensor | None = None
    floor: Tensor | None = None

    def __init__(
        self,
        first: Tensor,
        middle: Sequence[Tensor],
        last: Tensor,
        obs_dim: int,
        activation: str,
    ) -> None:
        """Take stacked layers.

        Args:
            first: [G, h + D, I], hidden units and the linear path to the outputs.
            middle: [E, h, h], the layers between.
            last: [G, D, h].
            obs_dim: O.
            activation: key of ACTIVATIONS.
        """
        self.first = first
        self.middle = list(middle)
        self.last = last
        self.obs_dim = obs_dim
        self.activation = activation
        self._act, self._act_in_place = ACTIVATIONS[activation], ACTIVATIONS_IN_PLACE[activation]
        self._workspace: _Workspace | None = None

    @classmethod
    @torch.no_grad()
    def fold(cls, net: EnsembleMLP, members: Tensor, targets: Targets) -> FoldedEnsemble:
        """Take the `members` [E] of a net that maps normalised inputs to normalised targets."""
        obs_dim = targets.delta.std.shape[0]
        weights = [weight[members].clone() for weight in net.weights]
        biases = [bias[members].clone() for bias in net.biases]
        skip = net.skip[members].clone()
        # Inputs: (obs - mean) / std, on both paths.
        for weight, bias in ((weights[0], biases[0]), (skip, biases[-1])):
            weight[:, :, :obs_dim] /= targets.obs.std
            bias -= (weight[:, :, :obs_dim] @ targets.obs.mean)[..., None]  # [E, out, 1]
        # Outputs: change and reward scaled back; a log variance keeps its normalised scale.
        rest = weights[-1].shape[1] - obs_dim - 1
        one = torch.ones(rest, device=skip.device)
        scale = torch.cat([targets.delta.std, targets.reward.std, one])[:, None]  # [D, 1]
        shift = torch.cat([targets.delta.mean, targets.reward.mean, 0.0 * one])[:, None]
        weights[-1] *= scale
        skip *= scale
        biases[-1] = biases[-1] * scale + shift
        skip[:, :obs_dim, :obs_dim] += torch.eye(obs_dim, device=skip.device)
        # [change O | reward 1 | log variance O] -> [reward 1 | next obs O | log variance O]
        order = [obs_dim, *range(obs_dim), *range(obs_dim + 1, obs_dim + 1 + rest)]
        linear = torch.cat([skip, biases[-1]], dim=2)[:, order]  # [E, D, I]
        # What a unit whose input is one comes to, and the row that keeps its input one.
        constant = ACTIVATIONS[net.activation](torch.ones((), device=skip.device))
        layers = [torch.cat([weights[0], biases[0]], dim=2)]  # [E, h, I]
        for weight, bias in zip(weights[1:-1], biases[1:-1], strict=True):
            before = layers[-1]
            one_more = torch.zeros_like(before[:, :1])
            one_more[:, :, -1] = 1.0 if len(layers) == 1 else 1.0 / constant
            layers[-1] = torch.cat([before, one_more], dim=1)
            layers.append(torch.cat([weight, bias / constant], dim=2))  # [E, h, h + 1]
        return cls(
            torch.cat([layers[0], linear], dim=1),
            layers[1:],
            weights[-1][:, order],
            obs_dim,
            net.activation,
        )

    def with_noise(self, max_logvar: Tensor, min_logvar: Tensor, delta_std: Tensor) -> None:
        """Read the last outputs as log variances between learned bounds [E, O, 1].

        In normalised units the bounded variance is exp(min) + exp(max) * sigmoid(raw - max).
        """
        obs_dim = self.obs_dim
        self.first[:, -obs_dim:, -1:] -= max_logvar
        self.spread = torch.exp(0.5 * max_logvar) * delta_std[:, None]
        self.floor = torch.exp(min_logvar - max_logvar)

    def mean_of_members(self) -> FoldedEnsemble:
        """Return one network that computes the mean over members: their hidden units in a row."""
        members, outputs, _ = self.last.shape
        wide = self.first.shape[1] - outputs  # h
        means = slice(wide, wide + 1 + self.obs_dim)  # a mean of members has no variance of its own
        first = self.first
        return FoldedEnsemble(
            torch.cat([first[:, :wide].flatten(0, 1), first[:, means].mean(0)])[None],
            self.middle,
            self.last[:, : 1 + self.obs_dim].transpose(0, 1).flatten(1)[None] / members,
            self.obs_dim,
            self.activation,
        )

    def in_halves(self) -> FoldedEnsemble:
        """Return every network twice, each for half of its particles.

        Two threads share an even number of products without one of them waiting.
        """
        twice = FoldedEnsemble(
            self.first.repeat_interleave(2, 0),
            [weight.repeat_interleave(2, 0) for weight in self.middle],
            self.last.repeat_interleave(2, 0),
            self.obs_dim,
            self.activation,
        )
        if self.spread is not None and self.floor is not None:
            twice.spread = self.spread.repeat_interleave(2, 0)
            twice.floor = self.floor.repeat_interleave(2, 0)
        return twice

    def __call__(self, x: Tensor) -> Tensor:
        """Map raw inputs x [G, O + A, n] to [G, D, n]; the way of single steps."""
        groups, outputs, last_width = self.last.shape
        x = F.pad(x, (0, 0, 0, 1), value=1.0)  # [G, I, n]
        wide = torch.bmm(self.first, x)  # [G, h + D, n]
        hidden = self._act(wide[:, :-outputs])
        for weight in self.middle:
            members, _, width = weight.shape
            hidden = hidden.reshape(members, width, -1)  # [E, h, n]
            hidden = self._act(torch.bmm(weight, hidden))
        hidden = hidden.reshape(groups, last_width, -1)
        return torch.baddbmm(wide[:, -outputs:], self.last, hidden)

    def std(self, raw: Tensor) -> Tensor:
        """Return standard deviations [G, O, n] for raw log variances [G, O, n]."""
        if self.spread is None or self.floor is None:
            raise ValueError("these networks predict no variance")
        return self.spread * torch.sqrt(torch.sigmoid(raw) + self.floor)

    @torch.inference_mode()
    def unroll(
        self,
        obs: Tensor,
        actions: Tensor,
        noise: Tensor | None,
        shuffles: Tensor | None,
        whole: Tensor | None,
    ) -> Tensor:
        """Follow all particles of all rows along their actions.

        Args:
            obs: [M, P, O].
            actions: [H, M, A].
            noise: [H, P, O] standard normal numbers for all rows; None without variance.
            shuffles: [H, P] for each step the particle that each place takes over after it.
            whole: [O] whether an entry is a whole number; None if none is.

        Returns:
            [H + 1, 1 + O + A + 1, P, M], a buffer that the next call overwrites: the reward that
            led here, the observation, the action taken in it (undefined at the end), and a one.
        """
        horizon, rows, _ = actions.shape
        groups, obs_dim, particles = len(self.last), self.obs_dim, obs.shape[1]
        w = self._workspace
        if w is None or w.shape != (horizon, rows, particles):
            w = self._workspace = _Workspace(self, horizon, rows, particles)
        path = w.path  # [H+1, 1+I, P, M]
        path[0, 1 : 1 + obs_dim] = obs.permute(2, 1, 0)
        path[:-1, 1 + obs_dim : -1] = actions.mT[:, :, None]
        if noise is not None and self.spread is not None:
            by_group = noise.view(horizon, groups, -1, obs_dim, 1).transpose(2, 3)
            noise = self.spread[..., None] * by_group  # [H, G, O, J, 1]
        act, linear, floor = self._act_in_place, w.linear, self.floor
        for t in range(horizon):
            torch.bmm(self.first, w.inputs[t], out=w.wide)
            act(w.first_hidden)
            hidden = w.first_hidden_by_member
            for weight, out in zip(self.middle, w.hidden, strict=True):
                hidden = act(torch.bmm(weight, hidden, out=out))
            if noise is None or floor is None:
                torch.baddbmm(linear, self.last, w.last_hidden, out=w.reached[t])
            else:
                torch.baddbmm(linear, self.last, w.last_hidden, out=w.out)
                w.raw.sigmoid_().add_(floor).sqrt_()  # std / spread
                torch.addcmul(w.mean, w.raw_by_particle, noise[t], out=w.reached_obs[t])
                w.reached_reward[t].copy_(w.reward)
            if whole is not None:
                now = path[t + 1, 1 : 1 + obs_dim]  # [O, P, M]
                now.copy_(torch.where(whole[:, None, None], now.round(), now))
            if shuffles is not None:
                now = path[t + 1, : 1 + obs_dim]
                now.copy_(now.index_select(1, shuffles[t]))
        return path


class _Workspace:
    """Buffers of one unroll and the views into them, made once for a shape and used every step."""

    def __init__(self, nets: FoldedEnsemble, horizon: int, rows: int, particles: int) -> None:
        self.shape = (horizon, rows, particles)  # H, M, P
        groups, outputs, last_width = nets.last.shape
        inputs = nets.first.shape[2]
        wide = nets.first.shape[1] - outputs
        obs_dim, empty = nets.obs_dim, nets.first.new_empty
        each = particles // groups  # J
        n = each * rows
        # Zeros, not whatever was there: the last action is never set, and must not be NaN.
        self.path = nets.first.new_zeros(horizon + 1, 1 + inputs, particles, rows)
        self.path[:, -1] = 1.0
        by_group = self.path.view(horizon + 1, 1 + inputs, groups, n).transpose(1, 2)
        self.inputs = by_group[:-1, :, 1:].unbind(0)  # each [G, I, n]
        self.reached = by_group[1:, :, : 1 + obs_dim].unbind(0)  # each [G, 1+O, n]
        self.reached_reward = by_group[1:, :, 0].unbind(0)  # each [G, n]
        by_particle = self.path.view(horizon + 1, 1 + inputs, groups, each, rows).transpose(1, 2)
        self.reached_obs = by_particle[1:, :, 1 : 1 + obs_dim].unbind(0)  # each [G, O, J, M]

        self.wide = empty(groups, wide + outputs, n)  # hidden units, then the outputs
        self.first_hidden = self.wide[:, :wide]
        self.linear = self.wide[:, wide:]
        self.out = empty(groups, outputs, n)
        self.reward = self.out[:, 0]
        self.raw = self.out[:, 1 + obs_dim :]  # [G, O, n]
        split = self.out.view(groups, outputs, each, rows)
        self.mean = split[:, 1 : 1 + obs_dim]  # [G, O, J, M]
        self.raw_by_particle = split[:, 1 + obs_dim :]  # [G, O, J, M]

        members = len(nets.middle[0]) if nets.middle else groups
        self.first_hidden_by_member = self.first_hidden.view(members, -1, n)
        self.hidden = [empty(len(weight), weight.shape[1], n) for weight in nets.middle]
        last = self.hidden[-1] if self.hidden else self.first_hidden
        self.last_hidden = last.view(groups, last_width, n)
