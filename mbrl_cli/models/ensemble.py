"""Neural Markov models: one MLP, a deterministic ensemble, or the probabilistic ensemble of PETS.

Source: Chua et al. 2018, "Deep Reinforcement Learning in a Handful of Trials using Probabilistic
Dynamics Models" (PETS): ensembles with Gaussian heads (section 4), trajectory sampling TS1 and
TS-infinity, and expectation (section 5).

This file has more than 300 lines because of the list of hyperparameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from mbrl_cli.errors import UserError
from mbrl_cli.models.accuracy import measure_accuracy, residual_std
from mbrl_cli.models.base import Trajectories
from mbrl_cli.models.bootstrap import member_counts
from mbrl_cli.models.dynamics_net import DynamicsNet
from mbrl_cli.models.fitting import FitSettings, fit_members
from mbrl_cli.models.folded_ensemble import FoldedEnsemble
from mbrl_cli.models.markov import MarkovModel, Prediction
from mbrl_cli.models.particle_shuffles import ParticleShuffles
from mbrl_cli.models.termination_model import TerminationModel
from mbrl_cli.models.transition_normalizer import TransitionNormalizer
from mbrl_cli.replay.buffer import ReplayBuffer
from mbrl_cli.types import (
    Activation,
    Count,
    CountOrZero,
    EnvSpec,
    Fraction,
    LearningRate,
    NonNegativeFloat,
    State,
)


class Ensemble(MarkovModel):
    """Networks that predict the next observation, the reward and the termination.

    All members are fitted. The elites, those with the lowest held-out loss, imagine. With
    trajectory sampling, particle e * P / E + j follows elite e, for a whole rollout (`ts_inf`) or
    after a random shuffle of the particles at every step (`ts1`). With `expectation` there is one
    particle, which follows the mean of the elites without noise.

    `configs/model/ensemble.yaml` explains the hyperparameters.

    Axes: E elites, M rows, P particles, H horizon, O obs_dim, A action dim, n transitions;
    G networks that imagine, each with J = P / G particles: the elites, each once or twice, or one
    that computes their mean; D outputs of a network, see `FoldedEnsemble`.
    """

    def __init__(
        self,
        spec: EnvSpec,
        device: torch.device,
        generator: torch.Generator,
        head: Literal["point", "gaussian"] = "point",
        nll_beta: Fraction = 0.0,
        obs_target: Literal["change", "next_obs"] = "change",
        num_members: Count = 5,
        num_elites: Count = 5,
        propagation: Literal["ts1", "ts_inf", "expectation"] = "expectation",
        num_particles: Count = 5,
        hidden: Sequence[Count] = (64, 64),
        activation: Activation = "silu",
        bootstrap: Literal["persistent", "fresh", "none"] | bool = "fresh",
        fit_from: Literal["last", "scratch"] = "last",
        batch_size: Count = 256,
        max_steps: Count = 500,
        check_every: Count = 50,
        patience: Count = 3,
        learning_rate: LearningRate = 3e-3,
        weight_decay: NonNegativeFloat = 1e-2,
        termination_steps: Count = 300,
        termination_learning_rate: LearningRate = 1e-2,
        accuracy_horizon: CountOrZero = 25,
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
        self.num_members = num_members
        self.propagation = propagation
        self.is_noisy = head == "gaussian" and propagation != "expectation"  # while imagining
        self.fit_from = fit_from
        self.accuracy_horizon = accuracy_horizon
        self.settings = FitSettings(
            batch_size=batch_size,
            max_steps=max_steps,
            check_every=check_every,
            patience=patience,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            fresh_bootstrap=bootstrap in ("fresh", True),
        )
        self._bootstrap_seed = generator.initial_seed() if bootstrap == "persistent" else None
        self.normalizer = TransitionNormalizer(spec, device, obs_target)
        self.net = DynamicsNet(
            spec,
            num_members,
            hidden=hidden,
            activation=activation,
            gaussian=head == "gaussian",
            nll_beta=nll_beta,
            generator=generator,
            device=device,
        )
        self.termination = TerminationModel(
            spec,
            num_members,
            batch_size=batch_size,
            steps=termination_steps,
            learning_rate=termination_learning_rate,
            generator=generator,
            device=device,
        )
        self.elites = torch.arange(num_elites, device=device)  # [E] indices of members
        # Of one-step predictions; a point head has no other measure of its noise.
        self.residual_std = torch.ones(spec.obs_dim, device=device)  # [O]
        self.fold_weights()

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
        out = self._rollout_nets(self._by_net(x))  # [G, D, J*M]
        predicted = out[:, : 1 + obs_dim]  # [reward | next observation]
        if self.is_noisy:
            shape = (1 if common_noise else rows, particles, obs_dim)
            noise = self._sample_noise(shape, generator).expand(rows, -1, -1)  # [M, P, O]
            std = self._rollout_nets.std(out[:, 1 + obs_dim :])  # [G, O, J*M]
            next_obs = torch.addcmul(predicted[:, 1:], std, self._by_net(noise))
            predicted = torch.cat([predicted[:, :1], next_obs], dim=1)
        predicted = predicted.view(len(out), 1 + obs_dim, -1, rows).permute(3, 0, 2, 1)
        predicted = predicted.flatten(1, 2)  # [M, P, 1+O]
        if shuffle is not None:
            predicted = predicted[:, shuffle.argsort()]
        return predicted[..., 1:], self.normalizer.clip_reward(predicted[..., 0])

    def _by_net(self, x: Tensor) -> Tensor:
        """Map [M, P, F] to the axes of the networks, [G, F, J * M]."""
        by_net = x.view(len(x), len(self._rollout_nets), -1, x.shape[-1])  # [M, G, J, F]
        return by_net.permute(1, 3, 2, 0).flatten(2)

    def _sample_noise(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Return standard normal numbers [..., O], 0 for integer entries, which are rounded."""
        noise = torch.randn(shape, generator=generator, device=generator.device).to(self.device)
        return noise.masked_fill_(self._integer, 0.0) if self._any_integer else noise

    def continues(self, obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor | None:
        """Return the continue probability; see `MarkovModel.continues`."""
        if not self.termination.has_seen_termination:
            return None
        expectation = self.propagation == "expectation"
        return self.termination.continue_probability(next_obs, mean_over_members=expectation)

    def unroll(
        self,
        state: State,
        actions: Tensor,
        generator: torch.Generator,
        with_disagreement: bool = False,
    ) -> Trajectories:
        """Imagine all steps in preallocated memory; see `Model.unroll`. There is no gradient."""
        obs, obs_dim, horizon = state["obs"], self.spec.obs_dim, len(actions)
        particles = obs.shape[1]
        shape = (horizon, particles, obs_dim)
        noise = self._sample_noise(shape, generator) if self.is_noisy else None
        shuffles = None
        if self.propagation == "ts1":
            shuffles = ParticleShuffles(horizon, particles, generator, self.device)
            obs = obs[:, shuffles.first]
        trajectory = self._rollout_nets.unroll(
            obs,
            actions,
            noise=noise,
            shuffles=None if shuffles is None else shuffles.after_step,
            integer=self._integer if self._any_integer else None,
        )  # [H+1, 1+O+A+1, P, M]
        if shuffles is not None:
            trajectory = shuffles.in_particle_order(trajectory)
        reward = trajectory[1:, 0].mT  # [H, M, P]
        if self.spec.known_reward is None:
            reward = self.normalizer.clip_reward(reward)
        by_row = trajectory.permute(0, 3, 2, 1)  # [H+1, M, P, 1+O+A+1]
        obs, action = by_row[:-1, ..., 1 : 1 + obs_dim], by_row[:-1, ..., 1 + obs_dim : -1]
        next_obs = by_row[1:, ..., 1 : 1 + obs_dim]  # [H, M, P, O]
        reward, continues = self.reward_and_continues(obs, action, next_obs, reward)
        return Trajectories(
            reward=reward,
            continues=continues,
            disagreement=self._disagreement(obs, action, next_obs) if with_disagreement else None,
            last_state={"obs": next_obs[-1]},
        )

    def _disagreement(self, obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
        """Return the disagreement [H, M] along trajectories [H, M, P, .].

        With `expectation` it is that of the one-step predictions; with trajectory sampling, that of
        the observations which the elites' particles have reached.
        """
        if self.propagation == "expectation":
            flat = obs.flatten(0, -2), action.flatten(0, -2)  # [H*M, O] and [H*M, A]
            return self.predict(*flat).disagreement.view(obs.shape[:2])
        horizon, rows, _, obs_dim = next_obs.shape
        by_elite = next_obs.reshape(horizon, rows, len(self.elites), -1, obs_dim).mean(3)
        return self._relative_std(by_elite.movedim(2, 0))  # of [E, H, M, O]

    def predict(self, obs: Tensor, action: Tensor) -> Prediction:
        """Return the moments of the equally weighted mixture of the elites' predictions."""
        obs_dim = obs.shape[-1]
        x = torch.cat([obs, action], dim=-1).T.expand(len(self.elites), -1, -1)  # [E, O+A, n]
        out = self._elite_nets(x)  # [E, D, n]
        next_obs = out[:, 1 : 1 + obs_dim].mT  # [E, n, O]
        variance_of_means = next_obs.var(0, unbiased=False)  # [n, O]
        if self.net.gaussian:
            std = self._elite_nets.std(out[:, 1 + obs_dim :])  # [E, O, n]
            noise_variance = std.square().mean(0).T  # [n, O]
        else:
            noise_variance = self.residual_std.square().expand_as(variance_of_means)
        return Prediction(
            mean=next_obs.mean(0),
            std=(noise_variance + variance_of_means).sqrt(),
            disagreement=self._relative_std(next_obs),
        )

    def _relative_std(self, by_elite: Tensor) -> Tensor:
        """Map [E, ..., O] to the standard deviation over elites [...], averaged over entries.

        Its unit is the standard deviation of the change in the data.
        """
        return (by_elite.std(0, unbiased=False) / self.normalizer.change.std).mean(-1)

    @torch.no_grad()
    def fold_weights(self) -> None:
        """Copy the elites' weights into the form that imagines; call it when they have changed."""
        self._elite_nets = FoldedEnsemble.fold(self.net, self.elites, self.normalizer)
        if self.propagation == "expectation":
            self._rollout_nets = self._elite_nets.mean_of_members()
        elif self.num_particles // len(self.elites) % 2 == 0:
            self._rollout_nets = self._elite_nets.duplicated()
        else:
            self._rollout_nets = self._elite_nets
        self.termination.fold_weights(self.elites, self.normalizer.obs)

    def fit(self, replay: ReplayBuffer, generator: torch.Generator) -> dict[str, float]:
        """Fit all members to the replay, select the elites, measure the accuracy."""
        train_rows, holdout_rows = replay.split()
        train = replay.batch(train_rows, self.device)
        holdout = replay.batch(holdout_rows, self.device) if len(holdout_rows) else None
        self.normalizer.fit(train)
        if self.fit_from == "scratch" or not self.is_fitted:
            self.net.reset(generator)
            self.termination.reset(generator)
        result = fit_members(
            self.net.trained_parameters(),
            training_loss=self.net.training_loss,
            selection_loss=self.net.squared_error_loss,
            train=self.normalizer.inputs_and_targets(train),
            holdout=None if holdout is None else self.normalizer.inputs_and_targets(holdout),
            num_members=self.num_members,
            settings=self.settings,
            generator=generator,
            counts=self._counts(replay.numbers(train_rows)),
        )
        termination_metrics = self.termination.fit(train, holdout, self.normalizer.obs, generator)
        if result.holdout_loss is not None:
            self.elites = result.holdout_loss.argsort()[: len(self.elites)].sort().values
        self.is_fitted = True
        self.fold_weights()
        self.residual_std = residual_std(
            self, train if holdout is None else holdout, self.normalizer.obs.std
        )
        accuracy = measure_accuracy(self, replay, self.accuracy_horizon, generator)
        self.errors = accuracy.errors
        return {**result.metrics(), **termination_metrics, **accuracy.metrics}

    def _counts(self, numbers: np.ndarray) -> np.ndarray | None:
        """Return how often members see transitions with numbers [n]; None: not persistent."""
        if self._bootstrap_seed is None:
            return None
        return member_counts(self._bootstrap_seed, self.num_members, numbers)

    def state_dict(self) -> dict[str, Any]:
        """Return weights, statistics and the indices of the elites."""
        return {
            "net": {name: value.clone() for name, value in self.net.state_dict().items()},
            "termination": self.termination.state_dict(),
            "normalizer": self.normalizer.state_dict(),
            "elites": self.elites,
            "residual_std": self.residual_std,
            "is_fitted": self.is_fitted,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the values that `state_dict` returned."""
        self.net.load_state_dict(state["net"])
        self.termination.load_state_dict(state["termination"])
        self.normalizer.load_state_dict(state["normalizer"])
        self.elites = state["elites"].to(self.device)
        self.residual_std = state["residual_std"].to(self.device)
        self.is_fitted = state["is_fitted"]
        self.fold_weights()
