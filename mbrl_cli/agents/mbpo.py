"""MBPO (Janner et al. 2019, "When to Trust Your Model", algorithm 2): SAC on imagined data.

The policy is rolled out in the model for a few steps from real states. SAC learns from these
rollouts and from a fixed ratio of real transitions. Either its actor acts, or a planner that uses
its critics and its actor.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any, Literal

import torch
from torch import Tensor

from mbrl_cli.agents.base import Agent, Policy
from mbrl_cli.agents.diverged_fits import DivergedFits
from mbrl_cli.agents.interval_schedule import IntervalSchedule
from mbrl_cli.agents.model_rollouts import store_model_rollouts
from mbrl_cli.agents.planning import Planning, cost_advice
from mbrl_cli.agents.rollout_length import RolloutLength
from mbrl_cli.agents.sac import SAC
from mbrl_cli.agents.td_batch import TDBatch
from mbrl_cli.envs.env import Env
from mbrl_cli.errors import UserError
from mbrl_cli.models.base import Model, require_state_source
from mbrl_cli.planners.base import Planner
from mbrl_cli.replay.buffer import ReplayBuffer
from mbrl_cli.replay.imagined import ImaginedBuffer
from mbrl_cli.types import (
    ArgumentsOf,
    Count,
    CountOrZero,
    EnvSpec,
    Fraction,
    PositiveFloat,
)

# Where MBPO's defaults differ from those of SAC: imagined data allow more gradient steps.
SAC_DEFAULTS: dict[str, Any] = {"hidden": (128, 128), "updates_per_step": 10.0}


class MBPO(Agent):
    """Fit the model, roll out the policy in it, improve the policy on imagined and real data.

    With `real_ratio` 1 and no planner it equals SAC to the bit: the model is neither fitted nor
    used.

    Axes: U gradient steps, n rows of a batch.

    Args:
        spec: the environment.
        device: where networks and imagined data live.
        generator: source of all random numbers in training; on the CPU.
        model: imagines the rollouts.
        sac: arguments of `SAC` that differ from its defaults and from `SAC_DEFAULTS`.
        real_ratio: fraction of real transitions in each batch.
        fit_every: environment steps between fits of the model.
        rollout_every: environment steps between rollouts of the current policy.
        rollouts: imagined rollouts at a time, over all particles of the model.
        rollout_length: see `RolloutLength`, as for the next two.
        max_error: for `rollout_length` "auto".
        max_length: for `rollout_length` "auto".
        imagined_capacity: imagined transitions that are stored.
        act: "policy": the actor acts; "plan": the planner does.
        proposals: candidates of the planner that are rollouts of the actor; see `Planning`.
        planner: for `act` "plan".

    Raises:
        UserError: if `act` and `planner` contradict each other, or an argument does not fit the
            environment or the model.
    """

    divergence_advice = "lower agent.sac.learning_rate or agent.sac.updates_per_step"

    def __init__(
        self,
        spec: EnvSpec,
        device: torch.device,
        generator: torch.Generator,
        model: Model,
        sac: Annotated[dict[str, Any] | None, ArgumentsOf(SAC)] = None,
        real_ratio: Fraction = 0.25,
        fit_every: Count = 100,
        rollout_every: Count = 20,
        rollouts: Count = 1000,
        rollout_length: Count | Sequence[CountOrZero] | Literal["auto"] = 1,
        max_error: PositiveFloat = 0.3,
        max_length: Count = 10,
        imagined_capacity: Count = 50_000,
        act: Literal["policy", "plan"] = "policy",
        proposals: CountOrZero = 4,
        planner: Planner | None = None,
    ) -> None:
        if act == "plan" and planner is None:
            raise UserError(
                "agent.act=plan: needs a planner; use planner=cem, icem, mppi, random_shooting or "
                "mcts"
            )
        if act == "policy" and planner is not None:
            raise UserError(
                "agent.act=policy: uses no planner; use planner=none, or agent.act=plan"
            )
        require_state_source(model, "agent=mbpo", ["observation"])
        settings = SAC_DEFAULTS | (sac or {})
        if planner is not None:
            settings["assess_rounds"] = 0  # the planner acts, so no copy of the actor can
        self.sac = SAC(spec, device, generator, **settings)
        self.model = model
        self.generator = generator
        self.device = device
        self.num_real = round(real_ratio * self.sac.batch_size)  # real rows of each batch
        self._uses_only_real_data = self.num_real == self.sac.batch_size and planner is None
        self.fit_schedule = IntervalSchedule(fit_every)
        self.rollout_schedule = IntervalSchedule(rollout_every)
        self.diverged_fits = DivergedFits()
        self.num_starts = max(1, rollouts // model.num_particles)
        self.rollout_length = RolloutLength(rollout_length, max_error, max_length)
        self.imagined = ImaginedBuffer(imagined_capacity, spec.obs_dim, spec.action.dim, device)
        self.planning: Planning | None = None
        if planner is not None:
            self.cost_advice = cost_advice(planner, model)
            self.planning = Planning(
                spec, model, planner, self.sac.discount, sac=self.sac, proposals=proposals
            )

    def policy(self, envs: Sequence[Env], explore: bool, generator: torch.Generator) -> Policy:
        """Return SAC's policy, or one that plans with its critics and its actor."""
        agent = self.sac if self.planning is None else self.planning
        return agent.policy(envs, explore, generator)

    def is_finite(self) -> bool:
        """Return whether SAC's weights are finite; diverged fits of the model are counted."""
        return self.sac.is_finite()

    # --- learning -----------------------------------------------------------------------------

    def update(self, replay: ReplayBuffer, env_step: int) -> dict[str, float]:
        """Fit the model, roll out the policy and take gradient steps, each if it is due."""
        if self._uses_only_real_data or not len(replay):
            return self.sac.update(replay, env_step)
        self.sac.refit_scales(replay)
        metrics: dict[str, float] = {}
        if self.fit_schedule.due(env_step, at_once=not self.model.is_fitted):
            metrics |= self._fit(replay)
        if self.rollout_schedule.due(env_step, at_once=not len(self.imagined)):
            metrics |= self._roll_out(replay, env_step)
        updates = self.sac.schedule.due(env_step)
        if updates:
            # If no imagined transition was finite, the batches are real.
            num_real = self.num_real if len(self.imagined) else self.sac.batch_size
            self.sac.learn(self._sample_batches(replay, updates, num_real), num_real)
        self.sac.assessed.update(replay)
        return metrics | self.sac.take_metrics(env_step)

    def fit_steps(self, first: int, last: int) -> Sequence[int]:
        """Return the environment steps in [first, last) before which the model is fitted."""
        if self._uses_only_real_data:
            return range(0)
        return self.fit_schedule.steps(first, last, at_once=not self.model.is_fitted)

    def _fit(self, replay: ReplayBuffer) -> dict[str, float]:
        """Fit the model; return its metrics by tag.

        Raises:
            Diverged: if several fits in a row have diverged.
        """
        fitted = self.model.fit(replay, self.generator)
        self.diverged_fits.add(fitted)
        if self.planning is not None:
            self.planning.model_version += 1
        self.rollout_length.errors = dict(sorted(self.model.errors.items()))
        return {f"model/{name}": value for name, value in fitted.items()}

    def _roll_out(self, replay: ReplayBuffer, env_step: int) -> dict[str, float]:
        """Roll out the policy in the model from random real states; return metrics by tag."""
        length = self.rollout_length.at(env_step)
        rows = self._random_rows(len(replay), (self.num_starts,))
        start_obs = replay.batch(rows.numpy(), self.device).obs  # [S, O]
        act = partial(self.sac.act, generator=self.generator)
        num_nonfinite = store_model_rollouts(
            self.model, act, start_obs, length, self.imagined, self.generator
        )
        metrics = {"agent/rollout_length": float(length), "agent/nonfinite": float(num_nonfinite)}
        if self.rollout_length.errors:
            metrics["agent/rollout_error"] = self.rollout_length.error_after(length)
        return metrics

    def _sample_batches(self, replay: ReplayBuffer, updates: int, num_real: int) -> TDBatch:
        """Return batches [U, n, ...] whose first `num_real` rows are real, the others imagined."""
        real = self.sac.sample_batches(replay, updates, num_real)
        if num_real == self.sac.batch_size:
            return real
        rows = self._random_rows(len(self.imagined), (updates, self.sac.batch_size - num_real))
        imagined = TDBatch.of_transitions(self.imagined.batch(rows), self.sac.discount)
        return TDBatch(*(torch.cat(fields, dim=1) for fields in zip(real, imagined, strict=True)))

    def _random_rows(self, num_rows: int, shape: tuple[int, ...]) -> Tensor:
        return torch.randint(num_rows, shape, generator=self.generator)

    # --- saving -------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return what SAC and the model learned, the imagined data and the counters."""
        return {
            "sac": self.sac.state_dict(),
            "model": self.model.state_dict(),
            "imagined": self.imagined.state_dict(),
            "errors": self.rollout_length.errors,
            "fit_schedule": self.fit_schedule.state_dict(),
            "rollout_schedule": self.rollout_schedule.state_dict(),
            "diverged_fits": self.diverged_fits.count,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the values that `state_dict` returned."""
        self.sac.load_state_dict(state["sac"])
        self.model.load_state_dict(state["model"])
        self.imagined.load_state_dict(state["imagined"])
        self.rollout_length.errors = state["errors"]
        self.fit_schedule.load_state_dict(state["fit_schedule"])
        self.rollout_schedule.load_state_dict(state["rollout_schedule"])
        self.diverged_fits.count = state["diverged_fits"]
        if self.planning is not None:
            self.planning.model_version += 1
