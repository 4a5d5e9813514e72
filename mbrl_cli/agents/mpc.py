"""Model-predictive control: fit a model, plan with it at every step, execute the first action.

With a Gaussian ensemble and CEM this is PETS (Chua et al. 2018, algorithm 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch

from mbrl_cli.agents.base import Decision
from mbrl_cli.agents.random import random_actions
from mbrl_cli.envs.env import Env
from mbrl_cli.errors import Diverged, UserError
from mbrl_cli.models.base import Model
from mbrl_cli.models.imagination import Imagined, follow, imagine
from mbrl_cli.planners.base import Plan, Planner
from mbrl_cli.planners.captured import CapturedPlanner
from mbrl_cli.planners.world import World
from mbrl_cli.replay.buffer import ReplayBuffer
from mbrl_cli.types import Count, EnvSpec, Fraction, NonNegativeFloat, State

REHEARSALS = 5  # decisions before the first one that has a time budget
MAX_DIVERGED_FITS = 3


class MPC:
    """Plan every action with the model that was fitted to all data so far.

    Exploration, in training only: `noise` adds Gaussian noise to continuous actions, `epsilon`
    replaces an action by a random one, `disagreement` rewards plans about which the members of an
    ensemble disagree, `none` trusts the planner's own randomness.
    """

    def __init__(
        self,
        spec: EnvSpec,
        model: Model,
        planner: Planner,
        generator: torch.Generator,
        fit_every: Count,
        discount: Fraction,
        explore: Literal["none", "noise", "epsilon", "disagreement"],
        noise_std: NonNegativeFloat,
        epsilon: Fraction,
        disagreement_bonus: NonNegativeFloat,
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
        self.spec = spec
        self.model = model
        self.planner = planner
        self.generator = generator
        self.fit_every = fit_every
        self.discount = discount
        self.explore = explore
        self.noise_std = noise_std
        self.epsilon = epsilon
        self.disagreement_bonus = disagreement_bonus
        self.last_fit = 0
        self.fits = 0  # how often the model's weights were replaced
        self.diverged_fits = 0  # in a row

    def policy(self, envs: Sequence[Env], explore: bool, generator: torch.Generator) -> _MPCPolicy:
        """Return a policy that plans with the model as it is at each step."""
        return _MPCPolicy(self, envs, explore, generator)

    def update(self, replay: ReplayBuffer, env_step: int) -> dict[str, float]:
        """Fit the model every `fit_every` steps."""
        if self.model.is_fitted and env_step - self.last_fit < self.fit_every:
            return {}
        self.last_fit = env_step
        self.fits += 1
        metrics = self.model.fit(replay, self.generator)
        self.diverged_fits = self.diverged_fits + 1 if metrics.get("rolled_back") else 0
        if self.diverged_fits == MAX_DIVERGED_FITS:
            raise Diverged(
                f"the model diverged in {MAX_DIVERGED_FITS} fits in a row and was rolled back each "
                "time; lower model.learning_rate, or raise agent.fit_every to fit more data at once"
            )
        return {f"model/{name}": value for name, value in metrics.items()}

    def world(self, generator: torch.Generator) -> World:
        """Return the model's functions as a planner may see them."""

        def imagine_plans(state: State, plans: torch.Tensor, spread: bool) -> Imagined:
            return imagine(self.model, state, plans, self.discount, generator, spread)

        return World(
            action=self.spec.action,
            imagine=imagine_plans,
            branch=self.model.branch,
            step=lambda state, action: self.model.step(state, action, generator),
            discount=self.discount,
            rollout=lambda rows, actions, steps: follow(
                self.model, rows, actions, steps, self.discount, generator
            ),
        )

    def state_dict(self) -> dict[str, Any]:
        """Return the model, when it was last fitted and the random numbers of the next fit."""
        return {
            "model": self.model.state_dict(),
            "last_fit": self.last_fit,
            "diverged_fits": self.diverged_fits,
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.model.load_state_dict(state["model"])
        self.last_fit = state["last_fit"]
        self.fits += 1
        self.diverged_fits = state["diverged_fits"]
        self.generator.set_state(state["generator"])


class _MPCPolicy:
    def __init__(
        self, agent: MPC, envs: Sequence[Env], explore: bool, generator: torch.Generator
    ) -> None:
        self.agent = agent
        self.envs = list(envs)
        self.explore = agent.explore if explore else "none"
        self.source = generator
        device = agent.planner.device
        on_gpu = device.type == "cuda"  # numbers are drawn where they are used, or it would wait
        self.generator = torch.Generator(device) if on_gpu else generator
        self.captured: CapturedPlanner | None = None
        self.captured_fit = -1
        self.world = agent.world(self.generator)
        self.prediction_horizon = agent.planner.horizon
        self.discount = agent.discount
        self.nonfinite, self.late = torch.zeros(()), 0
        self.rehearsed = agent.planner.deadline.max_ms is None
        self.reset()

    def reset(self) -> None:
        """Start episodes in all environments: no plan, no past."""
        num_envs, spec = len(self.envs), self.agent.spec
        if self.generator is not self.source:  # all that an episode draws follows from `source`
            self.generator.manual_seed(int(torch.randint(2**31, (1,), generator=self.source)))
        self.memory = self.agent.planner.initial_memory(num_envs)
        self.state = self.agent.model.initial(num_envs)
        self.action = torch.zeros(num_envs, spec.action.dim, device=self.agent.planner.device)
        self.planned: torch.Tensor | None = None  # [B, H, A] of the last decision
        self.step = 0

    def _rehearse(self, obs: torch.Tensor) -> None:
        """Decide for obs [B, O] to no effect, so that a time budget knows how long it takes."""
        planner, deadline = self.agent.planner, self.agent.planner.deadline
        generator = torch.Generator(self.generator.device)
        state = self.agent.model.observe(self.state, self.action, obs, self.envs)
        fastest = float("inf")
        for _ in range(REHEARSALS):  # the first also makes buffers and warms caches
            deadline.forget()
            planner.plan(self.agent.world(generator), state, self.memory, generator)
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
        agent, planner = self.agent, self.agent.planner
        if not self.rehearsed:
            self._rehearse(torch.from_numpy(obs))
        bonus = agent.disagreement_bonus if self.explore == "disagreement" else 0.0
        self.state = agent.model.observe(self.state, self.action, torch.from_numpy(obs), self.envs)
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
        return Decision(self.action.cpu().numpy(), predicted)

    def _plan(self, bonus: float) -> Plan:
        planner = self.agent.planner
        on_gpu = planner.device.type == "cuda"
        if not on_gpu or not planner.is_static or planner.deadline.max_ms is not None:
            return planner.plan(self.world, self.state, self.memory, self.generator, bonus)
        if self.captured is None or self.captured_fit != self.agent.fits:
            self.captured = CapturedPlanner(planner, self.world, self.generator, bonus)
            self.captured_fit = self.agent.fits
        return self.captured.plan(self.state, self.memory)

    def _explored(self, action: torch.Tensor) -> torch.Tensor:
        """Disturb planned actions [B, A] as `agent.explore` says."""
        device = self.generator.device
        if self.explore == "noise":
            noise = torch.randn(action.shape, generator=self.generator, device=device)
            disturbed = action + self.agent.noise_std * noise.to(action.device)
            return disturbed.clamp(-1.0, 1.0)
        if self.explore == "epsilon":
            luck = torch.rand(len(action), 1, generator=self.generator, device=device)
            lucky = (luck < self.agent.epsilon).to(action.device)
            other = random_actions(self.agent.spec.action, len(action), self.source)
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
        if self.agent.planner.deadline.max_ms is not None:
            counts["planner/late"] = float(self.late)
        self.nonfinite, self.late = torch.zeros(()), 0
        return counts
