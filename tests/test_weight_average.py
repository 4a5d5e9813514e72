"""Averages of weights, and their use in place of the weights."""

import pytest
import torch

from mbrl_cli.nets.weight_average import WeightAverage, in_place_of


def test_an_average_follows_the_weights_and_takes_their_place_for_a_while():
    weight = torch.tensor([4.0])
    average = WeightAverage([weight], 0.25)
    weight += 8.0
    average.update()  # 4 + 0.25 * 8
    with in_place_of([weight], average.averages):
        assert weight.item() == 6.0
    assert weight.item() == 12.0
    with pytest.raises(ZeroDivisionError), in_place_of([weight], average.averages):
        1 / 0  # noqa: B018
    assert weight.item() == 12.0
    restored = WeightAverage([weight], 0.25)
    restored.load(average.averages)
    assert restored.averages[0].item() == 6.0
    restored.load([])
    assert restored.averages[0].item() == 12.0


def test_with_a_rate_of_one_nothing_is_averaged():
    weight = torch.tensor([4.0])
    average = WeightAverage([weight], 1.0)
    weight += 8.0
    average.update()
    average.load([torch.zeros(1)])  # of a run with another rate
    assert average.averages == []
    with in_place_of([weight], average.averages):
        assert weight.item() == 12.0
