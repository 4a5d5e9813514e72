"""Statistics of `mbrl compare`: against scipy, brute force, numbers by hand, and their coverage."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from mbrl_cli.reports import aggregates
from mbrl_cli.reports.bootstrap import (
    RESAMPLES,
    bootstrap_interval,
    percentile_interval,
    widening,
)
from mbrl_cli.reports.curves import Curve, align, clean_curve, first_step_at, value_at
from mbrl_cli.reports.improvement import probability_of_improvement
from mbrl_cli.reports.student_t import t_quantile

STATISTICS = pytest.mark.parametrize(
    "statistic", [aggregates.mean, aggregates.median, aggregates.iqm, aggregates.optimality_gap]
)


def fixed():
    """Return the generator of every interval."""
    return np.random.default_rng(0)


@STATISTICS
@pytest.mark.parametrize("sizes", [(5,), (10,), (5, 8), (3, 3, 3)])
def test_percentiles_equal_scipys_bootstrap(statistic, sizes):
    data = [np.random.default_rng(k).exponential(size=n) for k, n in enumerate(sizes)]
    expected = stats.bootstrap(
        data, lambda *samples, axis: statistic(samples), n_resamples=RESAMPLES,
        method="percentile", rng=fixed(),
    ).confidence_interval  # fmt: skip
    assert percentile_interval(data, statistic, fixed()) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("runs", [3, 4, 5, 7, 8, 10, 40])
def test_iqm_equals_scipys_trimmed_mean(runs):
    values = np.random.default_rng(runs).normal(size=(6, runs))
    expected = stats.trim_mean(values, 0.25, axis=-1)
    np.testing.assert_allclose(aggregates.iqm([values]), expected)
    pooled = [values[:, : runs // 2], values[:, runs // 2 :]]
    np.testing.assert_allclose(aggregates.iqm(pooled), expected)


def test_aggregates_by_hand():
    first, second = np.array([1.0, 2.0, 6.0]), np.array([0.0, 0.5])
    assert aggregates.mean([first, second]) == (3.0 + 0.25) / 2
    assert aggregates.median([first, second]) == 1.0
    assert aggregates.iqm([first, second]) == (0.5 + 1.0 + 2.0) / 3
    assert aggregates.difference([first, second]) == 2.75
    # Scores of 1 and more have no gap: (0 + 0 + 0) / 3 and (1 + 0.5) / 2.
    assert aggregates.optimality_gap([first, second]) == 0.375


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 9, 30, 101])
@pytest.mark.parametrize("probability", [0.5, 0.9, 0.975, 0.995])
def test_quantiles_of_t_equal_scipys(degrees, probability):
    expected = stats.t.ppf(probability, degrees)
    assert t_quantile(probability, degrees) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_the_widening_turns_the_standard_error_of_a_bootstrap_into_that_of_a_t_interval():
    data = np.random.default_rng(0).normal(size=5)
    # The bootstrap's variance of a mean has the divisor n where n - 1 is unbiased.
    expected = math.sqrt(5 / 4) * stats.t.ppf(0.975, 4) / stats.norm.ppf(0.975)
    assert widening([data]) == pytest.approx(expected)
    interval = bootstrap_interval([data], aggregates.mean, fixed())
    half = stats.t.ppf(0.975, 4) * data.std(ddof=1) / math.sqrt(5)
    assert float(interval.high - interval.low) == pytest.approx(2 * half, rel=0.05)


def test_the_degrees_of_freedom_of_two_strata_are_welchs():
    first, second = np.random.default_rng(3).normal(size=(2, 6)) * np.array([[1.0], [5.0]])
    expected = stats.ttest_ind(first, second, equal_var=False).df
    v = np.array([first.var(ddof=1), second.var(ddof=1)]) / 6
    factor = math.sqrt(v.sum() / (v * 5 / 6).sum())
    factor *= stats.t.ppf(0.975, math.floor(expected)) / stats.norm.ppf(0.975)
    assert widening([first, second]) == pytest.approx(factor)


def test_one_run_has_no_interval_and_equal_runs_have_one_without_width():
    one = bootstrap_interval([np.array([3.0])], aggregates.mean, fixed())
    assert math.isnan(one.low)
    equal = bootstrap_interval([np.full(5, 500.0)], aggregates.mean, fixed())
    assert equal == (500.0, 500.0)


def test_a_curve_has_the_interval_of_each_of_its_points():
    values = np.random.default_rng(0).normal(size=(300, 5))  # more rows than one block holds
    band = bootstrap_interval([values], aggregates.iqm, fixed())
    assert band.low.shape == (300,)
    for row in (0, 123, 299):
        alone = bootstrap_interval([values[row]], aggregates.iqm, fixed())
        assert (band.low[row], band.high[row]) == pytest.approx(tuple(map(float, alone)))


# Binomial standard error with 1,000 experiments: 0.7 %. docs/compare.md has a table of more cases.
@pytest.mark.parametrize(
    ("sizes", "statistic"),
    [
        ((5,), aggregates.mean),
        ((5,), aggregates.iqm),
        ((10,), aggregates.mean),
        ((10,), aggregates.iqm),
        ((5, 5, 5), aggregates.mean),
        ((5, 5, 5), aggregates.iqm),
        ((5, 5), aggregates.difference),
        ((5, 10), aggregates.difference),
    ],
)
def test_95_percent_of_1000_intervals_contain_the_truth(sizes, statistic):
    rng = np.random.default_rng(1)
    experiments = [rng.normal(size=(1000, n)) * (k + 1) for k, n in enumerate(sizes)]
    interval = bootstrap_interval(experiments, statistic, fixed())
    covered = ((interval.low <= 0.0) & (interval.high >= 0.0)).mean()
    assert 0.93 <= covered <= 0.97


def brute_force(first, second):
    wins = [1.0 if x > y else 0.5 if x == y else 0.0 for x, y in itertools.product(first, second)]
    return sum(wins) / len(wins)


@pytest.mark.parametrize(("m", "n"), [(5, 5), (3, 8), (1, 4)])
def test_probability_of_improvement_equals_its_definition(m, n):
    rng = np.random.default_rng(m)
    for _ in range(20):
        first, second = rng.integers(0, 6, m).astype(float), rng.integers(0, 6, n).astype(float)
        found = probability_of_improvement([first], [second])
        assert found.probability == pytest.approx(brute_force(first, second))
        assert 0.0 <= found.low <= found.probability <= found.high <= 1.0
        opposite = probability_of_improvement([second], [first])
        assert opposite == pytest.approx((1 - found.probability, 1 - found.high, 1 - found.low))
    mean = probability_of_improvement([first, first + 10], [second, second])
    assert mean.probability == pytest.approx((brute_force(first, second) + 1.0) / 2)


def test_five_wins_out_of_five_do_not_prove_that_every_run_is_better():
    found = probability_of_improvement([np.arange(5.0) + 10], [np.arange(5.0)])
    assert found.probability == found.high == 1.0
    # The lower end p is 1.96 standard errors below 1, with (m + n) / 2 - 1 = 4.
    p = found.low
    spread = 1 + 4 * (1 - p) / (2 - p) + 4 * p / (1 + p)
    assert (1 - p) ** 2 == pytest.approx(1.959964**2 * p * (1 - p) * spread / 25, rel=1e-5)
    assert 0.6 < p < 0.7


@pytest.mark.parametrize(("size", "shift"), [(5, 0.0), (5, 1.0), (10, 1.0)])
def test_intervals_of_the_probability_of_improvement_cover_it(size, shift):
    truth = stats.norm.cdf(shift / math.sqrt(2))
    rng = np.random.default_rng(0)
    covered = 0
    for first, second in rng.normal(size=(1000, 2, size)):
        found = probability_of_improvement([first + shift], [second])
        covered += found.low <= truth <= found.high
    assert 0.93 <= covered / 1000 <= 0.97


def test_curves_are_aligned_within_the_common_range():
    curves = [
        Curve(np.array([100, 200, 300]), np.array([1.0, 2.0, 3.0])),
        Curve(np.array([150, 250, 400]), np.array([10.0, 20.0, 50.0])),
    ]
    grid, values = align(curves)
    assert grid.tolist() == [150, 200, 250, 300]
    assert values.T.tolist() == [[1.5, 2.0, 2.5, 3.0], [10.0, 15.0, 20.0, 30.0]]
    assert align([curves[0], Curve(np.array([500]), np.array([1.0]))])[0].size == 0
    long = Curve(np.arange(5000), np.arange(5000.0))
    grid, values = align([long])
    assert (len(grid), grid[0], grid[-1]) == (200, 0, 4999)


def test_points_of_a_curve():
    steps, values = np.array([10, 20, 20, 30, 40]), np.array([1.0, 5.0, 2.0, np.nan, 8.0])
    curve = clean_curve(steps, values)
    assert (curve.steps.tolist(), curve.values.tolist()) == ([10, 20, 40], [1.0, 2.0, 8.0])
    assert (value_at(curve, None), value_at(curve, 30), value_at(curve, 41)) == (8.0, 5.0, None)
    assert first_step_at(curve, 2.0, lower_is_better=False) == 20
    assert first_step_at(curve, 1.0, lower_is_better=True) == 10
    assert first_step_at(curve, 9.0, lower_is_better=False) is None
