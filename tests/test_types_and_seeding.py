"""Child seeds, bounds of hyperparameters, and nearest names."""

import itertools

import pytest
import torch

from mbrl_cli.errors import nearest
from mbrl_cli.seeding import child_seed, torch_generator
from mbrl_cli.types import Bounds


def test_child_seeds_are_equal_in_every_process_and_release():
    # Values of the first release: other values would change the numbers of every run.
    assert child_seed(0, "model") == 1031375306
    assert child_seed(7, "episode", 3) == 1755262377


def test_seed_name_and_index_each_change_the_child_seed():
    names = ("env", "model", "planner", "policy", "episode")
    keys = list(itertools.product(range(20), names, range(20)))
    seeds = {child_seed(*key) for key in keys}
    assert len(seeds) == len(keys)  # 2000 of 2^31: a collision by chance is 1 in 1000
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_a_component_s_random_numbers_do_not_depend_on_other_components():
    alone = torch.rand(4, generator=torch_generator(3, "model"))
    torch.rand(9, generator=torch_generator(3, "planner"))
    assert torch.equal(alone, torch.rand(4, generator=torch_generator(3, "model")))
    assert not torch.equal(alone, torch.rand(4, generator=torch_generator(3, "planner")))


@pytest.mark.parametrize(
    ("bounds", "text"),
    [
        (Bounds(1), ">= 1"),
        (Bounds(0.0, low_open=True), "> 0"),
        (Bounds(0.0, 1.0), "in [0, 1]"),
        (Bounds(0.0, 0.5, low_open=True), "in (0, 0.5]"),
    ],
)
def test_bounds_are_printed_as_ranges(bounds, text):
    assert str(bounds) == text


@pytest.mark.parametrize(
    ("bounds", "allowed", "refused"),
    [
        (Bounds(1), [1, 2, 1e9], [0, 0.999, -1]),
        (Bounds(0.0, low_open=True), [1e-9, 5], [0.0, -1e-9]),
        (Bounds(0.0, 1.0), [0, 0.5, 1], [-1e-9, 1.0001, float("inf")]),
        (Bounds(0.0, 1.0, low_open=True), [1e-9, 1], [0, 1.0001]),
    ],
)
def test_bounds_allow_closed_ends_but_not_open_ends_or_nan(bounds, allowed, refused):
    assert [bounds.allows(value) for value in allowed] == [True] * len(allowed)
    assert not any(bounds.allows(value) for value in [*refused, float("nan")])


def test_the_most_similar_name_comes_first_ignoring_case():
    names = ["linear", "mlp", "ensemble", "gaussian_ensemble", "oracle"]
    assert nearest("Gausian_Ensemble", names)[0] == "gaussian_ensemble"
    assert nearest("xyz", names) == []
