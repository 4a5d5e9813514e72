"""A line about a run that takes hours because its decisions are slow."""

from __future__ import annotations

MEASURED = 20  # decisions after which the line is printed
LONG_RUN = 3600.0  # seconds
SLOW_DECISION = 0.1  # seconds, of acting and the environment


def long_run_notice(
    num_measured: int, decision_seconds: float, seconds_left: float | None, advice: str
) -> str | None:
    """Return the line when the time is known for the first time, or None if the run is short.

    Args:
        num_measured: decisions that were measured so far.
        decision_seconds: their mean duration.
        seconds_left: estimated time of the rest of the run; None: not known.
        advice: which keys make decisions faster, or "".
    """
    if num_measured != MEASURED or decision_seconds < SLOW_DECISION:
        return None
    if seconds_left is None or seconds_left < LONG_RUN:
        return None
    keys = f"{advice}, or lower" if advice else "lower"
    return (
        f"a decision takes {decision_seconds:.2g} s, so the run takes about "
        f"{seconds_left / 3600.0:.1f} h more; to shorten it {keys} eval_episodes and "
        "final_eval_episodes"
    )
