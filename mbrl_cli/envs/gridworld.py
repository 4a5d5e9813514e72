"""A grid world with four moves, obstacles and one goal."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from mbrl_cli.errors import UserError

Position = tuple[int, int]
MOVES: tuple[Position, ...] = ((0, 1), (0, -1), (-1, 0), (1, 0))  # up, down, left, right
STEP_REWARD = -1.0
GOAL_REWARD = 100.0

CELL_PIXELS = 32  # width and height of a cell in the image
# RGB of the marks of `render`
_COLORS = {"A": (40, 90, 200), "G": (60, 170, 80), "#": (60, 60, 60), ".": (240, 240, 240)}


class GridWorld(gymnasium.Env[NDArray[np.int64], np.int64]):
    """Move on a square grid from `start` to `goal`; walls and obstacles stop a move.

    Observations are the position (x, y); y points up. The reward is -1 for each step, and 100 for
    the step that reaches the goal and terminates the episode. In the default grid the shortest path
    has 8 steps and the return 93. After `max_steps` the episode is truncated.
    """

    metadata = {"render_modes": ["ansi", "rgb_array"], "render_fps": 4}  # noqa: RUF012

    def __init__(
        self,
        size: int = 5,
        start: Sequence[int] = (0, 0),
        goal: Sequence[int] = (4, 4),
        obstacles: Sequence[Sequence[int]] = ((2, 2), (2, 3), (3, 2)),
        max_steps: int = 50,
        render_mode: str | None = None,
    ):
        """Build the grid; raises UserError if the goal cannot be reached from the start."""
        for key, value, minimum in (("size", size, 2), ("max_steps", max_steps, 1)):
            if not isinstance(value, int) or value < minimum:
                raise UserError(f"env.kwargs.{key}={value}: must be a whole number >= {minimum}")
        self.size = size
        self.start = self._checked_cell("start", start)
        self.goal = self._checked_cell("goal", goal)
        self.obstacles = frozenset(self._checked_cell("obstacles", cell) for cell in obstacles)
        for key, cell in (("start", self.start), ("goal", self.goal)):
            if cell in self.obstacles:
                raise UserError(f"env.kwargs.{key}={cell}: lies on an obstacle")
        if self.start == self.goal:
            raise UserError(f"env.kwargs.goal={self.goal}: must differ from the start")
        if self.goal not in self._reachable():
            raise UserError(
                f"env.kwargs.goal={self.goal}: the obstacles cut it off from start={self.start}"
            )
        self.max_episode_steps = max_steps
        self.render_mode = render_mode
        self.observation_space = spaces.Box(0, size - 1, shape=(2,), dtype=np.int64)
        self.action_space = spaces.Discrete(len(MOVES))
        self._position = self.start
        self._elapsed = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.int64], dict[str, Any]]:
        """Start an episode at `start`."""
        super().reset(seed=seed)
        self._position = self.start
        self._elapsed = 0
        return np.array(self._position), {}

    def step(
        self, action: np.int64 | int
    ) -> tuple[NDArray[np.int64], float, bool, bool, dict[str, Any]]:
        """Move up, down, left or right (0 to 3)."""
        self._position = self.moved(self._position, MOVES[action])
        self._elapsed += 1
        terminated = self._position == self.goal
        truncated = self._elapsed >= self.max_episode_steps
        reward = GOAL_REWARD if terminated else STEP_REWARD
        return np.array(self._position), reward, terminated, truncated, {}

    def render(self) -> Any:
        """Return the grid as text (`ansi`) or as pixels [height, width, 3] (`rgb_array`)."""
        marks = {cell: "#" for cell in self.obstacles} | {self.goal: "G", self._position: "A"}
        rows = [
            [marks.get((x, y), ".") for x in range(self.size)] for y in reversed(range(self.size))
        ]
        if self.render_mode == "ansi":
            return "\n".join(" ".join(row) for row in rows) + "\n"
        if self.render_mode == "rgb_array":
            pixels = np.array([[_COLORS[mark] for mark in row] for row in rows], dtype=np.uint8)
            return pixels.repeat(CELL_PIXELS, axis=0).repeat(CELL_PIXELS, axis=1)
        return None

    def moved(self, position: Position, move: Position) -> Position:
        """Return the cell after a move; an obstacle or the edge stops it."""
        edge = self.size - 1
        x, y = (min(max(position[i] + move[i], 0), edge) for i in range(2))
        return position if (x, y) in self.obstacles else (x, y)

    def _checked_cell(self, key: str, value: Sequence[int]) -> Position:
        cell = tuple(value)
        if len(cell) != 2 or any(n not in range(self.size) for n in cell):
            raise UserError(
                f"env.kwargs.{key}={cell}: must be [x, y], each from 0 to {self.size - 1}"
            )
        return int(cell[0]), int(cell[1])

    def _reachable(self) -> set[Position]:
        seen, queue = {self.start}, deque([self.start])
        while queue:
            position = queue.popleft()
            for cell in {self.moved(position, move) for move in MOVES} - seen:
                seen.add(cell)
                queue.append(cell)
        return seen
