"""A whole decision as one CUDA graph: recorded once, replayed at every step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mbrl_cli.planners.base import Plan, Planner
from mbrl_cli.planners.world import World
from mbrl_cli.types import State


class CapturedPlanner:
    """Replay `planner.plan` on a GPU without launching its hundreds of kernels one by one.

    The graph holds the addresses of the model's weights: make a new one after every fit. It holds
    for one number of environments; another number is recorded anew. The random numbers go on from
    the generator's state as they would without the graph.
    """

    def __init__(
        self, planner: Planner, world: World, generator: torch.Generator, bonus: float
    ) -> None:
        self.planner = planner
        self.world = world
        self.generator = generator
        self.bonus = bonus
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
        recorded = self._plan
        return Plan(
            recorded.actions.clone(),
            _clone(recorded.predicted_return),
            {key: value.clone() for key, value in (recorded.memory or {}).items()},
            _clone(recorded.nonfinite),
        )

    def _record(self, state: State, memory: State) -> None:
        self._state = {key: value.clone() for key, value in state.items()}
        self._memory = {key: value.clone() for key, value in memory.items()}
        before = self.generator.get_state()
        # Buffers are made and kernels chosen on a side stream, as graphs want it.
        side = torch.cuda.Stream(self.planner.device)  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream(self.planner.device))
        with torch.cuda.stream(side):
            for _ in range(3):
                self._decide()
        torch.cuda.current_stream(self.planner.device).wait_stream(side)
        self.generator.set_state(before)  # rehearsals draw nothing
        self._graph = torch.cuda.CUDAGraph()
        self._graph.register_generator_state(self.generator)
        with torch.cuda.graph(self._graph):
            self._plan = self._decide()

    def _decide(self) -> Plan:
        return self.planner.plan(self.world, self._state, self._memory, self.generator, self.bonus)


def _clone(value: Any) -> Any:
    """Return a copy of a tensor, or any other value itself."""
    return value.clone() if isinstance(value, Tensor) else value


def _copy(source: dict[str, Tensor], target: dict[str, Tensor]) -> None:
    for key, value in source.items():
        target[key].copy_(value)
