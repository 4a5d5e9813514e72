"""What a run prints: widths, pipes, parallel jobs, the five last lines."""

import io
import os
import pty
import re
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from timed_run import TimedRun, evaluating

from mbrl_cli.console.job_in_sweep import JobInSweep
from mbrl_cli.console.plain_lines import PlainLines
from mbrl_cli.console.progress_line import progress_line
from mbrl_cli.console.run_summary import run_summary
from mbrl_cli.console.view import make_console_view
from mbrl_cli.console.waiting import waiting
from mbrl_cli.logger import Logger
from mbrl_cli.return_text import bootstrap_interval


class FakeTerminal(io.StringIO):
    def isatty(self) -> bool:
        return True


LAST = {"train/return": 55.0, "eval/return": 491.4, "model/holdout_loss": 0.000157}


@pytest.mark.parametrize(
    ("width", "name", "line"),
    [
        (40, "", "  2 %  evaluating 7/20  0:52:19 left"),
        (
            80,
            "",
            "  2 %  20/1,000  evaluating 7/20, step 4  return 55  eval 491.4  0:52:19 left",
        ),
        (
            120,
            "",
            "  2 %  20/1,000  evaluating 7/20, step 4  return 55  eval 491.4  loss 0.000157  "
            "0:52:19 left",
        ),
        (40, "3_cem_seed_1", "3_ce…ed_1  evaluating 7/20  0:52:19 left"),
        (
            80,
            "3_cem_seed_1",
            "3_cem_seed_1    2 %  20/1,000  evaluating 7/20, step 4  eval 491.4  0:52:19 left",
        ),
    ],
)
def test_a_line_fits_the_width_and_keeps_phase_time_and_name(width, name, line):
    shown = progress_line(evaluating().progress, LAST, width, name)
    assert re.sub(r"\d+:\d\d:\d\d", "0:52:19", shown) == line
    assert len(shown) <= width


def test_a_line_says_if_the_remaining_time_lacks_parts_of_the_run():
    run = TimedRun()
    run.play(6)
    assert progress_line(run.progress, {}, 80) == "  6 %  6/100  prefill  estimating"
    run.evaluate([2] * 10, seconds=4.0)
    assert progress_line(run.progress, {}, 80) == "  6 %  6/100  prefill  > 0:07:00 left"
    run.play(17)
    assert re.search(r"planning  0:\d\d:\d\d left", progress_line(run.progress, {}, 80))


def test_plain_lines_come_at_each_tenth_at_evaluations_and_at_a_new_phase(capsys):
    run = TimedRun()
    lines = PlainLines("", clock=run.clock)
    for step in range(1, 25):
        run.play(step)
        lines.update(run.progress, {"train/return": 9.5}, evaluated=step == 23)
    assert [line.split("  ")[:3] for line in capsys.readouterr().out.splitlines()] == [
        [" 11 %", "11/100", "planning"],
        [" 21 %", "21/100", "planning"],
        [" 23 %", "23/100", "planning"],
    ]


def test_plain_lines_of_a_slow_run_come_every_30_seconds(capsys):
    run = TimedRun(total_steps=10_000)
    lines = PlainLines("job", clock=run.clock)
    for step in range(1, 60):
        run.play(step)
        lines.update(run.progress, {})
    shown = capsys.readouterr().out.splitlines()
    # 32 s each: 20 steps of 1 s, and two fits of 6 s before the steps 20, 30, ...
    assert [line.split("  ")[2] for line in shown] == ["11/10,000", "31/10,000", "51/10,000"]
    assert all(line.startswith("[job]  ") for line in shown)


def test_a_pipe_gets_no_control_characters(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    view = make_console_view("1_cem", JobInSweep("1_cem"))
    view.message("hello [b]not markup[/b]")
    view.update(evaluating().progress, LAST, evaluated=True)
    view.stop(finished=True)
    first, second = capsys.readouterr().out.splitlines()
    assert first == "[1_cem] hello [b]not markup[/b]"
    assert second.startswith("[1_cem]   2 %  20/1,000  evaluating 7/20, step 4  return 55")
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", first + second)


def use_terminal(monkeypatch: pytest.MonkeyPatch) -> FakeTerminal:
    """Replace standard output by a terminal of 80 columns; call it in the test itself."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal = FakeTerminal()
    monkeypatch.setattr("sys.stdout", terminal)
    return terminal


def test_the_live_line_shows_values_and_ctrl_c_restores_the_terminal(monkeypatch, tmp_path):
    terminal = use_terminal(monkeypatch)

    def run() -> None:
        with Logger(tmp_path) as log:
            log.scalars(20, LAST)
            log.progress(evaluating().progress)
            log.message("saved")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run()
    shown = terminal.getvalue()
    for word in ("saved", "2 %", "20/1,000", "evaluating 7/20", "eval 491.4"):
        assert word in shown
    assert "\x1b[?25l" in shown  # the cursor is hidden
    assert shown.endswith("\n\x1b[?25h")  # and shown again, below the line


def test_the_live_line_of_a_finished_run_is_erased(monkeypatch, tmp_path):
    terminal = use_terminal(monkeypatch)
    with Logger(tmp_path) as log:
        log.progress(evaluating().progress)
        log.result("return    1")
    assert terminal.getvalue().rstrip().endswith("\x1b[2K")


@pytest.mark.parametrize("no_color", [False, True])
def test_a_live_line_has_no_colours(monkeypatch, no_color):
    terminal = use_terminal(monkeypatch)
    if no_color:
        monkeypatch.setenv("NO_COLOR", "1")
    view = make_console_view("run")
    view.update(evaluating().progress, LAST)
    view.stop(finished=False)
    assert not re.search(r"\x1b\[[\d;]*m", terminal.getvalue())


def test_two_jobs_on_one_terminal_do_not_overwrite_each_other(monkeypatch):
    """The first one draws the live line; the other one clears it and prints whole lines."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    ours, theirs = pty.openpty()
    with (
        os.fdopen(theirs, "w", buffering=1) as stdout,
        os.fdopen(os.dup(theirs), "w", buffering=1) as of_other_process,
    ):
        monkeypatch.setattr("sys.stdout", stdout)
        first = make_console_view("0_cem", JobInSweep("0_cem"))
        monkeypatch.setattr("sys.stdout", of_other_process)
        second = make_console_view("1_mppi", JobInSweep("1_mppi"))
        first.update(evaluating().progress, LAST)
        second.update(evaluating().progress, LAST, evaluated=True)
        first.stop(finished=False)
        second.message("end")
        third = make_console_view("2_icem", JobInSweep("2_icem"))  # the terminal is free again
        third.stop(finished=True)
    shown = b""
    with suppress(OSError):  # at the end, because no descriptor of the terminal is open any more
        while part := os.read(ours, 100_000):
            shown += part
    os.close(ours)
    shown = shown.decode()
    assert [type(view).__name__ for view in (first, second, third)] == [
        "LiveLine", "PlainLines", "LiveLine",
    ]  # fmt: skip
    assert "0_cem    2 %" in shown
    assert "\r\x1b[K[1_mppi]   2 %  20/1,000" in shown
    assert "\r\x1b[K[1_mppi] end\r\n" in shown


def test_the_wait_before_a_run_is_shown_on_a_terminal_only(monkeypatch, capsys):
    with waiting("checking the run"):
        pass
    assert capsys.readouterr().out == ""
    terminal = use_terminal(monkeypatch)
    with waiting("checking the run"):
        shown = terminal.getvalue()
    assert "checking the run  0 s" in shown
    assert shown.endswith("\x1b[?25h")  # the cursor is visible, should Ctrl-C end the process now
    assert terminal.getvalue().endswith("\x1b[2K")  # and the line is erased


# --- the end of a run -------------------------------------------------------------------------


def test_a_run_ends_with_five_lines(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    last = {
        "model/error_k1": 0.0123456, "model/baseline_k1": 0.25, "model/coverage_1sigma": 0.714,
    }  # fmt: skip
    returns = np.array([400.0, 500.0])
    # Two episodes: a resample has mean 400, 450 or 500 with probability 1/4, 1/2 and 1/4.
    assert run_summary(returns, 1000, 90.0, last, True, tmp_path / "outputs" / "my run") == [
        "return    450.0, 95 % interval 400.0 to 500.0 over 2 episodes",
        "duration  1,000 steps in 1.5 minutes",
        "model     better than predicting no change: one-step error 0.0123 against 0.25",
        "coverage  0.71 of the errors within one predicted std, 0.68 if calibrated",
        "next      mbrl eval 'outputs/my run'",
    ]


@pytest.mark.parametrize(
    ("last", "has_model", "model", "coverage"),
    [
        ({}, False, "none: the agent learns without a model", "none: no model"),
        (
            {"model/error_k1": 0.5, "model/baseline_k1": 0.25},
            True,
            "NOT better than predicting no change: one-step error 0.5 against 0.25",
            "none: the model predicts no standard deviation",
        ),
        (
            {"agent/value_loss": 0.5},
            True,
            "not compared with predicting no change: this run did not fit it to observations",
            "none: this run did not fit it to observations",
        ),
        (
            {"model/train_loss": 0.5},
            True,
            "not compared with predicting no change: no episode was held out",
            "none: no episode was held out",
        ),
    ],
)
def test_the_lines_about_the_model(last, has_model, model, coverage):
    lines = run_summary(np.array([1.0]), 10, 6.0, last, has_model, Path("/run"))
    assert lines[0] == "return    1.00 over 1 episode"
    assert lines[2:4] == [f"model     {model}", f"coverage  {coverage}"]


def test_the_bootstrap_interval_of_many_episodes_is_that_of_the_normal_distribution():
    returns = np.random.default_rng(0).normal(10.0, 3.0, 400)
    half = 1.96 * returns.std() / 20
    low, high = bootstrap_interval(returns)
    assert (low, high) == pytest.approx((returns.mean() - half, returns.mean() + half), abs=0.03)


SHORT = ("total_steps=30", "prefill_steps=10", "final_eval_episodes=2", "device=cpu")


def test_console_false_prints_folder_and_result(mbrl, tmp_path):
    done = mbrl("train", "agent=random", *SHORT, "console=false", "hydra.run.dir=run")
    assert (done.code, done.err) == (0, "")
    folder, result = done.out.splitlines()
    assert folder == f"folder    {tmp_path / 'run'}"
    assert re.fullmatch(r"return    \S+, 95 % interval \S+ to \S+ over 2 episodes", result)


def test_each_line_of_a_sweep_names_its_job(mbrl):
    done = mbrl("train", "-m", "agent=random", *SHORT, "seed=0,1", "hydra.sweep.dir=sweep")
    assert (done.code, done.err) == (0, "")
    first, *lines = done.out[: done.out.index("\n\n")].splitlines()
    assert first == "sweep     sweep: 2 runs: 2 to start"
    assert {line.partition("]")[0] for line in lines} == {"[1/2 s0", "[2/2 s1"}
    assert sum("next      mbrl eval" in line for line in lines) == 2


def test_a_resumed_run_shows_the_accuracy_that_was_logged_before(tmp_path):
    with Logger(tmp_path, console=False) as log:
        log.scalars(1, {"model/error_k1": 0.5})
        position = log.position()
    with Logger(tmp_path, console=False, position=position) as log:
        log.scalars(2, {"train/return": 1.0})
        assert log.last_values() == {"model/error_k1": 0.5, "train/return": 1.0}
