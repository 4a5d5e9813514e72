"""Wrong predictions of a model whose replacement by the truth gains no return."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mbrl_cli.diagnosis.attribution import Attribution, Effect
from mbrl_cli.diagnosis.finding import Finding
from mbrl_cli.diagnosis.mixed_model import PARTS
from mbrl_cli.diagnosis.section import Section

# The variants that show whether a wrong prediction costs return, the most exact one first.
MODEL = frozenset(PARTS)
JUDGED_BY: dict[str, list[frozenset[str]]] = {
    "dynamics": [frozenset({"dynamics"}), MODEL],
    "reward_model": [frozenset({"reward"}), MODEL],
    "termination_model": [frozenset({"termination"}), MODEL],
    "optimistic_plans": [MODEL],
    # The policy of critics whose values are wrong is improved by planning, if it can be improved.
    "value_bias": [frozenset({"policy"}) | MODEL],
}


def mark_harmless(attribution: Attribution, sections: Sequence[Section]) -> list[Finding]:
    """Turn problems that cost no return into notes that say so, and return these notes.

    A wrong part can gain nothing when it is replaced, because the agent avoids the states where it
    is wrong, or because another part compensates it.

    Args:
        attribution: the gains of the variants.
        sections: of the model's accuracy and of the values; their findings are changed.
    """
    found = []
    for section in sections:
        for index, finding in enumerate(section.findings):
            effect = _without_gain(attribution, JUDGED_BY.get(finding.fault, []))
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


def _without_gain(attribution: Attribution, judges: Sequence[frozenset[str]]) -> Effect | None:
    """Return the effect of the first of these variants that was played, if it is no gain.

    None: there is a gain, nothing is decided, or none of them was played.
    """
    by_parts = {effect.variant.parts: effect for effect in attribution.effects}
    effect = next((by_parts[parts] for parts in judges if parts in by_parts), None)
    return effect if effect is not None and effect.finding.severity == "fine" else None
