"""One sentence about which part loses the return, and the command most likely to help."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from mbrl_cli.diagnosis.attribution import Attribution
from mbrl_cli.diagnosis.finding import Finding
from mbrl_cli.diagnosis.mixed_model import PARTS
from mbrl_cli.diagnosis.section import Section

SURE = 0.9  # confidence from which a problem decides the verdict
# Sections whose problems are judged above, and the one of plans: a planner chooses plans that are
# overestimated by chance, which alone loses no return.
NOT_DECIDING = ("data", "substitution", "plans")
HEALTHY = "healthy"
INCONCLUSIVE = "inconclusive"
# What loses the return, by fault of a variant.
LEADS = {
    "model": "The model loses the return; no part of it alone.",
    "dynamics": "The dynamics of the model lose the return.",
    "reward": "The reward of the model loses the return.",
    "termination": "The termination of the model loses the return.",
    "planner": "The planner loses the return: it tries too few plans.",
    "horizon": "The planner loses the return: its horizon is too short.",
    "terminal_value": "The terminal value loses the return.",
    "policy": "The policy loses the return.",
    "learning": "What the agent has learned loses the return.",
}


class Verdict(NamedTuple):
    """The first thing to correct.

    Attributes:
        fault: of the finding that decided; "healthy" or "inconclusive" if there is none.
        sentence: for readers.
        finding: that decided, with the command most likely to help; None: there is none.
    """

    fault: str
    sentence: str
    finding: Finding | None


def verdict(
    attribution: Attribution, others: Sequence[Section], harmless: Sequence[Finding] = ()
) -> Verdict:
    """Return the verdict of a diagnosis.

    Faults of the data come first, because everything is learned from them. Then comes the part
    whose replacement gains most. What else was found decides only if the gains do not.

    Args:
        attribution: the gains of the variants.
        others: the sections; that of the data is named "data".
        harmless: notes about wrong predictions that cost no return now.
    """
    data = [finding for section in others if section.name == "data" for finding in section.findings]
    for finding in _problems(data):
        return Verdict(finding.fault, f"The data are wrong: {finding.text}", finding)
    findings, cut = attribution.section.findings, _cut(attribution)
    for finding in _problems(findings):
        if finding.confidence == 1.0:  # a known function that is wrong
            return _of(finding)
    gaining = _by_gain(attribution)
    everything = [finding for section in others for finding in section.findings]
    has_wrong_values = any(finding.fault == "value_bias" for finding in _problems(everything))
    if gaining and gaining[0].fault == "horizon" and has_wrong_values:
        # A longer plan needs the value at its end less; its command is the one that was tried.
        text = "The values at the end of the plans are wrong, which longer plans make up for."
        return Verdict("value_bias", f"{text} {gaining[0].text}{cut}", gaining[0])
    if gaining:
        return _with_largest_share(attribution, gaining[0], cut)
    is_open = any(finding.severity == "note" for finding in findings)
    if attribution.effects and not is_open:
        text = f"No part loses the return: {_played(attribution)} none"
        if not any(effect.variant.parts & set(PARTS) for effect in attribution.effects):
            text += "; the truth was not tried"
        text += f".{cut}"
        if harmless:
            faults = ", ".join(dict.fromkeys(finding.fault for finding in harmless))
            text += f" Wrong, but without a loss in the visited states: {faults}."
        return Verdict(HEALTHY, text, None)
    rest = [
        finding
        for section in others
        if section.name not in NOT_DECIDING
        for finding in section.findings
    ]
    for finding in _problems(rest):
        text = f"No replacement gains for sure; the surest problem is {finding.fault}: "
        text += finding.text.rstrip(".") + "."
        return Verdict(finding.fault, f"{text}{cut}", finding)
    text = f"Nothing was found for sure that loses the return; a larger budget= decides more.{cut}"
    return Verdict(INCONCLUSIVE, text, None)


def _played(attribution: Attribution) -> str:
    """Return the names of the variants that were played, and the verb of the sentence."""
    *first, last = (effect.variant.name for effect in attribution.effects)
    return f"{', '.join(first)} and {last} gain" if first else f"{last} gains"


def cut_after(attribution: Attribution) -> int | None:
    """Return after how many steps episodes of the saved agent were cut; None: they were not."""
    cut = [len(e) for e in attribution.episodes if not e.terminated and not e.truncated]
    return max(cut, default=None)


def _cut(attribution: Attribution) -> str:
    """Return a sentence about the steps that were compared; empty: all."""
    steps = cut_after(attribution)
    return "" if steps is None else f" Only the first {steps:,} steps of an episode were compared."


def _of(finding: Finding) -> Verdict:
    lead = LEADS.get(finding.fault, "")
    return Verdict(finding.fault, f"{lead} {finding.text}".strip(), finding)


def _with_largest_share(attribution: Attribution, finding: Finding, cut: str) -> Verdict:
    """Return the verdict; if only the whole model gains, its part with the largest share."""
    if cut:
        finding = replace(finding, text=f"{finding.text}{cut}")
    shares = {part: share for part, share in attribution.shares.items() if share.is_positive}
    if finding.fault != "model" or not shares:
        return _of(finding)
    part = max(shares, key=lambda name: shares[name].mean)
    return Verdict(part, f"{LEADS[part]} {finding.text}", finding)


def _problems(findings: Sequence[Finding]) -> list[Finding]:
    """Return the problems that are sure, the surest first."""
    found = [f for f in findings if f.severity == "problem" and f.confidence >= SURE]
    return sorted(found, key=lambda finding: -finding.confidence)


def _by_gain(attribution: Attribution) -> list[Finding]:
    """Return the problems of variants, those of a single part first, each by falling gain."""
    problems = [e for e in attribution.effects if e.finding.severity == "problem"]
    ordered = sorted(problems, key=lambda e: (e.finding.fault == "model", -e.gain.mean))
    return [effect.finding for effect in ordered]
