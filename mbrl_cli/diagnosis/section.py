"""The result of one part of a diagnosis."""

from __future__ import annotations

from dataclasses import dataclass, field

from mbrl_cli.diagnosis.bars import Bars
from mbrl_cli.diagnosis.curve import Curve
from mbrl_cli.diagnosis.finding import Finding
from mbrl_cli.diagnosis.table import Table


@dataclass
class Section:
    """What one part of a diagnosis found.

    Attributes:
        name: short fixed name, the key in diagnosis.json.
        title: heading for readers.
        findings: the most important first.
        tables: the numbers behind the findings.
        curves: figures.
        skipped: why parts of it could not be measured, one sentence each.
        bars: figures of values with intervals.
    """

    name: str
    title: str
    findings: list[Finding] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    bars: list[Bars] = field(default_factory=list)
