"""Write what the model of a grid world predicts for each cell and action, beside the truth."""

from __future__ import annotations

from pathlib import Path

from mbrl_cli.api.run import Run
from mbrl_cli.envs.gridworld import GridWorld
from mbrl_cli.errors import UserError
from mbrl_cli.grid_figure import (
    REWARD_TOLERANCE,
    Outcomes,
    draw_figure,
    pairs,
    right_predictions,
    true_outcomes,
)


def write_model_figure(run: Run, path: Path) -> list[str]:
    """Write the figure as PNG; return lines that state how many predictions are right.

    Raises:
        UserError: if the run is not of a grid world, has no model that predicts its observations,
            or the file cannot be written.
    """
    env = run.make_env()
    grid = env.unwrapped
    if not isinstance(grid, GridWorld) or env.observation_space != grid.observation_space:
        raise UserError(
            f"--model-figure: draws grid worlds with env.obs=vector, and {run.folder} "
            f"is of {run.config['env']['id']}; use a run with env=gridworld"
        )
    cells, actions = pairs(grid)
    predicted = run.model.predict_batch(list(cells), actions)
    model = Outcomes(predicted.obs, predicted.reward, predicted.termination)
    truth = true_outcomes(grid, cells, actions)
    try:
        draw_figure(grid, cells, actions, model, truth).save(path, "PNG", optimize=True)
    except OSError as error:
        raise UserError(f"--model-figure {path}: cannot be written ({error.strerror})") from error
    right = right_predictions(model, truth)
    names = ("next cell", f"reward within {REWARD_TOLERANCE}", "termination")
    return [
        f"{name + ' right:':28} {int(column.sum())} of {len(column)}"
        for name, column in zip(names, right.T, strict=True)
    ]
