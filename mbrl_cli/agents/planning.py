"""Acting by planning: where a model, a planner and, if there is one, a learned policy meet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from mbrl_cli.agents.base import Decision
from mbrl_cli.agents.random import random_actions
from mbrl_cli.agents.sac import SAC
from mbrl_cli.envs.env import Env
from mbrl_cli.errors import UserError
from mbrl_cli.models.base import Model
from mbrl_cli.models.imagination import Imagined, follow, imagine
from mbrl_cli.planners.base import Plan, Planner, TrajectoryPlanner
from mbrl_cli.planners.captured import CapturedPlanner
from mbrl_cli.planners.world import World
from mbrl_cli.types import EnvSpec, State

REHEARSALS = 5  # decisions before the first one that has a time budget
Exploration = Literal["none", "noise", "epsilon", "disagreement"]


class Planning:
    """Hand out policies that plan every action with the model as it is at that step.

    Args:
        spec: the environment.
        model: what is planned in.
        planner: how.
        discount: per imagined step.
        explore: what disturbs the plans of a policy that collects data; see `MPC`.
        noise_std: of `explore=noise`.
        epsilon: of `explore=epsilon`.
        disagreement_bonus: of `explore=disagreement`.
        learned: an actor-critic whose critics value the last state of a plan; None: nothing comes
            after the horizon.
        proposals: how many of the candidates are rollouts of its actor in the model, for planners
            over whole plans.
    """

    def __init__(
        self,
        spec: EnvSpec,
        model: Model,
        planner: Planner,
        discount: float,
        explore: Exploration = "none",
        noise_std: float = 0.0,
        epsilon: float = 0.0,
        disagreement_bonus: float = 0.0,
        learned: SAC | None = None,
        proposals: int = 0,
    ) -> None:
        if explore == "noise" and spec.action.kind == "discrete":
            raise UserError(
                "agent.explore=noise: needs continuous actions; "
                f"{spec.id} has discrete ones: use epsilon, disagreement or none"
            )
        if explore == "disagreement" and not model.has_disagreement:
            raise UserError(
                "agent.explore=disagreement: needs a model with several members "
                "(model=ensemble or model=gaussian_ensemble); else use epsilon, noise or none"
            )
        if explore == "disagreement" and not planner.uses_disagreement:
            raise UserError(
                "agent.explore=disagreement: needs a planner over whole plans (cem, icem, mppi, "
                "random_shooting); with planner=mcts use epsilon, noise or none"
            )
        self.proposals = 0
        if learned is not None and isinstance(planner, TrajectoryPlanner):
            if proposals >= planner.population:
                raise UserError(
                    f"agent.proposals={proposals}: must be below planner.population="
                    f"{planner.population}"
                )
            self.proposals = proposals
        self.spec = spec
        self.model = model
        self.planner = planner
        self.discount = discount
        self.explore = explore
        self.noise_std = noise_std
        self.epsilon = epsilon
        self.disagreement_bonus = disagreement_bonus
        self.learned = learned
        self.fits = 0  # how often the model's weights were replaced

    def policy(self, envs: Sequence[Env], explore: bool, generator: torch.Generator) -> _Policy:
        """Return a policy for these environments; `explore` is for collecting data."""
        return _Policy(self, envs, explore, generator)

    def world(self, generator: torch.Generator) -> World:
        """Return the model's functions as a planner may see them."""
        value = None if self.learned is None else self._value

        def imagine_plans(state: State, plans: Tensor, spread: bool) -> Imagined:
            return imagine(self.model, state, plans, self.discount, generator, spread, value)

        def propose(state: State) -> Tensor:
            return self._proposals(state, generator)

        return World(
            action=self.spec.action,
            imagine=imagine_plans,
            branch=self.model.branch,
            step=lambda state, action: self.model.step(state, action, generator),
            discount=self.discount,
            rollout=lambda rows, actions, steps: follow(
                self.model, rows, actions, steps, self.discount, generator
            ),
            value=value,
            propose=propose if self.proposals else None,
        )

    def _value(self, state: State) -> Tensor:
        """Return what the learned critics expect after imagined states: [M, P]."""
        assert self.learned is not None
        obs = self.model.decode(state)  # [M, P, O]
        return self.learned.state_value(obs.flatten(0, 1)).view(obs.shape[:2])

    def _proposals(self, state: State, generator: torch.Generator) -> Tensor:
        """Return plans [B, K, H, A]: what the actor would do, the first without its noise.

        A plan is one list of actions for all its particles: the actor sees their mean.
        """
        assert self.learned is not None
        rows = self.model.branch(state, self.proposals)  # M = B * K
        actions: list[Tensor] = []
        for _ in range(self.planner.horizon):
            obs = self.model.decode(rows).mean(1)  # [M, O]
            action = self.learned.act(obs, generator)  # [M, A]
            action[:: self.proposals] = self.learned.act(obs[:: self.proposals], None)
            rows = self.model.step(rows, action, generator, common_noise=True).state
            actions.append(action)
        plans = torch.stack(actions, dim=1)  # [M, H, A]
        return plans.view(-1, self.proposals, *plans.shape[1:])


class _Policy:
    def __init__(
        self, how: Planning, envs: Sequence[Env], explore: bool, generator: torch.Generator
    ) -> None:
        self.how = how
        self.envs = list(envs)
        self.explore = how.explore if explore else "none"
        self.source = generator
        device = how.planner.device
        on_gpu = device.type == "cuda"  # numbers are drawn where they are used, or it would wait
        self.generator = torch.Generator(device) if on_gpu else generator
        self.captured: CapturedPlanner | None = None
        self.captured_fit = -1
        self.world = how.world(self.generator)
        # With a value beyond the horizon a prediction is of the whole future.
        self.prediction_horizon = how.planner.horizon if how.learned is None else 0
        self.discount = how.discount
        self.nonfinite, self.late = torch.zeros(()), 0
        self.rehearsed = how.planner.deadline.max_ms is None
        self.reset()

    def reset(self) -> None:
        """Start episodes in all environments: no plan, no past."""
        num_envs, spec = len(self.envs), self.how.spec
        if self.generator is not self.source:  # all that an episode draws follows from `source`
            self.generator.manual_seed(int(torch.randint(2**31, (1,), generator=self.source)))
        self.memory = self.how.planner.initial_memory(num_envs)
        self.state = self.how.model.initial(num_envs)
        self.action = torch.zeros(num_envs, spec.action.dim, device=self.how.planner.device)
        self.planned: Tensor | None = None  # [B, H, A] of the last decision
        self.step = 0

    def _rehearse(self, obs: Tensor) -> None:
        """Decide for obs [B, O] to no effect, so that a time budget knows how long it takes."""
        planner, deadline = self.how.planner, self.how.planner.deadline
        generator = torch.Generator(self.generator.device)
        state = self.how.model.observe(self.state, self.action, obs, self.envs)
        fastest = float("inf")
        for _ in range(REHEARSALS):  # the first also makes buffers and warms caches
            deadline.forget()
            planner.plan(self.how.world(generator), state, self.memory, generator)
            fastest = min(fastest, deadline.slowest_ms)
        self.rehearsed = True
        if deadline.max_ms is not None and fastest > deadline.max_ms:
            raise UserError(
                f"planner.max_plan_ms={deadline.max_ms:g}: one iteration takes {fastest:.1f} ms "
                "here; allow more, or lower planner.population or planner.horizon"
            )

    @torch.inference_mode()
    def act(self, obs: np.ndarray) -> Decision:
        """Plan for obs [B, O], or go on with the plan where `planner.replan_every` says so."""
        how, planner = self.how, self.how.planner
        if not self.rehearsed:
            self._rehearse(torch.from_numpy(obs))
        bonus = how.disagreement_bonus if self.explore == "disagreement" else 0.0
        self.state = how.model.observe(self.state, self.action, torch.from_numpy(obs), self.envs)
        since = self.step % planner.replan_every
        self.step += 1
        predicted = np.full(len(obs), np.nan)
        if since == 0 or self.planned is None:
            plan = self._plan(bonus)
            self.memory, self.planned = plan.memory, plan.actions
            predicted = plan.predicted_return.cpu().numpy()
            self.nonfinite = self.nonfinite + plan.nonfinite  # counted without waiting for it
            self.late += planner.deadline.was_late
        self.action = self._explored(self.planned[:, since])
        return Decision(self.action.cpu().numpy(), predicted if self.prediction_horizon else None)

    def _plan(self, bonus: float) -> Plan:
        planner = self.how.planner
        on_gpu = planner.device.type == "cuda"
        if not on_gpu or not planner.is_static or planner.deadline.max_ms is not None:
            return planner.plan(self.world, self.state, self.memory, self.generator, bonus)
        if self.captured is None or self.captured_fit != self.how.fits:
            self.captured = CapturedPlanner(planner, self.world, self.generator, bonus)
            self.captured_fit = self.how.fits
        return self.captured.plan(self.state, self.memory)

    def _explored(self, action: Tensor) -> Tensor:
        """Disturb planned actions [B, A] as `agent.explore` says."""
        device = self.generator.device
        if self.explore == "noise":
            noise = torch.randn(action.shape, generator=self.generator, device=device)
            disturbed = action + self.how.noise_std * noise.to(action.device)
            return disturbed.clamp(-1.0, 1.0)
        if self.explore == "epsilon":
            luck = torch.rand(len(action), 1, generator=self.generator, device=device)
            lucky = (luck < self.how.epsilon).to(action.device)
            other = random_actions(self.how.spec.action, len(action), self.source)
            return torch.where(lucky, torch.from_numpy(other).to(action), action)
        return action

    def keep(self, rows: np.ndarray) -> None:
        """Go on with these environments only."""
        index = torch.from_numpy(rows).to(self.action.device)
        self.envs = [self.envs[row] for row in rows]
        self.memory = {key: value[index] for key, value in self.memory.items()}
        self.state = {key: value[index] for key, value in self.state.items()}
        self.action = self.action[index]
        if self.planned is not None:
            self.planned = self.planned[index]

    def metrics(self) -> dict[str, float]:
        """Return the number of imagined plans whose return was not finite, and late decisions."""
        counts = {"planner/nonfinite": float(self.nonfinite)}
        if self.how.planner.deadline.max_ms is not None:
            counts["planner/late"] = float(self.late)
        self.nonfinite, self.late = torch.zeros(()), 0
        return counts
