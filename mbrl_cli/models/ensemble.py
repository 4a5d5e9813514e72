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
from mbrl_cli.models.base import Trajectories
from mbrl_cli.models.fitting import FitResult, FitSettings, fit_members
from mbrl_cli.models.folded_ensemble import FoldedEnsemble
from mbrl_cli.models.markov import MarkovModel, Prediction
from mbrl_cli.models.targets import Targets
from mbrl_cli.nets.ensemble_mlp import EnsembleMLP
from mbrl_cli.nets.termination import (
    TerminationNet,
    factor_logits,
    log_continue_probability,
    termination_loss,
)
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

    Axes: E members in use (the `num_elites`), M rows, P particles, O obs_dim, A action dim,
    G = E networks that imagine with J = P / G particles each (`expectation`: G = 1, their mean),
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
        num_elites: Count,
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
        if num_elites > num_members:
            raise UserError(
                f"model.num_elites={num_elites}: more than model.num_members={num_members}"
            )
        if propagation == "expectation":
            num_particles = 1
        elif num_particles % num_elites:
            raise UserError(
                f"model.num_particles={num_particles}: must be a multiple of "
                f"model.num_elites={num_elites}, so that each elite has equally many particles"
            )
        self.num_particles = num_particles
        self.has_disagreement = num_elites > 1
        self.gaussian = head == "gaussian"
        self.noisy = self.gaussian and propagation != "expectation"  # in imagination
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
            num_members, spec.obs_dim + spec.action.dim, out_dim, generator, hidden, activation,
            device,
        )  # fmt: skip
        self.ending = TerminationNet(num_members, spec.obs_dim, generator, device)
        # Bounds on the log variance, learned for each member and entry as in PETS.
        bounds = torch.ones(num_members, spec.obs_dim, 1, device=device)
        self.max_logvar = nn.Parameter(0.5 * bounds)
        self.min_logvar = nn.Parameter(-10.0 * bounds)
        self.best = torch.arange(num_elites, device=device)  # members in use
        # Point heads: the spread of the held-out residuals stands in for a predicted variance.
        self.residual_std = torch.ones(spec.obs_dim, device=device)
        self._prepare()

    # --- imagination ------------------------------------------------------------------------

    def transition(
        self, obs: Tensor, action: Tensor, generator: torch.Generator, common_noise: bool
    ) -> tuple[Tensor, Tensor]:
        """Predict the next observation and the reward; see `MarkovModel.transition`."""
        rows, particles, obs_dim = obs.shape
        x = torch.cat([obs, action], dim=-1)  # [M, P, O+A]
        shuffle = None
        if self.propagation == "ts1":
            shuffle = torch.randperm(particles, generator=generator, device=generator.device)
            shuffle = shuffle.to(self.device)
            x = x[:, shuffle]
        out = self._planned(self._by_group(x))  # [G, D, J*M]
        reached = out[:, : 1 + obs_dim]  # [reward | next observation]
        if self.noisy:
            shape = (1 if common_noise else rows, particles, obs_dim)
            noise = self._noise(shape, generator).expand(rows, -1, -1)  # [M, P, O]
            std = self._planned.std(out[:, 1 + obs_dim :])  # [G, O, J*M]
            next_obs = torch.addcmul(reached[:, 1:], std, self._by_group(noise))
            reached = torch.cat([reached[:, :1], next_obs], dim=1)
        reached = reached.view(len(out), 1 + obs_dim, -1, rows).permute(3, 0, 2, 1)
        reached = reached.flatten(1, 2)  # [M, P, 1+O]
        if shuffle is not None:
            reached = reached[:, shuffle.argsort()]
        return reached[..., 1:], self.targets.limit_reward(reached[..., 0])

    def _by_group(self, x: Tensor) -> Tensor:
        """Map [M, P, F] to the networks' order [G, F, J * M]."""
        by_group = x.view(len(x), len(self._planned.last), -1, x.shape[-1])  # [M, G, J, F]
        return by_group.permute(1, 3, 2, 0).flatten(2)

    def _noise(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Draw standard normal numbers [..., O]; a whole number has none: members alone differ."""
        noise = torch.randn(shape, generator=generator, device=generator.device).to(self.device)
        return noise.masked_fill_(self._integer, 0.0) if self._any_integer else noise

    def continues(self, obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor | None:
        """Return the chance [..., P] for next_obs [..., P, O]; all members judge a mean."""
        if not self.targets.ends_seen:
            return None
        *rows, particles, obs_dim = next_obs.shape
        groups = 1 if self.propagation == "expectation" else len(self.best)
        by_group = next_obs.view(*rows, groups, particles // groups, obs_dim)
        x = by_group.transpose(-3, -2)  # [..., J, G, O]
        x = x.flatten(0, -3).permute(1, 2, 0).expand(len(self._planned_ending[0]), -1, -1)
        chance = log_continue_probability(factor_logits(x, *self._planned_ending)).exp()  # [E, n]
        if groups < len(chance):
            chance = chance.mean(0, keepdim=True)  # [G, n]
        by_row = chance.T.reshape(*rows, -1, groups)  # [..., J, G]
        return by_row.transpose(-2, -1).flatten(-2)

    def unroll(
        self,
        state: State,
        actions: Tensor,
        generator: torch.Generator,
        with_disagreement: bool = False,
    ) -> Trajectories:
        """Imagine all steps in one go; see `Model.unroll`. What it returns carries no gradient."""
        obs, obs_dim, horizon = state["obs"], self.spec.obs_dim, len(actions)
        particles = obs.shape[1]
        noise = self._noise((horizon, particles, obs_dim), generator) if self.noisy else None
        places = shuffles = None
        if self.propagation == "ts1":
            draw = torch.rand(horizon, particles, generator=generator, device=generator.device)
            # In their own order before the first step and after the last.
            inside = torch.arange(particles, device=draw.device).expand(1, -1)
            owners = torch.cat([inside, draw.argsort(1), inside]).to(self.device)  # who is where
            places = owners.argsort(1)  # [H+2, P] where is who
            obs = obs[:, owners[1]]
            # After step t a place takes over the particle that it holds in step t + 1.
            shuffles = places[1:-1].gather(1, owners[2:])  # [H, P]
        whole = self._integer if self._any_integer else None
        path = self._planned.unroll(obs, actions, noise, shuffles, whole)  # [H+1, 1+O+A+1, P, M]
        if places is not None:
            path = path.gather(2, places[1:, None, :, None].expand_as(path))
        reward = path[1:, 0].mT  # [H, M, P]
        if self.targets.learns_reward:
            reward = self.targets.limit_reward(reward)
        by_row = path.permute(0, 3, 2, 1)  # [H+1, M, P, 1+O+A+1]
        obs, action = by_row[:-1, ..., 1 : 1 + obs_dim], by_row[:-1, ..., 1 + obs_dim : -1]
        next_obs = by_row[1:, ..., 1 : 1 + obs_dim]
        reward, continues = self.reward_and_continues(obs, action, next_obs, reward)
        spread = self._unrolled_spread(obs, action, next_obs) if with_disagreement else None
        return Trajectories(reward, continues, spread, {"obs": next_obs[-1]})

    def _unrolled_spread(self, obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
        """Return the spread [H, M] of the members, in standard deviations of the data's change.

        With `expectation` it is the spread of the members' one-step predictions; with trajectory
        sampling, of the places to which the members' particles have drifted apart.
        """
        if self.propagation == "expectation":
            flat = obs.flatten(0, -2), action.flatten(0, -2)  # [H*M, O] and [H*M, A]
            return self.predict(*flat).disagreement.view(obs.shape[:2])
        members, obs_dim = len(self.best), self.spec.obs_dim
        by_member = next_obs.reshape(*next_obs.shape[:2], members, -1, obs_dim).mean(3)
        return self._relative_spread(by_member.movedim(2, 0))  # of [E, H, M, O]

    def predict(self, obs: Tensor, action: Tensor) -> Prediction:
        """Return the moments of the equal mixture of the members in use."""
        obs_dim = obs.shape[-1]
        x = torch.cat([obs, action], dim=-1).T.expand(len(self.best), -1, -1)  # [E, O+A, n]
        out = self._members(x)  # [E, D, n]
        next_obs = out[:, 1 : 1 + obs_dim].mT  # [E, n, O]
        between = next_obs.var(0, unbiased=False)
        if self.gaussian:
            within = self._members.std(out[:, 1 + obs_dim :]).square().mean(0).T  # [n, O]
        else:
            within = self.residual_std.square().expand_as(between)
        spread = self._relative_spread(next_obs)
        return Prediction(next_obs.mean(0), (within + between).sqrt(), spread)

    def _relative_spread(self, by_member: Tensor) -> Tensor:
        """Map [E, ..., O] to the spread over members [...], averaged over entries."""
        return (by_member.std(0, unbiased=False) / self.targets.delta.std).mean(-1)

    @torch.no_grad()
    def _prepare(self) -> None:
        """Copy the weights of the members in use into the form that imagination runs."""
        t = self.targets
        self._members = FoldedEnsemble.fold(self.net, self.best, t)
        if self.gaussian:
            bounds = self.max_logvar[self.best], self.min_logvar[self.best]
            self._members.with_noise(*bounds, t.delta.std)
        expected = self.propagation == "expectation"
        self._planned = self._members.mean_of_members() if expected else self._members
        each = self.num_particles // len(self.best)
        if not expected and each % 2 == 0:
            self._planned = self._members.in_halves()
        w1, b1, w2, b2 = (layer[self.best] for layer in self.ending.masked_weights())
        w1 = w1 / t.obs.std
        self._planned_ending = w1, b1 - (w1 @ t.obs.mean)[..., None], w2, b2

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
        accuracy = measure_accuracy(self, replay, self.accuracy_horizon, generator)
        self.errors = accuracy.errors
        return {**_loss_metrics(result), **ending_metrics, **accuracy.metrics}

    def _likelihood_loss(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the loss [E] of inputs x [E, in, n] and targets y [E, O + 1, n]."""
        obs_dim = self.spec.obs_dim
        out = self.net(x)  # [E, D, n]
        error: Tensor = (out[:, : obs_dim + 1] - y).square()
        raw = out[:, obs_dim + 1 :]
        logvar = self.max_logvar - F.softplus(self.max_logvar - raw)
        logvar = self.min_logvar + F.softplus(logvar - self.min_logvar)
        likelihood = 0.5 * (error[:, :obs_dim] * torch.exp(-logvar) + logvar)  # [E, O, n]
        loss = (likelihood * torch.exp(self.nll_beta * logvar.detach())).mean((1, 2))
        # Pull the bounds together a little, or they never move (PETS, appendix A.1).
        loss = loss + 0.01 * (self.max_logvar - self.min_logvar).mean((1, 2))
        total: Tensor = loss + self._reward_loss(error)
        return total

    def _squared_loss(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the loss [E] of inputs x [E, in, n] and targets y [E, O + 1, n].

        Held-out data are always judged by it: on few of them one surprise ruins a likelihood.
        """
        obs_dim = self.spec.obs_dim
        error: Tensor = (self.net(x)[:, : obs_dim + 1] - y).square()  # [E, O + 1, n]
        return error[:, :obs_dim].mean((1, 2)) + self._reward_loss(error)

    def _reward_loss(self, error: Tensor) -> Tensor:
        """Return the mean squared error [E] of the reward, 0 where it is known."""
        return error[:, -1].mean(1) * float(self.targets.learns_reward)

    def _ending_loss(self, next_obs: Tensor, continues: Tensor, weight: float) -> Tensor:
        """Return the loss [E] of next_obs [E, O, n] normalised and continues [E, 1, n]."""
        return termination_loss(self.ending(next_obs), continues[:, 0], weight)

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
            x, y = (part.mT.expand(self.num_members, -1, -1) for part in self.targets.endings(held))
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
    metrics = {
        "train_loss": float(result.train_loss.mean()),
        "fit_steps": float(result.steps),
        "rolled_back": float(result.rolled_back),
    }
    if result.holdout_loss is not None:
        losses: Sequence[float] = result.holdout_loss.tolist()
        metrics["holdout_loss"] = math.fsum(losses) / len(losses)
        if len(losses) > 1:
            metrics |= {f"holdout_loss/member_{i}": loss for i, loss in enumerate(losses)}
    return metrics
