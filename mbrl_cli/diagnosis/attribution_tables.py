"""Tables of an attribution, and what did not fit into its budget."""

from __future__ import annotations

from collections.abc import Mapping

from mbrl_cli.diagnosis.paired_interval import PairedInterval
from mbrl_cli.diagnosis.table import Cell, Table
from mbrl_cli.diagnosis.variant_returns import VariantReturns
from mbrl_cli.diagnosis.variants import AS_IS

HOPELESS_MINUTES = 240.0  # of a round, from which no budget is advised


def attribution_tables(
    returns: VariantReturns, shares: Mapping[str, PairedInterval]
) -> list[Table]:
    """Return the returns and gains of all variants, and the shares if they were measured."""
    base = returns.returns[AS_IS]
    rows: list[list[Cell]] = [[AS_IS, float(base.mean()), None, None, None, len(base)]]
    for name, values in returns.returns.items():
        if name != AS_IS:
            gain = returns.gain(name, AS_IS)
            rows.append([name, float(values.mean()), *gain, len(values)])
    tables = [
        Table(
            "Return of the saved agent and of its variants",
            ["variant", "return", "gain", "gain, low", "gain, high", "episodes"],
            rows,
            "Gain: mean difference to the saved agent over episodes from the same first states, "
            "with its 95 % interval.",
        )
    ]
    if shares:
        tables.append(
            Table(
                "Shapley shares of the gain",
                ["part", "share", "low", "high"],
                [[part, *share] for part, share in shares.items()],
                "The shares sum to the gain of the true model with ten times the plans.",
            )
        )
    return tables


def left_out(returns: VariantReturns) -> list[str]:
    """Return what did not fit into the budget."""
    lines = []
    if returns.max_steps is not None:
        lines.append(
            f"Episodes were cut after {returns.max_steps:,} steps; a larger budget plays whole "
            "ones."
        )
    for name, needed in returns.too_slow.items():
        minutes = needed / 60.0
        if minutes < HOPELESS_MINUTES:
            text = f"{name}: a round takes about {minutes:.1f} minutes; use a larger budget."
        else:
            text = f"{name}: a round takes about {minutes / 60.0:,.0f} hours."
        lines.append(text)
    return lines
