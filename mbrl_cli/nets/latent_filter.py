"""Filtering a sequence, with its gradient by hand: what waits for the step before is made small.

Forward is the plain loop, without a graph. Backward first computes for all steps at once whatever
the loop had inside, then goes back in time with nothing but products by the state, and last makes
each weight's gradient one product over all steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from mbrl_cli.nets.latent_dynamics import LatentDynamics


class LatentFilter(torch.autograd.Function):
    """Deter [T, n, D], stoch [T, n, Z] and the posterior's statistics [T, n, .] of a sequence.

    Axes: T steps, n sequences, H hidden, D deter, Z stoch, G gates (3, or 1 without recurrence).
    """

    @staticmethod
    def forward(
        ctx: Any,
        dynamics: LatentDynamics,
        from_action: Tensor,
        from_obs: Tensor,
        keep: Tensor,
        restarts: Sequence[bool],
        noise: Tensor,
        *weights: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Filter; `from_action` and `from_obs` [T, n, H] are their parts of the first products."""
        enter, look = weights[0].T, weights[6].T  # what stoch and deter are multiplied by
        deter = from_obs.new_zeros(from_obs.shape[1], dynamics.deter)
        stoch = from_obs.new_zeros(from_obs.shape[1], dynamics.latents.size)
        steps = zip(from_action, from_obs, keep, restarts, noise, strict=True)
        states = []
        with torch.inference_mode():
            for of_action, of_obs, kept, restarts_here, luck in steps:
                if restarts_here:
                    deter, stoch = deter * kept, stoch * kept
                deter = dynamics.next_deter(deter, torch.addmm(of_action, stoch, enter))
                seen = dynamics.posterior.after_first(torch.addmm(of_obs, deter, look))
                stoch = dynamics.latents.sample(seen, luck)
                states.append((deter, stoch, seen))
        deters, stochs, statistics = (torch.stack(part) for part in zip(*states, strict=True))
        found = deters, stochs, statistics
        ctx.save_for_backward(from_action, from_obs, keep, noise, *found, *weights)
        ctx.latents, ctx.recurrent, ctx.restarts = dynamics.latents, dynamics.recurrent, restarts
        return found

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        """Return the gradients of `from_action`, `from_obs` and the weights."""
        from_action, from_obs, keep, noise, deter, stoch, seen, *weights = ctx.saved_tensors
        enter, enter_scale, enter_shift, gates, gates_scale, gates_shift = weights[:6]
        look, look_scale, look_shift, out, _ = weights[6:]
        hidden, restarts = len(enter), ctx.restarts
        # What the loop had inside, and how its parts answer to their inputs, for all steps at once.
        deter_before, stoch_before = _before(deter) * keep, _before(stoch) * keep
        entered = _LayerNorm(from_action + F.linear(stoch_before, enter), enter_scale, enter_shift)
        inputs = F.silu(entered.out)
        if ctx.recurrent:
            inputs = torch.cat([inputs, deter_before], -1)  # [T, n, H + D]
        gated = _LayerNorm(F.linear(inputs, gates), gates_scale, gates_shift)
        if ctx.recurrent:
            gate_slope, stay = _gate_slopes(gated.out, deter_before)
        else:
            gate_slope, stay = _silu_slope(gated.out).unsqueeze(-2), None  # [T, n, 1, D]
        looked = _LayerNorm(from_obs + F.linear(deter, look), look_scale, look_shift)
        enter_slope, look_slope = _silu_slope(entered.out), _silu_slope(looked.out)
        slopes = ctx.latents.slopes(seen, noise)
        # Back in time.
        to_deter, to_stoch, to_seen = (gradient.unbind(0) for gradient in gradients)
        deter_gradient, stoch_gradient = to_deter[-1], to_stoch[-1]
        seen_gradients: list[Tensor] = []
        with torch.inference_mode():
            for t in reversed(range(len(deter))):
                seen_gradients.append(to_seen[t] + ctx.latents.passed(stoch_gradient, slopes[t]))
                gradient = looked.back(t, (seen_gradients[-1] @ out).mul_(look_slope[t]))
                deter_gradient = torch.addmm(deter_gradient, gradient, look)
                each_gate = gate_slope[t] * deter_gradient[:, None]  # [n, G, D]
                to_inputs = gated.back(t, each_gate.flatten(1)) @ gates  # [n, H + D] or [n, H]
                gradient = entered.back(t, to_inputs[:, :hidden] * enter_slope[t])
                if not t:
                    break
                kept = keep[t] if restarts[t] else 1.0
                stoch_gradient = torch.addmm(to_stoch[t - 1], gradient * kept, enter)
                if stay is None:
                    deter_gradient = to_deter[t - 1]
                else:
                    carried = torch.addcmul(to_inputs[:, hidden:], deter_gradient, stay[t])
                    deter_gradient = to_deter[t - 1] + carried * kept
        # One product for each weight.
        seen_gradient = torch.stack(seen_gradients[::-1])
        entered_raw, gated_raw, looked_raw = (n.gradient() for n in (entered, gated, looked))
        found = (
            _outer(entered_raw, stoch_before), *entered.weights(),
            _outer(gated_raw, inputs), *gated.weights(),
            _outer(looked_raw, deter), *looked.weights(),
            _outer(seen_gradient, F.silu(looked.out)), seen_gradient.sum((0, 1)),
        )  # fmt: skip
        return None, entered_raw, looked_raw, None, None, None, *found


class _LayerNorm:
    """A normalised layer at all steps [T, n, .], and its gradient, asked for from the last on."""

    def __init__(self, raw: Tensor, scale: Tensor, shift: Tensor) -> None:
        self.raw, self.scale, self.shift, self.shape = raw, scale, shift, raw.shape[-1:]
        self.out, mean, rstd = torch.native_layer_norm(raw, self.shape, scale, shift, 1e-5)
        self.mean, self.rstd = mean, rstd
        self.steps = list(zip(raw.unbind(0), mean.unbind(0), rstd.unbind(0), strict=True))
        self.after: list[Tensor] = []
        self.before: list[Tensor] = []

    def back(self, step: int, gradient: Tensor) -> Tensor:
        """Return the gradient of what the layer was given at a step [n, .]."""
        only_input = [True, False, False]
        before: Tensor = torch.ops.aten.native_layer_norm_backward(
            gradient, self.steps[step][0], self.shape, *self.steps[step][1:], self.scale,
            self.shift, only_input,
        )[0]  # fmt: skip
        self.after.append(gradient)
        self.before.append(before)
        return before

    def gradient(self) -> Tensor:
        """Return the gradient of what the layer was given [T, n, .]."""
        return torch.stack(self.before[::-1])

    def weights(self) -> tuple[Tensor, Tensor]:
        """Return the gradients of scale and shift."""
        only_weights = [False, True, True]
        _, scale, shift = torch.ops.aten.native_layer_norm_backward(
            torch.stack(self.after[::-1]), self.raw, self.shape, self.mean, self.rstd, self.scale,
            self.shift, only_weights,
        )  # fmt: skip
        return scale, shift


def _before(states: Tensor) -> Tensor:
    """Return what was there before each step: nothing, then the states [T, n, .] but the last."""
    return F.pad(states[:-1], (0, 0, 0, 0, 1, 0))


def _outer(gradient: Tensor, inputs: Tensor) -> Tensor:
    """Return a weight's gradient [out, in], summed over all leading axes."""
    return gradient.flatten(0, -2).T @ inputs.flatten(0, -2)


def _silu_slope(x: Tensor) -> Tensor:
    chance = torch.sigmoid(x)
    return chance * (1.0 + x * (1.0 - chance))


def _gate_slopes(gates: Tensor, deter_before: Tensor) -> tuple[Tensor, Tensor]:
    """Return how deter answers to each gate [T, n, 3, D], and to itself [T, n, D]."""
    reset, candidate, update = gates.chunk(3, -1)
    reset, update = torch.sigmoid(reset), torch.sigmoid(update - 1.0)
    new = fast_tanh(reset * candidate)
    stay = 1.0 - update
    to_product = update * (1.0 - new.square())
    to_candidate = to_product * reset
    to_reset, to_update = to_candidate * candidate * (1.0 - reset), (new - deter_before) * update
    return torch.stack([to_reset, to_candidate, to_update * stay], -2), stay


def fast_tanh(x: Tensor) -> Tensor:
    """Return tanh, as exact as float32 but near zero; torch's own takes four times as long."""
    return torch.sigmoid(2.0 * x).mul(2.0).sub(1.0)
