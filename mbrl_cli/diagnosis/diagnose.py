"""Diagnose one saved run: all parts, their cost, the verdict."""

from __future__ import annotations

import resource
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import torch

from mbrl_cli.diagnosis.accuracy.true_plan_returns import true_plan_returns
from mbrl_cli.diagnosis.attribution import Attribution, attribute
from mbrl_cli.diagnosis.data_check_section import data_checks
from mbrl_cli.diagnosis.diagnosed_run import DiagnosedRun
from mbrl_cli.diagnosis.diagnosis import Diagnosis, command_of
from mbrl_cli.diagnosis.finding import Finding
from mbrl_cli.diagnosis.harmless_faults import mark_harmless
from mbrl_cli.diagnosis.learning_health import learning_health
from mbrl_cli.diagnosis.model_accuracy import model_accuracy
from mbrl_cli.diagnosis.paired_interval import paired_interval
from mbrl_cli.diagnosis.section import Section
from mbrl_cli.diagnosis.section_cost import SectionCost
from mbrl_cli.diagnosis.verdict import INCONCLUSIVE, Verdict, cut_after, verdict
from mbrl_cli.errors import UserError
from mbrl_cli.reports.comparison import Estimate
from mbrl_cli.seeding import torch_generator

Report = Callable[[str, float], None]  # what is done, fraction of the whole
_Result = TypeVar("_Result")


class Effort(NamedTuple):
    """How much a diagnosis may take.

    Attributes:
        seconds: of the whole diagnosis, about.
        episodes: number of episodes that each variant plays at least.
    """

    seconds: float
    episodes: int


QUICK = Effort(40.0, 4)
DEFAULT_EPISODES = 8
MORE_TIME, SHORTEST_MINUTES = 4, 5  # of an advised diagnosis: factor, least minutes
ATTRIBUTION = 0.8  # fraction of the time for the episodes of the variants


class _Costs:
    """Measures time and memory of the parts; the sections of the model are one part."""

    def __init__(self) -> None:
        self.by_name: dict[str, SectionCost] = {}

    def measure(self, name: str, part: Callable[[], _Result]) -> _Result:
        start = time.monotonic()
        result = part()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        mib = peak / 2**20 if sys.platform == "darwin" else peak / 2**10
        self.by_name[name] = SectionCost(time.monotonic() - start, mib)
        return result


def diagnose(
    run: DiagnosedRun, effort: Effort, report: Report, settings: Sequence[str] = ()
) -> Diagnosis:
    """Diagnose a run.

    Args:
        run: the saved run.
        effort: time and episodes.
        report: shows the progress.
        settings: words of the command line, for the output.
    """
    start, costs, generator = time.monotonic(), _Costs(), torch_generator(run.run.seed, "diagnosis")
    report("data", 0.0)
    data = costs.measure("data", lambda: _checked_data(run, generator))
    used = (time.monotonic() - start) / effort.seconds
    found = costs.measure(
        "substitution",
        lambda: attribute(
            run,
            max(1.0, (ATTRIBUTION - used) * effort.seconds),
            effort.episodes,
            lambda name, done: report(name, used + (ATTRIBUTION - used) * done),
        ),
    )
    report("model", ATTRIBUTION)
    model = costs.measure("model", lambda: _measured_model(run, found, generator))
    report("learning", 0.5 * (1.0 + ATTRIBUTION))
    learning = costs.measure("learning", lambda: learning_health(run, found.episodes, generator))
    harmless = mark_harmless(found, [*model, learning])
    sections = [found.section, data, *model, learning]
    decided = verdict(found, sections, harmless)
    return Diagnosis(
        folder=str(run.folder),
        choices=run.run.choices,
        seed=run.run.seed,
        step=run.step,
        fault=decided.fault,
        verdict=decided.sentence,
        command=_command(run, decided, found, effort),
        mean_return=Estimate(*paired_interval(found.totals)),
        episodes=len(found.totals),
        sections=sections,
        seconds=time.monotonic() - start,
        costs=costs.by_name,
        settings=list(settings),
    )


def _command(run: DiagnosedRun, decided: Verdict, found: Attribution, effort: Effort) -> str | None:
    """Return the command of the verdict: of its finding, or more time if the time did not suffice.

    None: nothing was found, and whole episodes were compared.
    """
    finding, folder = decided.finding, str(run.folder)
    if finding is None and (decided.fault == INCONCLUSIVE or cut_after(found) is not None):
        minutes = max(SHORTEST_MINUTES, round(MORE_TIME * effort.seconds / 60.0))
        words = " ".join(map(shlex.quote, [*run.overrides, f"budget={minutes}"]))
        finding = Finding(
            decided.fault, "note", decided.sentence, command=f"mbrl diagnose RUN {words}"
        )
    return None if finding is None else command_of(finding, folder)


def _checked_data(run: DiagnosedRun, generator: torch.Generator) -> Section:
    """Return the data checks; without a replay the section says why there are none."""
    reason = _no_replay(run)
    if reason:
        return Section("data", "Data checks", skipped=[f"The data were not checked: {reason}."])
    return data_checks(run, generator)


def _measured_model(
    run: DiagnosedRun, found: Attribution, generator: torch.Generator
) -> list[Section]:
    """Return the accuracy of the model; without a replay the section says why there is none."""
    reason = _no_replay(run)
    if reason:
        skipped = [f"The model was not measured: {reason}."]
        return [Section("observations", "Predicted observations", skipped=skipped)]
    true_returns = true_plan_returns(found.truth, generator)
    return model_accuracy(run, found.episodes, generator, true_returns)


def _no_replay(run: DiagnosedRun) -> str:
    """Return why the replay cannot be read; empty if it can."""
    try:
        run.replay  # noqa: B018  (reads the files)
    except UserError as error:
        return str(error)
    return ""
