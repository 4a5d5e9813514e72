"""Gradient steps by environment steps."""

import pytest

from mbrl_cli.agents.gradient_schedule import GradientSchedule


def taken(schedule, steps):
    """Take the gradient steps that are due at each of the steps; return their numbers."""
    numbers = []
    for step in steps:
        numbers.append(schedule.due(step))
        schedule.num_updates += numbers[-1]
    return numbers


def continued(schedule, updates_per_step, **changes):
    other = GradientSchedule(updates_per_step, pretrain_steps=3)
    other.load_state_dict(schedule.state_dict() | changes)
    return other


def test_a_ratio_below_one_skips_steps_and_pretraining_comes_first():
    assert taken(GradientSchedule(0.5, pretrain_steps=3), range(10, 15)) == [3, 1, 0, 1, 0]


def test_a_schedule_continues_as_if_it_had_not_been_interrupted():
    schedule = GradientSchedule(0.5, pretrain_steps=3)
    taken(schedule, range(10, 13))
    assert taken(continued(schedule, 0.5), range(13, 17)) == [1, 0, 1, 0]


@pytest.mark.parametrize(("ratio", "numbers"), [(20.0, [20, 20]), (0.5, [0, 1]), (2.0, [2, 2])])
def test_without_a_first_step_another_ratio_holds_from_there_on(ratio, numbers):
    schedule = GradientSchedule(2.0, pretrain_steps=3)
    taken(schedule, range(10, 1000))
    later = continued(schedule, ratio, first_step=None)
    assert taken(later, [1000, 1001]) == numbers
    assert taken(continued(later, ratio), [1002, 1003]) == numbers
