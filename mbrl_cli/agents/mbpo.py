"""MBPO (Janner et al. 2019, "When to Trust Your Model", algorithm 2): SAC on imagined data.

The model is unrolled for a few steps from states that really occurred, under the current policy;
SAC learns from these branches and, by a stated share, from real transitions. It acts itself, or a
planner does that knows its values and proposals.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
import torch

from mbrl_cli.agents.base import Agent, Policy
from mbrl_cli.agents.interval_schedule import IntervalSchedule
from mbrl_cli.agents.planning import Planning
from mbrl_cli.agents.sac import SAC
from mbrl_cli.envs.env import Env
from mbrl_cli.errors import UserError
from mbrl_cli.models.base import Model, require_state_source
from mbrl_cli.planners.base import Planner
from mbrl_cli.replay.buffer import ReplayBuffer
from mbrl_cli.replay.imagined import ImaginedBuffer
from mbrl_cli.types import (
    ArgumentsOf,
    Batch,
    Count,
    CountOrZero,
    EnvSpec,
    Fraction,
    PositiveFloat,
)


class MBPO(Agent):
    """Fit the model, branch short rollouts off real states, improve the policy on both.

    With `real_ratio` 1 it is SAC to the bit: the model is neither fitted nor asked.

    Axes: B branches, P particles of each (every one a rollout of its own), U updates, n rows.
    """

    def __init__(
        self,
        spec: EnvSpec,
        device: torch.device,
        generator: torch.Generator,
        model: Model,
        sac: Annotated[dict[str, Any], ArgumentsOf(SAC)],
        real_ratio: Fraction,
        fit_every: Count,
        rollout_every: Count,
        rollouts: Count,
        rollout_length: Count | list[CountOrZero] | Literal["auto"],
        max_error: PositiveFloat,
        max_length: Count,
        imagined_capacity: Count,
        act: Literal["policy", "plan"] = "policy",
        proposals: CountOrZero = 0,
        planner: Planner | None = None,
    ) -> None:
        if (act == "plan") != (planner is not None):
            wanted = "needs a planner; use planner=cem, icem, mppi, random_shooting or mcts"
            if planner is not None:
                wanted = "uses no planner; use planner=none, or agent.act=plan"
            raise UserError(f"agent.act={act}: {wanted}")
        if isinstance(rollout_length, list) and not _is_schedule(rollout_length):
            raise UserError(
                f"agent.rollout_length={rollout_length}: a schedule is [first step, last step, "
                "length at first, length at last] with first step < last step and lengths >= 1"
            )
        require_state_source(model, "agent=mbpo", ["observation"])
        self.sac = SAC(spec, device, generator, **sac)
        self.model = model
        self.generator = generator
        self.device = device
        self.num_real = round(real_ratio * self.sac.batch_size)  # rows of each batch
        self.fit_schedule = IntervalSchedule(fit_every)
        self.rollout_schedule = IntervalSchedule(rollout_every)
        self.num_branches = max(1, rollouts // model.num_particles)
        self.rollout_length = rollout_length
        self.max_error = max_error
        self.max_length = max_length
        self.imagined = ImaginedBuffer(imagined_capacity, spec.obs_dim, spec.action.dim, device)
        self.planning: Planning | None = None
        if planner is not None:
            self.planning = Planning(
                spec, model, planner, self.sac.discount, learned=self.sac, proposals=proposals
            )
        self.errors: dict[int, float] = {}  # k -> measured k-step error of the model

    def policy(self, envs: Sequence[Env], explore: bool, generator: torch.Generator) -> Policy:
        """Return SAC's policy, or one that plans with its values and proposals."""
        if self.planning is not None:
            return self.planning.policy(envs, explore, generator)
        return self.sac.policy(envs, explore, generator)

    # --- learning -----------------------------------------------------------------------------

    def update(self, replay: ReplayBuffer, env_step: int) -> dict[str, float]:
        """Fit, imagine and take gradient steps, each if it is time to."""
        only_real = self.num_real == self.sac.batch_size and self.planning is None
        if only_real or not len(replay):
            return self.sac.update(replay, env_step)
        metrics: dict[str, float] = {}
        if self.fit_schedule.due(env_step, at_once=not self.model.is_fitted):
            fitted = self.model.fit(replay, self.generator)
            if self.planning is not None:
                self.planning.num_fits += 1
            self.errors = dict(sorted(self.model.errors.items()))
            metrics = {f"model/{name}": value for name, value in fitted.items()}
        if self.rollout_schedule.due(env_step, at_once=not len(self.imagined)):
            metrics |= self._imagine(replay, env_step)
        updates = self.sac.schedule.due(env_step)
        if updates:
            # Where all that was imagined diverged there are real rows only.
            num_real = self.num_real if len(self.imagined) else self.sac.batch_size
            self.sac.learn(self._batches(replay, updates, num_real), num_real)
        return metrics | self.sac.metrics.take(env_step)

    def length(self, env_step: int) -> int:
        """Return how many steps a rollout has at this environment step."""
        if isinstance(self.rollout_length, int):
            return self.rollout_length
        if self.rollout_length == "auto":
            lengths = range(2, min(self.max_length, max(self.errors, default=1)) + 1)
            return max((k for k in lengths if self.error_at(k) <= self.max_error), default=1)
        return int(np.interp(env_step, self.rollout_length[:2], self.rollout_length[2:]))

    def error_at(self, length: int) -> float:
        """Return the model's error after `length` steps, between the measured ones on a line."""
        return float(np.interp(length, list(self.errors), list(self.errors.values())))

    @torch.no_grad()
    def _imagine(self, replay: ReplayBuffer, env_step: int) -> dict[str, float]:
        """Unroll the policy in the model from real states; store every step of each rollout."""
        length = self.length(env_step)
        start = replay.batch(self._draw(len(replay), (self.num_branches,)).numpy(), self.device)
        state = self.model.observe(
            self.model.initial(self.num_branches), torch.zeros_like(start.action), start.obs
        )
        state = self.model.branch(state, 1)
        obs = self.model.decode(state)  # [B, P, O]
        going = torch.ones(obs.shape[:2], dtype=torch.bool, device=self.device)
        lost = torch.zeros((), device=self.device)
        for _ in range(length):
            action = self.sac.act(obs.flatten(0, 1), self.generator).view(*obs.shape[:2], -1)
            state, reward, continues = self.model.step(state, action, self.generator)
            next_obs = self.model.decode(state)
            luck = torch.rand(reward.shape, generator=self.generator).to(self.device)
            ended = luck >= continues
            finite = next_obs.isfinite().all(-1) & reward.isfinite()
            lost += (going & ~finite).sum()
            going = going & finite
            fields = (obs, action, reward, next_obs, ended.float())
            self.imagined.add(Batch(*(field[going] for field in fields)))
            going = going & ~ended
            obs = next_obs
        metrics = {"agent/rollout_length": float(length), "agent/nonfinite": float(lost)}
        if self.errors:
            metrics["agent/rollout_error"] = self.error_at(length)
        return metrics

    def _batches(self, replay: ReplayBuffer, updates: int, num_real: int) -> Batch:
        """Draw batches [U, n, ...] whose first `num_real` rows are real and the others imagined."""
        real = self.sac.sample_batches(replay, updates, num_real)
        if num_real == self.sac.batch_size:
            return real
        rows = self._draw(len(self.imagined), (updates, self.sac.batch_size - num_real))
        imagined = self.imagined.batch(rows)
        return Batch(*(torch.cat(both, dim=1) for both in zip(real, imagined, strict=True)))

    def _draw(self, num: int, shape: tuple[int, ...]) -> torch.Tensor:
        return torch.randint(num, shape, generator=self.generator)

    # --- saving -------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return what SAC and the model learned, the imagined data and the counters."""
        return {
            "sac": self.sac.state_dict(),
            "model": self.model.state_dict(),
            "imagined": self.imagined.state_dict(),
            "errors": self.errors,
            "fit_schedule": self.fit_schedule.state_dict(),
            "rollout_schedule": self.rollout_schedule.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.sac.load_state_dict(state["sac"])
        self.model.load_state_dict(state["model"])
        self.imagined.load_state_dict(state["imagined"])
        self.errors = state["errors"]
        self.fit_schedule.load_state_dict(state["fit_schedule"])
        self.rollout_schedule.load_state_dict(state["rollout_schedule"])


def _is_schedule(values: list[int]) -> bool:
    return len(values) == 4 and values[0] < values[1] and min(values[2:]) >= 1
