"""`fit_members` on losses of one weight per member."""

import pytest
import torch
from torch import nn

from mbrl_cli.models.fitting import FitSettings, fit_members


def settings(**changes):
    base = {
        "batch_size": 4, "max_steps": 1000, "check_every": 10, "patience": 2,
        "learning_rate": 0.1, "weight_decay": 0.0, "fresh_bootstrap": False,
    }  # fmt: skip
    return FitSettings(**base | changes)


def fit_towards_ten(generator, selection_loss, members=2, **changes):
    """Train one weight per member from 0 towards 10; it moves by about 1 between checks.

    `selection_loss` maps the weights [E] and the number of the check to the loss [E]. Return the
    selected weights [E], the result and the weights at each check.
    """
    weight = nn.Parameter(torch.zeros(members, 1, 1))
    at_checks = []

    def training(x, y):
        assert (x == 0.0).all()
        return (weight - 10.0).square().flatten()

    def selection(x, y):
        assert (x == 1.0).all()
        at_checks.append(weight.detach().flatten().clone())
        return selection_loss(at_checks[-1], len(at_checks))

    train, holdout = ((torch.full((8, 1), value),) * 2 for value in (0.0, 1.0))
    result = fit_members(
        [weight], training, selection, train, holdout, members, settings(**changes), generator
    )
    return weight.detach().flatten(), result, torch.stack(at_checks)


def test_each_member_gets_its_best_weights_and_the_fit_stops_after_the_last_gain(generator):
    goals = torch.tensor([3.0, 5.0])
    selected, result, at_checks = fit_towards_ten(generator, lambda w, check: (w - goals).square())
    # AdamW moves by the learning rate: about 1, 2, 3, ... at the checks (measured 2.9, 4.6).
    assert selected.tolist() == pytest.approx([3.0, 5.0], abs=0.5)
    assert selected.tolist() == [float(at_checks[2, 0]), float(at_checks[4, 1])]
    assert result.steps == (5 + 2) * 10  # last gain at the fifth check, then `patience` checks
    assert result.holdout_loss.tolist() == pytest.approx(((selected - goals) ** 2).tolist())


def test_weights_with_a_loss_of_nan_are_never_selected(generator):
    def selection_loss(weight, check):
        loss = (weight - 9.0).square()
        loss[0] = float("nan") if check in (2, 3) else loss[0]
        loss[1] = float("nan") if check >= 3 else loss[1]
        return loss

    selected, result, at_checks = fit_towards_ten(generator, selection_loss, max_steps=50)
    assert selected.tolist() == [float(at_checks[4, 0]), float(at_checks[1, 1])]
    assert result.holdout_loss.isfinite().all()


def test_without_held_out_data_a_fit_takes_all_its_steps(generator):
    weight = nn.Parameter(torch.zeros(1, 1, 1))

    def loss(x, y):
        return (weight - 10.0).square().flatten()

    data = (torch.zeros(8, 1), torch.zeros(8, 1))
    result = fit_members([weight], loss, loss, data, None, 1, settings(max_steps=30), generator)
    assert result.steps == 30
    assert result.holdout_loss is None
    assert weight.item() > 1.5  # the sum of 30 learning rates that fall from 0.1 to 0.01: 1.65


@pytest.mark.parametrize("held_out", [True, False])
def test_a_member_that_diverges_gets_its_last_good_weights_back(generator, held_out):
    weight = nn.Parameter(torch.tensor([1.0, 2.0]).view(2, 1, 1))
    calls = []

    def training(x, y):  # the second member's loss is NaN from the 26th step on
        calls.append(1)
        factor = torch.tensor([1.0, float("nan") if len(calls) > 25 else 1.0])
        return (weight.flatten() - 10.0).square() * factor

    def selection(x, y):
        return (weight.detach().flatten() - 10.0).square()

    data = (torch.zeros(8, 1), torch.zeros(8, 1))
    holdout = data if held_out else None
    result = fit_members(
        [weight], training, selection, data, holdout, 2,
        settings(max_steps=30, check_every=10), generator,
    )  # fmt: skip
    assert result.rolled_back == 1
    assert result.metrics()["rolled_back"] == 1.0
    good, rolled_back = weight.flatten().tolist()
    assert good > 2.5  # 1 plus the sum of 30 learning rates, 1.65
    # The weights of the check after 20 steps, about 1.5 above 2; without held-out data, those from
    # before the fit.
    assert rolled_back == pytest.approx(3.5, abs=0.2) if held_out else rolled_back == 2.0


@pytest.mark.parametrize("bootstrap", [True, False])
def test_each_member_is_trained_on_its_own_bootstrap_sample(generator, bootstrap):
    rows = torch.arange(1000.0)[:, None]
    weight = nn.Parameter(torch.zeros(3, 1, 1))
    samples = [set() for _ in range(3)]  # distinct rows that each member was trained on

    def loss(x, y):
        assert torch.equal(x, y)  # inputs and targets belong together
        for sample, values in zip(samples, x.flatten(1).tolist(), strict=True):
            sample.update(values)
        return weight.flatten()

    chosen = settings(fresh_bootstrap=bootstrap, batch_size=200, max_steps=60)
    fit_members([weight], loss, loss, (rows, rows), None, 3, chosen, generator)
    if bootstrap:  # 1 - 1/e = 632 distinct rows of 1000, +- 10, and 632^2 / 1000 = 400 in common
        assert [len(sample) for sample in samples] == pytest.approx([632] * 3, abs=50)
        assert len(samples[0] & samples[1]) == pytest.approx(400, abs=50)
    else:  # 12,000 draws miss any of 1000 rows with a probability of 0.6 %
        assert samples[0] == samples[1] == samples[2] == set(rows.flatten().tolist())


def test_metrics_of_a_fit_are_the_mean_over_members_and_their_spread(generator):
    _, result, _ = fit_towards_ten(
        generator, lambda weight, check: torch.tensor([1.0, 3.0]), max_steps=10
    )
    metrics = result.metrics()
    assert metrics.pop("train_loss") == pytest.approx(float(result.train_loss.mean()))
    assert metrics == {
        "fit_steps": 10.0, "rolled_back": 0.0, "holdout_loss": 2.0,
        "holdout_loss_spread": 1.0,
    }  # fmt: skip
