"""The steps at which trials are compared: successive halving."""

from __future__ import annotations

import math

from mbrl_cli.errors import UserError
from mbrl_cli.run_settings import RunSettings


def rungs_of(
    run: RunSettings, episode_limit: int, reduction: int, min_steps: int, trials: int
) -> list[int]:
    """Return the steps of the rungs, ascending; the last one is `total_steps`.

    The ratio of two rungs is `reduction` or a little less, and each rung is rounded to an
    evaluation of the run. The first one is after the prefill, which ends with an episode: before it
    all trials act randomly. There are no more rungs than `trials` can fill if one in `reduction` is
    promoted from each.

    Args:
        run: settings of the runs.
        episode_limit: steps of an episode at most; 0: unknown.
        reduction: ratio of the steps of two rungs.
        min_steps: steps of the first rung at least.
        trials: their number.

    Raises:
        UserError: if the run has no evaluation at which trials can be compared.
    """
    every, total = run.eval_every, run.total_steps
    if every == 0:
        first = total
    else:
        latest_end = run.prefill_steps + max(episode_limit - 1, 0)
        end_of_prefill = latest_end if latest_end + every < total else run.prefill_steps
        first = max((end_of_prefill // every + 1) * every, -(-min_steps // every) * every)
    if first >= total:
        shown = f"min_steps={min_steps}" if min_steps else f"eval_every={every}"
        raise UserError(
            f"{shown}: the run has no evaluation between the prefill (prefill_steps="
            f"{run.prefill_steps}) and total_steps={total}, at which trials are compared; type a "
            f"smaller {shown.partition('=')[0]}, or pruning=false"
        )
    promotions = max(1, round(math.log(total / first, reduction)))
    while promotions > 1 and reduction**promotions > trials:
        promotions -= 1
    ratio = min(reduction, (total / first) ** (1 / promotions))
    steps = (round(total / ratio**k / every) * every for k in range(1, promotions + 1))
    return sorted({total, *(max(first, rung) for rung in steps)})
