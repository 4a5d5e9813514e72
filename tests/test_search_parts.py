"""Parts of `mbrl search`: space, rungs, schedule, comparison over seeds, journal, table."""

import json
from dataclasses import replace

import pytest

from mbrl_cli.config.composed_run import ComposedRun
from mbrl_cli.config.groups import choices
from mbrl_cli.config.search_parameter import parse_parameter
from mbrl_cli.config.search_space import read_space
from mbrl_cli.errors import UserError
from mbrl_cli.run_settings import RunSettings
from mbrl_cli.search.definition import Definition
from mbrl_cli.search.journal import JOURNAL, Journal
from mbrl_cli.search.report import Report
from mbrl_cli.search.rungs import rungs_of
from mbrl_cli.search.sampling import distributions_of, is_worse, suggest
from mbrl_cli.search.schedule import Job, Schedule
from mbrl_cli.search.settings import Settings
from mbrl_cli.search.trial_record import SeedResult, TrialRecord

SPACE = [parse_parameter("planner.horizon=int(interval(3,8))"), parse_parameter("model.x=a,b")]


def result(value):
    return SeedResult(value, 10, 0)


def record(number, rung=0, end="", **results):
    """Return a trial; `r0=[1, 2]` are the returns of seeds 0 and 1 at rung 0."""
    by_rung = {
        int(name[1:]): {seed: result(value) for seed, value in enumerate(values)}
        for name, values in results.items()
    }
    return TrialRecord(number, number, {"planner.horizon": number}, rung, by_rung, end)


# --- the space ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "low", "high", "step", "log", "is_integer"),
    [
        ("int(interval(3,8))", 3, 8, None, False, True),
        ("interval(0.5,2)", 0.5, 2, None, False, False),
        ("tag(log,interval(1e-4,1e-2))", 1e-4, 1e-2, None, True, False),
        ("range(1,10,4)", 1, 9, 4, False, True),  # 1, 5, 9
        ("range(1,9,4)", 1, 5, 4, False, True),  # the end is not among the values
    ],
)
def test_an_interval_is_read_as_hydra_reads_it(values, low, high, step, log, is_integer):
    found = parse_parameter(f"a.b={values}")
    assert (found.low, found.high, found.step, found.log) == (low, high, step, log)
    assert (found.key, found.text, found.is_integer) == ("a.b", values, is_integer)


def test_choices_are_texts_for_the_command_line():
    assert parse_parameter("a=choice([64,64],true,'x y',3)").choices == (
        "[64,64]", "true", r"x\ y", "3",
    )  # fmt: skip
    assert parse_parameter("a=3") is None


@pytest.mark.parametrize("values", ["interval(2,1)", "tag(log,interval(0,1))", "glob(*)"])
def test_values_that_cannot_be_searched_are_refused(values):
    with pytest.raises(UserError, match="a="):
        parse_parameter(f"a={values}")


def test_words_have_priority_over_the_file():
    space, fixed = read_space("cem", ["planner.horizon=30", "planner.population=10,20"], None)
    found = {parameter.key: parameter for parameter in space}
    assert "planner.horizon" not in found
    assert found["planner.population"].choices == ("10", "20")
    assert fixed == ["planner.horizon=30"]


AGENTS = {"cem": ["planner=cem"], "alphazero": ["agent=alphazero", "model=oracle"]}


@pytest.mark.parametrize("name", choices("hparams_search"))
def test_both_ends_of_every_space_can_be_built(name):
    space, _ = read_space(name, [], None)
    agent = AGENTS.get(name, [f"agent={name}"])
    for end in (0, -1):
        values = [f"{p.key}={(p.choices or (p.low, p.high))[end]}" for p in space]
        ComposedRun(["env=cartpole", "device=cpu", *agent, *values]).build()


# --- rungs and schedule -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("total", "every", "prefill", "limit", "min_steps", "trials", "expected"),
    [
        (9000, 1000, 500, 0, 0, 20, [1000, 3000, 9000]),
        (10_000, 1250, 500, 0, 0, 20, [1250, 3750, 10_000]),  # ratio 8**0.5: 3536, rounded
        (9000, 1000, 1000, 0, 0, 20, [3000, 9000]),  # 1000: all actions were random; 2000: 4.5
        (9000, 1000, 500, 500, 0, 20, [1000, 3000, 9000]),  # the prefill ends at 999 or before
        (9000, 1000, 500, 501, 0, 20, [3000, 9000]),  # it may end at 1000
        (900, 500, 100, 500, 0, 20, [500, 900]),  # no evaluation is after 599
        (9000, 1000, 500, 0, 2500, 20, [3000, 9000]),
        (9000, 1000, 500, 0, 0, 9, [1000, 3000, 9000]),
        (9000, 1000, 500, 0, 0, 8, [3000, 9000]),  # fewer than 3 * 3 trials
        (9000, 1000, 500, 0, 0, 1, [3000, 9000]),
    ],
)
def test_rungs_are_evaluations_after_the_prefill(
    total, every, prefill, limit, min_steps, trials, expected
):
    run = RunSettings(total_steps=total, eval_every=every, prefill_steps=prefill)
    assert rungs_of(run, limit, 3, min_steps, trials) == expected


@pytest.mark.parametrize(
    ("every", "prefill", "min_steps", "text"),
    [
        (0, 10, 0, "eval_every=0: the run has no evaluation between the prefill"),
        (100, 10, 0, "eval_every=100: the run has no evaluation"),
        (30, 90, 0, "eval_every=30: the run has no evaluation"),
        (10, 10, 95, "type a smaller min_steps, or pruning=false"),
    ],
)
def test_a_run_without_an_evaluation_is_refused(every, prefill, min_steps, text):
    run = RunSettings(total_steps=100, eval_every=every, prefill_steps=prefill)
    with pytest.raises(UserError, match=text):
        rungs_of(run, 0, 3, min_steps, 20)


def jobs_of(schedule, returns):
    """Return (trial, rung) of all jobs of one worker; `returns` has that of each trial."""
    records, jobs = [], []
    while True:
        job = schedule.next_job(records, lambda number: False)
        if job is None:
            return jobs
        number = len(records) if job.trial is None else job.trial.number
        if job.trial is None:
            records.append(record(number, job.rung))
        results = {**records[number].results, job.rung: {0: result(returns[number])}}
        end = "complete" if job.rung == 2 else ""
        records[number] = TrialRecord(number, number, {}, job.rung, results, end)
        jobs.append((number, job.rung))


def test_the_best_third_of_each_rung_is_promoted():
    # Trial 0 is the best, then 1, and so on.
    jobs = jobs_of(Schedule(3, [0], trials=9, reduction=3, brackets=1), [-i for i in range(9)])
    # The best three of nine, and the best of these.
    assert jobs == [*((n, 0) for n in range(9)), (0, 1), (1, 1), (2, 1), (0, 2)]


def test_no_trial_is_promoted_while_another_worker_runs_one_of_them():
    schedule = Schedule(3, [0], trials=3, reduction=3, brackets=1)
    records = [record(0, r0=[1]), record(1, r0=[2]), record(2)]
    assert schedule.next_job(records, lambda number: number == 2) == "wait"
    records[2] = record(2, r0=[0])
    assert schedule.next_job(records, lambda number: False) == Job(records[1], 1)


def test_the_steps_of_a_search_are_known_before():
    schedule = Schedule(3, [0, 1], trials=9, reduction=3, brackets=1)
    # 9 trials of 10 steps, 3 of 20 more, 1 of 60 more, two seeds
    assert schedule.most_steps([10, 30, 90], repeated=0) == 2 * (90 + 60 + 60)
    assert schedule.most_steps([10, 30, 90], repeated=5) == 2 * (90 + 3 * 25 + 65)


def test_each_bracket_promotes_a_third_of_its_own_trials():
    schedule = Schedule(3, [0], trials=20, reduction=3, brackets=3)  # 9 + 3, 5 and 3 trials
    reaching = [[schedule.num_reaching(rung, b) for rung in range(3)] for b in range(3)]
    assert reaching == [[12, 4, 2], [0, 5, 2], [0, 0, 3]]  # 12 / 9 and 5 / 3 are rounded up


def test_the_best_of_too_few_trials_runs_to_the_end():
    assert jobs_of(Schedule(3, [0], 2, 3, 1), [1, 2]) == [(0, 0), (1, 0), (1, 1), (1, 2)]


def test_a_job_of_a_killed_worker_is_taken_first_and_one_of_a_living_worker_is_not():
    schedule = Schedule(3, [0, 1], trials=2, reduction=3, brackets=1)
    half = record(0, r0=[1])  # seed 1 is missing
    assert schedule.next_job([half], lambda number: False) == Job(half, 0)
    assert schedule.next_job([half], lambda number: True) == Job(None, 0)
    done = record(1, r0=[1, 2])
    assert schedule.next_job([half, done], lambda number: True) == "wait"


def test_a_trial_that_has_ended_is_compared_and_not_promoted():
    schedule = Schedule(3, [0, 1], trials=3, reduction=3, brackets=1)
    pruned = record(0, end="pruned", r0=[9])
    others = [record(1, r0=[1, 1]), record(2, r0=[2, 2])]
    # The best third of three is the pruned trial, so the end of the search promotes trial 2.
    assert schedule.next_job([pruned, *others], lambda number: False) == Job(others[1], 1)
    assert schedule._promotable([pruned, *others], 0) is None
    # A failed trial is the last of the three, whatever its first seed returned.
    failed = record(0, end="failed", r0=[9])
    assert schedule._promotable([failed, *others], 0) == others[1]


def test_brackets_have_the_sizes_of_hyperband():
    # s = 2, 1, 0 halvings: ceil(3 / (s + 1) * 3**s) = 9, 5, 3 trials
    schedule = Schedule(3, [0], trials=20, reduction=3, brackets=3)
    assert [schedule.bracket(n) for n in range(18)] == [0] * 9 + [1] * 5 + [2] * 3 + [0]


# --- samples and comparison ---------------------------------------------------------------------


@pytest.mark.parametrize(("seeds", "expected"), [(3, False), (4, True)])
def test_a_trial_is_worse_if_all_its_seeds_are(seeds, expected):
    # The one-sided p-value of n equal signs is 2**-n: 0.125 and 0.0625; the limit is 0.1.
    best = {seed: 10.0 + seed for seed in range(5)}
    worse = {seed: 1.0 + 0.5 * seed for seed in range(seeds)}
    assert is_worse(worse, best) is expected
    assert is_worse(best, best) is False


def test_a_sample_depends_on_the_trials_so_far_alone():
    records = [record(n, r0=[n, n + 1]) for n in range(3)]
    records = [TrialRecord(r.number, 0, {"planner.horizon": 3 + r.number, "model.x": "a"}, 0,
                           r.results) for r in records]  # fmt: skip
    samples = [suggest(SPACE, records, [10, 30], "tpe", seed) for seed in (0, 0, 1, 2, 3)]
    assert samples[0] == samples[1]
    assert any(sample != samples[0] for sample in samples)
    assert all(3 <= s["planner.horizon"] <= 8 and s["model.x"] in "ab" for s in samples)


# --- the journal and the table ------------------------------------------------------------------


def test_the_journal_survives_a_writer_that_was_killed_in_a_line(tmp_path):
    journal = Journal(tmp_path)
    with journal.exclusive():
        trial = journal.add({"planner.horizon": 5, "model.x": "a"}, distributions_of(SPACE), 0)
        journal.add_result(trial, 0, 1, SeedResult(3.5, 40, 30))
    whole = (tmp_path / JOURNAL).read_bytes()
    (tmp_path / JOURNAL).write_bytes(whole + b'{"op_code": 8, "trial_id": 0, "user_')
    again = Journal(tmp_path)  # another worker
    assert (tmp_path / JOURNAL).read_bytes() == whole
    with again.exclusive():
        again.promote(trial, 1)
        again.end(trial, "failed", "diverged")
    (found,) = journal.records()
    assert found.values == {"planner.horizon": 5, "model.x": "a"}
    assert found.results == {0: {1: SeedResult(3.5, 40, 30)}}
    assert (found.rung, found.end, found.reason) == (1, "failed", "diverged")
    assert all(json.loads(line) for line in (tmp_path / JOURNAL).read_text().splitlines())


def test_a_damaged_journal_is_named(tmp_path):
    Journal(tmp_path)
    with (tmp_path / JOURNAL).open("a") as file:
        file.write("no json\n{}\n")
    with pytest.raises(UserError, match=r"journal.log: is damaged \(JSONDecodeError"):
        Journal(tmp_path)


def test_the_table_has_the_complete_trials_first_and_the_command_of_the_best():
    space = [parse_parameter("planner.horizon=int(interval(0,9))")]
    definition = Definition(("env=cartpole",), tuple(space), Settings(seeds=(0, 1)), (100, 300))
    records = [
        record(0, end="pruned", r0=[500, 500]),
        record(1, rung=1, end="complete", r0=[1, 1], r1=[2, 4]),
        record(2, rung=1, end="complete", r0=[1, 1], r1=[5, 5]),
        record(3, end="failed"),
    ]
    report = Report(definition, records)
    assert [r.number for r in report.records] == [2, 1, 0, 3]
    assert report.best.number == 2
    lines = report.text().splitlines()
    # The percentiles of two runs are 2 and 4: 3 +- 1 * sqrt(2) * 12.706 / 1.96; 0 for equal runs.
    assert lines[1].split()[:7] == ["2", "complete", "300", "5", "5", "to", "5"]
    assert lines[2].split()[:7] == ["1", "complete", "300", "3", "-6.168", "to", "12.17"]
    assert "environment steps: 100, all trials to the end: 2,400" in lines  # 10 for each result
    assert lines[-1] == "  mbrl train -m env=cartpole planner.horizon=2 seed=0,1"
    assert report.csv().splitlines()[1] == "2,complete,300,5.0,5.0,5.0,40,2,5,5,"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ({"trials": "0"}, "trials=0: must be 1 or more"),
        ({"trials": "many"}, "trials=many: must be a whole number, such as trials=20"),
        ({"seeds": "1,1"}, "seeds: must be different numbers"),
        ({"sampler": "grid"}, "sampler=grid: allowed are tpe, random"),
        ({"pruning": "no"}, "pruning=no: allowed are true, false"),
        ({"reduction": "1"}, "reduction=1: must be 2 or more"),
        ({"max_steps": "9", "trials": "3"}, "max_steps=9: sets the number of trials; leave out"),
    ],
)
def test_a_wrong_setting_is_refused(words, text):
    with pytest.raises(UserError, match=text):
        Settings.of_words(words)


def test_a_search_is_continued_only_with_the_same_words(tmp_path):
    space = (SPACE[0],)
    here = Definition(("env=cartpole",), space, Settings(), (100,))
    here.with_trials(50).refuse_other(here, tmp_path)  # more trials are no other search
    other = Definition(("env=pendulum",), space, Settings(), (100,))
    with pytest.raises(UserError, match=r"words=.*pendulum.*holds a search with words=.*cartpole"):
        other.refuse_other(here, tmp_path)
    here.with_trials(50).refuse_other(replace(here, rungs=(50, 100)), tmp_path)
    fewer = Definition(("env=cartpole",), space, Settings(reduction=2), (100,))
    with pytest.raises(UserError, match=r"reduction=2: .*reduction=3"):
        fewer.refuse_other(here, tmp_path)
