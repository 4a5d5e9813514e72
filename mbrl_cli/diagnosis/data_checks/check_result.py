"""The result of one data check."""

from __future__ import annotations

from dataclasses import dataclass, field

from mbrl_cli.diagnosis.finding import Finding
from mbrl_cli.diagnosis.table import Cell


@dataclass
class CheckResult:
    """What one check found.

    Attributes:
        findings: its statements; "fine" ones included.
        evidence: rows (what was measured, value, threshold) of the table of all checks.
        skipped: why the check, or a part of it, could not be made, one sentence each.
    """

    findings: list[Finding] = field(default_factory=list)
    evidence: list[tuple[str, Cell, str]] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
