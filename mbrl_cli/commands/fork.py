"""`mbrl fork RUN_DIR at=STEP key=value ...`: a new run that shares the past of another."""

from __future__ import annotations

from pathlib import Path

from mbrl_cli.commands.saved_run_parser import SavedRunParser
from mbrl_cli.errors import UserError

EPILOG = """\
settings:
  at=STEP              the step of a checkpoint of the run; without it the steps are listed
  key=value            what differs from there on: planner, seed, total_steps, settings of the
                       model, the planner and the agent that fit the saved weights
  hydra.run.dir=DIR    the folder of the new run (default: beside the run)

examples:
  mbrl train env=cartpole checkpoint_every=500 keep_checkpoints=20    keep many checkpoints
  mbrl fork outputs/RUN at=1000 planner=icem                          another planner
  mbrl fork outputs/RUN at=1000 seed=1                                other random numbers
  mbrl fork outputs/RUN at=1000 agent.fit_every=50 total_steps=5000
"""
AT, FOLDER = "at", "hydra.run.dir"


def run(argv: list[str]) -> None:
    """Write the folder of the fork and train it to its end."""
    description = "Start a new run from a checkpoint of a run, with other settings from there on."
    words = SavedRunParser("fork", description, EPILOG).parse(argv)
    given = {AT: "", FOLDER: ""}
    overrides = []
    for word in words.overrides:
        key, _, value = word.partition("=")
        if key in given:
            given[key] = value
        else:
            overrides.append(word)
    env_step = _step(given[AT])
    folder = Path(given[FOLDER]) if given[FOLDER] else None

    from mbrl_cli.config.fork_command import fork_saved_run

    fork_saved_run(words.run_dir, env_step, overrides, folder, words.trust, words.config_dir)


def _step(text: str) -> int | None:
    """Return the value of `at`; None if it is not given."""
    if not text:
        return None
    digits = text.replace("_", "")
    if not digits.isascii() or not digits.isdigit():
        raise UserError(f"at={text}: must be a whole number, the step of a checkpoint")
    return int(digits)
