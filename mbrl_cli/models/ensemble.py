"""Neural Markov models: one MLP, a deterministic ensemble, or the probabilistic ensemble of PETS.

Source: Chua et al. 2018, "Deep Reinforcement Learning in a Handful of Trials using Probabilistic
Dynamics Models": Gaussian heads with learned bounds on the variance (appendix A.1), trajectory
sampling TS1, TS-infinity and expectation (section 5). The likelihood may be weighted as in Seitzer
et al. 2022, "On the Pitfalls of Heteroscedastic Uncertainty Estimation" (beta-NLL): the plain one
explains rare surprises, such as a blocked move, away as noise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mbrl_cli.errors import UserError
from mbrl_cli.models.accuracy import measure_accuracy
from mbrl_cli.models.base import MarkovModel, Prediction, action_of_each
from mbrl_cli.models.fitting import FitResult, FitSettings, fit_members
from mbrl_cli.models.targets import Targets
from mbrl_cli.nets.ensemble_mlp import EnsembleMLP, forward_stack
from mbrl_cli.nets.termination import TerminationNet, log_chance, termination_loss
from mbrl_cli.replay.buffer import ReplayBuffer
from mbrl_cli.types import (
    Activation,
    Batch,
    Count,
    CountOrZero,
    EnvSpec,
    Fraction,
    LearningRate,
    NonNegativeFloat,
    State,
)


class Ensemble(MarkovModel):
    """E MLPs that predict the change of the observation, the reward and whether the task goes on.

    Axes: E members in use (the `best_members`), M rows, P = E * J particles, O obs_dim,
    D outputs of a member: [change O | reward 1 | log variance O (gaussian only)].

    With trajectory sampling particle e * J + j belongs to member e, for a whole imagined rollout
    (`ts_inf`) or by a fresh shuffle at every step (`ts1`); with `expectation` there is one
    particle, which follows the mean over members.
    """

    def __init__(
        self,
        spec: EnvSpec,
        device: torch.device,
        generator: torch.Generator,
        head: Literal["point", "gaussian"],
        nll_beta: Fraction,
        num_members: Count,
        best_members: Count,
        propagation: Literal["ts1", "ts_inf", "expectation"],
        num_particles: Count,
        hidden: list[Count],
        activation: Activation,
        bootstrap: bool,
        fit_from: Literal["last", "scratch"],
        batch_size: Count,
        max_steps: Count,
        check_every: Count,
        patience: Count,
        learning_rate: LearningRate,
        weight_decay: NonNegativeFloat,
        termination_steps: Count,
        termination_learning_rate: LearningRate,
        accuracy_horizon: CountOrZero,
    ) -> None:
        super().__init__(spec, device)
        if best_members > num_members:
            raise UserError(
                f"model.best_members={best_members}: more than model.num_members={num_members}"
            )
        if propagation == "expectation":
            num_particles = 1
        elif num_particles % best_members:
            raise UserError(
                f"model.num_particles={num_particles}: must be a multiple of "
                f"model.best_members={best_members}, so that every member moves equally many"
            )
        self.num_particles = num_particles
        self.has_disagreement = best_members > 1
        self.gaussian = head == "gaussian"
        self._one = torch.ones(1, 1, device=device)
        self.nll_beta = nll_beta
        self.num_members = num_members
        self.propagation = propagation
        self.fit_from = fit_from
        self.accuracy_horizon = accuracy_horizon
        self.settings = FitSettings(
            batch_size, max_steps, check_every, patience, learning_rate, weight_decay, bootstrap
        )
        self.ending_settings = FitSettings(
            batch_size,
            termination_steps,
            termination_steps,
            1,
            termination_learning_rate,
            0.0,
            False,
        )
        self.targets = Targets(spec, device)
        out_dim = spec.obs_dim * (2 if self.gaussian else 1) + 1
        self.net = EnsembleMLP(
            num_members, spec.obs_dim + spec.action.dim, out_dim, hidden, activation, generator,
            device,
        )  # fmt: skip
        self.ending = TerminationNet(num_members, spec.obs_dim, generator, device)
        # Bounds on the log variance, learned for each member and entry as in PETS.
        bounds = torch.ones(num_members, 1, spec.obs_dim, device=device)
        self.max_logvar = nn.Parameter(0.5 * bounds)
        self.min_logvar = nn.Parameter(-10.0 * bounds)
        self.best = torch.arange(best_members, device=device)  # members in use
        # Point heads: the spread of the held-out residuals stands in for a predicted variance.
        self.residual_std = torch.ones(spec.obs_dim, device=device)
        self._prepare()

    # --- imagination ------------------------------------------------------------------------

    def _transition(
        self, obs: Tensor, action: Tensor, generator: torch.Generator, common_noise: bool
    ) -> tuple[Tensor, Tensor]:
        if self.propagation == "expectation":
            return self._expected_transition(obs, action)
        rows, particles, obs_dim = obs.shape
        members = len(self.best)
        shuffle = None
        moved = obs
        if self.propagation == "ts1":
            shuffle = torch.randperm(particles, generator=generator, device=generator.device)
            moved = obs[:, shuffle.to(self.device)]
        each = action_of_each(obs, action)
        if shuffle is not None and action.dim() == 3:
            each = each[:, shuffle.to(self.device)]
        x = torch.cat([moved, each], dim=-1)  # [M, P, O+A]
        x = x.view(rows, members, particles // members, -1).transpose(0, 1)  # [E, M, J, O+A]
        out = self._forward(x.reshape(members, -1, x.shape[-1]))  # [E, M*J, D]
        if self.gaussian:  # bounded here, while it is known whose log variance it is
            std = self._std(out[..., obs_dim + 1 :], axis=0)
            out = torch.cat([out[..., : obs_dim + 1], std], dim=-1)
        out = out.view(members, rows, particles // members, -1).transpose(0, 1)
        out = out.reshape(rows, particles, -1)  # [M, P, D]
        if shuffle is not None:
            out = out[:, shuffle.argsort().to(self.device)]
        next_obs = obs + out[..., :obs_dim]
        if self.gaussian:
            shape = (1 if common_noise else rows, particles, obs_dim)
            noise = torch.randn(shape, generator=generator, device=generator.device)
            if self._any_integer:  # a whole number has no Gaussian noise: members alone differ
                noise = noise.masked_fill(self._integer.to(noise.device), 0.0)
            next_obs = torch.addcmul(next_obs, out[..., obs_dim + 1 :], noise.to(self.device))
        return next_obs, out[..., obs_dim]

    def _expected_transition(self, obs: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        x = torch.cat([obs[:, 0], action_of_each(obs, action)[:, 0]], dim=-1)  # [M, O+A]
        out = self._forward(x.expand(len(self.best), -1, -1))  # [E, M, D]
        self._last_delta = out[..., : obs.shape[-1]]  # [E, M, O], for `disagreement`
        mean = out.mean(0) if len(out) > 1 else out[0]  # [M, D]
        return obs + mean[:, None, : obs.shape[-1]], mean[:, None, obs.shape[-1]]

    def _continues(self, obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
        rows, particles, obs_dim = next_obs.shape
        if not self.targets.ends_seen:
            return self._one.expand(rows, particles)
        members = len(self.best)
        if self.propagation == "expectation":  # all members judge the one particle
            x = next_obs[:, 0].expand(members, -1, -1)
            return log_chance(x, *self._plan_ending).exp().mean(0)[:, None]
        x = next_obs.view(rows, members, -1, obs_dim).transpose(0, 1)  # [E, M, J, O]
        log_continues = log_chance(x.reshape(members, -1, obs_dim), *self._plan_ending)
        return log_continues.exp().view(members, rows, -1).transpose(0, 1).reshape(rows, particles)

    def disagreement(self, state: State) -> Tensor:
        """Return the spread [M] of the members' imagined observations, in data deviations.

        With `expectation` it is the spread of the members' last one-step predictions; with
        trajectory sampling, of the places to which the members' particles have drifted apart.
        """
        if self.propagation == "expectation":
            return self._relative_spread(self._last_delta)
        obs = state["obs"]
        by_member = obs.view(len(obs), len(self.best), -1, obs.shape[-1]).mean(2)  # [M, E, O]
        return self._relative_spread(by_member.transpose(0, 1))

    def predict(self, obs: Tensor, action: Tensor) -> Prediction:
        """Return the moments of the equal mixture of the members in use."""
        obs_dim = obs.shape[-1]
        out = self._forward(torch.cat([obs, action], dim=-1).expand(len(self.best), -1, -1))
        delta = out[..., :obs_dim]  # [E, n, O]
        between = delta.var(0, unbiased=False)
        if self.gaussian:
            within = self._std(out[..., obs_dim + 1 :], axis=0).square().mean(0)
        else:
            within = self.residual_std.square().expand_as(between)
        return Prediction(
            obs + delta.mean(0), (within + between).sqrt(), self._relative_spread(delta)
        )

    def _relative_spread(self, by_member: Tensor) -> Tensor:
        """Map [E, n, O] to the spread over members [n], averaged over entries."""
        return (by_member.std(0, unbiased=False) / self.targets.delta.std).mean(-1)

    def _std(self, raw: Tensor, axis: int) -> Tensor:
        """Bound a raw log variance whose members lie on `axis`; return standard deviations."""
        shape = [1] * raw.dim()
        shape[axis], shape[-1] = len(self.best), raw.shape[-1]
        high, low = self._plan_max_logvar.view(shape), self._plan_min_logvar.view(shape)
        logvar = high - F.softplus(high - raw)
        logvar = low + F.softplus(logvar - low)
        return torch.exp(0.5 * logvar)

    def _forward(self, x: Tensor) -> Tensor:
        """Map raw inputs [E, n, O+A] to raw outputs [E, n, D] of the members in use."""
        return forward_stack(
            x, self._plan_weights, self._plan_biases, self._plan_skip, self.net.activation
        )

    @torch.no_grad()
    def _prepare(self) -> None:
        """Copy the weights of the members in use, with all normalisation folded into them.

        Imagination then works on raw observations and pays for no normalisation at all.
        """
        t, obs_dim = self.targets, self.spec.obs_dim
        weights = [w[self.best].clone() for w in self.net.weights]
        biases = [b[self.best].clone() for b in self.net.biases]
        skip = self.net.skip[self.best].clone()
        # Inputs are (obs - mean) / std; both paths start from them.
        for first, bias in ((weights[0], biases[0]), (skip, biases[-1])):
            first[:, :obs_dim] /= t.obs.std[:, None]
            bias -= (t.obs.mean @ first[:, :obs_dim])[:, None]  # [E, 1, out]
        # Outputs: change and reward scaled back, log variance shifted.
        scale = torch.cat([t.delta.std, t.reward.std])
        shift = torch.cat([t.delta.mean, t.reward.mean])
        two_log_std = 2.0 * t.delta.std.log()
        if self.gaussian:
            scale = torch.cat([scale, torch.ones(obs_dim, device=self.device)])
            shift = torch.cat([shift, two_log_std])
        weights[-1] *= scale
        skip *= scale
        biases[-1] = biases[-1] * scale + shift
        self._plan_weights, self._plan_biases, self._plan_skip = weights, biases, skip
        w1, b1, w2, b2 = (layer[self.best] for layer in self.ending.layers())
        w1 = w1 / t.obs.std[:, None]
        self._plan_ending = w1, b1 - (t.obs.mean @ w1)[:, None], w2, b2
        self._plan_max_logvar = self.max_logvar[self.best] + two_log_std  # [E, 1, O]
        self._plan_min_logvar = self.min_logvar[self.best] + two_log_std

    # --- fitting ----------------------------------------------------------------------------

    def fit(self, replay: ReplayBuffer, generator: torch.Generator) -> dict[str, float]:
        """Fit all members to the replay, pick the best by held-out loss, measure accuracy."""
        train_rows, holdout_rows = replay.split()
        train = replay.batch(train_rows, self.device)
        self.targets.fit(train)
        if self.fit_from == "scratch" or not self.is_fitted:
            self.net.reset(generator)
            self.ending.reset(generator)
            with torch.no_grad():
                self.max_logvar.fill_(0.5)
                self.min_logvar.fill_(-10.0)
        held = replay.batch(holdout_rows, self.device) if len(holdout_rows) else None
        parameters = list(self.net.parameters())
        if self.gaussian:
            parameters += [self.max_logvar, self.min_logvar]
        result = fit_members(
            parameters,
            self._likelihood_loss if self.gaussian else self._squared_loss,
            self._squared_loss,
            self.targets.transitions(train),
            None if held is None else self.targets.transitions(held),
            self.num_members,
            self.settings,
            generator,
        )
        ending_metrics = self._fit_ending(train, held, generator)
        if result.holdout_loss is not None:
            self.best = result.holdout_loss.argsort()[: len(self.best)].sort().values
        self.is_fitted = True
        self._prepare()
        self._measure_residuals(replay, holdout_rows if len(holdout_rows) else train_rows)
        return {
            **_loss_metrics(result),
            **ending_metrics,
            **measure_accuracy(self, replay, self.accuracy_horizon, generator),
        }

    def _likelihood_loss(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the loss [E] of inputs x [E, n, in] and targets y [E, n, O + 1]."""
        obs_dim = self.spec.obs_dim
        out = self.net(x)  # [E, n, D]
        error: Tensor = (out[..., : obs_dim + 1] - y).square()
        raw = out[..., obs_dim + 1 :]
        logvar = self.max_logvar - F.softplus(self.max_logvar - raw)
        logvar = self.min_logvar + F.softplus(logvar - self.min_logvar)
        likelihood = 0.5 * (error[..., :obs_dim] * torch.exp(-logvar) + logvar)  # [E, n, O]
        loss = (likelihood * torch.exp(self.nll_beta * logvar.detach())).mean((1, 2))
        # Pull the bounds together a little, or they never move (PETS, appendix A.1).
        loss = loss + 0.01 * (self.max_logvar - self.min_logvar).mean((1, 2))
        total: Tensor = loss + self._reward_loss(error)
        return total

    def _squared_loss(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the loss [E] of inputs x [E, n, in] and targets y [E, n, O + 1].

        Held-out data are always judged by it: on few of them one surprise ruins a likelihood.
        """
        obs_dim = self.spec.obs_dim
        error: Tensor = (self.net(x)[..., : obs_dim + 1] - y).square()  # [E, n, O + 1]
        return error[..., :obs_dim].mean((1, 2)) + self._reward_loss(error)

    def _reward_loss(self, error: Tensor) -> Tensor:
        """Return the mean squared error [E] of the reward, 0 where it is known."""
        return error[..., -1].mean(1) * float(self.targets.learns_reward)

    def _ending_loss(self, next_obs: Tensor, continues: Tensor, weight: float) -> Tensor:
        """Return the loss [E] of next_obs [E, n, O] normalised and continues [E, n, 1]."""
        return termination_loss(self.ending(next_obs), continues[..., 0], weight)

    def _fit_ending(
        self, train: Batch, held: Batch | None, generator: torch.Generator
    ) -> dict[str, float]:
        """Fit the chance to go on, on its own: ends are rare, and resampling would lose some."""
        if not (self.targets.learns_termination and self.targets.ends_seen):
            return {}
        loss = partial(self._ending_loss, weight=self.targets.termination_weight)
        result = fit_members(
            list(self.ending.parameters()),
            loss,
            loss,
            self.targets.endings(train),
            None,
            self.num_members,
            self.ending_settings,
            generator,
        )
        metrics = {"termination_loss": float(result.train_loss.mean())}
        if held is not None:
            x, y = (part.expand(self.num_members, -1, -1) for part in self.targets.endings(held))
            with torch.no_grad():
                metrics["termination_holdout_loss"] = float(self._ending_loss(x, y, 1.0).mean())
        return metrics

    @torch.no_grad()
    def _measure_residuals(self, replay: ReplayBuffer, rows: Any) -> None:
        batch = replay.batch(rows, self.device)
        error = self.predict(batch.obs, batch.action).mean - batch.next_obs
        self.residual_std = error.square().mean(0).sqrt().clamp_min(1e-8)

    # --- saving -----------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return weights, variance bounds, statistics and the members in use."""
        return {
            "net": {name: value.detach().clone() for name, value in self.net.named_parameters()},
            "ending": {
                name: value.detach().clone() for name, value in self.ending.named_parameters()
            },
            "max_logvar": self.max_logvar.detach().clone(),
            "min_logvar": self.min_logvar.detach().clone(),
            "targets": self.targets.state_dict(),
            "best": self.best,
            "residual_std": self.residual_std,
            "is_fitted": self.is_fitted,
        }

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.net.load_state_dict(state["net"])
        self.ending.load_state_dict(state["ending"])
        self.max_logvar.copy_(state["max_logvar"])
        self.min_logvar.copy_(state["min_logvar"])
        self.targets.load_state_dict(state["targets"])
        self.best = state["best"].to(self.device)
        self.residual_std = state["residual_std"].to(self.device)
        self.is_fitted = state["is_fitted"]
        self._prepare()


def _loss_metrics(result: FitResult) -> dict[str, float]:
    metrics = {"train_loss": float(result.train_loss.mean()), "fit_steps": float(result.steps)}
    if result.holdout_loss is not None:
        losses: Sequence[float] = result.holdout_loss.tolist()
        metrics["holdout_loss"] = math.fsum(losses) / len(losses)
        if len(losses) > 1:
            metrics |= {f"holdout_loss/member_{i}": loss for i, loss in enumerate(losses)}
    return metrics
