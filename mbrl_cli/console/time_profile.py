"""The table of `debug=profile`: where the time of a run went."""

from __future__ import annotations

from mbrl_cli.stopwatch import Stopwatch

NAMES = {
    "env": "environment steps", "plan": "actions (planning)", "fit": "fits of model and agent",
    "eval": "evaluations", "save": "checkpoints",
}  # fmt: skip
LOGGING, OTHER = "logging", "other"
HEADING = ("time", "seconds", "share", "calls", "ms per call")


def time_profile(stopwatch: Stopwatch, logging_seconds: float, total: float) -> list[str]:
    """Return a table with one line for each part of a run, the longest first.

    Args:
        stopwatch: of the run; what it measured in this process counts.
        logging_seconds: time in which metrics were written.
        total: seconds since the run started in this process.
    """
    seconds = {NAMES[phase]: stopwatch.process_seconds[phase] for phase in NAMES}
    calls = {NAMES[phase]: stopwatch.calls[phase] for phase in NAMES}
    seconds[LOGGING] = logging_seconds
    rows = [
        _row(name, seconds[name], calls.get(name), total)
        for name in sorted(seconds, key=lambda name: -seconds[name])
    ]
    rows.append(_row(OTHER, max(0.0, total - sum(seconds.values())), None, total))
    rows.append(_row("total", total, None, total))
    widths = [max(map(len, column)) for column in zip(HEADING, *rows, strict=True)]
    return [
        "  ".join([cells[0].ljust(widths[0]), *map(str.rjust, cells[1:], widths[1:])]).rstrip()
        for cells in [HEADING, *rows]
    ]


def _row(name: str, seconds: float, calls: int | None, total: float) -> tuple[str, ...]:
    share = f"{seconds / total:.1%}" if total > 0 else "-"
    each = "-" if not calls else f"{1000 * seconds / calls:.2f}"
    return name, f"{seconds:.2f}", share, "-" if calls is None else f"{calls:,}", each
