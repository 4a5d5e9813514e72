"""Scores of predictions against libraries and hand-derived numbers; accuracy of small models."""

import numpy as np
import pytest
import scoringrules
import torch
from scipy.stats import norm, spearmanr
from sklearn.isotonic import IsotonicRegression

from mbrl_cli.api.training import train
from mbrl_cli.diagnosis.accuracy.episode_resamples import mean_of, resample
from mbrl_cli.diagnosis.accuracy.miscalibration import miscalibration_area
from mbrl_cli.diagnosis.accuracy.rank_correlation import rank_correlation
from mbrl_cli.diagnosis.accuracy.recalibration import Recalibration
from mbrl_cli.diagnosis.accuracy.sample_scores import sample_crps, sample_pit, sample_std
from mbrl_cli.diagnosis.accuracy.trajectory import Trajectory, stored_trajectories
from mbrl_cli.diagnosis.diagnosed_run import DiagnosedRun
from mbrl_cli.diagnosis.model_accuracy import model_accuracy
from mbrl_cli.optimism_gap import observed_returns


def drawn(rng, windows=40, samples=25):
    return np.sort(rng.normal(size=(windows, samples))), rng.normal(size=windows)


def test_crps_of_samples_is_that_of_scoringrules():
    samples, outcome = drawn(np.random.default_rng(0))
    expected = scoringrules.crps_ensemble(outcome, samples, estimator="nrg")
    assert sample_crps(samples, outcome) == pytest.approx(expected)


def test_crps_of_many_gaussian_samples_is_that_of_the_gaussian():
    quantiles = norm.ppf((np.arange(4000) + 0.5) / 4000)
    for outcome in (-1.5, 0.0, 2.0):
        expected = scoringrules.crps_normal(outcome, 0.0, 1.0)
        assert sample_crps(quantiles, np.array(outcome)) == pytest.approx(expected, abs=1e-3)


def test_crps_of_weighted_samples():
    # X is 0 with 3/4 and 4 with 1/4, y = 1: E|X - y| = 3/2, E|X - X'| = 2 * 3/16 * 4 = 3/2
    crps = sample_crps(np.array([0.0, 4.0]), np.array(1.0), np.array([0.75, 0.25]))
    assert crps == pytest.approx(1.5 - 0.75)
    # mean 1, variance 3/4 * 1 + 1/4 * 9 = 3
    std = sample_std(np.array([0.0, 4.0]), np.array([0.75, 0.25]))
    assert std == pytest.approx(np.sqrt(3.0))


def test_pit_of_samples():
    samples = np.array([0.0, 1.0, 2.0])
    # levels 1/4, 2/4, 3/4; halfway between the last two: 5/8; outside: 1/8 and 7/8
    outcome = np.array([0.0, 1.0, 1.5, -9.0, 9.0])
    pit = sample_pit(np.tile(samples, (5, 1)), outcome)
    assert pit.tolist() == [0.25, 0.5, 0.625, 0.125, 0.875]
    assert sample_pit(np.array([[1.0, 1.0, 1.0]]), np.array([1.0])).tolist() == [0.5]


def test_pit_of_gaussian_samples_is_the_distribution_function():
    quantiles = norm.ppf(np.arange(1, 2000) / 2000)
    outcome = np.array([-1.0, 0.3, 1.7])
    pit = sample_pit(np.tile(quantiles, (3, 1)), outcome)
    assert pit == pytest.approx(norm.cdf(outcome), abs=1e-4)


def test_miscalibration_area_of_simple_cases():
    uniform = (np.arange(10_000) + 0.5) / 10_000
    assert miscalibration_area(uniform) == pytest.approx(0.0, abs=1e-3)
    # All outcomes at the median: the curve is 0 below 1/2 and 1 above, so the area is 2 * 1/8.
    assert miscalibration_area(np.full(100, 0.5)) == pytest.approx(0.25, abs=1e-2)
    # All outcomes below every quantile: the curve is 1 everywhere.
    assert miscalibration_area(np.zeros(100)) == pytest.approx(0.5, abs=1e-2)
    # Half as wide errors: PIT = ndtr(z / 2); the curve of level p is ndtr(2 ndtri(p)).
    z = norm.ppf(uniform)
    level = np.linspace(0.0, 1.0, 100)
    expected = np.trapezoid(np.abs(norm.cdf(2 * norm.ppf(level)) - level), level)
    assert miscalibration_area(norm.cdf(z / 2)) == pytest.approx(expected, abs=1e-3)


def test_recalibration_is_isotonic_regression():
    pit = np.random.default_rng(0).beta(2.0, 5.0, 60)
    fractions = np.array([np.mean(pit <= p) for p in pit])
    points = np.concatenate([[0.0], pit, [1.0]]), np.concatenate([[0.0], fractions, [1.0]])
    library = IsotonicRegression(out_of_bounds="clip").fit(*points)
    probability = np.linspace(0.0, 1.0, 101)
    assert Recalibration(pit)(probability) == pytest.approx(library.predict(probability))
    weights = Recalibration(pit).sample_weights(8)
    assert weights.sum() == pytest.approx(1.0)
    assert weights == pytest.approx(np.diff(library.predict(np.linspace(0.0, 1.0, 9))))


def test_rank_correlation_is_that_of_scipy():
    rng = np.random.default_rng(0)
    first = rng.integers(0, 6, 50).astype(float)  # with equal values
    second = first + rng.normal(size=50)
    assert rank_correlation(first, second) == pytest.approx(spearmanr(first, second).statistic)
    assert np.isnan(rank_correlation(first, np.ones(50)))


def test_resamples_draw_episodes_not_steps():
    episode = np.repeat([0, 1], 50)
    columns = np.stack([np.repeat([0.0, 10.0], 50), np.ones(100)], 1)
    found = resample(episode, columns, mean_of)
    assert found.value == 5.0
    assert (found.low, found.high) == (0.0, 10.0)  # both episodes, or twice the same one
    assert set(np.unique(found.resampled)) == {0.0, 5.0, 10.0}
    one = resample(np.zeros(4, np.int64), columns[:4], mean_of)
    assert np.isnan(one.low)


def test_observed_returns_end_where_they_are_unknown():
    # discount 1/2 over two steps: 1 + 2/2, 2 + 4/2; a termination adds zeros after it
    assert observed_returns([1.0, 2.0, 4.0], False, 2, 0.5).tolist() == [2.0, 4.0]
    assert observed_returns([1.0, 2.0, 4.0], True, 2, 0.5).tolist() == [2.0, 4.0, 4.0]
    assert observed_returns([1.0], False, 2, 0.5).tolist() == []


def test_stored_trajectories_are_the_episodes(counting_replay):
    replay = counting_replay([3, 2])
    found = stored_trajectories(replay, np.arange(5))
    assert [t.steps for t in found] == [3, 2]
    fields = replay.transitions(0, 5)
    assert found[0].obs[:-1].tolist() == fields["obs"][:3].tolist()
    assert found[0].obs[-1].tolist() == fields["next_obs"][2].tolist()
    assert [t.number for t in found] == [0, 3]
    assert all(isinstance(t, Trajectory) and t.terminated for t in found)


SMALL = [
    "env=cartpole", "env.termination=learned", "env.max_episode_steps=25", "total_steps=220",
    "prefill_steps=160", "eval_every=0", "final_eval_episodes=1", "console=false", "device=cpu",
    "threads=1", "seed=1",
]  # fmt: skip
PLANS = ["planner.horizon=4", "planner.population=12", "planner.iterations=1"]


@pytest.mark.parametrize(
    ("words", "decodes"),
    [
        (["agent=pets", *PLANS, "agent.fit_every=60"], True),
        (["agent=mpc", "model=mlp", *PLANS, "agent.fit_every=60"], True),
        (["agent=tdmpc2", "agent.pretrain_steps=2", "agent.updates_per_step=0.1"], False),
        (
            [
                "agent=dreamer", "model.batch_size=4", "model.sequence_length=8",
                "agent.pretrain_steps=3", "agent.replay_ratio=0.05",
                "agent.actor_critic.rollouts=8",
            ],
            True,
        ),
    ],
    ids=["ensemble", "mlp", "tdmpc2", "rssm"],
)  # fmt: skip
def test_every_kind_of_model_is_measured(tmp_path, words, decodes):
    run = DiagnosedRun(train([*SMALL, *words, f"hydra.run.dir={tmp_path / 'run'}"]))
    generator = torch.Generator().manual_seed(0)
    sections = {s.name: s for s in model_accuracy(run, run.play(run.seeds(3)), generator)}
    errors = sections["observations"]
    assert bool(errors.tables) == decodes
    faults = [f.fault for section in sections.values() for f in section.findings]
    assert "reward_model" in faults
    assert "termination_model" in faults
    assert ("dynamics" in faults) == decodes
    for section in sections.values():
        for table in section.tables:
            assert all(len(row) == len(table.columns) for row in table.rows)
