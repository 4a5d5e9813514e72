"""What the gain of one variant says about the run."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mbrl_cli.agents.mpc import MPC
from mbrl_cli.diagnosis.advised_command import (
    better_model,
    longer,
    with_other_function,
    without_terminal_value,
)
from mbrl_cli.diagnosis.diagnosed_run import DiagnosedRun
from mbrl_cli.diagnosis.finding import Finding
from mbrl_cli.diagnosis.mixed_model import PARTS
from mbrl_cli.diagnosis.paired_interval import PairedInterval
from mbrl_cli.diagnosis.variant import Variant
from mbrl_cli.return_text import format_return


def substitution_finding(
    run: DiagnosedRun,
    variant: Variant,
    gain: PairedInterval,
    base: NDArray[np.float64],
    other: NDArray[np.float64],
    relevant: float,
) -> Finding:
    """Return a problem if the variant is better, a note if nothing is decided, or fine.

    Args:
        run: the saved run.
        variant: what was replaced.
        gain: over the saved agent.
        base: returns of the saved agent.
        other: returns of the variant.
        relevant: smallest gain that counts.
    """
    fault = fault_of(variant)
    count = min(len(base), len(other))  # the episodes that both have played
    base, other = base[:count], other[:count]
    numbers = (
        f"{format_return(float(base.mean()))} as saved, {format_return(float(other.mean()))} "
        f"{variant.change} (gain {gain.mean:+.4g}, 95 % interval {gain.low:+.4g} to "
        f"{gain.high:+.4g}, {count} episodes)"
    )
    if gain.low > 0.0 and gain.mean > relevant:
        return Finding(fault, "problem", f"Return {numbers}.", 0.975, _command(run, variant, fault))
    if gain.high < 0.0 and -gain.mean > relevant:
        worse = (
            "the learned part is better than the truth"
            if variant.parts <= set(PARTS)
            else ("the saved setting is better")
        )
        return Finding(fault, "fine", f"Return {numbers}: {worse}.", 0.975)
    if gain.high < 2.0 * relevant:
        return Finding(fault, "fine", f"Return {numbers}: nothing is lost here.", 0.95)
    return Finding(fault, "note", f"Return {numbers}: inconclusive.", 0.5)


def fault_of(variant: Variant) -> str:
    """Return the fault that a gain of this variant shows."""
    if len(variant.parts) == 1:
        return next(iter(variant.parts))
    return next((part for part in ("policy", "learning") if part in variant.parts), "model")


def _command(run: DiagnosedRun, variant: Variant, fault: str) -> str:
    """Return the command that is most likely to bring the gain into the run."""
    if variant.override:
        return f"mbrl eval RUN {variant.override}"
    if fault in ("reward", "termination"):
        spec = run.objects.env.spec
        if getattr(spec, f"known_{fault}") is not None or spec.simulator is not None:
            return with_other_function(run, fault)
    if fault == "terminal_value" and isinstance(run.agent, MPC):
        return without_terminal_value(run)
    return better_model(run) if variant.parts <= set(PARTS) else longer(run)
