"""Preallocated memory for imagined trajectories."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


class UnrollBuffers:
    """Buffers of `FoldedEnsemble.unroll` for one shape, and the views into them for every step.

    Axes: those of `FoldedEnsemble`.

    Attributes:
        shape: (H, M, P).
        trajectory: [H + 1, 1 + I, P, M], see `FoldedEnsemble.unroll`.
        inputs: for each step, the networks' inputs [G, I, n].
        next: for each step, [reward | next observation] in the trajectory [G, 1 + O, n].
        next_reward: for each step, the reward in the trajectory [G, n].
        next_obs: for each step, the next observation in the trajectory [G, O, J, M].
        first_product: [G, h + D, n] of the first layer: hidden units, then the linear path.
        first_hidden: [G, h, n] of `first_product`.
        first_hidden_by_member: the same as [E, h, n].
        hidden: for each further layer, its hidden units [E, h, n].
        last_hidden: hidden units of the last hidden layer [G, h, n].
        linear: [G, D, n] of `first_product`.
        outputs: [G, D, n]; used if there is noise.
        reward: [G, n] of `outputs`.
        mean_obs: [G, O, J, M] of `outputs`.
        raw_log_variance: [G, O, n] of `outputs`.
        std: the same memory as [G, O, J, M], for the standard deviation that replaces it.
    """

    def __init__(
        self,
        first_layer: Tensor,
        hidden_layers: Sequence[Tensor],
        last_layer: Tensor,
        obs_dim: int,
        shape: tuple[int, int, int],
    ) -> None:
        """Allocate for layers as in `FoldedEnsemble` and shape (H, M, P)."""
        self.shape = shape
        horizon, rows, particles = shape
        groups, outputs, last_width = last_layer.shape
        inputs = first_layer.shape[2]
        width = first_layer.shape[1] - outputs  # h of the first layer
        particles_per_net = particles // groups  # J
        n = particles_per_net * rows
        # Zeros: the action after the last step is never set, and must not be NaN.
        self.trajectory = first_layer.new_zeros(horizon + 1, 1 + inputs, particles, rows)
        self.trajectory[:, -1] = 1.0
        by_net = self.trajectory.view(horizon + 1, 1 + inputs, groups, n).transpose(1, 2)
        self.inputs = by_net[:-1, :, 1:].unbind(0)
        self.next = by_net[1:, :, : 1 + obs_dim].unbind(0)
        self.next_reward = by_net[1:, :, 0].unbind(0)
        by_particle = self.trajectory.view(
            horizon + 1, 1 + inputs, groups, particles_per_net, rows
        ).transpose(1, 2)
        self.next_obs = by_particle[1:, :, 1 : 1 + obs_dim].unbind(0)

        empty = first_layer.new_empty
        self.first_product = empty(groups, width + outputs, n)
        self.first_hidden = self.first_product[:, :width]
        self.linear = self.first_product[:, width:]
        members = len(hidden_layers[0]) if hidden_layers else groups
        self.first_hidden_by_member = self.first_hidden.view(members, -1, n)
        self.hidden = [empty(len(weight), weight.shape[1], n) for weight in hidden_layers]
        last_hidden = self.hidden[-1] if self.hidden else self.first_hidden
        self.last_hidden = last_hidden.view(groups, last_width, n)

        self.outputs = empty(groups, outputs, n)
        self.reward = self.outputs[:, 0]
        self.raw_log_variance = self.outputs[:, 1 + obs_dim :]
        outputs_by_particle = self.outputs.view(groups, outputs, particles_per_net, rows)
        self.mean_obs = outputs_by_particle[:, 1 : 1 + obs_dim]
        self.std = outputs_by_particle[:, 1 + obs_dim :]
