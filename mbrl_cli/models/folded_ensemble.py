"""Fast networks for imagined steps: raw observations in, next observations out."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mbrl_cli.models.dynamics_net import DynamicsNet
from mbrl_cli.models.transition_normalizer import TransitionNormalizer
from mbrl_cli.models.unroll_buffers import UnrollBuffers
from mbrl_cli.nets.activations import ACTIVATIONS, ACTIVATIONS_IN_PLACE


class FoldedEnsemble:
    """Copies of trained networks in a form that needs one batched matrix product per layer.

    Normalization and, where the networks predict a change, "next observation = observation +
    change" are folded into the weights. The linear map of the input is part of the first layer's
    product. Biases are the weights of an input that is always one, and of a hidden unit that always
    is, which saves a pass over memory for each layer. The feature axis is before the row axis. Each
    piece of the output is then a contiguous block, so that nothing is split, transposed or
    concatenated between steps.

    Axes: E members, G networks (E of them, or one that is the mean of all), h hidden units,
    P particles, J = P / G particles of a network, M rows of the batch, n = J * M, O obs_dim,
    A action dim, I = O + A + 1 inputs, D outputs: [reward 1 | next observation O | raw log
    variance O (Gaussian head only)].

    Attributes:
        max_std: [G, O, 1] standard deviation at the upper bound of the log variance; None for
            networks without variance.
        min_relative_variance: [G, O, 1] variance at the lower bound, divided by max_std squared.
    """

    max_std: Tensor | None = None
    min_relative_variance: Tensor | None = None

    def __init__(
        self,
        first_layer: Tensor,
        hidden_layers: Sequence[Tensor],
        last_layer: Tensor,
        obs_dim: int,
        activation: str,
    ) -> None:
        """Take stacked layers.

        Args:
            first_layer: [G, h + D, I], hidden units and the linear path to the outputs.
            hidden_layers: [E, h, h] each, the layers between.
            last_layer: [G, D, h].
            obs_dim: O.
            activation: key of `ACTIVATIONS`.
        """
        self.first_layer = first_layer
        self.hidden_layers = list(hidden_layers)
        self.last_layer = last_layer
        self.obs_dim = obs_dim
        self.activation = activation
        self._activate = ACTIVATIONS[activation]
        self._activate_in_place = ACTIVATIONS_IN_PLACE[activation]
        self._buffers: UnrollBuffers | None = None

    def __len__(self) -> int:
        """Return the number of networks G."""
        return len(self.last_layer)

    @classmethod
    @torch.no_grad()
    def fold(
        cls, net: DynamicsNet, members: Tensor, normalizer: TransitionNormalizer
    ) -> FoldedEnsemble:
        """Copy the `members` [E] of a net whose inputs and targets are normalized."""
        obs_dim = net.obs_dim
        weights = [weight[members].clone() for weight in net.mlp.weights]
        biases = [bias[members].clone() for bias in net.mlp.biases]
        skip = net.mlp.skip[members].clone()
        # Inputs: (obs - mean) / std, for the first layer and for the linear path. Entries that are
        # constant in the data have weights that were never trained: they are ignored.
        for weight, bias in ((weights[0], biases[0]), (skip, biases[-1])):
            weight[:, :, :obs_dim] /= normalizer.obs.std
            weight[:, :, :obs_dim] *= normalizer.obs.spread > 0.0
            bias -= (weight[:, :, :obs_dim] @ normalizer.obs.mean)[..., None]  # [E, out, 1]
        # Outputs: target and reward in their own units; log variances stay normalized.
        target, reward = normalizer.obs_target, normalizer.reward
        num_log_variances = weights[-1].shape[1] - obs_dim - 1
        one = torch.ones(num_log_variances, device=skip.device)
        scale = torch.cat([target.spread, reward.spread, one])[:, None]  # [D, 1]
        shift = torch.cat([target.mean, reward.mean, 0.0 * one])[:, None]
        weights[-1] *= scale
        skip *= scale
        biases[-1] = biases[-1] * scale + shift
        if normalizer.predicts_change:
            skip[:, :obs_dim, :obs_dim] += torch.eye(obs_dim, device=skip.device)
        # [target O | reward 1 | log variance O] -> [reward 1 | next obs O | log variance O]
        order = [obs_dim, *range(obs_dim), *range(obs_dim + 1, weights[-1].shape[1])]
        linear = torch.cat([skip, biases[-1]], dim=2)[:, order]  # [E, D, I]
        # Each layer but the last gets one more row, for a hidden unit that is always `constant`.
        constant = ACTIVATIONS[net.mlp.activation](torch.ones((), device=skip.device))
        layers = [torch.cat([weights[0], biases[0]], dim=2)]  # [E, h, I]
        for weight, bias in zip(weights[1:-1], biases[1:-1], strict=True):
            previous = layers[-1]
            constant_row = torch.zeros_like(previous[:, :1])
            constant_row[:, :, -1] = 1.0 if len(layers) == 1 else 1.0 / constant
            layers[-1] = torch.cat([previous, constant_row], dim=1)
            layers.append(torch.cat([weight, bias / constant], dim=2))  # [E, h, h + 1]
        folded = cls(
            first_layer=torch.cat([layers[0], linear], dim=1),
            hidden_layers=layers[1:],
            last_layer=weights[-1][:, order],
            obs_dim=obs_dim,
            activation=net.mlp.activation,
        )
        if net.gaussian:
            folded._fold_variance_bounds(
                min_log_variance=net.min_log_variance[members],
                max_log_variance=net.max_log_variance[members],
                target_std=normalizer.obs_target.spread,
            )
        return folded

    def _fold_variance_bounds(
        self, min_log_variance: Tensor, max_log_variance: Tensor, target_std: Tensor
    ) -> None:
        """Fold normalized bounds [E, O, 1] and the standard deviation [O] of the target.

        In normalized units exp(`bounded_log_variance`) = exp(min) + exp(max) * sigmoid(raw - max).
        """
        self.first_layer[:, -self.obs_dim :, -1:] -= max_log_variance
        self.max_std = torch.exp(0.5 * max_log_variance) * target_std[:, None]
        self.min_relative_variance = torch.exp(min_log_variance - max_log_variance)

    def mean_of_members(self) -> FoldedEnsemble:
        """Return one network that computes the mean over members; it has all their hidden units.

        The mean has no variance outputs.
        """
        members, outputs, _ = self.last_layer.shape
        width = self.first_layer.shape[1] - outputs  # h
        means = slice(width, width + 1 + self.obs_dim)
        hidden_units = self.first_layer[:, :width].flatten(0, 1)  # [E * h, I]
        linear = self.first_layer[:, means].mean(0)  # [1 + O, I]
        last_layer = self.last_layer[:, : 1 + self.obs_dim].transpose(0, 1).flatten(1)
        return FoldedEnsemble(
            first_layer=torch.cat([hidden_units, linear])[None],
            hidden_layers=self.hidden_layers,
            last_layer=last_layer[None] / members,
            obs_dim=self.obs_dim,
            activation=self.activation,
        )

    def duplicated(self) -> FoldedEnsemble:
        """Return two copies of every network, each for half of its particles.

        With an even number of matrix products two threads finish at the same time.
        """
        copies = FoldedEnsemble(
            first_layer=self.first_layer.repeat_interleave(2, 0),
            hidden_layers=[weight.repeat_interleave(2, 0) for weight in self.hidden_layers],
            last_layer=self.last_layer.repeat_interleave(2, 0),
            obs_dim=self.obs_dim,
            activation=self.activation,
        )
        if self.max_std is not None and self.min_relative_variance is not None:
            copies.max_std = self.max_std.repeat_interleave(2, 0)
            copies.min_relative_variance = self.min_relative_variance.repeat_interleave(2, 0)
        return copies

    def __call__(self, x: Tensor) -> Tensor:
        """Map raw inputs x [G, O + A, n] to outputs [G, D, n]."""
        groups, outputs, last_width = self.last_layer.shape
        x = F.pad(x, (0, 0, 0, 1), value=1.0)  # [G, I, n]
        first_product = torch.bmm(self.first_layer, x)  # [G, h + D, n]
        hidden = self._activate(first_product[:, :-outputs])
        for weight in self.hidden_layers:
            members, _, width = weight.shape
            hidden = hidden.reshape(members, width, -1)  # [E, h, n]
            hidden = self._activate(torch.bmm(weight, hidden))
        hidden = hidden.reshape(groups, last_width, -1)
        return torch.baddbmm(first_product[:, -outputs:], self.last_layer, hidden)

    def std(self, raw_log_variance: Tensor) -> Tensor:
        """Return the standard deviations [G, O, n] for raw log variances [G, O, n]."""
        if self.max_std is None or self.min_relative_variance is None:
            raise ValueError("these networks predict no variance")
        relative_variance = torch.sigmoid(raw_log_variance) + self.min_relative_variance
        return self.max_std * torch.sqrt(relative_variance)

    @torch.inference_mode()
    def unroll(
        self,
        obs: Tensor,
        actions: Tensor,
        noise: Tensor | None,
        shuffles: Tensor | None,
        integer: Tensor | None,
    ) -> Tensor:
        """Imagine H steps of all particles of all rows.

        Args:
            obs: [M, P, O].
            actions: [H, M, A].
            noise: [H, P, O] standard normal numbers, the same for all rows; None without variance.
            shuffles: [H, P] the slot whose particle each slot takes over after a step; None: each
                particle keeps its slot.
            integer: [O] whether an entry is always an integer; None if none is.

        Returns:
            [H + 1, 1 + O + A + 1, P, M]: the reward of the step before (undefined at the start),
            the observation, the action taken there (undefined at the end), and a one. The next call
            overwrites this memory.
        """
        horizon, rows, _ = actions.shape
        groups, obs_dim, particles = len(self), self.obs_dim, obs.shape[1]
        shape = (horizon, rows, particles)
        if self._buffers is None or self._buffers.shape != shape:
            self._buffers = UnrollBuffers(
                self.first_layer, self.hidden_layers, self.last_layer, obs_dim, shape
            )
        buffers = self._buffers
        trajectory = buffers.trajectory  # [H+1, 1+I, P, M]
        trajectory[0, 1 : 1 + obs_dim] = obs.permute(2, 1, 0)
        trajectory[:-1, 1 + obs_dim : -1] = actions.mT[:, :, None]
        if noise is not None and self.max_std is not None:
            by_net = noise.view(horizon, groups, -1, obs_dim, 1).transpose(2, 3)
            noise = self.max_std[..., None] * by_net  # [H, G, O, J, 1]
        activate, min_relative_variance = self._activate_in_place, self.min_relative_variance
        for t in range(horizon):
            torch.bmm(self.first_layer, buffers.inputs[t], out=buffers.first_product)
            activate(buffers.first_hidden)
            hidden = buffers.first_hidden_by_member
            for weight, out in zip(self.hidden_layers, buffers.hidden, strict=True):
                hidden = activate(torch.bmm(weight, hidden, out=out))
            last = (buffers.linear, self.last_layer, buffers.last_hidden)
            if noise is None or min_relative_variance is None:
                torch.baddbmm(*last, out=buffers.next[t])
            else:
                torch.baddbmm(*last, out=buffers.outputs)
                # std / max_std; the factor max_std is in `noise`
                buffers.raw_log_variance.sigmoid_().add_(min_relative_variance).sqrt_()
                torch.addcmul(buffers.mean_obs, buffers.std, noise[t], out=buffers.next_obs[t])
                buffers.next_reward[t].copy_(buffers.reward)
            if integer is not None:
                next_obs = trajectory[t + 1, 1 : 1 + obs_dim]  # [O, P, M]
                rounded = torch.where(integer[:, None, None], next_obs.round(), next_obs)
                next_obs.copy_(rounded)
            if shuffles is not None:
                reward_and_obs = trajectory[t + 1, : 1 + obs_dim]  # [1 + O, P, M]
                reward_and_obs.copy_(reward_and_obs.index_select(1, shuffles[t]))
        return trajectory
