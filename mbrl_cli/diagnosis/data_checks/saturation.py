"""Values that often lie exactly at a bound: clipped observations, rewards and actions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mbrl_cli.diagnosis.data_checks.check_result import CheckResult
from mbrl_cli.diagnosis.data_checks.transitions import Transitions
from mbrl_cli.diagnosis.finding import Finding

MIN_ROWS = 200
MIN_VALUES = 50  # distinct ones; fewer are flags or levels
NOTE = 0.05  # fraction of the values at one bound
CLIPPED = 0.2
OF_ACTIONS = 0.5  # a policy may use its limits


def saturation(data: Transitions) -> CheckResult:
    """Check the largest and the smallest value of each entry for repetitions.

    A continuous quantity takes each value once. Zero is left out, because a quantity may rest.
    """
    result = CheckResult()
    if len(data) < MIN_ROWS:
        result.skipped.append(f"saturated values: {len(data)} steps; {MIN_ROWS} are needed")
        return result
    if not data.images:
        _check_observations(data, result)
    fraction, bound = at_bound(data.reward)
    result.evidence.append(("rewards at their bound", fraction, f"note from {NOTE} on"))
    if fraction >= NOTE:
        text = f"{fraction:.0%} of the rewards are exactly {bound:.6g}, a bound of all rewards"
        result.findings.append(Finding("saturated", "note", text))
    if data.spec.action.kind == "continuous":
        fractions = [at_bound(column)[0] for column in data.action.T]
        entry = int(np.argmax(fractions))
        result.evidence.append(
            (
                "actions at their bound, largest entry",
                fractions[entry],
                f"note from {OF_ACTIONS} on",
            )
        )
        if fractions[entry] >= OF_ACTIONS:
            text = f"{fractions[entry]:.0%} of the values of action entry {entry} are at a bound"
            result.findings.append(Finding("saturated", "note", text))
    return result


def at_bound(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the larger fraction of values [n] at their minimum or maximum, and that bound.

    (0, 0) if there are few distinct values, as of a flag.
    """
    if len(np.unique(values)) < MIN_VALUES:
        return 0.0, 0.0
    bounds = [float(b) for b in (values.min(), values.max()) if b != 0.0]
    fractions = [(float((values == bound).mean()), bound) for bound in bounds]
    fraction, bound = max(fractions, default=(0.0, 0.0))
    repeated = fraction * len(values) > 1.5  # every set has one largest value
    return (fraction, bound) if repeated else (0.0, 0.0)


def _check_observations(data: Transitions, result: CheckResult) -> None:
    shares = [(*at_bound(data.next_obs[:, entry]), entry) for entry in data.real_entries]
    if not shares:
        return
    fraction, bound, worst = max(shares)
    result.evidence.append(
        ("values of an observation entry at its bound", fraction, f"note from {NOTE} on")
    )
    if fraction < NOTE:
        text = f"no entry of the observation has more than {fraction:.1%} equal values at a bound"
        result.findings.append(Finding("saturated", "fine", text))
        return
    count = sum(share[0] >= NOTE for share in shares)
    others = f" ({count} such entries)" if count > 1 else ""
    text = (
        f"{fraction:.0%} of the values of observation entry {worst} are exactly {bound:.6g}{others}"
    )
    if fraction >= CLIPPED:
        text += "; the observation is probably clipped, so different states look equal"
    result.findings.append(Finding("saturated", "note", text))
