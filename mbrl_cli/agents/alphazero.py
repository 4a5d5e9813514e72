"""AlphaZero and MuZero: a policy and a value learn what tree search finds, and guide the search.

Sources: Silver et al. 2018 (AlphaZero), Schrittwieser et al. 2020 (MuZero) and 2021 ("Online and
offline RL by planning with a learned model"): a share of every batch is searched anew with the
networks of the day (Reanalyse), and what is found takes the place of what was. Munos et al. 2016
(Retrace) for the idea that a return may follow old actions as far as one would still take them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Protocol, cast

import numpy as np
import torch
from torch import Tensor

from mbrl_cli.agents.base import Agent, Decision
from mbrl_cli.agents.gradient_schedule import GradientSchedule
from mbrl_cli.agents.interval_schedule import IntervalSchedule
from mbrl_cli.agents.model_policy import ModelPolicy
from mbrl_cli.agents.policy_value import PolicyValue
from mbrl_cli.agents.running_means import RunningMeans
from mbrl_cli.envs.env import Env
from mbrl_cli.errors import UserError
from mbrl_cli.models.base import Model, require_state_source
from mbrl_cli.models.search_targets import SearchTargets
from mbrl_cli.planners.base import Planner
from mbrl_cli.planners.mcts import MCTS
from mbrl_cli.planners.world import World
from mbrl_cli.replay.buffer import ReplayBuffer
from mbrl_cli.types import ArgumentsOf, Count, EnvSpec, Fraction, PositiveFloat, State

NEW_SCALE = 2  # the observations' scale is taken anew whenever there are so many times as many


class Guide(Protocol):
    """What tells a search how good imagined states are, and learns it from searches."""

    unroll_steps: int

    @property
    def losses(self) -> tuple[str, ...]:
        """Return the names of what `learn` returns."""
        ...

    def value(self, state: State) -> Tensor:
        """Return the value [M, P] of imagined states."""
        ...

    def prior(self, state: State) -> Tensor:
        """Return the policy's probabilities [M, A]."""
        ...

    def target_value(self, obs: Tensor) -> Tensor:
        """Return the value [n] of obs [n, O], with slowly following weights."""
        ...

    def fit_normalizer(self, obs: Tensor) -> None:
        """Take the scale of the observations [n, O] seen so far."""
        ...

    def learn(self, wanted: SearchTargets) -> Tensor:
        """Take one gradient step; return the losses."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return all that was learned."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        ...


class AlphaZero(Agent):
    """Act by tree search; learn its recommendation as policy and n-step returns as value.

    A Markov model is fitted as for MPC, and judged by a network of the agent's own; MuZero's model
    brings its own heads and is trained with them.

    Axes: n sequences of K + 1 states, L rows of the replay that follow each other, A choices.
    """

    trains_models_from = ("replay", "search")

    def __init__(
        self,
        spec: EnvSpec,
        device: torch.device,
        generator: torch.Generator,
        model: Model,
        planner: Planner,
        network: Annotated[dict[str, Any], ArgumentsOf(PolicyValue)],
        fit_every: Count,
        discount: Fraction,
        batch_size: Count,
        updates_per_step: PositiveFloat,
        reanalyse: Fraction,
        value_steps: Count,
        agreement: Fraction,
        log_every: Count,
    ) -> None:
        if not planner.is_tree_search:
            raise UserError(
                f"planner={type(planner).__name__}: agent=alphazero learns from tree search; "
                "use planner=mcts, or agent=mpc with this planner"
            )
        search = cast(MCTS, planner)
        if not search.enumerates_actions:
            raise UserError(
                f"agent=alphazero: takes one discrete choice; {spec.id} has other actions: "
                "use agent=mpc or agent=sac"
            )
        require_state_source(model, "agent=alphazero", ["observation", "history"])
        self.spec = spec
        self.device = device
        self.generator = generator
        self.model = model
        self.planner = search
        self.fit_schedule = IntervalSchedule(fit_every)
        self.discount = discount
        self.batch_size = batch_size
        self.num_fresh = round(reanalyse * batch_size)  # sequences of a batch searched anew
        self.value_steps = value_steps
        self.agreement = agreement
        self.own_heads = model.learns_from == "search"
        self.guide: Guide = (
            cast(Guide, model)
            if self.own_heads
            else PolicyValue(spec, device, generator, model, **network)
        )
        self.schedule = GradientSchedule(updates_per_step)
        # What the search recommended at each row of the replay [rows, A]; NaN: nobody searched.
        self.policies = np.zeros((0, spec.action.dim), np.float32)
        self.next_row = 0  # of the replay, that the step about to be taken will have
        self.scaled_at = 0  # rows of the replay when the observations' scale was taken
        self.means = RunningMeans(self.guide.losses, log_every, device)

    def policy(
        self, envs: Sequence[Env], explore: bool, generator: torch.Generator
    ) -> _AlphaZeroPolicy:
        """Return a policy that searches; with noise at the root where it explores."""
        return _AlphaZeroPolicy(self, envs, explore, generator)

    def world(self, generator: torch.Generator) -> World:
        """Return the model's functions and the guide's as a planner may see them."""
        return World.of_model(
            self.model,
            self.discount,
            generator,
            self.guide.value,
            self.guide.prior,
            value_after_plans=False,
        )

    # --- learning -----------------------------------------------------------------------------

    def update(self, replay: ReplayBuffer, env_step: int) -> dict[str, float]:
        """Fit a Markov model if it is time to, then take the gradient steps that are due."""
        self.next_row = replay.total_added % replay.capacity
        if not len(replay):
            return {}
        metrics: dict[str, float] = {}
        if not self.own_heads and self.fit_schedule.due(env_step, not self.model.is_fitted):
            fitted = self.model.fit(replay, self.generator)
            metrics = {f"model/{name}": value for name, value in fitted.items()}
        if len(replay) >= NEW_SCALE * self.scaled_at:
            self.scaled_at = len(replay)
            seen = replay.batch(np.arange(len(replay)), self.device)
            self.guide.fit_normalizer(torch.cat([seen.obs, seen.next_obs]))
        for wanted in self.targets(replay, self.schedule.due(env_step)):
            self.means.add(self.guide.learn(wanted))
            self.schedule.num_updates += 1
        return metrics | self._metrics(env_step)

    @torch.no_grad()
    def targets(self, replay: ReplayBuffer, num_batches: int = 1) -> list[SearchTargets]:
        """Draw real sequences and return what searches in them teach, in batches.

        One search serves them all: it costs little more for many states than for a few.
        """
        if not num_batches:
            return []
        steps, num = self.guide.unroll_steps, num_batches * self.batch_size
        start = torch.randint(len(replay), (num,), generator=self.generator).numpy()
        states, length = steps + 1, steps + self.value_steps
        rows, inside = replay.consecutive_rows(start, length)  # [n, L]
        obs, action, reward, next_obs, terminated = (
            field.view(num, length, *field.shape[1:])
            for field in replay.batch(rows.ravel(), self.device)
        )
        if num_fresh := num_batches * self.num_fresh:
            self._search_anew(
                obs[:num_fresh, :states], rows[:num_fresh, :states], inside[:num_fresh, :states]
            )
        policy = self._found(rows)  # [n, L, A]
        # What old play did, and the search would not do now, says nothing about today's value.
        agreed = (policy * action).sum(-1) >= self.agreement * policy.amax(-1)  # [n, L]
        inside_now = torch.from_numpy(inside).to(reward)
        value = self._returns(reward, inside_now * agreed, terminated, next_obs)
        drawn = SearchTargets(
            obs=obs[:, :states],
            action=action[:, :steps],
            reward=reward[:, :steps],
            terminated=terminated[:, :steps],
            policy=policy[:, :states],
            value=value,
            inside=inside_now[:, :states],
        )
        # Every num_batches-th sequence: the fresh ones are spread evenly.
        return [
            SearchTargets(*(field[first::num_batches] for field in drawn))
            for first in range(num_batches)
        ]

    def _returns(
        self, reward: Tensor, goes_on: Tensor, terminated: Tensor, next_obs: Tensor
    ) -> Tensor:
        """Return n-step returns [n, K+1] of windows [n, L]; where one is cut, its end is valued.

        A return enters a row, other than its first, where `goes_on` [n, L] is 1.
        """
        steps = self.value_steps
        after = torch.cat([goes_on[:, 1:], torch.zeros_like(goes_on[:, :1])], dim=1)
        # Whether a return goes on past a step, by the state that it starts from [n, K+1, steps].
        on = after.unfold(1, steps, 1).clone()
        on[..., -1] = 0.0
        weight = torch.ones_like(on)
        weight[..., 1:] = on[..., :-1].cumprod(-1)
        weight *= self.discount ** torch.arange(steps, device=reward.device)
        total = (weight * reward.unfold(1, steps, 1)).sum(-1)  # [n, K+1]
        cut = on.argmin(-1)  # the last step that counts
        row = cut + torch.arange(cut.shape[1], device=cut.device)  # of the window
        end = next_obs.gather(1, row[..., None].expand(-1, -1, next_obs.shape[-1]))
        value = self.guide.target_value(end.flatten(0, 1)).view(cut.shape)
        share = self.discount * weight.gather(-1, cut[..., None])[..., 0]
        return total + share * (1.0 - terminated.gather(1, row)) * value

    def remember(self, policy: np.ndarray) -> None:
        """Keep the policy [A] that was found for the step about to be taken."""
        self._room(self.next_row)
        self.policies[self.next_row] = policy

    def _room(self, row: int) -> None:
        """See to it that a policy can be kept for `row` of the replay."""
        missing = row + 1 - len(self.policies)
        if missing > 0:  # room for the next thousand, too
            room = np.full((missing + 1000, self.spec.action.dim), np.nan, np.float32)
            self.policies = np.concatenate([self.policies, room])

    def _search_anew(self, obs: Tensor, rows: np.ndarray, inside: np.ndarray) -> None:
        """Search from obs [n, K+1, O] at `rows` [n, K+1] and keep what is found."""
        self._room(int(rows[inside].max()))
        self.policies[rows[inside]] = self._searched(obs[torch.from_numpy(inside)])

    def _found(self, rows: np.ndarray) -> Tensor:
        """Return the policies [n, L, A] that were last found at `rows` [n, L]; zero: none known."""
        found = np.zeros((*rows.shape, self.spec.action.dim), np.float32)
        known = rows < len(self.policies)
        found[known] = np.nan_to_num(self.policies[rows[known]])
        return torch.from_numpy(found).to(self.device)

    def _searched(self, obs: Tensor) -> np.ndarray:
        """Return the policies [n, A] that a search recommends at obs [n, O]."""
        state = self.model.observe(
            self.model.initial(len(obs)),
            torch.zeros(len(obs), self.spec.action.dim, device=self.device),
            obs,
        )
        found = self.planner.search(self.world(self.generator), state, {}, self.generator)
        return found.policy

    # --- logging and saving -------------------------------------------------------------------

    def _metrics(self, env_step: int) -> dict[str, float]:
        """Return mean losses since the last log by tag, if it is time to."""
        if not self.means.due(env_step):
            return {}
        return {f"agent/{name}_loss": mean for name, mean in self.means.take(env_step).items()}

    def state_dict(self) -> dict[str, Any]:
        """Return model, networks, random numbers and counters."""
        own = {} if self.own_heads else {"guide": self.guide.state_dict()}
        return own | {
            "model": self.model.state_dict(),
            "generator": self.generator.get_state(),
            "means": self.means.state_dict(),
            "schedule": self.schedule.state_dict(),
            "policies": torch.from_numpy(self.policies.copy()),
            "fit_schedule": self.fit_schedule.state_dict(),
            "scaled_at": self.scaled_at,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.model.load_state_dict(state["model"])
        if not self.own_heads:
            self.guide.load_state_dict(state["guide"])
        self.generator.set_state(state["generator"])
        self.means.load_state_dict(state["means"])
        self.schedule.load_state_dict(state["schedule"])
        self.policies = state["policies"].cpu().numpy().copy()
        self.fit_schedule.load_state_dict(state["fit_schedule"])
        self.scaled_at = state["scaled_at"]


class _AlphaZeroPolicy(ModelPolicy):
    def __init__(
        self, agent: AlphaZero, envs: Sequence[Env], explore: bool, generator: torch.Generator
    ) -> None:
        super().__init__(agent.model, envs, agent.planner)
        self.agent = agent
        self.explore = explore
        self.generator = generator
        self.discount = agent.discount
        self.world = agent.world(generator)
        self.nonfinite = 0
        self.reset()

    @torch.inference_mode()
    def act(self, obs: np.ndarray) -> Decision:
        """Search for obs [B, O]."""
        agent = self.agent
        self.observe(obs)
        found = agent.planner.search(
            self.world, self.state, self.memory, self.generator, noise=self.explore
        )
        self.memory = found.memory
        self.nonfinite += found.nonfinite
        if self.explore:
            agent.remember(found.policy[0])
        chosen = torch.from_numpy(found.action)
        if self.explore and agent.planner.select == "puct":  # Gumbel's own noise is enough
            policy = torch.from_numpy(found.policy)
            chosen = torch.multinomial(policy, 1, generator=self.generator)[:, 0]
        trees = torch.arange(len(chosen))
        self.action = found.root_actions[trees, chosen]
        return Decision(self.action.cpu().numpy())

    def metrics(self) -> dict[str, float]:
        """Return the number of imagined steps that diverged."""
        counts = {"planner/nonfinite": float(self.nonfinite)}
        self.nonfinite = 0
        return counts
