"""A run that a callback ended before its total steps, and that is resumed without a change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mbrl_cli.errors import printable
from mbrl_cli.return_text import format_return
from mbrl_cli.run_files import STOPPED_FILE, read_regular

MAX_BYTES = 2**14


def report_stopped(folder: Path, finished: dict[str, Any]) -> float:
    """Print why a finished run ended before its total steps; return its result.

    Args:
        folder: the run folder, which has a `stopped.txt`.
        finished: what `load_final_checkpoint` returned.
    """
    reason = read_regular(folder / STOPPED_FILE, MAX_BYTES).decode(errors="replace").strip()
    result: float = finished["result"]
    print(
        f"{folder}: finished at step {finished['env_step']:,} ({printable(reason)}), return "
        f"{format_return(result)}; to go on type: mbrl resume {folder} stop_at_return=null"
    )
    return result
