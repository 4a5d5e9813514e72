"""A figure of what the model of a grid world predicts for each cell and action."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from mbrl_cli.envs.env import Env
from mbrl_cli.envs.gridworld import GOAL_REWARD, MOVES, STEP_REWARD, GridWorld
from mbrl_cli.models.base import Model

ACTIONS = ("up", "down", "left", "right")  # the order of `MOVES`
REWARD_TOLERANCE = 0.5
CELL = 52  # pixels
GAP, HEADER, MARGIN = 26, 30, 20
FONT_SIZE, SMALL = 15, 12
TEXT, LINES = (30, 30, 30), (190, 190, 190)
WALL, GOAL, END, WRONG = (60, 60, 60), (190, 225, 195), (0, 114, 178), (255, 214, 190)


@dataclass(frozen=True)
class Outcomes:
    """Outcomes of n pairs of cell and action.

    Attributes:
        next_cell: [n, 2] x and y; means of a model, so not always whole numbers.
        reward: [n]
        termination: [n] probability that the step ends the task.
    """

    next_cell: NDArray[np.float64]
    reward: NDArray[np.float64]
    termination: NDArray[np.float64]


def grid_image(env: Env, model: Model | None) -> NDArray[np.uint8] | None:
    """Return the figure [height, width, 3] of a trained model.

    None: the environment is no grid world with positions as observations, or the model cannot
    predict from a single observation.
    """
    grid = env.gym.unwrapped
    if not isinstance(grid, GridWorld) or env.gym.observation_space != grid.observation_space:
        return None
    if model is None or not model.is_fitted:
        return None
    if model.state_source != "observation" or model.learns_from != "replay":
        return None
    cells, actions = pairs(grid)
    outcomes = _predicted_outcomes(env, model, cells, actions)
    figure = draw_figure(grid, cells, actions, outcomes, true_outcomes(grid, cells, actions))
    return np.asarray(figure)


@torch.inference_mode()
def _predicted_outcomes(
    env: Env, model: Model, cells: NDArray[np.int64], actions: NDArray[np.int64]
) -> Outcomes:
    """Return the model's mean outcomes for cells [n, 2] and actions [n]."""
    generator = torch.Generator(model.device).manual_seed(0)  # of its own: no number changes
    obs = torch.from_numpy(cells.astype(np.float32)).to(model.device)  # [n, 2]
    encoded = np.stack([env.codec.encode(action) for action in actions])
    action = torch.from_numpy(encoded).to(model.device)  # [n, A]
    state = model.observe(model.initial(len(obs)), torch.zeros_like(action), obs)
    step = model.step(model.branch(state, 1), action, generator)
    means = (
        part.double().mean(1).cpu().numpy()  # over the particles
        for part in (model.decode(step.state), step.reward, 1.0 - step.continues)
    )
    return Outcomes(*means)


def pairs(grid: GridWorld) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return every cell in which an agent can act [n, 2], with every action [n]."""
    blocked = {*grid.obstacles, grid.goal}
    side = range(grid.size)
    cells = [(x, y) for y in side for x in side if (x, y) not in blocked]
    actions = np.tile(np.arange(len(MOVES)), len(cells))
    return np.repeat(np.array(cells), len(MOVES), axis=0), actions


def true_outcomes(
    grid: GridWorld, cells: NDArray[np.int64], actions: NDArray[np.int64]
) -> Outcomes:
    """Return the outcomes for cells [n, 2] and actions [n]."""
    following = [
        grid.moved((int(x), int(y)), MOVES[action])
        for (x, y), action in zip(cells, actions, strict=True)
    ]
    ends = np.array([cell == grid.goal for cell in following])
    return Outcomes(
        np.array(following, np.float64),
        np.where(ends, GOAL_REWARD, STEP_REWARD),
        ends.astype(np.float64),
    )


def right_predictions(model: Outcomes, truth: Outcomes) -> NDArray[np.bool_]:
    """Return whether next cell, reward and termination are right [n, 3]."""
    return np.stack(
        [
            (np.abs(model.next_cell - truth.next_cell) < 0.5).all(axis=1),
            np.abs(model.reward - truth.reward) <= REWARD_TOLERANCE,
            (model.termination > 0.5) == (truth.termination > 0.5),
        ],
        axis=1,
    )


def draw_figure(
    grid: GridWorld,
    cells: NDArray[np.int64],
    actions: NDArray[np.int64],
    model: Outcomes,
    truth: Outcomes,
) -> Image.Image:
    """Return two rows of grids, the model above the truth, with one column for each action."""
    side = CELL * grid.size
    label = 64  # width of the names of the rows
    width = 2 * MARGIN + label + len(ACTIONS) * side + (len(ACTIONS) - 1) * GAP
    legend = 3 * 20 + 10
    height = 2 * MARGIN + HEADER + 2 * side + GAP + legend
    figure = Image.new("RGB", (width, height), (255, 255, 255))
    draw = ImageDraw.Draw(figure)
    font, small = ImageFont.load_default(FONT_SIZE), ImageFont.load_default(SMALL)
    wrong = np.asarray(~right_predictions(model, truth).all(axis=1))
    for row, (name, outcomes) in enumerate((("model", model), ("truth", truth))):
        top = MARGIN + HEADER + row * (side + GAP)
        draw.text((MARGIN, top + side / 2), name, TEXT, font, anchor="lm")
        for action, action_name in enumerate(ACTIONS):
            left = MARGIN + label + action * (side + GAP)
            if row == 0:
                draw.text((left + side / 2, MARGIN), action_name, TEXT, font, anchor="ma")
            marked = wrong if row == 0 else np.zeros_like(wrong)
            _draw_grid(draw, grid, left, top, small, cells, actions == action, outcomes, marked)
    top = height - MARGIN - legend + 10
    lines = (
        "arrow: move to the next cell; ring: stays in the cell. Number: reward. "
        "Thick blue edge: the step ends the task (probability > 0.5).",
        f"Orange: the model is wrong about the next cell, the reward (by more than "
        f"{REWARD_TOLERANCE}) or the end.",
        "Dark: obstacle. Green: goal.",
    )
    for index, line in enumerate(lines):
        draw.text((MARGIN + label, top + 20 * index), line, TEXT, small)
    return figure


def _draw_grid(
    draw: ImageDraw.ImageDraw,
    grid: GridWorld,
    left: float,
    top: float,
    font: Any,
    cells: NDArray[np.int64],
    chosen: NDArray[np.bool_],
    outcomes: Outcomes,
    wrong: NDArray[Any],
) -> None:
    """Draw the outcomes of the chosen pairs in one grid."""

    def box(x: int, y: int) -> tuple[float, float, float, float]:
        column, row = left + x * CELL, top + (grid.size - 1 - y) * CELL
        return column, row, column + CELL, row + CELL

    for colour, marked in ((WALL, grid.obstacles), (GOAL, [grid.goal])):
        for x, y in marked:
            draw.rectangle(box(x, y), fill=colour)
    for index in np.flatnonzero(chosen):
        if wrong[index]:
            draw.rectangle(box(*cells[index]), fill=WRONG)
    for x in range(grid.size):
        for y in range(grid.size):
            draw.rectangle(box(x, y), outline=LINES)
    for index in np.flatnonzero(chosen):
        column, row, right, bottom = box(*cells[index])
        middle = np.array([(column + right) / 2.0, row + CELL * 0.36])
        step = (outcomes.next_cell[index] - cells[index]) * np.array([1.0, -1.0])
        _draw_move(draw, middle, step * CELL * 0.36)
        reward = f"{outcomes.reward[index]:.1f}"
        draw.text(((column + right) / 2.0, bottom - 5), reward, TEXT, font, anchor="ms")
        if outcomes.termination[index] > 0.5:
            draw.rectangle((column + 2, row + 2, right - 2, bottom - 2), outline=END, width=3)


def _draw_move(
    draw: ImageDraw.ImageDraw, middle: NDArray[np.float64], move: NDArray[np.float64]
) -> None:
    """Draw an arrow of the length and direction of `move` around `middle`, in pixels."""
    length = float(np.hypot(*move))
    if length < 4.0:
        draw.ellipse((*(middle - 4), *(middle + 4)), outline=TEXT, width=2)
        return
    start, end = middle - move / 2.0, middle + move / 2.0
    along = move / length
    across = np.array([-along[1], along[0]])
    draw.line((*start, *end), TEXT, 2)
    corners = [end + 2 * along, end - 6 * along + 4 * across, end - 6 * along - 4 * across]
    draw.polygon([(float(x), float(y)) for x, y in corners], TEXT)
