"""The group `logger`: files and trackers, a tracker that fails, and a resumed run.

The real packages are tested offline where they are installed (extras wandb and trackio).
"""

import csv
import json
import signal
import sqlite3
import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType, SimpleNamespace

import pytest

from mbrl_cli.envs.env import Env
from mbrl_cli.errors import StopRequested

RUN = [
    "train", "env=cartpole", "agent=random", "total_steps=60", "eval_every=20", "eval_episodes=1",
    "final_eval_episodes=1", "checkpoint_every=10", "env.max_episode_steps=10", "console=false",
    "log_every=20",
]  # fmt: skip
FOLDER = "hydra.run.dir=run"


def rows_of(folder):
    """Return (env_step, tag, value) of metrics.csv, times aside."""
    with (folder / "metrics.csv").open(newline="") as file:
        rows = [(int(r["env_step"]), r["tag"], float(r["value"])) for r in csv.DictReader(file)]
    return [row for row in rows if not row[1].startswith("time/")]


class FakeWandb(ModuleType):
    """Records calls as wandb's module; raises an exception in the calls named in `failing`."""

    def __init__(self, failing=()):
        super().__init__("wandb")
        self.__spec__ = ModuleSpec("wandb", None)
        self.failing, self.starts, self.rows, self.exit_codes = failing, [], [], []
        self.Settings = SimpleNamespace

    def init(self, **arguments):
        self._fail("init")
        self.starts.append(arguments)
        return self

    def define_metric(self, name, **arguments):
        pass

    def log(self, values):
        self._fail("log")
        self.rows.append(values)

    def finish(self, exit_code):
        self._fail("finish")
        self.exit_codes.append(exit_code)

    def _fail(self, call):
        if call in self.failing:
            raise ConnectionError("no network,\nor no login")

    def flat_rows(self):
        flat = [(row["env_step"], tag, value) for row in self.rows for tag, value in row.items()]
        return [row for row in flat if not row[1].startswith(("time/", "env_step"))]


@pytest.fixture
def fake(monkeypatch):
    def install(failing=()):
        module = FakeWandb(failing)
        monkeypatch.setitem(sys.modules, "wandb", module)
        return module

    return install


def test_csv_alone_writes_no_event_file_and_resumes(mbrl, tmp_path):
    assert mbrl(*RUN, "hydra.run.dir=both").code == 0
    assert mbrl(*RUN, "logger=csv", FOLDER).code == 0
    assert not list((tmp_path / "run").glob("events*"))
    assert rows_of(tmp_path / "run") == rows_of(tmp_path / "both")
    done = mbrl("resume", "run", "total_steps=80")
    assert (done.code, done.err) == (0, "")
    assert not list((tmp_path / "run").glob("events*"))
    refused = mbrl("resume", "run", "logger=wandb")
    assert (refused.code, refused.err) == (2, "mbrl: logger=wandb: a saved run keeps its logger\n")


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_a_missing_package_is_named_before_the_run_starts(mbrl, tmp_path, monkeypatch, name):
    monkeypatch.setattr("importlib.util.find_spec", lambda module: None)
    done = mbrl(*RUN, f"logger=[tensorboard,{name}]", FOLDER)
    command = f'pip install -c constraints.txt ".[{name}]"'
    assert done.code == 2
    assert done.err == (
        f"mbrl: logger={name}: is not installed; in the clone of mbrl type: {command}\n"
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["logger=wandbb"], "logger=wandbb: unknown logger; did you mean wandb?"),
        (["logger.wandb.project=a"], "logger.wandb.project: unknown key; it needs logger=wandb"),
        (["logger=wandb", "logger.wandb.project=3"], "logger.wandb.project=3: must be text"),
        (["logger=wandb", "+logger.wandb.team=a"], "logger.wandb.team: unknown key"),
        (["+logger.other=a"], "logger={'tensorboard': {}, 'other': 'a'}: must be a choice"),
    ],
)
def test_a_wrong_logger_is_named(mbrl, fake, words, text):
    fake()
    done = mbrl(*RUN, *words)
    assert done.code == 2
    assert text in done.err
    assert done.err.count("\n") == 1


def test_a_tracker_gets_every_row_and_the_settings_by_name(mbrl, tmp_path, fake):
    wandb = fake()
    words = ["-m", "seed=3,4", "logger=wandb", "logger.wandb.project=mine"]
    assert mbrl(*RUN, *words, "hydra.sweep.dir=sweep").code == 0
    first, second = wandb.starts
    assert (first["project"], first["name"], first["group"]) == ("mine", "s3", "sweep")
    assert first["id"] != second["id"]
    settings = first["config"]
    assert (settings["env"], settings["seed"], settings["env.id"]) == ("cartpole", 3, "CartPole-v1")
    folders = [tmp_path / "sweep" / name for name in ("s3", "s4")]
    assert wandb.flat_rows() == [row for folder in folders for row in rows_of(folder)]
    assert wandb.exit_codes == [0, 0]
    assert not list(folders[0].glob("events*"))


@pytest.mark.parametrize("call", ["init", "log", "finish"])
def test_a_tracker_that_fails_is_reported_in_one_line_and_the_run_goes_on(
    mbrl, tmp_path, fake, call
):
    assert mbrl(*RUN, "hydra.run.dir=without").code == 0
    fake([call])
    done = mbrl(*RUN, "logger=[tensorboard,wandb]", FOLDER)
    assert (done.code, done.err) == (
        0,
        "mbrl: logger=wandb: failed and gets no more values of this run (no network, or no login); "
        "metrics.csv has them all\n",
    )
    assert rows_of(tmp_path / "run") == rows_of(tmp_path / "without")


def test_a_resumed_run_continues_the_same_tracker_run_without_repeating_rows(
    mbrl, tmp_path, fake, raise_at_call
):
    assert mbrl(*RUN, "hydra.run.dir=whole").code == 0
    wandb = fake()
    raise_at_call(Env, "step", 47, StopRequested(signal.SIGTERM))
    assert mbrl(*RUN, "logger=wandb", FOLDER).code == 128 + signal.SIGTERM
    assert wandb.exit_codes == [1]
    assert mbrl("resume", "run").code == 0
    assert wandb.exit_codes == [1, 0]
    first, second = wandb.starts
    assert first["id"] == second["id"]
    assert wandb.flat_rows() == rows_of(tmp_path / "whole")
    (tmp_path / "run" / "tracker_id.json").write_text('{"id": "../x"}')
    done = mbrl("resume", "run", "total_steps=80")
    assert done.code == 2
    assert "tracker_id.json: is damaged" in done.err


@pytest.mark.skipif(find_spec("wandb") is None, reason="needs the extra wandb")
def test_wandb_offline(mbrl, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    done = mbrl(*RUN, "logger=[tensorboard,wandb]", FOLDER)
    assert (done.code, done.err) == (0, "")
    done = mbrl("resume", "run", "total_steps=80")
    assert (done.code, done.err) == (0, "")
    run_id = json.loads((tmp_path / "run" / "tracker_id.json").read_text())["id"]
    parts = sorted((tmp_path / "run" / "wandb").glob("offline-run-*"))
    assert [path.name.rpartition("-")[2] for path in parts] == [run_id, run_id]
    content = (parts[0] / f"run-{run_id}.wandb").read_bytes()
    for text in (b"eval/return", b"env_step", b"cartpole"):
        assert text in content


@pytest.mark.skipif(find_spec("trackio") is None, reason="needs the extra trackio")
def test_trackio(mbrl, tmp_path, monkeypatch):
    monkeypatch.setattr("trackio.sqlite_storage.TRACKIO_DIR", tmp_path / "trackio")
    monkeypatch.setattr("trackio.utils.TRACKIO_DIR", tmp_path / "trackio")
    done = mbrl(*RUN, "logger=trackio", "logger.trackio.project=mine", FOLDER)
    assert (done.code, done.err) == (0, "")
    assert "* " not in done.out
    assert mbrl("resume", "run", "total_steps=80").code == 0
    run_id = json.loads((tmp_path / "run" / "tracker_id.json").read_text())["id"]
    database = sqlite3.connect(tmp_path / "trackio" / "mine.db")
    logged = list(database.execute("select run_name, step, metrics from metrics order by id"))
    assert {name for name, _, _ in logged} == {f"run-{run_id}"}
    evaluations = [step for _, step, text in logged if "eval/return" in json.loads(text)]
    assert evaluations == [20, 40, 60, 80]
