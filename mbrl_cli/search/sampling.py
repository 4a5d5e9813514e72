"""Values of a new trial, and the comparison of two trials over seeds, by Optuna.

Both work on a study in memory that is made from the journal, because Optuna reads the results of a
trial only once it has ended, and here most trials wait for their promotion.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.pruners import WilcoxonPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import TrialState

from mbrl_cli.config.search_parameter import SearchParameter
from mbrl_cli.search.trial_record import TrialRecord
from mbrl_cli.seeding import child_seed

P_VALUE = 0.1  # a trial is pruned if its seeds are worse than those of the best at this level
MIN_SEEDS = 2  # before which none is pruned


def distributions_of(space: Sequence[SearchParameter]) -> dict[str, BaseDistribution]:
    """Return Optuna's form of a search space."""
    return {parameter.key: _distribution(parameter) for parameter in space}


def suggest(
    space: Sequence[SearchParameter],
    records: Sequence[TrialRecord],
    rungs: Sequence[int],
    sampler: str,
    seed: int,
) -> dict[str, Any]:
    """Return the values of the next trial; they depend on the arguments alone.

    Args:
        space: the searched keys.
        records: all trials so far.
        rungs: environment steps of each rung.
        sampler: tpe or random.
        seed: of the search.
    """
    distributions = distributions_of(space)
    number_seed = child_seed(seed, "trial", len(records))
    chosen: BaseSampler = (
        TPESampler(seed=number_seed) if sampler == "tpe" else RandomSampler(seed=number_seed)
    )
    study = _study(chosen)
    for record in records:
        if record.end == "failed":
            continue
        values = {rungs[rung]: record.mean(rung) for rung in record.results}
        if record.end == "complete":
            state = TrialState.COMPLETE
        else:
            state = TrialState.PRUNED if values else TrialState.RUNNING
        study.add_trial(
            optuna.trial.create_trial(
                state=state,
                value=record.mean(record.rung) if record.end == "complete" else None,
                params=record.values,
                distributions=distributions,
                intermediate_values=values,
            )
        )
    params = study.ask(distributions).params
    return {parameter.key: parameter.rounded(params[parameter.key]) for parameter in space}


def is_worse(returns: Mapping[int, float], best: Mapping[int, float]) -> bool:
    """Return whether a trial is worse than the best one by a Wilcoxon test over common seeds.

    Args:
        returns: seed -> mean return of the trial, at one rung.
        best: of the best trial at that rung.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        pruner = WilcoxonPruner(p_threshold=P_VALUE, n_startup_steps=MIN_SEEDS)
    study = _study(RandomSampler(seed=0))
    mean = sum(best.values()) / len(best)
    study.add_trial(optuna.trial.create_trial(value=mean, intermediate_values=dict(best)))
    trial = optuna.trial.create_trial(state=TrialState.RUNNING, intermediate_values=dict(returns))
    return pruner.prune(study, trial)


def _study(sampler: BaseSampler) -> optuna.Study:
    return optuna.create_study(direction="maximize", sampler=sampler)


def _distribution(parameter: SearchParameter) -> BaseDistribution:
    if parameter.choices is not None:
        return CategoricalDistribution(parameter.choices)
    if parameter.is_integer and isinstance(parameter.step, int | None):
        return IntDistribution(
            int(parameter.low), int(parameter.high), log=parameter.log, step=parameter.step or 1
        )
    return FloatDistribution(parameter.low, parameter.high, log=parameter.log, step=parameter.step)
