"""`mbrl eval RUN_DIR`: run evaluation episodes with a saved run."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mbrl_cli.config.saved_run import load_saved_run
from mbrl_cli.config.state_errors import state_errors
from mbrl_cli.config.sweep_folder import refuse_sweep_folder
from mbrl_cli.errors import printable
from mbrl_cli.evaluation import Evaluation, evaluate
from mbrl_cli.return_text import format_mean_and_std, format_return
from mbrl_cli.signals import stop_on_signals


def evaluate_saved_run(
    folder: Path, overrides: Sequence[str], trust: bool, user_dir: Path | None
) -> None:
    """Print the return of each evaluation episode; for the arguments see `load_saved_run`."""
    refuse_sweep_folder("eval", folder)
    run_objects, env_step = load_saved_run(folder, overrides, trust, user_dir)
    settings = run_objects.settings
    is_given = any(override.startswith("eval_episodes=") for override in overrides)
    episodes = settings.eval_episodes if is_given else settings.final_eval_episodes
    try:
        with stop_on_signals(), state_errors(folder):
            envs = run_objects.eval_envs.take(episodes)
            result = evaluate(run_objects.agent, envs, settings.seed, episodes)
        for line in run_objects.eval_envs.notices():
            print(f"mbrl: {printable(line)}", file=sys.stderr)
    finally:
        run_objects.eval_envs.close()
    _print(f"{printable(folder.name)} after {env_step:,} steps", result)


def _print(title: str, result: Evaluation) -> None:
    table = Table(title=Text(title))
    for column in ("episode", "seed", "return", "steps"):
        table.add_column(column, justify="right")
    rows = zip(result.seeds, result.returns, result.lengths, strict=True)
    for episode, (seed, value, length) in enumerate(rows):
        table.add_row(str(episode), str(seed), format_return(float(value)), str(length))
    console = Console()
    console.print(table)
    minimum = format_return(float(result.returns.min()))
    text = f"mean return {format_mean_and_std(result.returns)}, min {minimum}"
    console.print(text, highlight=False)
