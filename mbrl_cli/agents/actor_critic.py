"""The actor and the critic of Dreamer, trained on imagined steps alone (DreamerV3, section 2).

Both actor losses, for discrete and for continuous actions, are REINFORCE with the critic as its
baseline: no gradient passes the world model, so imagining is done without any, and what is then
learned from it is one batch.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from mbrl_cli.agents.actions import ActionDistribution
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
RANGE_RATE = 0.01  # how fast the range of returns follows


class ActorCritic:
    """Improve a policy inside a world model.

    Axes: N states that imagining starts from, H imagined steps, F features.
    """

    def __init__(
        self,
        model: RSSM,
        device: torch.device,
        generator: torch.Generator,
        hidden: Count,
        layers: Count,
        rollout_length: Count,
        rollouts: Count,
        discount: Fraction,
        gae_lambda: Fraction,
        entropy_scale: NonNegativeFloat,
        actor_learning_rate: LearningRate,
        critic_learning_rate: LearningRate,
        target_rate: LearningRate,
        max_grad_norm: PositiveFloat,
        unimix: PositiveFraction,
        num_bins: Count,
        actor_ema_rate: PositiveFraction,
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
        self.slow_critic = copy.deepcopy(self.critic).requires_grad_(False)
        # The actor of the last updates on average: what acts where nothing is explored.
        self.averaged = copy.deepcopy(self.actor).requires_grad_(False)
        for net in (self.actor, self.critic, self.slow_critic, self.averaged):
            set_precision(net, model.precision)
            if model.compile:
                compile_networks(net)
        self.return_range = torch.zeros((), device=device)
        self.learning_rates = actor_learning_rate, critic_learning_rate
        self.optimisers = [AdamW(list(net.parameters())) for net in (self.actor, self.critic)]

    def act(self, feature: Tensor, generator: torch.Generator | None) -> Tensor:
        """Map features [n, F] to actions [n, A].

        They are drawn with `generator`; without one the averaged actor takes the likeliest.
        """
        if generator is None:
            return self.actions.mode(self.averaged(feature))
        return self.actions.sample(self.actor(feature), generator)

    def learn(self, deter: Tensor, stoch: Tensor, continues: Tensor) -> Tensor:
        """Imagine from N filtered states, take one gradient step; return the `STATISTICS`.

        Args:
            deter: [N, D].
            stoch: [N, Z].
            continues: whether the task really went on at each state [N].
        """
        model = self.model
        if self.rollouts < len(deter):
            chosen = torch.randperm(len(deter), generator=self.generator)[: self.rollouts]
            chosen = chosen.to(deter.device)
            deter, stoch, continues = deter[chosen], stoch[chosen], continues[chosen]
        feature, action = model.dream(
            deter, stoch, lambda f: self.act(f, self.generator), self.rollout_length, self.generator
        )
        with torch.no_grad():
            reward, goes_on = model.judge(feature, action)  # [H, N]
            discounts = self.discount * goes_on
            # What follows an end must not count.
            weight = torch.cat([continues[None], discounts[:-1]]).cumprod(0)  # [H, N]
            slow_value = self.two_hot.predict(self.slow_critic, feature[:-1])
            last_value = self.two_hot.predict(self.critic, feature[-1:])  # [1, N]
        parts = self.two_hot.chunks(feature[:-1].flatten(0, 1))
        logits = [self.critic(part) for part in parts]  # [n, K] each
        value = torch.cat([self.two_hot.mean(part.detach()) for part in logits]).view_as(reward)
        later_value = torch.cat([value[1:], last_value])
        returns = lambda_returns(reward, discounts, later_value, self.gae_lambda)
        advantage = (returns - value) / self._scale(returns)
        log_chance, entropy = self.actions.log_prob_and_entropy(self.actor(feature[:-1]), action)
        gain = advantage * log_chance + self.entropy_scale * entropy
        actor_loss = -(weight * gain).mean()
        # The critic follows the returns, held back by its own past (DreamerV3, "critic learning").
        targets = (self.two_hot.chunks(target.flatten()) for target in (returns, slow_value))
        errors = [self.two_hot.loss(*part) for part in zip(logits, *targets, strict=True)]
        critic_loss = (weight.flatten() * torch.cat(errors)).mean()
        self._step(actor_loss + critic_loss)
        with torch.no_grad():
            mean_entropy = (weight * entropy).sum() / weight.sum().clamp_min(1e-8)
            found = (actor_loss, critic_loss, mean_entropy, returns.mean(), value.mean())
            return torch.stack([*(number.detach() for number in found), self.return_range])

    def _step(self, loss: Tensor) -> None:
        actor, critic = self.optimisers
        gradients = torch.autograd.grad(loss, [*actor.parameters, *critic.parameters])
        parts = gradients[: len(actor.parameters)], gradients[len(actor.parameters) :]
        for optimiser, part, rate in zip(self.optimisers, parts, self.learning_rates, strict=True):
            optimiser.step(clip_gradients(part, self.max_grad_norm), rate)
        _follow(self.slow_critic, self.critic, self.target_rate)
        _follow(self.averaged, self.actor, self.actor_ema_rate)

    def _scale(self, returns: Tensor) -> Tensor:
        """Return what advantages are divided by: the usual range of returns, or 1 if it is less.

        So the entropy bonus weighs the same whatever the size of rewards, and where there is
        nothing to win no noise is blown up (DreamerV3, equation 11).
        """
        count = returns.numel()
        low, high = max(1, round(0.05 * count)), max(1, round(0.95 * count))
        flat = returns.flatten()
        spread = flat.kthvalue(high).values - flat.kthvalue(low).values
        self.return_range = torch.lerp(self.return_range, spread, RANGE_RATE)
        return self.return_range.clamp_min(1.0)

    def state_dict(self) -> dict[str, Any]:
        """Return networks, optimiser and the range of returns."""
        return {
            "actor": self.actor.state_dict(),
            "critic": self.critic.state_dict(),
            "slow_critic": self.slow_critic.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "return_range": self.return_range,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        for name in ("actor", "critic", "slow_critic", "averaged"):
            getattr(self, name).load_state_dict(state[name])
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        self.return_range = state["return_range"].to(self.return_range.device)


def _follow(slow: nn.Module, fast: nn.Module, rate: float) -> None:
    """Move the weights of `slow` that share of the way to those of `fast`."""
    weights = [[parameter.detach() for parameter in net.parameters()] for net in (slow, fast)]
    torch._foreach_lerp_(weights[0], weights[1], rate)
