"""The weight of terminations, calibration, and predictions before the first termination."""

import pytest
import torch

from mbrl_cli.models.termination_model import MAX_TERMINATION_WEIGHT, balanced_weight


@pytest.mark.parametrize(
    ("rows", "terminated", "weight"),
    [(100, 20, 4.0), (100, 80, 1.0), (100_000, 1, MAX_TERMINATION_WEIGHT)],
)
def test_all_terminations_weigh_as_much_as_all_other_rows_within_limits(rows, terminated, weight):
    assert balanced_weight(rows, terminated) == weight  # 80 / 20; at least 1; at most the maximum


def test_everything_continues_until_the_data_have_a_termination(
    make_spec, make_ensemble, one_step, generator
):
    model = make_ensemble(make_spec(2))
    _, step = one_step(model, torch.zeros(3, 2), torch.zeros(3, 1), generator)
    assert step.continues.eq(1.0).all()
    model.termination.has_seen_termination = True
    _, step = one_step(model, torch.zeros(3, 2), torch.zeros(3, 1), generator)
    assert step.continues.lt(1.0).all()  # the untrained network


def test_a_fit_without_terminations_keeps_the_weight_of_the_last_one(
    make_spec, make_ensemble, fill, generator
):
    def replay(limit):
        return fill(
            lambda obs, action, rng: (obs + 1.0, 0.0, bool(obs[0] > limit)), 10, 5,
            lambda rng: rng.uniform(0, 1, 1), holdout_ratio=0.0,
        )  # fmt: skip

    model = make_ensemble(make_spec(), max_steps=1, termination_steps=1)
    model.fit(replay(limit=2.0), generator)  # obs > 2 at step 3 or 4, the last of an episode
    weight = model.termination.termination_weight
    assert 1.0 < weight < MAX_TERMINATION_WEIGHT
    restored = make_ensemble(make_spec(), max_steps=1, termination_steps=1)
    restored.load_state_dict(model.state_dict())
    for each in (model, restored):
        metrics = each.fit(replay(limit=100.0), generator)
        assert "termination_loss" in metrics
        assert each.termination.termination_weight == weight


def coin(probability):
    """Return dynamics that terminate with this probability in every state."""
    return lambda obs, action, rng: (rng.normal(size=1), 0.0, bool(rng.uniform() < probability))


def test_predicted_terminations_are_as_frequent_as_true_ones(
    make_spec, make_ensemble, fill, one_step, generator
):
    replay = fill(coin(0.1), 200, 50, lambda rng: rng.normal(size=1), holdout_ratio=0.3)
    model = make_ensemble(make_spec(), num_members=3, num_elites=3, max_steps=1)
    metrics = model.fit(replay, generator)
    train, holdout = (replay.batch(rows) for rows in replay.split())
    expected = float(train.terminated.mean())
    assert expected == pytest.approx(0.1, abs=0.02)
    assert model.termination.termination_weight == pytest.approx((1 - expected) / expected)
    # Without calibration the prediction is 0.5.
    assert metrics["termination_rate"] == pytest.approx(expected, rel=0.3)
    assert metrics["true_termination_rate"] == pytest.approx(float(holdout.terminated.mean()))
    obs = torch.zeros(1000, 1)
    _, step = one_step(model, obs, torch.zeros(1000, 1), generator)
    assert 1.0 - float(step.continues.mean()) == pytest.approx(expected, rel=0.3)


def test_precision_and_recall_count_the_mean_of_the_members(make_spec, make_ensemble, monkeypatch):
    model = make_ensemble(make_spec(), num_members=2, num_elites=2).termination
    true = torch.tensor([[0.0, 0.0, 1.0, 1.0, 1.0]]).mT  # continues of five rows: two terminations
    found = torch.tensor([[0.1, 0.9, 0.2, 0.9, 0.9], [0.3, 0.9, 0.7, 0.9, 0.8]])  # [E, n]

    def metrics(continues, probability):
        monkeypatch.setattr(
            "mbrl_cli.models.termination_model.calibrated", lambda *_: probability.log()
        )
        return model._holdout_metrics(torch.zeros(5, 1), continues)

    both = metrics(true, found)  # rows 0 and 2 are predicted to end, row 0 rightly
    assert both["termination_precision"] == 0.5
    assert both["termination_recall"] == 0.5
    none = metrics(true, torch.full((2, 5), 0.9))
    assert none["termination_recall"] == 0.0
    assert "termination_precision" not in none
    safe = metrics(torch.ones(5, 1), found)
    assert safe["termination_precision"] == 0.0
    assert "termination_recall" not in safe


def test_a_restored_model_predicts_the_same_terminations(make_spec, make_ensemble, fill, generator):
    replay = fill(coin(0.2), 20, 50, lambda rng: rng.normal(size=1))
    model = make_ensemble(make_spec(), max_steps=1, termination_steps=20)
    model.fit(replay, generator)
    assert model.termination.termination_weight > 1.0
    restored = make_ensemble(make_spec(), seed=1, max_steps=1)
    restored.load_state_dict(model.state_dict())
    next_obs = torch.linspace(-2.0, 2.0, 9).view(9, 1, 1)
    probabilities = [
        each.termination.continue_probability(next_obs, mean_over_members=True)
        for each in (model, restored)
    ]
    assert torch.equal(*probabilities)
