"""The state of a run at one moment, as a line of a table needs it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

State = Literal["running", "finished", "interrupted", "failed"]


@dataclass(frozen=True)
class RunSummary:
    """What `mbrl runs` shows about a run.

    Attributes:
        folder: the run folder.
        state: see `Run.state`.
        env, model, planner, agent: the names of the choices.
        seed: the seed of the run.
        steps: environment steps up to the newest row of metrics.csv.
        total_steps: environment steps that the run takes in all.
        last_return: mean return of the newest evaluation; None: there was none. It is the final one
            if the run has finished.
        age: seconds since the run logged something, or since it started.
        size: of all files in the folder, in bytes.
        tags: the words that were given as `tags=[a,b]`.
    """

    folder: Path
    state: State
    env: str
    model: str
    planner: str
    agent: str
    seed: int
    steps: int
    total_steps: int
    last_return: float | None
    age: float
    size: int
    tags: tuple[str, ...] = ()
