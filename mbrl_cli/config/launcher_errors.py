"""Errors of a cluster to which a launcher hands the jobs of a sweep, in one line."""

from __future__ import annotations

import re


def explain_launcher_error(error: Exception) -> str | None:
    """Return one line about a cluster that refuses or loses jobs, None for any other error.

    The packages of the launchers are recognised by name, because they need not be installed.
    """
    package = type(error).__module__.partition(".")[0]
    if isinstance(error, ConnectionError) and "Ray instance" in str(error):
        return (
            "hydra/launcher=ray: no Ray cluster was found; to start one type: ray start --head, "
            "or set RAY_ADDRESS=HOST:PORT"
        )
    if package == "ray":
        return f"hydra/launcher=ray: {_first_line(error)}"
    if package != "submitit":
        return None
    refused = re.findall(r"sbatch: error: (.*)", str(error))
    if refused:
        return f"hydra/launcher=slurm: SLURM refuses the jobs: {'; '.join(refused)}"
    lost = re.search(r"Job (\S+) .*? with path (\S+)/.*?\(state: (.*?)\)", str(error), re.DOTALL)
    if lost is None:
        return f"hydra/launcher=slurm: {_first_line(error)}"
    job, folder, state = lost.groups()
    return (
        f"hydra/launcher=slurm: job {job} ended without a result ({state}), its output is in "
        f"{folder}; the other jobs continue, squeue shows them"
    )


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
