"""Read a diagnosis.json again, to compare it with another diagnosis."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from mbrl_cli.diagnosis.bars import Bars
from mbrl_cli.diagnosis.curve import Curve
from mbrl_cli.diagnosis.diagnosis import Diagnosis
from mbrl_cli.diagnosis.finding import Finding
from mbrl_cli.diagnosis.output.diagnosis_json import VERSION
from mbrl_cli.diagnosis.section import Section
from mbrl_cli.diagnosis.section_cost import SectionCost
from mbrl_cli.diagnosis.table import Table
from mbrl_cli.errors import UserError
from mbrl_cli.reports.comparison import Estimate


def read_diagnosis(path: Path) -> Diagnosis:
    """Return the diagnosis of a file that `diagnosis_json` wrote.

    Raises:
        UserError: if the file cannot be read, or holds no diagnosis of this version.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as JSON ({error})") from error
    found = content.get("version") if isinstance(content, dict) else None
    if found != VERSION or "sections" not in content:
        raise UserError(
            f"{path}: is no diagnosis of version {VERSION}; write it again: "
            f"mbrl diagnose RUN --json {path}"
        )
    try:
        return _diagnosis(content)
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: a key is missing or has a wrong value ({error})") from error


def _diagnosis(content: dict[str, Any]) -> Diagnosis:
    mean = content["mean_return"]
    return Diagnosis(
        folder=content["run"],
        choices=content["choices"],
        seed=content["seed"],
        step=content["step"],
        fault=content["fault"],
        verdict=content["verdict"],
        command=content["command"],
        mean_return=None if mean is None else Estimate(**_numbers(mean)),
        episodes=content["episodes"],
        sections=[_read_section(section) for section in content["sections"]],
        seconds=content["seconds"],
        costs={
            section["name"]: SectionCost(section["seconds"], section["peak_mb"])
            for section in content["sections"]
            if section["seconds"] is not None
        },
        settings=content["settings"],
    )


def _read_section(section: dict[str, Any]) -> Section:
    curves = []
    for curve in section["curves"]:
        lines = {name: np.array(values, float) for name, values in curve["lines"].items()}
        curves.append(Curve(**{**curve, "x": np.array(curve["x"], float), "lines": lines}))
    return Section(
        name=section["name"],
        title=section["title"],
        findings=[Finding(**finding) for finding in section["findings"]],
        tables=[Table(**table) for table in section["tables"]],
        curves=curves,
        skipped=section["skipped"],
        bars=[Bars(**_numbers(bars)) for bars in section["bars"]],
    )


def _numbers(fields: dict[str, Any]) -> dict[str, Any]:
    """Return fields with NaN in the place of None."""

    def number(value: Any) -> Any:
        if isinstance(value, list):
            return [number(item) for item in value]
        return math.nan if value is None else value

    return {key: number(value) for key, value in fields.items()}
