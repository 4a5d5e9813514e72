"""TD-MPC2 (Hansen et al. 2024): plan a few steps in a latent model, value what comes after them.

Every gradient step trains the model along real sequences with the TD targets of the policy, then
the policy at the latents that the model imagined. A planner proposes plans with the policy and adds
the value of a plan's last state.

The file has more than 300 lines because acting and learning share the model's values.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Literal, cast

import torch
from torch import Tensor

from mbrl_cli.agents.assessed_weights import AssessedWeights
from mbrl_cli.agents.base import Agent
from mbrl_cli.agents.episode_discount import discount_for
from mbrl_cli.agents.exploration import Exploration, ExplorationKind
from mbrl_cli.agents.gradient_schedule import GradientSchedule
from mbrl_cli.agents.planning import checked_proposals, cost_advice
from mbrl_cli.agents.planning_policy import PlanningPolicy
from mbrl_cli.agents.policy_prior import STATISTICS, PolicyPrior
from mbrl_cli.agents.running_means import RunningMeans
from mbrl_cli.divergence import all_finite
from mbrl_cli.envs.env import Env
from mbrl_cli.errors import UserError
from mbrl_cli.models.base import Model
from mbrl_cli.models.episodes import Episodes, Returns, sample_episodes
from mbrl_cli.models.tdmpc2 import LOSSES, TDMPC2
from mbrl_cli.models.tdmpc2_losses import step_weights
from mbrl_cli.nets.cuda_graph_update import CudaGraphUpdate
from mbrl_cli.nets.implicit_world_model import chosen_critics
from mbrl_cli.nets.weight_average import WeightAverage
from mbrl_cli.planners.base import Planner
from mbrl_cli.planners.world import World
from mbrl_cli.replay.buffer import ReplayBuffer
from mbrl_cli.replay.reward_scale import RewardScale
from mbrl_cli.types import (
    Count,
    CountOrZero,
    EnvSpec,
    Fraction,
    NonNegativeFloat,
    PositiveFloat,
    PositiveFraction,
    State,
)


class TDMPC2Agent(Agent):
    """Train `TDMPC2` and a policy on the replay; plan every action.

    Axes: B environments, M rows, P = 1 particle, D latent, A action dim, n sequences of H steps.

    Args:
        spec: the environment.
        device: where the networks live.
        model: see `TDMPC2`.
        planner: chooses the actions.
        generator: initial weights, and all random numbers in training.
        batch_size: n.
        updates_per_step: gradient steps per environment step, after the prefill.
        pretrain_steps: gradient steps on the prefill, before the first action.
        discount: per step; "auto": from the length of an episode, see `discount_for`.
        td_steps: real rewards in a target of the critics, at most; the value of the state after
            them follows. In the paper 1. More make a fall known many steps before it in fewer
            updates, but belong to the actions that were taken, not to the present policy.
        min_policy_ratio: a target ends, with the value, before the first discrete action whose
            probability in the policy is below this fraction of the largest one; 0: never.
        ema_rate: update rate of the averaged weights that act in evaluations; 1: the weights
            themselves. Where values hardly differ, single updates decide whether an episode fails.
        assess_rounds: rounds of training episodes in which a copy of the averaged weights must be
            as good as in the best one before it acts in evaluations, see `AssessedWeights`.
        entropy_scale: weight of the policy's entropy; values are scaled to a range of 1. "auto":
            1e-4 for continuous actions; 1e-2 for a discrete one, which would else stay with the
            first choice whose value rises.
        proposals: candidates of the planner that are rollouts of the policy.
        explore: see `Exploration.kind`. "auto": a sample of the planner's last distribution if it
            has one, else "noise" or, for discrete actions, "epsilon".
        noise_std: for "noise".
        epsilon: for "epsilon".
        log_every: environment steps between two rows of metrics.

    Raises:
        UserError: if the model is another one, or an argument does not fit environment or planner.
    """

    trains_models_from = ("td",)
    divergence_advice = "lower model.learning_rate"

    def __init__(
        self,
        spec: EnvSpec,
        device: torch.device,
        model: Model,
        planner: Planner,
        generator: torch.Generator,
        batch_size: Count = 256,
        updates_per_step: PositiveFloat = 1.0,
        pretrain_steps: CountOrZero = 500,
        discount: Fraction | Literal["auto"] = "auto",
        td_steps: Count = 1,
        min_policy_ratio: Fraction = 0.25,
        ema_rate: PositiveFraction = 1.0,
        assess_rounds: CountOrZero = 0,
        entropy_scale: NonNegativeFloat | Literal["auto"] = "auto",
        proposals: CountOrZero = 6,
        explore: ExplorationKind | Literal["auto"] = "auto",
        noise_std: NonNegativeFloat = 0.1,
        epsilon: Fraction = 0.05,
        log_every: Count = 100,
    ) -> None:
        if model.learns_from != "td":
            raise UserError(
                f"model: agent=tdmpc2 plans with values of a latent model, {type(model).__name__} "
                "has none; use model=tdmpc2"
            )
        self.model = cast(TDMPC2, model)
        self.planner = planner
        self.generator = generator
        self.is_discrete = spec.action.kind == "discrete"
        self.batch_size = batch_size
        self.discount = discount_for(spec.max_episode_steps) if discount == "auto" else discount
        self.td_steps = td_steps
        self.min_policy_ratio = min_policy_ratio if self.is_discrete else 0.0
        if entropy_scale == "auto":
            entropy_scale = 1e-2 if self.is_discrete else 1e-4
        self.exploration = Exploration(self._explore_kind(explore), noise_std, epsilon)
        self.exploration.check(spec, model, planner)
        self.proposals = checked_proposals(planner, proposals)
        self.actor = PolicyPrior(
            spec.action,
            self.model.latent_dim,
            self.model.nets.size.hidden,
            generator,
            device,
            self.model.learning_rate,
            entropy_scale,
            self.model.max_grad_norm,
        )
        optimisers = self.model.encoder_optimiser, self.model.optimiser, self.actor.optimiser
        self.weights = [weight for optimiser in optimisers for weight in optimiser.parameters]
        self.average = WeightAverage(self.weights, ema_rate)
        # A copy has the scales for which its weights were learned.
        scales = [*self.model.normalizer.scales, self.model.value_offset]
        averages = [*self.average.averages, *scales] if self.average.averages else None
        self.assessed = AssessedWeights([*self.weights, *scales], assess_rounds, averages)
        self.gradient_step = CudaGraphUpdate(
            self._gradient_step, lambda: self.model.graph_version, device
        )
        self.schedule = GradientSchedule(updates_per_step, pretrain_steps)
        self.means = RunningMeans((*LOSSES, *STATISTICS), log_every, device)
        self.cost_advice = cost_advice(planner, model)

    def _explore_kind(self, explore: ExplorationKind | Literal["auto"]) -> ExplorationKind:
        if explore != "auto":
            return explore
        if self.planner.draws_sample:
            return "sample"
        return "epsilon" if self.is_discrete else "noise"

    # --- acting -------------------------------------------------------------------------------

    def policy(
        self, envs: Sequence[Env], explore: bool, generator: torch.Generator
    ) -> PlanningPolicy:
        """Return a policy that plans with the model as it is at each step."""
        return PlanningPolicy(
            model=self.model,
            planner=self.planner,
            make_world=self.world,
            model_version=lambda: self.model.graph_version,
            envs=envs,
            exploration=partial(self._exploration_of, explore),
            reward_scale=RewardScale(),
            generator=generator,
            discount=self.discount,
            prediction_horizon=0,  # the predicted return covers all future steps
            weights=partial(self._weights_of, explore),
        )

    def _exploration_of(self, explore: bool) -> Exploration:
        """Return how actions are changed: not in evaluations, and not while a copy is assessed."""
        return self.exploration if explore and self.assessed.explores else Exploration()

    def _weights_of(self, explore: bool) -> AbstractContextManager[None]:
        """Let the weights be those that act, inside the context."""
        return self.assessed.acting() if explore else self.assessed.best()

    def world(self, generator: torch.Generator) -> World:
        """Return the functions that the planner calls, with their random numbers bound."""
        return World.of_model(
            self.model,
            self.discount,
            generator,
            value=self._value,
            prior=self._prior if self.is_discrete else None,
            propose=partial(self._propose, generator) if self.proposals else None,
        )

    def _value(self, state: State) -> Tensor:
        """Return the mean of the critics' values [M, P] of imagined states."""
        latent = state["latent"]  # [M, P, D]
        value = self.actor.value(latent.flatten(0, 1), lambda z, a: self.model.q(z, a).mean(0))
        return self.model.reward_scale.restore(value).view(latent.shape[:2])

    def _prior(self, state: State) -> Tensor:
        """Return the policy's probabilities [M, A] in imagined states."""
        return self.actor.probabilities(state["latent"][:, 0])

    def _propose(self, generator: torch.Generator, state: State) -> Tensor:
        """Return plans [B, K, H, A]: rollouts of the policy, the first one of its modes."""
        num_envs, num = len(state["latent"]), self.proposals
        latent = state["latent"].repeat_interleave(num, dim=0)  # [B * K, D]
        actions: list[Tensor] = []
        for step in range(self.planner.horizon):
            if step:
                latent = self.model.next_latent(latent, actions[-1])
            action = self.actor.act(latent, generator)  # [B * K, A]
            action[::num] = self.actor.act(latent[::num], None)
            actions.append(action)
        return torch.stack(actions, dim=1).view(num_envs, num, self.planner.horizon, -1)

    # --- learning -----------------------------------------------------------------------------

    def update(self, replay: ReplayBuffer, env_step: int) -> dict[str, float]:
        """Take the gradient steps that are due."""
        if not len(replay):
            return {}
        self.model.refit_scales(replay, self.discount)
        for _ in range(self.schedule.due(env_step)):
            self.learn(replay)
        self.assessed.update(replay)
        if not self.means.due(env_step):
            return {}
        means = self.means.take(env_step)
        scale = float(self.model.reward_scale.scale)
        for name in ("value", "value_range"):
            means[name] *= scale  # in the environment's unit
        model = {f"model/{name}": means[name] for name in LOSSES}
        agent = {f"agent/{name}": means[name] for name in STATISTICS}
        return model | agent | self.assessed.metrics()

    def learn(self, replay: ReplayBuffer) -> None:
        """Take one gradient step of the model and one of the policy."""
        model, is_own = self.model, self._is_own if self.min_policy_ratio else None
        data, returns = sample_episodes(
            replay, self.batch_size, model.unroll_steps, self.td_steps, self.discount,
            model.spec, self.generator, model.device, is_own,
        )  # fmt: skip
        num_steps, num = data.reward.shape  # H, n
        of_targets = self._random_critics(), self._noise(num_steps * num)
        of_policy = self._random_critics(), self._noise((num_steps + 1) * num)
        self.means.add(self.gradient_step(*data, *returns, *of_targets, *of_policy))
        self.average.update()
        self.schedule.num_updates += 1

    def _gradient_step(self, *inputs: Tensor) -> Tensor:
        """Take one gradient step of the model and one of the policy.

        Args:
            inputs: the fields of `Episodes` and `Returns`; then the critics that the targets are
                the lower value of [2], noise of the targets' actions [H * n, A], critics whose mean
                the policy increases [2], noise of its actions [(H + 1) * n, A].

        Returns:
            `LOSSES` and `STATISTICS`.
        """
        model = self.model
        num_fields = len(Episodes._fields)
        data, returns = Episodes(*inputs[:num_fields]), Returns(*inputs[num_fields:-4])
        target_critics, target_noise, critics, noise = inputs[-4:]
        shape = data.reward.shape  # [H, n]
        next_latent = model.encode(data.next_obs)  # [H, n, D]
        last_latent = next_latent if self.td_steps == 1 else model.encode(returns.last_obs)
        with torch.no_grad():
            slow = chosen_critics(model.slow_critics, target_critics)
            last_value = self.actor.value(
                last_latent.flatten(0, 1), lambda z, a: model.q(z, a, slow).amin(0), target_noise
            )
            rewards = model.reward_scale.normalize(returns.rewards)
            target = rewards + returns.discount * last_value.view(shape)
        latent, losses = model.learn(data, next_latent, target)
        # States after a termination, or after the end of the episode, have no value.
        mask = torch.cat([torch.ones_like(data.mask[:1]), data.mask * (1.0 - data.terminated)])
        current = chosen_critics(model.nets.critics.detached(), critics)
        statistics = self.actor.learn(
            latent,
            step_weights(mask, model.rho),
            lambda z, a: model.q(z, a, current).mean(0),
            noise,
        )
        return torch.cat([losses, statistics])

    @torch.no_grad()
    def _is_own(self, obs: Tensor, action: Tensor) -> Tensor:
        """Return [m] 1 where the policy might take action [m, A] at obs [m, O]."""
        probability = self.actor.probabilities(self.model.encode(obs))  # [m, A]
        taken = (probability * action).sum(-1)
        return (taken >= self.min_policy_ratio * probability.amax(-1)).float()

    def _random_critics(self) -> Tensor:
        """Return the indices [2] of two random critics (section 3.1, as in REDQ)."""
        num_critics = self.model.nets.size.critics
        if num_critics == 2:
            return torch.arange(2, device=self.model.device)
        return torch.randperm(num_critics, generator=self.generator)[:2].to(self.model.device)

    def _noise(self, num: int) -> Tensor:
        """Return normal random numbers for `num` actions of the policy."""
        shape = num, self.actor.noise_dim
        return torch.randn(shape, generator=self.generator).to(self.model.device)

    def is_finite(self) -> bool:
        """Return whether all weights are finite."""
        return all_finite(self.weights)

    def state_dict(self) -> dict[str, Any]:
        """Return model, policy, random numbers and counters."""
        state = {
            "model": self.model.state_dict(),
            "actor": self.actor.state_dict(),
            "average": [average.clone() for average in self.average.averages],
            "generator": self.generator.get_state(),
            "means": self.means.state_dict(),
            "schedule": self.schedule.state_dict(),
        }
        if self.assessed.rounds:
            state["assessed"] = self.assessed.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the values that `state_dict` returned."""
        self.model.load_state_dict(state["model"])
        self.actor.load_state_dict(state["actor"])
        if self.assessed.rounds:
            self.assessed.load_state_dict(state["assessed"])
        self.average.load(state.get("average", []))
        self.generator.set_state(state["generator"])
        self.means.load_state_dict(state["means"])
        self.schedule.load_state_dict(state["schedule"])
