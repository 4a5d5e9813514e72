"""Record a planner's decision as a CUDA graph, and replay it at every step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mbrl_cli.planners.base import Plan, Planner
from mbrl_cli.planners.world import World
from mbrl_cli.types import State


class CudaGraphPlanner:
    """Run `planner.plan` on a GPU as one CUDA graph instead of hundreds of kernel launches.

    The graph refers to the memory of the model's weights, so a new object is needed after every
    fit. A graph is valid for one number of environments; another number is recorded as a new graph.
    Random numbers are the same as without the graph.

    Args:
        planner: its operations must not depend on values (`is_static`).
        world: functions of the model.
        generator: for the sampled plans, on the GPU.
        disagreement_bonus: see `TrajectoryPlanner.plan`.
    """

    def __init__(
        self,
        planner: Planner,
        world: World,
        generator: torch.Generator,
        disagreement_bonus: float,
    ) -> None:
        self.planner = planner
        self.world = world
        self.generator = generator
        self.disagreement_bonus = disagreement_bonus
        self._shapes: dict[str, torch.Size] = {}  # of the recorded memory

    def plan(self, state: State, memory: State) -> Plan:
        """Decide for B environments; see `Planner.plan`."""
        shapes = {key: value.shape for key, value in memory.items()}
        if shapes != self._shapes:
            self._record(state, memory)
            self._shapes = shapes
        _copy(state, self._state)
        _copy(memory, self._memory)
        self._graph.replay()
        plan = self._plan  # the next replay overwrites it
        return Plan(
            actions=plan.actions.clone(),
            predicted_return=_clone(plan.predicted_return),
            memory={key: value.clone() for key, value in (plan.memory or {}).items()},
            nonfinite=_clone(plan.nonfinite),
            sampled=_clone(plan.sampled),
        )

    def _record(self, state: State, memory: State) -> None:
        self._state = {key: value.clone() for key, value in state.items()}
        self._memory = {key: value.clone() for key, value in memory.items()}
        generator_state = self.generator.get_state()
        # Warm-up on a side stream, as CUDA graphs require: it allocates buffers, selects kernels.
        side = torch.cuda.Stream(self.planner.device)  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream(self.planner.device))
        with torch.cuda.stream(side):
            for _ in range(3):
                self._plan_eagerly()
        torch.cuda.current_stream(self.planner.device).wait_stream(side)
        self.generator.set_state(generator_state)  # the warm-up does not consume random numbers
        self._graph = torch.cuda.CUDAGraph()
        self._graph.register_generator_state(self.generator)
        with torch.cuda.graph(self._graph):
            self._plan = self._plan_eagerly()

    def _plan_eagerly(self) -> Plan:
        return self.planner.plan(
            self.world, self._state, self._memory, self.generator, self.disagreement_bonus
        )


def _copy(source: dict[str, Tensor], target: dict[str, Tensor]) -> None:
    for key, value in source.items():
        target[key].copy_(value)


def _clone(value: Any) -> Any:
    """Return a copy of a tensor, or any other value itself."""
    return value.clone() if isinstance(value, Tensor) else value
