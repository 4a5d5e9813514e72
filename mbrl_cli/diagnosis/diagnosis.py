"""The result of `mbrl diagnose RUN`."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field

from mbrl_cli.diagnosis.finding import Finding
from mbrl_cli.diagnosis.section import Section
from mbrl_cli.diagnosis.section_cost import SectionCost
from mbrl_cli.reports.comparison import Estimate

RUN = "RUN"  # stands for the run folder in the command of a finding


@dataclass(frozen=True)
class Diagnosis:
    """What a diagnosis of one run found: text, page and JSON file are made of it.

    Attributes:
        folder: the run folder, as the user typed it.
        choices: group -> choice of the run, such as `env` -> `cartpole`.
        seed: of the run.
        step: environment step of the learned weights.
        fault: short fixed name of what the verdict is about, such as "dynamics"; "healthy" or
            "inconclusive" if no part is named.
        verdict: one sentence: which part loses the return, or that none was found.
        command: the one command that is most likely to help, with the run folder in it; None: none.
        mean_return: of the saved agent over the episodes that were played now, with its 95 %
            interval; None: no episode was played.
        episodes: number of these episodes.
        sections: one for each part.
        seconds: wall-clock time of the diagnosis.
        costs: name of a section -> its time and memory.
        settings: words of the command line that change the run or the effort, such as `--quick`.
    """

    folder: str
    choices: dict[str, str]
    seed: int
    step: int
    fault: str
    verdict: str
    command: str | None
    mean_return: Estimate | None
    episodes: int
    sections: list[Section]
    seconds: float
    costs: dict[str, SectionCost] = field(default_factory=dict)
    settings: list[str] = field(default_factory=list)

    def findings(self) -> list[Finding]:
        """Return all findings: problems first, then notes.

        Of each severity those that the verdict is about come first, then the most certain ones.
        """
        found = [finding for section in self.sections for finding in section.findings]
        return sorted(found, key=self._place)

    def _place(self, finding: Finding) -> tuple[int, bool, float]:
        order = {"problem": 0, "note": 1, "fine": 2}
        return order[finding.severity], finding.fault != self.fault, -finding.confidence


def command_of(finding: Finding, folder: str) -> str | None:
    """Return the command of a finding with the run folder in the place of `RUN`."""
    if finding.command is None:
        return None
    words = [shlex.quote(folder) if word == RUN else word for word in finding.command.split(" ")]
    return " ".join(words)
