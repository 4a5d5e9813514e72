"""Which part loses the return: each part is replaced by the truth, the return is measured again.

All variants start from the same states, drawn from the task's own distribution, so differences are
paired. Shapley shares divide the gain of all replacements among the parts, because parts interact:
a true reward may help only if the dynamics are true, too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mbrl_cli.diagnosis.advised_command import with_other_function
from mbrl_cli.diagnosis.attribution_tables import attribution_tables, left_out
from mbrl_cli.diagnosis.diagnosed_run import DiagnosedRun
from mbrl_cli.diagnosis.episode import Episode
from mbrl_cli.diagnosis.finding import Finding
from mbrl_cli.diagnosis.known_functions import known_function_errors
from mbrl_cli.diagnosis.output.table_bars import table_bars
from mbrl_cli.diagnosis.paired_interval import PairedInterval, paired_interval
from mbrl_cli.diagnosis.section import Section
from mbrl_cli.diagnosis.shapley import shapley_shares
from mbrl_cli.diagnosis.substitution_findings import substitution_finding
from mbrl_cli.diagnosis.truth import Truth
from mbrl_cli.diagnosis.variant import Variant
from mbrl_cli.diagnosis.variant_returns import VariantReturns
from mbrl_cli.diagnosis.variants import (
    AS_IS,
    factorial_variants,
    first_variants,
    model_parts,
)
from mbrl_cli.errors import UserError

MAX_EPISODES = 32  # of a variant
RELEVANT = 0.05  # smallest gain that counts, relative to the larger of the two returns
# Fractions of the budget: the first round of all variants; further rounds end at the second.
FIRST_ROUND, MORE_ROUNDS = 0.55, 0.75

Report = Callable[[str, float], None]  # what is played, fraction of the budget that is used


class Effect(NamedTuple):
    """What one variant gains over the saved agent."""

    variant: Variant
    gain: PairedInterval
    finding: Finding


@dataclass(frozen=True)
class Attribution:
    """What the variants gain over the saved agent.

    Attributes:
        section: for the output.
        episodes: the first round, played by the agent as it was saved.
        effects: of the variants that every diagnosis evaluates.
        shares: Shapley share of each replaced part; empty if they were not measured.
        truth: of the environment; None: not known.
        totals: returns of all episodes that the agent played as it was saved.
    """

    section: Section
    episodes: list[Episode]
    effects: list[Effect]
    shares: Mapping[str, PairedInterval]
    truth: Truth | None = None
    totals: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))


def attribute(run: DiagnosedRun, seconds: float, episodes: int, report: Report) -> Attribution:
    """Evaluate the saved agent and its variants for about `seconds`.

    Args:
        run: the saved run.
        seconds: budget.
        episodes: number of episodes of one round; each variant plays at least one round.
        report: shows the progress.
    """
    end = time.monotonic() + seconds
    section = Section("substitution", "What the return gains when one part is replaced")
    truth = _truth(run, section)
    known = _known_functions(run, section)
    parts = [part for part in model_parts(run, truth) if not known.get(part, False)]
    returns = VariantReturns(run, episodes)
    chosen = returns.choose(
        _possible(first_variants(run, truth, parts), truth), FIRST_ROUND * seconds
    )
    chosen = _play_first_round(returns, chosen, end, seconds, report)
    _play_more(returns, chosen, end - (1.0 - MORE_ROUNDS) * seconds, end, seconds, report)
    shares = {}
    if (
        truth is not None
        and parts
        and any(_is_gain(returns, variant.name) for variant in chosen[1:])
    ):
        shares = _shares(run, truth, parts, returns, end, seconds, report)
    effects = [_effect(run, variant, returns) for variant in chosen[1:]]
    section.findings += [effect.finding for effect in effects]
    section.tables += attribution_tables(returns, shares)
    section.bars += [bars for table in section.tables for bars in table_bars(table, "return")]
    section.skipped += left_out(returns)
    totals = returns.returns[AS_IS]
    return Attribution(section, returns.first_episodes, effects, shares, truth, totals)


def _truth(run: DiagnosedRun, section: Section) -> Truth | None:
    try:
        return Truth(run.objects.env, run.new_env, run.objects.device)
    except UserError as error:
        section.skipped.append(f"The truth is not known: {error}.")
        return None


def _known_functions(run: DiagnosedRun, section: Section) -> dict[str, bool]:
    """Return for each known function whether it agrees with the data; report one that does not."""
    agrees: dict[str, bool] = {}
    try:
        errors = known_function_errors(run)
    except UserError as error:  # the run has no replay
        section.skipped.append(f"Known functions were not compared with the data: {error}.")
        return agrees
    for part, found in errors.items():
        agrees[part] = found.share == 0.0
        if found.share > 0.0 and part not in run.objects.env.spec.approximate:
            section.findings.append(
                Finding(
                    part,
                    "problem",
                    f"The {part} function of the config differs from what the environment "
                    f"returned in {found.share:.1%} of {found.rows:,} transitions.",
                    confidence=1.0,
                    command=with_other_function(run, part),
                )
            )
    return agrees


def _possible(variants: Sequence[Variant], truth: Truth | None) -> list[Variant]:
    """Return the variants whose parts have a true function; copies have all of them together."""
    if truth is None or truth.is_batched:
        return list(variants)
    unknown = {part for part in ("reward", "termination") if getattr(truth, part) is None}
    return [v for v in variants if "dynamics" in v.parts or not (v.parts & unknown)]


def _play(
    returns: VariantReturns, variant: Variant, end: float, seconds: float, report: Report
) -> None:
    def show(step: int) -> None:
        report(variant.name, 1.0 - max(0.0, end - time.monotonic()) / seconds)

    returns.play(variant, show)


def _play_first_round(
    returns: VariantReturns,
    variants: Sequence[Variant],
    end: float,
    seconds: float,
    report: Report,
) -> list[Variant]:
    """Play one round of each variant; return those that were played.

    If the whole true model gains nothing for sure, its single parts are not played.
    """
    played: list[Variant] = []
    whole: Variant | None = None
    for variant in variants:
        if (
            whole is not None
            and variant.parts < whole.parts
            and _gains_nothing(returns, whole.name)
        ):
            continue
        _play(returns, variant, end, seconds, report)
        played.append(variant)
        if len(variant.parts) > 1:
            whole = variant
    return played


def _play_more(
    returns: VariantReturns,
    variants: Sequence[Variant],
    until: float,
    end: float,
    seconds: float,
    report: Report,
) -> None:
    """Play further rounds of the variants whose gain is not decided yet, until the time ends.

    The variant with the fewest episodes is next. One that is too slow for the rest of the time
    does not hold up the others.
    """
    as_is, waiting = variants[0], list(variants[1:])

    def played(variant: Variant) -> int:
        return len(returns.returns[variant.name])

    while True:
        waiting = [
            variant
            for variant in waiting
            if played(variant) < MAX_EPISODES
            and not _is_decided(returns, variant.name)
            and returns.fits(variant, until - time.monotonic())
        ]
        if not waiting:
            return
        variant = min(waiting, key=played)
        if played(as_is) == played(variant):
            _play(returns, as_is, end, seconds, report)
        _play(returns, variant, end, seconds, report)


def _is_decided(returns: VariantReturns, name: str) -> bool:
    gain = returns.gain(name, AS_IS)
    allowed = relevant_gain(returns.returns[AS_IS], returns.returns[name])
    return gain.low > 0.0 or gain.high < 0.0 or gain.high - gain.low < 2.0 * allowed


def _gains_nothing(returns: VariantReturns, name: str) -> bool:
    gain = returns.gain(name, AS_IS)
    return gain.high < relevant_gain(returns.returns[AS_IS], returns.returns[name])


def _is_gain(returns: VariantReturns, name: str) -> bool:
    gain = returns.gain(name, AS_IS)
    return gain.low > 0.0 and gain.mean > relevant_gain(
        returns.returns[AS_IS], returns.returns[name]
    )


def relevant_gain(base: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Return the smallest gain in return that counts."""
    return RELEVANT * max(abs(float(base.mean())), abs(float(other.mean())))


def _effect(run: DiagnosedRun, variant: Variant, returns: VariantReturns) -> Effect:
    gain = returns.gain(variant.name, AS_IS)
    base, other = returns.returns[AS_IS], returns.returns[variant.name]
    finding = substitution_finding(run, variant, gain, base, other, relevant_gain(base, other))
    return Effect(variant, gain, finding)


def _shares(
    run: DiagnosedRun,
    truth: Truth,
    parts: Sequence[str],
    returns: VariantReturns,
    end: float,
    seconds: float,
    report: Report,
) -> dict[str, PairedInterval]:
    """Return Shapley shares of the model's parts and the planner, if all subsets can be played."""
    missing = _possible(factorial_variants(run, truth, parts), truth)
    factors = list(parts)
    if any("planner" in variant.parts for variant in missing):
        factors.append("planner")
    if len(factors) < 2:
        return {}
    for variant in missing:
        if not returns.fits(variant, end - time.monotonic()):
            return {}
        _play(returns, variant, end, seconds, report)
    by_parts = {v.parts: v.name for v in [*first_variants(run, truth, parts), *missing]}
    rounds = min(
        len(returns.returns[name]) for name in by_parts.values() if name in returns.returns
    )
    values = {
        subset: returns.returns[name][:rounds]
        for subset, name in by_parts.items()
        if name in returns.returns and subset <= frozenset(factors)
    }
    if len(values) < 2 ** len(factors):
        return {}
    shares = shapley_shares(factors, values)
    return {part: paired_interval(share) for part, share in shares.items()}
