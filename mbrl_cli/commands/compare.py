"""`mbrl compare`: compare groups of runs, with intervals."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mbrl_cli.commands.output_file import check_output_file, write_output_file
from mbrl_cli.commands.parser import Parser
from mbrl_cli.errors import UserError, unknown_key

KEYS = ("by", "metric", "threshold", "min", "max", "reference", "at", "better", "unfinished")
FORMATS = ("html", "png", "pdf", "csv")
EPILOG = """\
settings:
  by=planner             form groups by these choices or keys: by=agent,planner.horizon
                         (default: everything that differs except the seed)
  metric=eval/return     the tag that is compared
  at=1000                compare values at this step (default: the last of each run)
  reference=sac          compare every group with this one (default: the best with every other)
  threshold=475          measure the steps and minutes to this value
  min=0 max=500          lowest and highest possible value, for the optimality gap
  better=lower           low values are good (default: for losses, errors and times)
  unfinished=true        include runs that have not finished

examples:
  mbrl compare outputs/SWEEP
  mbrl compare outputs/SWEEP by=planner --html report.html
  mbrl compare outputs/RUN1 outputs/RUN2 metric=model/error_k1 --png curves.png
  mbrl compare outputs/SWEEP --baseline published.csv:SAC,MBPO --html report.html
"""


def run(argv: list[str]) -> None:
    """Compare the runs in the folders that the words name."""
    parser = Parser(
        command="compare",
        usage="FOLDER ... [key=value ...] [--html FILE] [--png FILE] [--pdf FILE] [--csv FILE] "
        "[--baseline FILE[:NAME,...]]",
        description="Compare groups of runs: tables, curves and differences with 95 % intervals.",
        epilog=EPILOG,
    )
    parser.add_argument(
        "words", nargs="*", metavar="FOLDER", help="folders of runs or sweeps; settings, see below"
    )
    for name in FORMATS:
        parser.add_argument(f"--{name}", type=Path, metavar="FILE", help=f"also write {name}")
    parser.add_argument(
        "--baseline", metavar="FILE[:NAME,...]", help="draw published results of a CSV file"
    )
    words = parser.parse_intermixed_args(argv)
    settings = dict(word.split("=", 1) for word in words.words if _is_setting(word))
    folders = [Path(word) for word in words.words if not _is_setting(word)]
    if not folders:
        parser.error("FOLDER: must be given, such as outputs/SWEEP")
    files = {name: getattr(words, name) for name in FORMATS if getattr(words, name) is not None}
    for name, path in files.items():
        check_output_file(f"--{name}", path, [f".{name}"])
    _compare(folders, settings, words.baseline, files)


def _compare(
    folders: list[Path], settings: Mapping[str, str], baseline: str | None, files: dict[str, Path]
) -> None:
    from mbrl_cli.api.loading import load_runs
    from mbrl_cli.reports.compare_runs import compare_runs
    from mbrl_cli.reports.comparison_text import comparison_text

    options = _options(settings, baseline)
    lists = [load_runs(folder) for folder in folders]
    runs = {run.folder.absolute(): run for found in lists for run in found}
    skipped = [reason for found in lists for reason in found.skipped.values()]
    if not runs:
        raise UserError(
            f"{', '.join(map(str, folders))}: holds no run; type the folder of a run or of a "
            "sweep, or: mbrl runs"
        )
    notes = [f"left out a folder: {reason}" for reason in skipped]
    comparison = compare_runs(list(runs.values()), options, notes)
    print(comparison_text(comparison, max(40, shutil.get_terminal_size().columns)), end="")
    for name, path in files.items():
        _write(name, path, comparison)


def _write(name: str, path: Path, comparison: Any) -> None:
    if name in ("png", "pdf"):
        from mbrl_cli.reports.comparison_figure import write_figure

        write_figure(comparison, path)
        print(f"wrote {path}")
        return
    if name == "html":
        from mbrl_cli.reports.comparison_page import comparison_page as as_text
    else:
        from mbrl_cli.reports.comparison_csv import comparison_csv as as_text
    write_output_file(f"--{name}", path, as_text(comparison))


def _is_setting(word: str) -> bool:
    """Return whether a word is key=value; names of folders may contain `=`, too."""
    key, equals, _ = word.partition("=")
    return bool(equals) and (key.isidentifier() and not Path(word).exists())


def _options(settings: Mapping[str, str], baseline: str | None) -> Any:
    from mbrl_cli.reports.compare_options import CompareOptions

    for key in settings:
        if key not in KEYS:
            raise UserError(unknown_key(key, key, KEYS))
    lower = {None: None, "higher": False, "lower": True}
    if settings.get("better") not in lower:
        raise UserError(f"better={settings['better']}: must be higher or lower")
    unfinished = settings.get("unfinished", "false")
    if unfinished not in ("true", "false"):
        raise UserError(f"unfinished={unfinished}: must be true or false")
    file, _, names = (baseline or "").partition(":")
    return CompareOptions(
        metric=settings.get("metric", "eval/return"),
        by=[word for word in settings["by"].split(",") if word] if "by" in settings else None,
        threshold=_number(settings, "threshold"),
        low=_number(settings, "min"),
        high=_number(settings, "max"),
        reference=settings.get("reference"),
        at=_number(settings, "at"),
        lower_is_better=lower[settings.get("better")],
        unfinished=unfinished == "true",
        baseline=Path(file) if file else None,
        baseline_names=[name for name in names.split(",") if name],
    )


def _number(settings: Mapping[str, str], key: str) -> float | None:
    if key not in settings:
        return None
    try:
        value = float(settings[key])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UserError(f"{key}={settings[key]}: must be a number")
    return value
