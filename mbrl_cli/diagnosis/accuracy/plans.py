"""Whether predicted returns of plans are too high, and whether they order plans rightly."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from mbrl_cli.agents.planning_policy import PlanningPolicy
from mbrl_cli.diagnosis.accuracy.episode_resamples import Estimated, mean_of, resample
from mbrl_cli.diagnosis.accuracy.plan_returns import (
    ComparedPlans,
    PlanReturns,
    TrueReturns,
    compare_plans,
    decided_returns,
    imagined_returns,
)
from mbrl_cli.diagnosis.accuracy.rank_correlation import rank_correlation
from mbrl_cli.diagnosis.accuracy.trajectory import Trajectory, stored_trajectories
from mbrl_cli.diagnosis.accuracy.visited_states import correlation_interval
from mbrl_cli.diagnosis.diagnosed_run import DiagnosedRun
from mbrl_cli.diagnosis.episode import Episode
from mbrl_cli.diagnosis.finding import Finding, Severity
from mbrl_cli.diagnosis.section import Section
from mbrl_cli.diagnosis.table import Table
from mbrl_cli.models.base import Model

# Predicted minus true return, divided by the size of true returns. A planner chooses plans whose
# return is overestimated by chance, so a small gap is normal.
OPTIMISTIC_NOTE = 0.15
OPTIMISTIC_PROBLEM = 0.5
# Rank correlation of predicted and true returns of random plans from the same state. At 0.2 the
# better one of two plans is found in 56 % of the cases, hardly more often than by chance.
UNORDERED = 0.2


def plans(
    run: DiagnosedRun,
    model: Model,
    episodes: Sequence[Episode],
    horizon: int,
    generator: torch.Generator,
    true_returns: TrueReturns | None,
    more_data: str,
) -> Section:
    """Compare predicted and true returns of plans.

    Args:
        run: the saved run.
        model: its model.
        episodes: that the agent plays now.
        horizon: steps that the agent imagines.
        generator: for plans and model.
        true_returns: evaluates plans; None: only what happened is known.
        more_data: command that collects more data.
    """
    section = Section("plans", "Predicted and true returns of plans")
    policy = run.agent.policy([run.objects.env], False, generator)
    discount = policy.discount
    decided = None
    if policy.prediction_horizon:
        decided = decided_returns(episodes, policy.prediction_horizon, discount)
    else:
        section.skipped.append(
            "Returns predicted at decisions: the agent predicts none over a fixed number of steps."
        )
    visited = [Trajectory.of_episode(episode) for episode in episodes]
    executed = imagined_returns(
        "executed actions, imagined", model, visited, horizon, discount, generator
    )
    random = _random_returns(run, model, horizon, discount, generator)
    _add_table(section, [decided, executed, random], horizon)
    if executed is None:
        section.skipped.append(f"Returns over {horizon} steps: all episodes are shorter.")
    if random is None:
        section.skipped.append(
            "Random plans in the data: the replay has no random steps that are long enough."
        )
    compared = None
    if true_returns is None:
        section.skipped.append(
            "True returns of plans that were not executed: there is no batched simulator."
        )
    elif isinstance(policy, PlanningPolicy):
        compared = compare_plans(policy, episodes, true_returns, discount, generator)
        _add_compared(section, compared, more_data)
    finding = _optimism(decided or executed, random, compared, horizon, more_data)
    if finding is not None:
        section.findings.insert(0, finding)
    return section


def _random_returns(
    run: DiagnosedRun, model: Model, horizon: int, discount: float, generator: torch.Generator
) -> PlanReturns | None:
    """Return the returns of the random actions at the start of the replay, which are training data.

    None: the replay does not hold them.
    """
    replay, settings = run.replay, run.objects.settings
    steps = min(settings.prefill_steps, len(replay))
    if settings.model_from_replay or not steps:
        return None
    trajectories = stored_trajectories(replay, np.arange(steps))
    return imagined_returns(
        "random actions of the prefill, imagined", model, trajectories, horizon, discount, generator
    )


def _add_table(section: Section, found: Sequence[PlanReturns | None], horizon: int) -> None:
    table = Table(
        f"Returns over {horizon} steps, predicted and true",
        [
            "plans", "number", "mean predicted", "mean true", "predicted - true",
            "95 % interval, low", "95 % interval, high", "rank correlation",
        ],
        note="Of chosen plans: predicted at the decision, and received afterwards, while the agent "
        "planned again at every step. Of the others: the model imagines the actions that were "
        "executed. The rank correlation is over all states.",
    )  # fmt: skip
    for returns in found:
        if returns is not None:
            gap = _gap(returns)
            order = correlation_interval(returns.episode, returns.predicted, returns.true)
            table.rows.append([
                returns.name, len(returns.true), float(returns.predicted.mean()),
                float(returns.true.mean()), gap.value, _cell(gap.low), _cell(gap.high),
                _cell(order.value),
            ])  # fmt: skip
    if table.rows:
        section.tables.append(table)


def _gap(returns: PlanReturns) -> Estimated:
    difference = returns.predicted - returns.true
    return resample(returns.episode, np.stack([difference, np.ones(len(difference))], 1), mean_of)


def _add_compared(section: Section, compared: ComparedPlans, more_data: str) -> None:
    """Add the table of chosen and random plans, and whether the model orders the random ones."""
    gap = compared.predicted - compared.true  # [n, 1 + N]
    table = Table(
        "Chosen and random plans from the same states, executed without planning again",
        ["plans", "mean predicted", "mean true", "predicted - true", "95 % interval, low",
         "95 % interval, high"],
    )  # fmt: skip
    ones = np.ones(len(gap))
    for name, part in (("chosen", slice(0, 1)), ("random", slice(1, None))):
        of_part = gap[:, part].mean(1)
        value = resample(compared.episode, np.stack([of_part, ones], 1), mean_of)
        table.rows.append([
            name, float(compared.predicted[:, part].mean()), float(compared.true[:, part].mean()),
            value.value, _cell(value.low), _cell(value.high),
        ])  # fmt: skip
    section.tables.append(table)
    pairs = zip(compared.predicted[:, 1:], compared.true[:, 1:], strict=True)
    order = np.array([rank_correlation(*pair) for pair in pairs])
    known = np.isfinite(order)
    if not known.any():
        section.skipped.append(
            "Order of random plans: in each state all of them have the same true return."
        )
        return
    columns = np.stack([np.where(known, order, 0.0), known.astype(np.float64)], 1)
    mean = resample(compared.episode, columns, mean_of)
    text = (
        "The rank correlation of predicted and true return over random plans from the same state "
        f"is {mean.text()}."
    )
    if mean.value < UNORDERED:
        sure = mean.confidence(lambda values: values < UNORDERED)
        section.findings.append(Finding("plan_ranking", "note", text, sure, more_data))
    else:
        sure = mean.confidence(lambda values: values >= UNORDERED)
        section.findings.append(Finding("plan_ranking", "fine", text, sure))


def _optimism(
    returns: PlanReturns | None,
    random: PlanReturns | None,
    compared: ComparedPlans | None,
    horizon: int,
    more_data: str,
) -> Finding | None:
    if returns is None:
        return None
    gap = _gap(returns)
    size = max(abs(float(returns.true.mean())), float(returns.true.std()), 1e-12)
    text = (
        f"The agent predicts a return of {returns.predicted.mean():.3g} over {horizon} steps and "
        f"gets {returns.true.mean():.3g}: predicted minus true is {gap.text()}"
    )
    if compared is not None:
        of_random = float((compared.predicted - compared.true)[:, 1:].mean())
        text += f"; of random plans from the same states it is {of_random:.2g}"
    elif random is not None:
        text += f"; of random actions in the training data it is {_gap(random).value:.2g}"
    text += "."
    relative = gap.value / size
    grades: tuple[tuple[float, Severity], ...] = (
        (OPTIMISTIC_PROBLEM, "problem"),
        (OPTIMISTIC_NOTE, "note"),
    )
    for limit, severity in grades:
        if relative >= limit:
            sure = gap.confidence(lambda values, limit=limit: values >= limit * size)  # type: ignore[misc]
            return Finding("optimistic_plans", severity, text, sure, more_data)
    sure = gap.confidence(lambda values: values < OPTIMISTIC_NOTE * size)
    return Finding("optimistic_plans", "fine", text, sure)


def _cell(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
