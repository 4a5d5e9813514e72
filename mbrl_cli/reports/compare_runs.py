"""Compare saved runs: select, group, and compute the report."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mbrl_cli.api.run import Run
from mbrl_cli.errors import UserError, nearest
from mbrl_cli.reports.baseline import read_baselines
from mbrl_cli.reports.compare_groups import compare_environment, compare_scores
from mbrl_cli.reports.compare_options import CompareOptions
from mbrl_cli.reports.comparison import Comparison, RunRecord, Section, Threshold
from mbrl_cli.reports.group_names import RunSettings, comparable, differing_values, name_groups
from mbrl_cli.reports.return_bounds import Bounds, known_bounds, solved_return
from mbrl_cli.reports.run_record import read_record, read_settings
from mbrl_cli.tags import describe

RETURNS = ("eval/return", "train/return")
LOWER_IS_BETTER = re.compile(r"loss|error|kl$|^time/|nonfinite|rolled_back|late$")


def compare_runs(
    runs: Sequence[Run], options: CompareOptions, notes: Sequence[str] = ()
) -> Comparison:
    """Return the comparison of runs.

    Args:
        runs: finished runs and others, of one environment or of several.
        options: what is compared.
        notes: lines about folders that were not read.

    Raises:
        UserError: if there is nothing to compare, or an option does not fit the runs.
    """
    notes = list(notes)
    states = {run.folder: run.state for run in runs}
    runs = _select_states(runs, states, options.unfinished, notes)
    settings = [read_settings(run) for run in runs]
    runs, settings = _without_repeats(runs, settings, states, notes)
    names = name_groups(settings, options.by)
    records, missing = [], 0
    for run, s, name in zip(runs, settings, names, strict=True):
        try:
            record = read_record(run, states[run.folder], s.env, name, options.metric)
        except UserError as error:
            notes.append(f"left out a run: {error}")
            continue
        if record is not None:
            records.append(record)
        missing += record is None
    if not records:
        raise UserError(_not_logged(options.metric, runs) if missing else notes[-1])
    if missing:
        notes.append(f"left out {_count(missing)} that did not log {options.metric}")
    _check_reference(options.reference, sorted({record.group for record in records}))
    lower = LOWER_IS_BETTER.search(options.metric) is not None
    if options.lower_is_better is not None:
        lower = options.lower_is_better
    configs = {s.env: run.config["env"] for run, s in zip(runs, settings, strict=True)}
    sections = _sections(records, configs, options, lower)
    known = [section for section in sections if section.bounds is not None]
    if len(known) > 1 and not lower:
        overall = compare_scores(known, lower, options.reference)
        if overall.groups:
            sections.append(overall)
    elif len(sections) > 1:
        notes.append(
            "no normalized scores over all environments: their lowest and highest returns are "
            "not known"
        )
    tag = describe(options.metric)
    return Comparison(
        metric=options.metric,
        meaning="" if tag is None else tag.meaning,
        unit="" if tag is None else tag.unit,
        lower_is_better=lower,
        sections=sections,
        notes=notes,
        differing=differing_values(settings),
    )


def _select_states(
    runs: Sequence[Run], states: Mapping[Path, str], unfinished: bool, notes: list[str]
) -> list[Run]:
    """Return the runs that are compared; add a note about the others."""
    others = Counter(state for state in states.values() if state != "finished")
    listed = ", ".join(f"{count} {state}" for state, count in sorted(others.items()))
    if unfinished:
        if others:
            notes.append(f"runs that have not finished are included: {listed}")
        return list(runs)
    finished = [run for run in runs if states[run.folder] == "finished"]
    if not finished:
        raise UserError(
            f"no run has finished ({listed}); to compare them as they are add unfinished=true"
        )
    if others:
        left_out = len(runs) - len(finished)
        notes.append(
            f"left out {_count(left_out)} that {_have(left_out)} not finished ({listed}); "
            "to include them add unfinished=true"
        )
    return finished


def _without_repeats(
    runs: Sequence[Run],
    settings: Sequence[RunSettings],
    states: Mapping[Path, str],
    notes: list[str],
) -> tuple[list[Run], list[RunSettings]]:
    """Keep the last folder of runs with equal settings and equal seeds.

    One that is finished has priority, and then one that is no fork. The same settings and seed give
    the same numbers, so a second run adds no information.
    """
    newest: dict[Any, int] = {}

    def priority(index: int) -> tuple[bool, bool]:
        return states[runs[index].folder] == "finished", runs[index].fork is None

    for index in sorted(range(len(runs)), key=priority):
        newest[settings[index].env, runs[index].seed, comparable(settings[index])] = index
    kept = sorted(newest.values())
    if len(kept) < len(runs):
        notes.append(
            f"left out {_count(len(runs) - len(kept))} with the settings and the seed of another "
            "run: they are no further evidence"
        )
    return [runs[i] for i in kept], [settings[i] for i in kept]


def _sections(
    records: Sequence[RunRecord],
    configs: Mapping[str, Mapping[str, object]],
    options: CompareOptions,
    lower: bool,
) -> list[Section]:
    by_env: defaultdict[str, defaultdict[str, list[RunRecord]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for record in records:
        by_env[record.env][record.group].append(record)
    sections = []
    for env in sorted(by_env):
        bounds = _bounds(configs[env], options)
        section = compare_environment(
            title=env,
            groups=by_env[env],
            bounds=bounds,
            threshold=_threshold(configs[env], bounds, options),
            lower_is_better=lower,
            reference=options.reference,
            at=options.at,
        )
        baselines = []
        if options.baseline is not None:
            baselines = read_baselines(options.baseline, options.baseline_names, configs[env])
            if not baselines:
                section = dataclasses.replace(
                    section, notes=[*section.notes, f"{options.baseline} has no row for {env}"]
                )
        repeat = configs[env].get("action_repeat", 1)
        sections.append(
            dataclasses.replace(
                section,
                baselines=baselines,
                action_repeat=repeat if isinstance(repeat, int) and repeat > 1 else 1,
            )
        )
    return sections


def _bounds(env: Mapping[str, object], options: CompareOptions) -> Bounds | None:
    """Return the bounds of the metric: those of the options, or known ones of a return."""
    known = known_bounds(env) if options.metric in RETURNS else None
    low = options.low if options.low is not None or known is None else known.low
    high = options.high if options.high is not None or known is None else known.high
    if low is None and high is None:
        return None
    if low is None or high is None:
        missing = "min" if low is None else "max"
        raise UserError(f"{missing}: must be given, too; for {env.get('id')} it is not known")
    if low >= high:
        raise UserError(f"min={low:g}: must be below max={high:g}")
    return Bounds(low, high)


def _threshold(
    env: Mapping[str, object], bounds: Bounds | None, options: CompareOptions
) -> Threshold | None:
    if options.threshold is not None:
        return Threshold(options.threshold, "threshold=")
    solved = solved_return(env, bounds) if options.metric in RETURNS else None
    return None if solved is None else Threshold(*solved)


def _check_reference(reference: str | None, groups: Sequence[str]) -> None:
    if reference is not None and reference not in groups:
        close = ", ".join(nearest(reference, groups) or groups)
        raise UserError(f"reference={reference}: no group has this name; groups are {close}")


def _not_logged(metric: str, runs: Sequence[Run]) -> str:
    """Return the error text about a metric that no run has; the nearest tags are named."""
    tags = sorted({tag for run in runs[:20] for tag in run.metrics()})
    if not tags:
        return f"metric={metric}: these {len(runs)} runs have logged nothing"
    close = nearest(metric, tags) or tags
    return f"metric={metric}: no run has logged it; nearest: {', '.join(close[:5])}"


def _count(runs: int) -> str:
    return "1 run" if runs == 1 else f"{runs} runs"


def _have(runs: int) -> str:
    return "has" if runs == 1 else "have"
