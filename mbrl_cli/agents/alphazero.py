"""AlphaZero and MuZero: tree search is guided by a policy and a value that learn from its results.

Sources: Silver et al. 2018 (AlphaZero), Schrittwieser et al. 2020 (MuZero) and 2021 ("Online and
offline RL by planning with a learned model"): a fraction of every batch is searched again with the
current networks (Reanalyse), and the new policies replace the stored ones. Munos et al. 2016
(Retrace): an off-policy return may use old actions as long as the current policy would take them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, cast

import numpy as np
import torch
from torch import Tensor

from mbrl_cli.agents.alphazero_policy import AlphaZeroPolicy
from mbrl_cli.agents.base import Agent
from mbrl_cli.agents.diverged_fits import DivergedFits
from mbrl_cli.agents.gradient_schedule import GradientSchedule
from mbrl_cli.agents.interval_schedule import IntervalSchedule
from mbrl_cli.agents.planning import cost_advice
from mbrl_cli.agents.policy_store import PolicyStore
from mbrl_cli.agents.policy_value_mlp import PolicyValueMLP
from mbrl_cli.agents.policy_value_network import PolicyValueNetwork
from mbrl_cli.agents.running_means import RunningMeans
from mbrl_cli.divergence import all_finite
from mbrl_cli.envs.env import Env
from mbrl_cli.errors import UserError
from mbrl_cli.models.base import Model, require_state_source
from mbrl_cli.models.n_step_returns import n_step_returns
from mbrl_cli.models.search_targets import SearchTargets
from mbrl_cli.planners.base import Planner
from mbrl_cli.planners.mcts import MCTS
from mbrl_cli.planners.world import World
from mbrl_cli.replay.buffer import ReplayBuffer
from mbrl_cli.types import ArgumentsOf, Count, EnvSpec, Fraction, PositiveFloat


class AlphaZero(Agent):
    """Act by tree search; learn its policy as prior and n-step returns as value.

    A Markov model is fitted to the replay, and a `PolicyValueMLP` predicts policy and value. MuZero
    predicts policy and value itself and is trained with them.

    Axes: n sequences of K + 1 states, L = K + `td_steps` consecutive rows of the replay, O obs_dim,
    A actions.

    Args:
        spec: the environment; its action is one discrete choice.
        device: where networks live.
        generator: source of all random numbers but those of policies.
        model: the search's model.
        planner: `MCTS`.
        network: arguments of `PolicyValueMLP`; unused with MuZero.
        fit_every: environment steps between fits of a Markov model.
        discount: per step.
        batch_size: sequences per gradient step.
        updates_per_step: gradient steps per environment step.
        reanalyse: fraction of each batch that is searched again; the others use stored policies.
        td_steps: largest number of rewards in an n-step return.
        min_policy_ratio: an n-step return includes an old action if its probability is at least
            this fraction of the largest one in the latest search policy, and ends before another
            one; a state whose own action is another one is no value target. 0: all are included.
        log_every: environment steps between logs of the losses.

    Raises:
        UserError: if planner, model or environment do not fit.
    """

    trains_models_from = ("replay", "search")
    divergence_advice = "lower agent.network.learning_rate, with model=muzero model.learning_rate"

    def __init__(
        self,
        spec: EnvSpec,
        device: torch.device,
        generator: torch.Generator,
        model: Model,
        planner: Planner,
        network: Annotated[dict[str, Any] | None, ArgumentsOf(PolicyValueMLP)] = None,
        fit_every: Count = 100,
        discount: Fraction = 0.99,
        batch_size: Count = 64,
        updates_per_step: PositiveFloat = 2.0,
        reanalyse: Fraction = 0.1,
        td_steps: Count = 20,
        min_policy_ratio: Fraction = 0.25,
        log_every: Count = 100,
    ) -> None:
        if not planner.is_tree_search:
            raise UserError(
                f"planner={type(planner).__name__}: agent=alphazero learns from tree search; "
                "use planner=mcts, or agent=mpc with this planner"
            )
        search_planner = cast(MCTS, planner)
        if not search_planner.enumerates_actions:
            raise UserError(
                f"agent=alphazero: needs one discrete action; {spec.id} has other actions: "
                "use agent=mpc or agent=sac"
            )
        require_state_source(model, "agent=alphazero", ["observation", "history"])
        self.spec = spec
        self.device = device
        self.generator = generator
        self.model = model
        self.planner = search_planner
        self.cost_advice = cost_advice(planner, model)
        self.fit_schedule = IntervalSchedule(fit_every)
        self.discount = discount
        self.batch_size = batch_size
        self.num_reanalysed = round(reanalyse * batch_size)  # sequences of each batch
        self.td_steps = td_steps
        self.min_policy_ratio = min_policy_ratio
        self.model_is_network = model.learns_from == "search"
        self.network: PolicyValueNetwork = (
            cast(PolicyValueNetwork, model)
            if self.model_is_network
            else PolicyValueMLP(spec, device, generator, model, **(network or {}))
        )
        self.diverged_fits = DivergedFits()
        self.schedule = GradientSchedule(updates_per_step)
        self.means = RunningMeans(self.network.losses, log_every, device)
        self.policies = PolicyStore(spec.action.dim)
        self.next_row = 0  # row of the replay for the next environment step

    def policy(
        self, envs: Sequence[Env], explore: bool, generator: torch.Generator
    ) -> AlphaZeroPolicy:
        """Return a policy that searches; with noise at the root while data are collected."""
        return AlphaZeroPolicy(
            model=self.model,
            planner=self.planner,
            world=self.world(generator),
            envs=envs,
            explore=explore,
            generator=generator,
            discount=self.discount,
            store_policies=self.store_policies,
        )

    def world(self, generator: torch.Generator) -> World:
        """Return the functions that the search calls, with their random numbers bound."""
        return World.of_model(
            self.model,
            self.discount,
            generator,
            value=self.network.value,
            prior=self.network.prior,
            value_after_plans=False,
        )

    def store_policies(self, policies: np.ndarray) -> None:
        """Store the search policies [B, A] of the B environment steps that are taken next."""
        self.policies.put(self.next_row + np.arange(len(policies)), policies)

    def update(self, replay: ReplayBuffer, env_step: int) -> dict[str, float]:
        """Fit a Markov model if a fit is due, then take the gradient steps that are due.

        Raises:
            Diverged: if several fits in a row have diverged.
        """
        self.next_row = replay.total_added % replay.capacity
        if not len(replay):
            return {}
        metrics: dict[str, float] = {}
        if not self.model_is_network and self.fit_schedule.due(
            env_step, at_once=not self.model.is_fitted
        ):
            fitted = self.model.fit(replay, self.generator)
            self.diverged_fits.add(fitted)
            metrics = {f"model/{name}": value for name, value in fitted.items()}
        self.network.refit_scales(replay)
        for targets in self.targets(replay, self.schedule.due(env_step)):
            self.means.add(self.network.learn(targets))
            self.schedule.num_updates += 1
        if self.means.due(env_step):
            means = self.means.take(env_step)
            metrics |= {f"agent/{name}_loss": mean for name, mean in means.items()}
        return metrics

    def fit_steps(self, first: int, last: int) -> Sequence[int]:
        """Return the environment steps in [first, last) before which a Markov model is fitted."""
        if self.model_is_network:
            return range(0)
        return self.fit_schedule.steps(first, last, at_once=not self.model.is_fitted)

    @torch.no_grad()
    def targets(self, replay: ReplayBuffer, num_batches: int = 1) -> list[SearchTargets]:
        """Sample sequences and return their training targets, in batches.

        The reanalysed states of all batches are searched together: a search from many states takes
        little longer than a search from few.
        """
        if not num_batches:
            return []
        num_steps = self.network.unroll_steps  # K
        num_states, length = num_steps + 1, num_steps + self.td_steps  # K + 1, L
        num = num_batches * self.batch_size
        start = torch.randint(len(replay), (num,), generator=self.generator).numpy()
        rows, inside = replay.consecutive_rows(start, length)  # [n, L]
        obs, action, reward, next_obs, terminated = (
            field.view(num, length, *field.shape[1:])
            for field in replay.batch(rows.ravel(), self.device)
        )
        if num_reanalysed := num_batches * self.num_reanalysed:
            index = (slice(num_reanalysed), slice(num_states))
            valid = inside[index]
            policies = self._search(obs[index][torch.from_numpy(valid)])
            self.policies.put(rows[index][valid], policies)
        policy = self.policies.get(rows).to(self.device)  # [n, L, A]
        # A return after an action that the current search would hardly take belongs to another
        # policy; see `min_policy_ratio`. So does one after a random action of the prefill, as long
        # as its state was never searched: its policy is 0.
        probability, largest = (policy * action).sum(-1), policy.amax(-1)  # [n, L]
        on_policy = probability >= self.min_policy_ratio * largest
        if self.min_policy_ratio > 0.0:
            on_policy &= largest > 0.0
        mask = torch.from_numpy(inside).to(reward)  # [n, L]
        included = mask * on_policy
        value = n_step_returns(
            reward,
            terminated,
            next_obs,
            included=included,
            value=self.network.target_value,
            num_steps=self.td_steps,
            discount=self.discount,
        )  # [n, K+1]
        sampled = SearchTargets(
            obs=obs[:, :num_states],
            action=action[:, :num_steps],
            reward=reward[:, :num_steps],
            terminated=terminated[:, :num_steps],
            policy=policy[:, :num_states],
            value=value,
            value_mask=included[:, :num_states],
            mask=mask[:, :num_states],
        )
        # Every num_batches-th sequence, so that each batch has the same number of reanalysed ones.
        return [
            SearchTargets(*(field[first::num_batches] for field in sampled))
            for first in range(num_batches)
        ]

    def is_finite(self) -> bool:
        """Return whether the weights for policy and value are finite."""
        return all_finite(self.network.optimiser.parameters)

    def _search(self, obs: Tensor) -> np.ndarray:
        """Return the search policies [n, A] at obs [n, O]."""
        state = self.model.observe(
            self.model.initial(len(obs)),
            torch.zeros(len(obs), self.spec.action.dim, device=self.device),
            obs,
        )
        return self.planner.search(self.world(self.generator), state, {}, self.generator).policy

    def state_dict(self) -> dict[str, Any]:
        """Return model, network, stored policies, random state and counters."""
        network = {} if self.model_is_network else {"network": self.network.state_dict()}
        return network | {
            "model": self.model.state_dict(),
            "generator": self.generator.get_state(),
            "means": self.means.state_dict(),
            "schedule": self.schedule.state_dict(),
            "policies": self.policies.state_dict(),
            "fit_schedule": self.fit_schedule.state_dict(),
            "diverged_fits": self.diverged_fits.count,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the values that `state_dict` returned."""
        self.model.load_state_dict(state["model"])
        if not self.model_is_network:
            self.network.load_state_dict(state["network"])
        self.generator.set_state(state["generator"])
        self.means.load_state_dict(state["means"])
        self.schedule.load_state_dict(state["schedule"])
        self.policies.load_state_dict(state["policies"])
        self.fit_schedule.load_state_dict(state["fit_schedule"])
        self.diverged_fits.count = state["diverged_fits"]
