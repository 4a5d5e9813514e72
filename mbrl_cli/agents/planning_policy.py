"""Policy of planning agents: plan at every decision, execute the first actions of the plan."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from torch import Tensor

from mbrl_cli.agents.base import Decision
from mbrl_cli.agents.exploration import Exploration
from mbrl_cli.agents.model_policy import ModelPolicy
from mbrl_cli.envs.env import Env
from mbrl_cli.errors import UserError
from mbrl_cli.models.base import Model
from mbrl_cli.planners.base import Plan, Planner
from mbrl_cli.planners.cuda_graph import CudaGraphPlanner
from mbrl_cli.planners.world import World
from mbrl_cli.replay.reward_scale import RewardScale

WARM_UP_DECISIONS = 5  # decisions that measure the time of one iteration


class PlanningPolicy(ModelPolicy):
    """Plan with the model as it is at each decision.

    Axes: B environments, O obs_dim, H horizon, A action dim.

    Args:
        model: filters observations and imagines plans.
        planner: chooses among the plans.
        make_world: returns the functions that the planner calls, with a generator bound.
        model_version: returns a number that changes with the model's weights. A new CUDA graph is
            then recorded.
        envs: the B environments.
        exploration: returns how planned actions are changed at a decision.
        reward_scale: unit of the bonus for disagreement.
        generator: source of all random numbers; on the CPU.
        discount: per imagined step.
        prediction_horizon: steps that the predicted return covers; 0: no prediction.
        weights: context of a decision, in which the networks may have other weights.
    """

    def __init__(
        self,
        model: Model,
        planner: Planner,
        make_world: Callable[[torch.Generator], World],
        model_version: Callable[[], int],
        envs: Sequence[Env],
        exploration: Callable[[], Exploration],
        reward_scale: RewardScale,
        generator: torch.Generator,
        discount: float,
        prediction_horizon: int,
        weights: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        super().__init__(model, envs, planner)
        self.planner: Planner = planner
        self.make_world = make_world
        self.model_version = model_version
        self.exploration = exploration
        self.reward_scale = reward_scale
        self.cpu_generator = generator
        self.discount = discount
        self.prediction_horizon = prediction_horizon
        self.weights = weights
        on_gpu = planner.device.type == "cuda"
        # Random numbers come from the device that uses them, so that it does not wait for the CPU.
        self.generator = torch.Generator(planner.device) if on_gpu else generator
        self.graph: CudaGraphPlanner | None = None
        self.graph_version = -1
        self.world = make_world(self.generator)
        self.num_nonfinite: Tensor = torch.zeros(())  # plans
        self.num_late = 0  # decisions that exceeded the time budget
        self.is_warm = planner.deadline.max_ms is None
        self.reset()

    def reset(self) -> None:
        """Start new episodes: no plan, initial state."""
        if self.generator is not self.cpu_generator:  # `cpu_generator` alone decides an episode
            seed = int(torch.randint(2**31, (1,), generator=self.cpu_generator))
            self.generator.manual_seed(seed)
        super().reset()
        self.planned: Tensor | None = None  # [B, H, A] actions of the last plan
        self.step = 0

    @torch.inference_mode()
    def act(self, obs: np.ndarray) -> Decision:
        """Return actions for obs [B, O]; there is a new plan every `planner.replan_every` steps."""
        with self.weights():
            return self._act(obs)

    def _act(self, obs: np.ndarray) -> Decision:
        if not self.is_warm:
            self._warm_up(torch.from_numpy(obs))
        self.observe(obs)
        steps_since_plan = self.step % self.planner.replan_every
        self.step += 1
        predicted = np.full(len(obs), np.nan)
        exploration = self.exploration()
        if steps_since_plan == 0 or self.planned is None:
            plan = self._plan(exploration)
            self.memory, self.planned = plan.memory or {}, plan.actions
            if exploration.kind == "sample" and plan.sampled is not None:
                self.planned = plan.sampled
            if plan.predicted_return is not None:
                predicted = plan.predicted_return.cpu().numpy()
            # The count stays on the device, so that nothing waits for it.
            self.num_nonfinite = self.num_nonfinite + plan.nonfinite
            self.num_late += self.planner.deadline.was_late
        self.action = exploration.apply(
            self.planned[:, steps_since_plan], self.model.spec, self.generator, self.cpu_generator
        )
        return Decision(self.action.cpu().numpy(), predicted if self.prediction_horizon else None)

    def _plan(self, exploration: Exploration) -> Plan:
        planner = self.planner
        bonus = exploration.bonus * float(self.reward_scale.scale)
        on_gpu = planner.device.type == "cuda"
        if not on_gpu or not planner.is_static or planner.deadline.max_ms is not None:
            return planner.plan(self.world, self.state, self.memory, self.generator, bonus)
        if self.graph is None or self.graph_version != self.model_version():
            self.graph = CudaGraphPlanner(planner, self.world, self.generator, bonus)
            self.graph_version = self.model_version()
        return self.graph.plan(self.state, self.memory)

    def _warm_up(self, obs: Tensor) -> None:
        """Plan for obs [B, O] without executing anything, to measure the time of an iteration.

        Raises:
            UserError: if a single iteration takes longer than `planner.max_plan_ms`.
        """
        planner, deadline = self.planner, self.planner.deadline
        generator = torch.Generator(self.generator.device)
        state = self.model.observe(self.state, self.action, obs, self.envs)
        fastest = float("inf")
        for _ in range(WARM_UP_DECISIONS):  # the first ones also allocate buffers
            deadline.reset()
            planner.plan(self.make_world(generator), state, self.memory, generator)
            fastest = min(fastest, deadline.slowest_ms)
        self.is_warm = True
        if deadline.max_ms is not None and fastest > deadline.max_ms:
            raise UserError(
                f"planner.max_plan_ms={deadline.max_ms:g}: one iteration takes {fastest:.1f} ms "
                "on this machine; raise planner.max_plan_ms, or lower planner.population or "
                "planner.horizon"
            )

    def retain(self, rows: np.ndarray) -> None:
        """Continue with the environments at `rows` only."""
        super().retain(rows)
        if self.planned is not None:
            self.planned = self.planned[torch.from_numpy(rows).to(self.planned.device)]

    def metrics(self) -> dict[str, float]:
        """Return how many plans had no finite return and how many decisions were late.

        Both counts restart at zero.
        """
        counts = {"planner/nonfinite": float(self.num_nonfinite)}
        if self.planner.deadline.max_ms is not None:
            counts["planner/late"] = float(self.num_late)
        self.num_nonfinite, self.num_late = torch.zeros(()), 0
        return counts
