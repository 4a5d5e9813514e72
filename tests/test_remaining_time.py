"""Phase and remaining time of a run."""

import pytest
from timed_run import TimedRun, remaining

from mbrl_cli.agents.interval_schedule import IntervalSchedule
from mbrl_cli.console.remaining_time import RemainingTime


def test_there_is_no_estimate_before_the_prefill_has_ended_and_steps_are_measured():
    run = TimedRun()
    assert run.progress.seconds_left() is None
    run.play(10)
    assert run.progress.seconds_left() is None  # the fit and the decisions are unknown
    run.play(16)
    assert run.progress.seconds_left() is None  # two warm-up steps and four measured ones
    run.play(17)
    assert run.progress.seconds_left() is not None


def test_the_estimate_is_the_sum_of_steps_fits_and_evaluations():
    run = TimedRun()
    run.play(17)
    # 83 steps of 1 s; fits before the steps 20, 30, ..., 90: 8 of 6 s; evaluations at 20, 40, 60
    # and 80 with 2 episodes and one with 4, each of 10 rounds (the limit). A decision takes 1 s, so
    # a round of 2 is estimated as 0.6 + 2 * 0.4 = 1.4 s and one of 4 as 0.6 + 4 * 0.4 = 2.2 s.
    expected = 83 * 1.0 + 8 * 6.0 + 4 * 10 * 1.4 + 10 * 2.2
    assert run.progress.seconds_left() == pytest.approx(expected)
    run.clock.now += 0.5  # within the next step
    assert run.progress.seconds_left() == pytest.approx(expected - 0.5)
    run.clock.now += 100.0  # a step that hangs: the others still take their time
    assert run.progress.seconds_left() == pytest.approx(expected - 1.0)


def test_a_fit_that_takes_longer_than_expected_does_not_use_up_the_time_of_the_rest():
    run = TimedRun()
    run.play(20)
    run.progress.start_update()
    with run.stopwatch("fit"):
        before = run.progress.seconds_left()
        run.clock.now += 3.0
        assert run.progress.phase() == "fitting"
        assert run.progress.seconds_left() == pytest.approx(before - 3.0)
        run.clock.now += 30.0
        assert run.progress.seconds_left() == pytest.approx(before - 6.0)


def test_an_evaluation_measures_rounds_and_lengths():
    run = TimedRun()
    run.play(20)
    before = run.progress.seconds_left()
    run.progress.start_evaluation(2)
    # The evaluation at step 20 is not among those to come; 10 rounds of 2 are expected.
    assert run.progress.seconds_left() == pytest.approx(before + 10 * 1.4)
    with run.stopwatch("eval"):
        for round_number in range(1, 5):
            run.clock.now += 3.0
            running = 2 if round_number < 4 else 0
            run.progress.end_round(2 - running, running, round_number)
            if round_number == 2:
                assert run.progress.phase() == "evaluating 0/2, step 2"
    run.progress.end_evaluation(4.0)
    # A decision takes 1 s and a round of 2 takes 3 s, so k is 2 in each of three measured rounds
    # (the first one has no start); the value before, 0.4, counts like ten rounds of 2.
    k = (10 * 0.4 + 3 * 2.0) / (10 + 3)
    # Evaluations last 4 steps now: less than random episodes, so they are not expected to grow.
    rest = 80 * 1.0 + 8 * 6.0 + 3 * 4 * (1 + k) + 4 * (1 + 3 * k)
    assert run.progress.seconds_left() == pytest.approx(rest)


def test_an_evaluation_in_the_prefill_gives_a_lower_bound():
    run = TimedRun()
    run.play(6)
    run.evaluate([2] * 10, seconds=4.0)
    # A decision takes at least 4 / 2 s. Nothing is known about updates and fits: 90 steps of a
    # decision, evaluations at 20, 40, 60 and 80, and one with 4 episodes; each has 10 rounds.
    assert run.progress.seconds_left() == pytest.approx(90 * 2.0 + 4 * 10 * 4.0 + 10 * 8.0)
    assert run.progress.is_lower_bound()
    run.play(17)
    assert not run.progress.is_lower_bound()
    # A decision takes 1 s in training, so a round of 2 takes 1 + k = 4 s in the nine measured ones.
    k = (10 * 0.4 + 9 * 3.0) / (10 + 9)
    expected = 83 * 1.0 + 8 * 6.0 + 4 * 10 * (1 + k) + 10 * (1 + 3 * k)
    assert run.progress.seconds_left() == pytest.approx(expected)


def test_the_bound_stays_while_the_next_evaluation_in_the_prefill_begins():
    run = TimedRun()
    run.play(6)
    run.evaluate([2] * 10, seconds=4.0)
    before = run.progress.seconds_left()
    run.progress.start_evaluation(2)
    assert run.progress.seconds_left() == pytest.approx(before + 10 * 4.0)


def test_a_fit_that_is_still_to_come_leaves_a_lower_bound():
    time = remaining()
    for _ in range(10):
        time.add_step(1.0, 1.0)
    assert time.is_lower_bound(num_fits=1)
    assert not time.is_lower_bound(num_fits=0)
    time.add_fit(2.0)
    assert not time.is_lower_bound(num_fits=1)


def test_the_final_evaluation_counts_until_it_has_begun():
    run = TimedRun()
    run.play(100)
    decision = 1.0
    assert run.progress.seconds_left() == pytest.approx(10 * (decision + 3 * 0.4))
    run.evaluate([4] * 10, seconds=2.2)
    assert run.progress.seconds_left() == 0.0


def test_a_run_that_a_callback_ends_has_only_the_final_evaluation_left():
    run = TimedRun()
    run.play(30)
    run.progress.stop()
    assert run.progress.seconds_left() == pytest.approx(10 * (1.0 + 3 * 0.4))
    run.evaluate([4] * 10, seconds=2.2)
    assert run.progress.seconds_left() == 0.0


def test_checkpoints_take_time_in_proportion_to_the_steps():
    run = TimedRun()
    run.play(17)
    before = run.progress.seconds_left()
    run.spend("save", 3.4)
    run.progress.end_save()  # 3.4 s for the first 17 steps, so 0.2 s for each further one
    run.play(18)
    assert run.progress.seconds_left() == pytest.approx(before - 1.0 + 82 * 0.2)


def test_a_round_is_measured_relative_to_the_decisions_of_its_time():
    time = remaining()
    for _ in range(10):
        time.add_step(1.0, 0.5)
    time.start_evaluation()
    time.add_round(3, 1.5)  # three decisions, so k = 1; the value before, 0.4, counts like ten
    k = (10 * 0.4 + 1.0) / 11
    assert time.round_seconds(3) == pytest.approx(0.5 * (1 + 2 * k))
    for _ in range(200):
        time.add_step(1.0, 0.8)  # decisions become slower
    assert time.round_seconds(3) == pytest.approx(0.8 * (1 + 2 * k))
    time.start_evaluation()
    time.add_round(20, 16.0, times=90)  # as long as 20 decisions
    assert time.round_seconds(20) == pytest.approx(0.8 * (1 + 19 * (10 * k + 90) / 100))


def test_episodes_that_grow_are_expected_half_way_to_the_limit():
    time = remaining(limit=500)
    assert time.episode_length() == 500
    time.add_random_episode(20)
    time.add_learned_episode(100)
    assert time.episode_length() == 300
    time.add_learned_episode(500)
    time.add_learned_episode(500)
    time.add_learned_episode(500)
    assert time.episode_length() == 500
    reaches_goal = remaining(limit=500)
    reaches_goal.add_random_episode(500)
    reaches_goal.add_learned_episode(500)
    reaches_goal.add_learned_episode(80, number=3)  # the mean of an evaluation counts three times
    assert reaches_goal.episode_length() == 80


def test_an_evaluation_in_fewer_environments_is_played_in_groups():
    time = remaining(parallel=3)
    for _ in range(10):
        time.add_step(1.0, 1.0)
    # 7 episodes of 10 steps: two groups of 3, one of 1; a round of b takes 0.6 + 0.4 * b.
    assert time.evaluation_seconds(7) == pytest.approx(10 * (2 * 1.8 + 1.0))
    # 2 of the second group run in their step 6, the last one waits.
    assert time.rest_of_evaluation_seconds(7, 4, 2, 6) == pytest.approx(4 * 1.4 + 10 * 1.0)


def test_the_number_of_evaluations_to_come():
    time = remaining(total_steps=100)
    assert [time._num_evaluations(step) for step in (0, 19, 20, 79, 80, 100)] == [4, 4, 3, 1, 0, 0]
    assert RemainingTime(100, 10, 0, 2, 4, None, 10)._num_evaluations(0) == 0


def test_an_interval_schedule_names_its_steps_without_changing():
    schedule = IntervalSchedule(50)
    assert schedule.due(127, at_once=True)
    assert list(schedule.steps(128, 300)) == [177, 227, 277]
    assert list(schedule.steps(127, 300, at_once=True)) == [127, 177, 227, 277]
    assert [step for step in range(128, 300) if schedule.due(step)] == [177, 227, 277]


def test_phases():
    run = TimedRun()
    run.play(5)
    assert run.progress.phase() == "prefill"
    run.play(12)
    assert run.progress.phase() == "planning"
    with run.stopwatch("fit"):
        assert run.progress.phase() == "planning"  # a short update is no phase
        run.clock.now += 0.6
        assert run.progress.phase() == "fitting"
    run.spend("fit", 100.0)  # gradient steps at every step, not fits
    assert run.progress.phase() == "learning"
    with run.stopwatch("save"):
        assert run.progress.phase() == "saving"
    run.progress.start(12)  # a resumed run, whose stopwatch holds the fits of the part before
    assert run.progress.phase() == "planning"
