"""Persistent bootstrap samples: their distribution, their growth, resuming."""

import math

import numpy as np
import pytest
import torch

from mbrl_cli.models.bootstrap import member_counts
from mbrl_cli.models.fitting import FitSettings, fit_members
from mbrl_cli.replay.buffer import ReplayBuffer


def test_the_counts_have_a_poisson_distribution_and_members_are_independent():
    counts = member_counts(3, 2, np.arange(100_000))
    # P(count = k) = exp(-1) / k!; the standard error of a share of 100,000 is at most 0.0016.
    for count in range(5):
        shares = (counts == count).mean(1)
        assert shares == pytest.approx([math.exp(-1) / math.factorial(count)] * 2, abs=0.008)
    for first, second in ((counts[0], counts[1]), (counts[0, :-1], counts[0, 1:])):
        assert abs(np.corrcoef(first, second)[0, 1]) < 0.016  # five standard errors
    assert (member_counts(4, 2, np.arange(100)) != counts[:, :100]).any()


def test_the_count_of_a_transition_does_not_depend_on_the_others():
    counts = member_counts(3, 5, np.arange(1000))
    some = np.array([7, 3, 999])
    assert (member_counts(3, 5, some) == counts[:, some]).all()
    # A seed has these samples on all machines: 64-bit integers have no rounding.
    assert member_counts(0, 2, np.arange(8)).tolist() == [
        [0, 0, 1, 2, 0, 2, 1, 0],
        [1, 1, 3, 2, 2, 2, 1, 1],
    ]


def test_a_sample_is_never_empty():
    lacking = np.flatnonzero(member_counts(0, 1, np.arange(100))[0] == 0)[:1]
    assert member_counts(0, 1, lacking).tolist() == [[1]]


def test_numbers_continue_where_the_ring_buffer_starts_again():
    replay = ReplayBuffer(capacity=4, obs_dim=1, action_dim=1, holdout_ratio=0.0)
    for step in range(6):
        replay.add(np.array([step]), np.zeros(1), 0.0, np.array([step + 1]), False, False)
    rows, _ = replay.split()
    assert replay.numbers(rows).tolist() == [2, 3, 4, 5]
    assert replay.batch(rows).obs.flatten().tolist() == [2, 3, 4, 5]


def test_each_row_is_drawn_as_often_as_the_members_counts_say(generator):
    rows = torch.arange(4.0)[:, None]
    weight = torch.nn.Parameter(torch.zeros(2, 1, 1))
    seen = [[], []]

    def loss(x, y):
        for values, batch in zip(seen, x.flatten(1).tolist(), strict=True):
            values.extend(batch)
        return weight.flatten()

    settings = FitSettings(
        batch_size=4, max_steps=1000, check_every=1000, patience=1, learning_rate=0.1,
        weight_decay=0.0, fresh_bootstrap=False,
    )  # fmt: skip
    counts = np.array([[0, 1, 3, 0], [1, 1, 1, 1]])
    fit_members([weight], loss, loss, (rows, rows), None, 2, settings, generator, counts)
    drawn = np.array([np.bincount(np.array(values, int), minlength=4) / 4000 for values in seen])
    # The standard error of a share is at most 0.008.
    assert drawn[0] == pytest.approx([0.0, 0.25, 0.75, 0.0], abs=0.03)
    assert drawn[1] == pytest.approx([0.25] * 4, abs=0.03)
    assert drawn[0, 0] == drawn[0, 3] == 0.0


@pytest.mark.parametrize(("old", "new"), [(True, "fresh"), (False, "none")], ids=["true", "false"])
def test_values_of_earlier_versions_are_read(make_spec, make_ensemble, fill, old, new):
    replay = fill(
        lambda obs, action, rng: (obs + action, 0.0, False), 4, 5, lambda rng: rng.random(1)
    )
    weights = []
    for bootstrap in (old, new):
        model = make_ensemble(make_spec(), num_members=2, bootstrap=bootstrap, max_steps=20)
        model.fit(replay, torch.Generator().manual_seed(1))
        weights.append(model.net.mlp.weights[0])
    assert torch.equal(*weights)


def test_a_second_fit_keeps_the_samples_of_the_first(
    make_spec, make_ensemble, fill, generator, monkeypatch
):
    samples = []

    def spy(*args, counts, **options):
        samples.append(counts)
        return fit_members(*args, counts=counts, **options)

    monkeypatch.setattr("mbrl_cli.models.ensemble.fit_members", spy)
    model = make_ensemble(make_spec(), num_members=3, bootstrap="persistent", max_steps=5, seed=5)
    for episodes in (4, 8):  # the same four, then four more; the second and seventh are held out
        replay = fill(
            lambda obs, action, rng: (obs + action, 0.0, False), episodes, 10,
            lambda rng: rng.random(1), holdout_ratio=0.2,
        )  # fmt: skip
        model.fit(replay, generator)
    first, second = samples
    assert first.shape == (3, 30)
    assert second.shape == (3, 60)
    assert (second[:, :30] == first).all()
    numbers = np.r_[0:10, 20:40]  # the second episode is held out
    assert (first == member_counts(5, 3, numbers)).all()
