"""Constant and duplicated entries of observations, and entries of actions without any effect."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mbrl_cli.diagnosis.data_checks.check_result import CheckResult
from mbrl_cli.diagnosis.data_checks.held_out import (
    Array,
    folds_of,
    held_out_residuals,
    pairs,
    quadratic_if_small,
    standardized,
)
from mbrl_cli.diagnosis.data_checks.significance import LEVEL, confidence, p_above_zero
from mbrl_cli.diagnosis.data_checks.transitions import Transitions
from mbrl_cli.diagnosis.finding import Finding

MIN_ROWS = 50  # for equal values
MIN_ROWS_OF_EFFECTS = 400
MIN_EFFECT = 0.03  # of the strongest entry, as a fraction of the error without it
MAX_EFFECT = 0.02  # of an entry without effect, as a fraction of the strongest entry's
SHOWN = 5


def constant_and_duplicated(data: Transitions) -> CheckResult:
    """Check the observation entries that are not integers by definition."""
    result = CheckResult()
    if data.images or not len(data.real_entries):
        result.skipped.append("constant and duplicated entries: not checked for integers or images")
        return result
    if len(data) < MIN_ROWS:
        result.skipped.append(f"constant entries: {len(data)} steps; {MIN_ROWS} are needed")
        return result
    columns = np.concatenate([data.obs[:1], data.next_obs])[:, data.real_entries]
    constant = (columns == columns[0]).all(0)
    copies = _copies(columns, constant)
    number = f"{len(data):,} steps"
    if constant.any():
        result.findings.append(
            Finding(
                "constant_entry",
                "note",
                f"{_entries(data.real_entries[constant])} of the observation never changed in "
                f"{number}",
            )
        )
    if copies:
        shown = ", ".join(
            f"{data.real_entries[copy]} = {data.real_entries[original]}"
            for copy, original in copies[:SHOWN]
        )
        result.findings.append(
            Finding(
                "duplicated_entry",
                "note",
                f"{len(copies)} entries of the observation equal another one in all {number} "
                f"({shown}); check that the environment returns what is meant",
            )
        )
    result.evidence.append(("constant observation entries", int(constant.sum()), "note from 1 on"))
    result.evidence.append(("duplicated observation entries", len(copies), "note from 1 on"))
    return result


def _copies(columns: Array, constant: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return (copy, original) for each entry that equals an earlier one in all rows."""
    seen: dict[bytes, int] = {}
    copies = []
    for index in np.flatnonzero(~constant):
        if len(np.unique(columns[:, index])) <= 2:
            continue  # flags such as contacts may agree
        original = seen.setdefault(columns[:, index].tobytes(), int(index))
        if original != index:
            copies.append((int(index), original))
    return copies


def action_without_effect(data: Transitions) -> CheckResult:
    """Check each entry of continuous actions for an effect on next observation and reward."""
    result = CheckResult()
    action = data.spec.action
    if data.images or action.kind == "discrete" or action.dim < 2:
        return result
    if len(data) < MIN_ROWS_OF_EFFECTS:
        result.skipped.append(
            f"action entries without effect: {len(data)} steps; {MIN_ROWS_OF_EFFECTS} are needed"
        )
        return result
    effects, p_values = entry_effects(data)
    strongest = float(effects.max())
    if strongest < MIN_EFFECT:
        result.skipped.append(
            "action entries without effect: no entry explains the next observation well enough"
        )
        return result
    without = (effects < MAX_EFFECT * strongest) & (p_values > 0.05)
    result.evidence.append(
        ("smallest effect of an action entry", float(effects.min()), f"largest: {strongest:.2g}")
    )
    if without.any():
        result.findings.append(
            Finding(
                "action_without_effect",
                "note",
                f"{_entries(np.flatnonzero(without))} of the action changed neither the next "
                f"observation nor the reward in {len(data):,} steps; the strongest entry explains "
                f"{strongest:.0%} of the error without it",
                confidence(LEVEL),
            )
        )
    return result


def entry_effects(data: Transitions) -> tuple[Array, Array]:
    """Return for each action entry the fraction of the error without it that it explains.

    The largest one over next observation and reward; and the p-value that it explains nothing.
    """
    fold = folds_of(data.episode, data.unit)
    targets = np.concatenate([data.next_obs - data.obs, data.reward[:, None]], 1)
    targets = targets[:, targets.std(0) > 1e-9]
    limit = max(10, min(300, len(data) // 6))
    obs = standardized(data.obs)
    base = quadratic_if_small(obs, limit)
    blocks = []
    for entry in range(data.spec.action.dim):
        column = data.action[:, [entry]]
        block = np.concatenate([column, column**2, np.abs(column)], 1)
        wide = data.spec.action.dim * (obs.shape[1] + 3) <= limit
        blocks.append(np.concatenate([block, pairs(column, obs)], 1) if wide else block)
    full = held_out_residuals(np.concatenate([base, *blocks], 1), targets, fold) ** 2
    effects, p_values = [], []
    for entry in range(len(blocks)):
        others = [block for index, block in enumerate(blocks) if index != entry]
        without = held_out_residuals(np.concatenate([base, *others], 1), targets, fold) ** 2
        gain = 1.0 - full.mean(0) / without.mean(0).clip(1e-300)  # [m]
        best = int(gain.argmax())
        effects.append(max(0.0, float(gain[best])))
        p_value = p_above_zero(without[:, best] - full[:, best], data.unit)
        p_values.append(min(1.0, p_value * targets.shape[1]))
    return np.array(effects), np.array(p_values)


def _entries(indices: NDArray[np.int64]) -> str:
    shown = ", ".join(str(index) for index in indices[:SHOWN])
    more = f" and {len(indices) - SHOWN} more" if len(indices) > SHOWN else ""
    return f"entry {shown}" if len(indices) == 1 else f"entries {shown}{more}"
