"""Reading run folders from Python: config, choices, state, metrics; lists of runs."""

import math
import os
import subprocess
import sys

import numpy as np
import pytest

import mbrl_cli as mbrl_package
from mbrl_cli.api.metrics_file import last_step_and_return, read_metrics
from mbrl_cli.config.run_config import read_run_config
from mbrl_cli.config.saved_config import read_saved_config
from mbrl_cli.errors import UserError
from mbrl_cli.lock import is_locked, locked

CONFIG = """\
env: {_target_: mbrl_cli.envs.make.make_env, id: CartPole-v1}
model: {_target_: null}
planner: {_target_: null}
agent: {_target_: mbrl_cli.agents.random.Random}
seed: 3
total_steps: 50
"""


@pytest.fixture
def folder(tmp_path):
    """Return a hand-written run folder: 30 of 50 steps, two evaluations."""
    path = tmp_path / "runs" / "a"
    path.mkdir(parents=True)
    (path / "config.yaml").write_text(CONFIG, encoding="utf-8")
    rows = ["10,eval/return,1.5", "20,train/loss,nan", "20,eval/return,2.5", "30,train/loss,0.25"]
    (path / "metrics.csv").write_text("\n".join(["env_step,tag,value", *rows, ""]))
    return path


def test_metrics_are_arrays_by_tag(folder):
    metrics = mbrl_package.load_run(folder).metrics()
    assert list(metrics) == ["eval/return", "train/loss"]
    assert metrics["eval/return"]["env_step"].tolist() == [10, 20]
    assert metrics["eval/return"]["value"].tolist() == [1.5, 2.5]
    assert metrics["train/loss"]["env_step"].dtype == np.int64
    assert math.isnan(metrics["train/loss"]["value"][0])


def test_single_tags_are_read_like_all_of_them(folder):
    with (folder / "metrics.csv").open("a") as file:
        file.write('30,"mine/a,b",7\n30,eval/return_std,9\n')
    whole = read_metrics(folder)
    for tags in (["eval/return"], ["train/loss", "eval/return"], ["mine/a,b"], ["no/such"]):
        part = read_metrics(folder, tags)
        assert part.keys() == set(tags) & whole.keys()
        for tag, series in part.items():
            np.testing.assert_array_equal(series["value"], whole[tag]["value"])


def test_the_row_that_is_being_written_is_ignored(folder):
    with (folder / "metrics.csv").open("a") as file:
        file.write("40,eval/return,1")  # of 12.5
    run = mbrl_package.load_run(folder)
    assert run.metrics()["eval/return"]["value"].tolist() == [1.5, 2.5]
    assert (run.steps, run.last_return) == (30, 2.5)


@pytest.mark.parametrize(
    "row",
    ["40,eval/return", "x,eval/return,1", "40,eval/return,1,2", "40", f"{'9' * 5000},a,1",
     f"40,{'a' * 200_000},1"],
    ids=lambda row: row[:20],
)  # fmt: skip
def test_a_damaged_row_is_named(folder, row):
    with (folder / "metrics.csv").open("a") as file:
        file.write(f"{row}\n50,eval/return,3\n")
    with pytest.raises(UserError, match=r"metrics.csv: row 6 is damaged"):
        mbrl_package.load_run(folder).metrics()


def test_a_step_of_20_digits_is_an_error_not_a_crash(folder):
    with (folder / "metrics.csv").open("a") as file:
        file.write(f"{'9' * 20},eval/return,1\n")
    run = mbrl_package.load_run(folder)
    assert run.steps == 30
    with pytest.raises(UserError, match="row 6 is damaged"):
        run.metrics(["eval/return"])


def test_steps_and_return_are_read_from_the_end_of_the_file(folder):
    with (folder / "metrics.csv").open("a") as file:
        file.writelines(f"{step},model/error,{step / 7}\n" for step in range(30, 5000))
    assert (folder / "metrics.csv").stat().st_size > 2**17  # several blocks
    assert last_step_and_return(folder) == (4999, 2.5)


def test_a_run_that_logged_nothing_has_no_steps(folder):
    (folder / "metrics.csv").unlink()
    run = mbrl_package.load_run(folder)
    assert (run.steps, run.progress, run.last_return, run.metrics()) == (0, 0.0, None, {})


def test_the_state_of_a_run(folder):
    run = mbrl_package.load_run(folder)
    assert (run.state, run.progress) == ("interrupted", 0.6)
    with locked(folder):
        assert run.state == "running"
    (folder / "fault.txt").touch()
    assert run.state == "failed"
    (folder / "checkpoint.safetensors").touch()  # it was extended to 50 steps, and then it failed
    assert run.state == "failed"
    with (folder / "metrics.csv").open("a") as file:
        file.write("50,eval/return,8\n")
    assert (run.state, run.progress, run.final_return) == ("finished", 1.0, 8.0)


def test_asking_for_the_state_leaves_the_lock_free_and_writes_nothing(folder):
    with locked(folder):
        assert is_locked(folder)
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert not is_locked(folder)
    with locked(folder):
        pass
    (folder / ".lock").unlink()
    assert mbrl_package.load_run(folder).state == "interrupted"
    assert {path.name for path in folder.iterdir()} == {path.name for path in before} - {".lock"}


def test_the_quick_reader_reads_what_the_strict_one_reads(folder):
    lines = (
        "learning_rate: 1e-3", "small: 1.0e-05", "date: 2026-11-25", "turned: off", "text: 'no'",
        "long: 'a text that\n\n  goes on'", "hidden:\n- 8\n- 8", "nested: {a: [1, {b: null}]}",
        "big: 1_000", "infinite: .inf", "empty: {}", 'quoted: "a\\tb"', "colon: 'a: b'",
    )  # fmt: skip
    (folder / "config.yaml").write_text(CONFIG + "\n".join(lines) + "\n", encoding="utf-8")
    config = read_run_config(folder)
    assert config == read_saved_config(folder)
    config["nested"]["a"].clear()  # belongs to the caller
    assert read_run_config(folder) == read_saved_config(folder)


@pytest.mark.parametrize(
    "content",
    ["", "- 1\n", "env: {}\n", "\0", CONFIG + "a: [1\n", CONFIG + "seed: 4\n",
     CONFIG + "c: !!python/name:os.system\n",
     CONFIG + "a: " + "[" * 5000, "env: " + "{a: " * 300 + "\n",
     CONFIG + "a0: &a0 [1,1,1,1,1,1,1,1,1]\n"
     + "a: [" + "".join(f"&b{i} [{','.join([f'*b{i - 1}' if i else '1'] * 9)}]," for i in range(9))
     + "]\n",
     CONFIG.replace("seed: 3", "seed: x"), CONFIG.replace("total_steps: 50\n", ""),
     CONFIG + "a: ${seed}\n", CONFIG + "a: ${oc.env:HOME}\n"],
)  # fmt: skip
def test_a_damaged_or_foreign_config_is_an_error_of_one_line(folder, content):
    (folder / "config.yaml").write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=r"config.yaml: ") as caught:
        mbrl_package.load_run(folder)
    assert "\n" not in str(caught.value)
    runs = mbrl_package.load_runs(folder.parent)
    assert (runs, list(runs.skipped)) == ([], [folder])


def test_runs_are_found_in_subfolders_but_not_behind_links(folder, tmp_path):
    for name in ("runs/sweep/0_cem", "runs/sweep/1_icem", "runs/.hidden/x", "elsewhere/b"):
        path = tmp_path / name
        path.mkdir(parents=True)
        (path / "config.yaml").write_text(CONFIG, encoding="utf-8")
    (tmp_path / "runs" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "runs" / "notes").mkdir()
    runs = mbrl_package.load_runs(tmp_path / "runs")
    assert [run.name for run in runs] == ["a", "0_cem", "1_icem"]
    assert runs.skipped == {}
    assert mbrl_package.load_runs(folder)[0].seed == 3
    with pytest.raises(UserError, match="nowhere: is not a folder"):
        mbrl_package.load_runs(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"sweep: holds several runs; use load_runs\('/.*/sweep'\)"):
        mbrl_package.load_run(tmp_path / "runs" / "sweep")


def test_a_foreign_config_does_not_hide_the_runs_below_it(folder):
    (folder.parent / "config.yaml").write_text("theme: dark\n")
    runs = mbrl_package.load_runs(folder.parent)
    assert [run.name for run in runs] == ["a"]
    assert list(runs.skipped) == [folder.parent]


def test_a_file_that_disappears_while_it_is_counted_does_not_count(folder, monkeypatch):
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "1.safetensors").write_bytes(bytes(1000))
    run = mbrl_package.load_run(folder)
    before = run.summary().size
    real = os.scandir

    def scandir(path):
        if str(path).endswith("checkpoints"):
            raise FileNotFoundError(path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert run.summary().size == before - 1000


def test_choices_are_the_names_that_were_typed(mbrl, tmp_path, tiny_run):
    done = mbrl("train", *tiny_run, "env=cartpole", "model=mlp", "hydra.run.dir=run")
    assert done.code == 0, done.err
    run = mbrl_package.load_run("run")
    expected = {"env": "cartpole", "model": "mlp", "planner": "cem", "agent": "mpc"}
    assert run.choices == expected
    assert (run.state, run.steps, run.seed, run.final_return) == ("finished", 60, 0, 10.0)
    assert run.config["planner"]["population"] == 12
    (tmp_path / "run" / "choices.json").unlink()  # as in runs of older versions
    assert mbrl_package.load_run("run").choices == expected
    done = mbrl("resume", "run", "planner=icem", "total_steps=70")
    assert done.code == 0, done.err
    assert mbrl_package.load_run("run").choices == expected | {"planner": "icem"}
    (tmp_path / "run" / "choices.json").write_text('["env"]')
    (tmp_path / "run" / ".hydra" / "hydra.yaml").unlink()
    expected = {"env": "CartPole-v1", "model": "Ensemble", "planner": "CEM", "agent": "MPC"}
    assert mbrl_package.load_run("run").choices == expected


def test_importing_the_package_is_fast():
    code = (
        "import sys, mbrl_cli; mbrl_cli.Run; mbrl_cli.load_runs; "
        "sys.exit(any(name in sys.modules for name in ('torch', 'hydra', 'gymnasium', 'numpy')))"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], env=environment).returncode == 0


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'lode_run'"):
        mbrl_package.lode_run  # noqa: B018
    assert {"load_run", "load_runs", "Run"} <= set(dir(mbrl_package))


@pytest.fixture
def sweep(folder):
    """Return two runs whose seed and planner.horizon differ."""
    other = folder.parent / "b"
    other.mkdir()
    for path, seed, horizon in ((folder, 3, 10), (other, 4, 20)):
        config = CONFIG.replace("seed: 3", f"seed: {seed}").replace(
            "planner: {_target_: null}", f"planner: {{_target_: null, horizon: {horizon}, w: [1]}}"
        )
        (path / "config.yaml").write_text(config, encoding="utf-8")
    (other / "metrics.csv").write_text("env_step,tag,value\n50,eval/return,7\n")
    return mbrl_package.load_runs(folder.parent)


def test_a_frame_has_one_row_for_each_run(sweep):
    frame = sweep.frame(["planner.horizon", "planner.w"])
    assert list(frame["seed"]) == [3, 4]
    assert list(frame["planner.horizon"]) == [10, 20]
    assert list(frame["planner.w"]) == [[1], [1]]
    assert list(frame["last_return"]) == [2.5, 7.0]
    assert list(frame["env"]) == ["CartPole-v1"] * 2
    with pytest.raises(UserError, match=r"no run has this key: planner.horizn: unknown key; did"):
        sweep.frame(["planner.horizn"])


def test_a_metrics_frame_has_one_row_for_each_number(sweep):
    frame = sweep.metrics_frame(["eval/return"], ["planner.w", "planner.horizon"])
    assert list(frame.columns) == [
        "run", "env", "model", "planner", "agent", "seed", "planner.w", "planner.horizon",
        "env_step", "tag", "value",
    ]  # fmt: skip
    assert list(frame["value"]) == [1.5, 2.5, 7.0]
    assert list(frame["run"]) == ["a", "a", "b"]
    assert frame.groupby("planner.horizon")["value"].last().to_dict() == {10: 2.5, 20: 7.0}
    assert list(sweep[0].metrics_frame().columns) == ["env_step", "tag", "value"]
    assert len(sweep[0].metrics_frame()) == 4
    empty = sweep.metrics_frame(["no/such"])
    assert list(empty.columns)[-3:] == ["env_step", "tag", "value"]
    assert len(empty) == 0


def test_without_pandas_the_extra_is_named(sweep, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    for use in (sweep.frame, sweep.metrics_frame, sweep[0].metrics_frame):
        with pytest.raises(UserError, match=r'pandas is not installed; .*"\.\[pandas\]"'):
            use()
