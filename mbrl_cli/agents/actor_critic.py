"""Dreamer's actor and critic, trained on imagined rollouts alone (DreamerV3, section 2).

The actor is trained with REINFORCE and the critic as its baseline, for discrete and for continuous
actions. No gradient passes the world model, so rollouts are imagined without a graph and both
networks then learn from them as from one batch. Rewards and values are in typical rewards (see
`RewardScale`), logged ones in the environment's unit.

Notation of the paper: theta -> actor, psi -> critic, R^lambda -> returns, S -> return_range,
eta -> entropy_scale, c -> continues.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mbrl_cli.agents.action_distribution import ActionDistribution
from mbrl_cli.agents.lambda_returns import lambda_returns
from mbrl_cli.models.rssm import RSSM
from mbrl_cli.nets.adamw import AdamW
from mbrl_cli.nets.compilation import compile_networks
from mbrl_cli.nets.gradient_clipping import clip_gradients
from mbrl_cli.nets.mixed_precision import set_precision
from mbrl_cli.nets.norm_mlp import NormMLP
from mbrl_cli.nets.two_hot import TwoHot
from mbrl_cli.types import (
    Count,
    Fraction,
    LearningRate,
    NonNegativeFloat,
    PositiveFloat,
    PositiveFraction,
)

STATISTICS = ("actor_loss", "critic_loss", "entropy", "imagined_return", "value", "return_range")
RETURN_RANGE_RATE = 0.01  # update rate of the moving average of the range of returns
PERCENTILES = 0.05, 0.95  # of the returns; their distance is the range


class ImaginedRollouts(NamedTuple):
    """H imagined steps from each of N states, without gradient."""

    feature: Tensor  # [H + 1, N, F]
    action: Tensor  # [H, N, A]
    reward: Tensor  # [H, N]
    discount: Tensor  # [H, N] discount times the probability to continue after the step
    weight: Tensor  # [H, N] product of the discounts before the step


class ActorCritic:
    """An actor and a critic of latent features, trained inside a world model.

    Axes: N states that rollouts start from, H imagined steps, D deter, Z stoch, F features, A
    action dim, K bins of the critic.
    """

    def __init__(
        self,
        model: RSSM,
        device: torch.device,
        generator: torch.Generator,
        hidden: Count = 64,
        layers: Count = 1,
        rollout_length: Count = 15,
        rollouts: Count = 192,
        discount: Fraction = 0.99,
        gae_lambda: Fraction = 0.95,
        entropy_scale: NonNegativeFloat = 3e-4,
        actor_learning_rate: LearningRate = 1e-3,
        critic_learning_rate: LearningRate = 1e-3,
        target_rate: LearningRate = 0.05,
        max_grad_norm: PositiveFloat = 100.0,
        unimix: PositiveFraction = 0.01,
        num_bins: Count = 127,
        actor_ema_rate: PositiveFraction = 1.0,
    ) -> None:
        self.model = model
        self.generator = generator
        self.rollout_length = rollout_length
        self.rollouts = rollouts
        self.discount = discount
        self.gae_lambda = gae_lambda
        self.entropy_scale = entropy_scale
        self.target_rate = target_rate
        self.max_grad_norm = max_grad_norm
        self.actor_ema_rate = actor_ema_rate
        self.actions = ActionDistribution(model.spec.action, unimix)
        self.two_hot = TwoHot(num_bins, device)
        self.actor = NormMLP(
            model.feature_dim, self.actions.num_outputs, generator, hidden, layers, zero_output=True
        ).to(device)
        self.critic = NormMLP(
            model.feature_dim, num_bins, generator, hidden, layers, zero_output=True
        ).to(device)
        # Exponential moving averages: one regularizes the critic, one acts in evaluations.
        self.slow_critic = copy.deepcopy(self.critic).requires_grad_(False)
        self.ema_actor = copy.deepcopy(self.actor).requires_grad_(False)
        for net in (self.actor, self.critic, self.slow_critic, self.ema_actor):
            set_precision(net, model.precision)
            if model.compile:
                compile_networks(net)
        self.return_range = torch.zeros((), device=device)
        self.actor_learning_rate = actor_learning_rate
        self.critic_learning_rate = critic_learning_rate
        self.actor_optimiser = AdamW(list(self.actor.parameters()))
        self.critic_optimiser = AdamW(list(self.critic.parameters()))

    def act(self, feature: Tensor, generator: torch.Generator | None) -> Tensor:
        """Map features [n, F] to actions [n, A].

        With a generator they are samples of the actor's distribution; without one, the mode of the
        averaged actor's.
        """
        if generator is None:
            return self.actions.mode(self.ema_actor(feature))
        return self.actions.sample(self.actor(feature), generator)

    def learn(self, deter: Tensor, stoch: Tensor, continues: Tensor) -> Tensor:
        """Imagine rollouts from N posterior states and take one gradient step.

        Args:
            deter: [N, D].
            stoch: [N, Z].
            continues: 0 where the task terminated at the state, else 1 [N].

        Returns:
            the `STATISTICS`.
        """
        if self.rollouts < len(deter):
            chosen = torch.randperm(len(deter), generator=self.generator)[: self.rollouts]
            chosen = chosen.to(deter.device)
            deter, stoch, continues = deter[chosen], stoch[chosen], continues[chosen]
        rollouts = self._imagine(deter, stoch, continues)
        chunks = self.two_hot.chunks(rollouts.feature[:-1].flatten(0, 1))
        value_logits = [self.critic(chunk) for chunk in chunks]  # [n, K] each, H * N rows together
        value = self._mean_value(value_logits).view_as(rollouts.reward)  # [H, N]
        with torch.no_grad():
            last_value = self.two_hot.predict(self.critic, rollouts.feature[-1:])  # [1, N]
        next_value = torch.cat([value[1:], last_value])  # [H, N]
        returns = lambda_returns(rollouts.reward, rollouts.discount, next_value, self.gae_lambda)
        actor_loss, entropy = self._actor_loss(rollouts, returns, value)
        critic_loss = self._critic_loss(rollouts, returns, value_logits)
        self._update(actor_loss + critic_loss)
        with torch.no_grad():
            weight = rollouts.weight
            mean_entropy = (weight * entropy).sum() / weight.sum().clamp_min(1e-8)
            losses = actor_loss.detach(), critic_loss.detach()
            values = returns.mean(), value.mean(), self.return_range
            restored = (self.model.reward_scale.restore(number.detach()) for number in values)
            return torch.stack([*losses, mean_entropy.detach(), *restored])

    @torch.no_grad()
    def _imagine(self, deter: Tensor, stoch: Tensor, continues: Tensor) -> ImaginedRollouts:
        """Imagine rollouts of the actor from deter [N, D], stoch [N, Z]."""
        model = self.model
        feature, action = model.imagine(
            deter,
            stoch,
            lambda feature: self.act(feature, self.generator),
            self.rollout_length,
            self.generator,
        )
        reward, imagined_continues = model.reward_and_continues(feature, action)  # [H, N]
        reward = model.reward_scale.normalize(reward)
        discount = self.discount * imagined_continues
        # Steps after a termination have weight zero; the start itself may be a terminal state.
        weight = torch.cat([continues[None], discount[:-1]]).cumprod(0)  # [H, N]
        return ImaginedRollouts(feature, action, reward, discount, weight)

    def _mean_value(self, logits: Sequence[Tensor]) -> Tensor:
        """Return the values [H * N] of the critic's logits, without gradient."""
        return torch.cat([self.two_hot.mean(part.detach()) for part in logits])

    def _actor_loss(
        self, rollouts: ImaginedRollouts, returns: Tensor, value: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the actor's loss (DreamerV3, equation 11) and the entropy [H, N].

        The critic's value [H, N] is the baseline of the returns [H, N].
        """
        advantage = (returns - value) / self._return_scale(returns)
        out = self.actor(rollouts.feature[:-1])
        log_prob, entropy = self.actions.log_prob_and_entropy(out, rollouts.action)
        objective = advantage * log_prob + self.entropy_scale * entropy  # [H, N]
        return -(rollouts.weight * objective).mean(), entropy

    def _critic_loss(
        self, rollouts: ImaginedRollouts, returns: Tensor, logits: Sequence[Tensor]
    ) -> Tensor:
        """Return the critic's loss (DreamerV3, section "Critic learning").

        The targets are the returns [H, N] and, as a regularizer, the values of the critic's moving
        average.
        """
        with torch.no_grad():
            slow_value = self.two_hot.predict(self.slow_critic, rollouts.feature[:-1])  # [H, N]
        targets = (self.two_hot.chunks(target.flatten()) for target in (returns, slow_value))
        losses = [self.two_hot.loss(*part) for part in zip(logits, *targets, strict=True)]
        return (rollouts.weight.flatten() * torch.cat(losses)).mean()

    def _update(self, loss: Tensor) -> None:
        """Take one gradient step of both networks, then update the moving averages."""
        actor, critic = self.actor_optimiser, self.critic_optimiser
        gradients = torch.autograd.grad(loss, [*actor.parameters, *critic.parameters])
        actor_gradients = gradients[: len(actor.parameters)]
        critic_gradients = gradients[len(actor.parameters) :]
        actor.step(clip_gradients(actor_gradients, self.max_grad_norm), self.actor_learning_rate)
        critic.step(clip_gradients(critic_gradients, self.max_grad_norm), self.critic_learning_rate)
        _update_average(self.slow_critic, self.critic, self.target_rate)
        _update_average(self.ema_actor, self.actor, self.actor_ema_rate)

    def _return_scale(self, returns: Tensor) -> Tensor:
        """Return the divisor of advantages: max(1, S) (DreamerV3, equation 11).

        S is a moving average of the range of returns between their 5th and 95th percentile. The
        entropy bonus then does not depend on the scale of rewards. Returns with a range below 1 are
        not scaled up, because that would amplify noise where rewards are sparse.
        """
        count = returns.numel()
        low, high = (max(1, round(fraction * count)) for fraction in PERCENTILES)
        flat = returns.flatten()
        current_range = flat.kthvalue(high).values - flat.kthvalue(low).values
        self.return_range = torch.lerp(self.return_range, current_range, RETURN_RANGE_RATE)
        return self.return_range.clamp_min(1.0)

    def state_dict(self) -> dict[str, Any]:
        """Return networks, optimisers and the range of returns."""
        parts = {name: part.state_dict() for name, part in self._saved_parts().items()}
        return parts | {"return_range": self.return_range}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the values that `state_dict` returned."""
        for name, part in self._saved_parts().items():
            part.load_state_dict(state[name])
        self.return_range = state["return_range"].to(self.return_range.device)

    def _saved_parts(self) -> dict[str, nn.Module | AdamW]:
        return {
            "actor": self.actor,
            "critic": self.critic,
            "slow_critic": self.slow_critic,
            "ema_actor": self.ema_actor,
            "actor_optimiser": self.actor_optimiser,
            "critic_optimiser": self.critic_optimiser,
        }


def _update_average(average: nn.Module, net: nn.Module, rate: float) -> None:
    """Update the exponential moving average of a network's weights."""
    weights = [[parameter.detach() for parameter in m.parameters()] for m in (average, net)]
    torch._foreach_lerp_(weights[0], weights[1], rate)
