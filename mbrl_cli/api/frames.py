"""Tables of runs as pandas DataFrames; pandas is an optional package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mbrl_cli.errors import UserError, install_extra

if TYPE_CHECKING:
    import pandas

    from mbrl_cli.api.metrics_file import Series


def metrics_frame(
    metrics: Sequence[Mapping[str, Series]], labels: Sequence[Mapping[str, Any]]
) -> pandas.DataFrame:
    """Return the logged values of several runs, one row each: labels, env_step, tag, value.

    Args:
        metrics: of each run, see `Run.metrics`.
        labels: of each run, names and values of the columns that describe it.
    """
    pandas = require_pandas()
    columns = [*(labels[0] if labels else ()), "env_step", "tag", "value"]
    frames = []
    for run, label in zip(metrics, labels, strict=True):
        for tag, series in run.items():
            values = {"env_step": series["env_step"], "tag": tag, "value": series["value"]}
            # Repeated as a list, because a value may be a list itself.
            described = {key: [value] * len(series["value"]) for key, value in label.items()}
            frames.append(pandas.DataFrame(described | values))
    return pandas.concat(frames, ignore_index=True) if frames else pandas.DataFrame(columns=columns)


def require_pandas() -> Any:
    """Return the package pandas; UserError names the command that installs it."""
    try:
        import pandas
    except ImportError as error:
        raise UserError(f"pandas is not installed; {install_extra('pandas')}") from error
    return pandas
