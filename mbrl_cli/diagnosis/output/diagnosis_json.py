"""A diagnosis as JSON; docs/diagnose.md documents the schema."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import Any

import numpy as np

from mbrl_cli import __version__
from mbrl_cli.diagnosis.diagnosis import Diagnosis, command_of
from mbrl_cli.diagnosis.section import Section

VERSION = 1  # of the schema; a key that is removed or changes its meaning raises it


def diagnosis_json(diagnosis: Diagnosis) -> str:
    """Return the file; numbers that are not finite are null."""
    return json.dumps(_finite(as_dict(diagnosis)), indent=1, allow_nan=False) + "\n"


def difference_json(first: Diagnosis, second: Diagnosis) -> str:
    """Return both diagnoses as one file."""
    both = {"version": VERSION, "first": as_dict(first), "second": as_dict(second)}
    return json.dumps(_finite(both), indent=1, allow_nan=False) + "\n"


def as_dict(diagnosis: Diagnosis) -> dict[str, Any]:
    """Return the content of diagnosis.json."""
    return {
        "version": VERSION,
        "mbrl_version": __version__,
        "run": diagnosis.folder,
        "choices": diagnosis.choices,
        "seed": diagnosis.seed,
        "step": diagnosis.step,
        "settings": diagnosis.settings,
        "fault": diagnosis.fault,
        "verdict": diagnosis.verdict,
        "command": diagnosis.command,
        "mean_return": None if diagnosis.mean_return is None else asdict(diagnosis.mean_return),
        "episodes": diagnosis.episodes,
        "seconds": diagnosis.seconds,
        "sections": [_section(section, diagnosis) for section in diagnosis.sections],
    }


def _section(section: Section, diagnosis: Diagnosis) -> dict[str, Any]:
    cost = diagnosis.costs.get(section.name)
    return {
        "name": section.name,
        "title": section.title,
        "seconds": None if cost is None else cost.seconds,
        "peak_mb": None if cost is None else cost.peak_mb,
        "findings": [
            {**asdict(finding), "command": command_of(finding, diagnosis.folder)}
            for finding in section.findings
        ],
        "tables": [asdict(table) for table in section.tables],
        "bars": [asdict(bars) for bars in section.bars],
        "curves": [asdict(curve) for curve in section.curves],
        "skipped": section.skipped,
    }


def _finite(value: Any) -> Any:
    """Return plain Python values with None in the place of NaN and infinities."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_finite(item) for item in value]
    if isinstance(value, np.generic):
        return _finite(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
