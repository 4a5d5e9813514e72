"""The steps at which trials are compared: successive halving."""

from __future__ import annotations

from mbrl_cli.errors import UserError
from mbrl_cli.run_settings import RunSettings


def rungs_of(run: RunSettings, reduction: int, pruning: bool) -> list[int]:
    """Return the steps of the rungs, ascending; the last one is `total_steps`.

    Each rung has 1 / `reduction` of the steps of the next one, rounded to an evaluation of the run,
    which is after the prefill: before it all trials act randomly.

    Args:
        run: settings of the runs.
        reduction: ratio of the steps of two rungs.
        pruning: false: the last rung is the only one.

    Raises:
        UserError: if the run has no evaluation at which trials can be compared.
    """
    if not pruning:
        return [run.total_steps]
    every = run.eval_every
    first = (run.prefill_steps // every + 1) * every if every else run.total_steps
    if first >= run.total_steps:
        raise UserError(
            f"eval_every={every}: the run has no evaluation between prefill_steps="
            f"{run.prefill_steps} and total_steps={run.total_steps}, at which trials are compared; "
            "type a smaller eval_every, or pruning=false"
        )
    rungs = {first, run.total_steps}
    steps = run.total_steps / reduction
    while (rung := round(steps / every) * every) > first:
        rungs.add(rung)
        steps /= reduction
    return sorted(rungs)
