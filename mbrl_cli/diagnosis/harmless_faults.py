"""Wrong predictions of a model whose replacement by the truth gains no return."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mbrl_cli.diagnosis.attribution import Attribution, Effect
from mbrl_cli.diagnosis.finding import Finding
from mbrl_cli.diagnosis.mixed_model import PARTS
from mbrl_cli.diagnosis.section import Section

# The part of the model that a finding about its predictions judges.
JUDGED = {
    "dynamics": "dynamics",
    "reward_model": "reward",
    "termination_model": "termination",
    "optimistic_plans": "model",
}


def mark_harmless(attribution: Attribution, sections: Sequence[Section]) -> list[Finding]:
    """Turn problems that cost no return into notes that say so, and return these notes.

    A wrong part can gain nothing when it is replaced, because the agent avoids the states where it
    is wrong, or because another part compensates it.

    Args:
        attribution: the gains of the variants.
        sections: of the model's accuracy; their findings are changed.
    """
    found = []
    for section in sections:
        for index, finding in enumerate(section.findings):
            effect = _without_gain(attribution, JUDGED.get(finding.fault))
            if finding.severity != "problem" or effect is None:
                continue
            gain = effect.gain
            text = (
                f"{finding.text} It costs no return now: the {effect.variant.name} gains "
                f"{gain.mean:+.4g} (95 % interval {gain.low:+.4g} to {gain.high:+.4g})."
            )
            sure = min(finding.confidence, effect.finding.confidence)
            note = replace(finding, severity="note", text=text, confidence=sure)
            section.findings[index] = note
            found.append(note)
    return found


def _without_gain(attribution: Attribution, part: str | None) -> Effect | None:
    """Return the effect of the truth in the place of a part, or of the model, if it is no gain.

    None: there is a gain, nothing is decided, or the part was not replaced.
    """
    if part is None:
        return None
    by_parts = {effect.variant.parts: effect for effect in attribution.effects}
    whole = by_parts.get(frozenset(PARTS))
    effect = by_parts.get(frozenset({part}), whole)
    return effect if effect is not None and effect.finding.severity == "fine" else None
