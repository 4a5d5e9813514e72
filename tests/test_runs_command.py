"""`mbrl runs`: the table at several widths, filters, order, JSON, folders that are no runs."""

import json
import os
import re
import shlex
from pathlib import Path

import pytest

from mbrl_cli.api.run_summary import RunSummary
from mbrl_cli.commands.runs import EPILOG
from mbrl_cli.lock import locked
from mbrl_cli.reports.run_table import run_table

CONFIG = """\
env: {{_target_: mbrl_cli.envs.make.make_env, id: CartPole-v1}}
model: {{_target_: null}}
planner: {{_target_: mbrl_cli.planners.cem.CEM, horizon: {horizon}, hidden: [8, 8]}}
agent: {{_target_: mbrl_cli.agents.mpc.MPC, discount: 1e-1}}
seed: {seed}
total_steps: 50
"""


@pytest.fixture
def outputs(tmp_path, monkeypatch):
    """Write four runs: finished, interrupted, failed, running."""
    monkeypatch.chdir(tmp_path)
    names = {"env": "cartpole", "model": "none", "planner": "cem", "agent": "mpc"}
    for seed, name in enumerate(["a", "sweep/0", "sweep/1", "d"]):
        folder = tmp_path / "outputs" / name
        folder.mkdir(parents=True)
        (folder / "config.yaml").write_text(CONFIG.format(seed=seed, horizon=10 + seed // 2))
        (folder / "choices.json").write_text(json.dumps(names))
        last = 50 if name == "a" else 20
        rows = "env_step,tag,value\n" + f"{last},eval/return,{100.0 * (seed + 1)}\n"
        (folder / "metrics.csv").write_text(rows if name != "d" else "")
    (tmp_path / "outputs" / "a" / "checkpoint.safetensors").write_bytes(bytes(1500))
    (tmp_path / "outputs" / "sweep" / "1" / "fault.txt").touch()
    os.utime(tmp_path / "outputs" / "a" / "metrics.csv", (0, 0))
    with locked(tmp_path / "outputs" / "d"):
        yield tmp_path / "outputs"


def listed(done):
    """Return the last word of each line of the table: the folder."""
    assert done.code == 0, done.err
    return [re.split(r"\s+", line)[-1] for line in done.out.splitlines()[1:-1]]


def test_the_table_has_one_line_for_each_run(outputs, mbrl):
    done = mbrl("runs")
    assert done.err == ""
    lines = done.out.splitlines()
    columns = "state env agent planner seed steps return age size folder"
    assert lines[0].split() == columns.split()
    assert re.fullmatch(
        r"finished +cartpole +mpc +cem +0 +50 +100\.0 +\d+ d +1\.9 kB +outputs/a", lines[1]
    )
    assert re.fullmatch(
        r"running +cartpole +mpc +cem +3 +0/50 +- +\d+ s +\d\.\d kB +outputs/d", lines[2]
    )
    assert lines[3].startswith("interrupted")
    assert "20/50" in lines[3]
    assert lines[4].startswith("failed")
    assert lines[5:] == ["4 runs: 1 finished, 1 running, 1 interrupted, 1 failed"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["outputs/sweep"], ["0", "1"]),
        (["seed=0,3"], ["a", "d"]),
        (["env=cartpole", "planner.horizon=11"], ["d", "1"]),
        (["planner.hidden=[8,8]", "agent.discount=0.1", "seed=2"], ["1"]),
        (["env=pendulum,cartpole", "--state", "interrupted,failed"], ["0", "1"]),
        (["--sort", "return", "--reverse", "--state", "failed,finished,interrupted"],
         ["1", "0", "a"]),
        (["--sort", "state"], ["1", "a", "0", "d"]),
    ],
    ids=str,
)  # fmt: skip
def test_filters_and_order(outputs, mbrl, words, expected):
    assert [name.rpartition("/")[2] for name in listed(mbrl("runs", *words))] == expected


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["planner.horizn=3"], "no run has this key: planner.horizn: unknown key; did you mean"),
        (["seed="], "seed=: must have the form key=value"),
        (["--state", "done"], "--state done: allowed are running, finished, interrupted, failed"),
        (["--sort", "returns"], "--sort returns: allowed are state, env, agent"),
        (["nowhere"], "nowhere: is not a folder"),
        (["outputs", "outputs/sweep"], "outputs/sweep: runs takes one folder"),
    ],
    ids=str,
)
def test_mistakes(outputs, mbrl, words, text):
    done = mbrl("runs", *words)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"mbrl: {text}")
    assert done.err.count("\n") == 1


def test_nothing_to_list(outputs, mbrl, tmp_path):
    (tmp_path / "empty").mkdir()
    assert mbrl("runs", "empty").out == "empty: holds no runs\n"
    none = "outputs: none of its 4 runs has seed=9 --state failed\n"
    assert mbrl("runs", "seed=9", "--state", "failed").out == none


def test_without_a_folder_the_next_command_is_named(mbrl):
    done = mbrl("runs")
    assert done.code == 2
    assert "outputs: is not here; type mbrl runs FOLDER" in done.err


def test_a_damaged_run_is_named_and_the_others_are_listed(outputs, mbrl):
    (outputs / "a" / "config.yaml").write_text("env: [\x1b[2J")
    done = mbrl("runs")
    assert len(listed(done)) == 3
    assert done.err == "mbrl: skipped: outputs/a/config.yaml: is not readable YAML\n"


def test_tags_are_a_column_and_a_filter(outputs, mbrl):
    for name, tags in (("a", "[base, v2]"), ("sweep/0", "[v2]")):
        with (outputs / name / "config.yaml").open("a") as file:
            file.write(f"tags: {tags}\n")
    done = mbrl("runs")
    assert done.out.splitlines()[0].split()[-2:] == ["tags", "folder"]
    assert done.out.splitlines()[1].split()[-2:] == ["base,v2", "outputs/a"]
    assert listed(mbrl("runs", "tags=base")) == ["outputs/a"]
    assert listed(mbrl("runs", "tags=base,v2", "seed=1")) == ["outputs/sweep/0"]
    assert mbrl("runs", "tags=other").out == "outputs: none of its 4 runs has tags=other\n"
    assert json.loads(mbrl("runs", "tags=base", "--json").out)[0]["tags"] == ["base", "v2"]


def test_json_for_other_programs(outputs, mbrl):
    (outputs / "sweep" / "0" / "metrics.csv").write_text("env_step,tag,value\n5,eval/return,nan\n")
    rows = json.loads(mbrl("runs", "--json", "--sort", "seed").out)
    assert [row["seed"] for row in rows] == [0, 1, 2, 3]
    expected = {"state": "finished", "steps": 50, "total_steps": 50, "last_return": 100.0}
    assert expected.items() <= rows[0].items()
    assert rows[0]["folder"] == "outputs/a"
    assert [row["last_return"] for row in rows] == [100.0, None, 300.0, None]


def test_a_terminal_of_80_columns_shows_whole_folders_below(tmp_path):
    folder = tmp_path / "outputs/2026-11-25_18-35-45_mountain_car_continuous_alphazero_x_s0_3369"
    summary = RunSummary(
        folder, "interrupted", "mountain_car_continuous", "none", "random_shooting", "alphazero",
        12, 123_456, 1_000_000, -1234.56, 86400 * 3, 123_456_789,
    )  # fmt: skip
    wide = run_table([summary], None)
    assert wide.split("\n")[1] == (
        "interrupted  mountain_car_continuous  alphazero  random_shooting    12  123,456/1,000,000"
        f"  -1234.6  3 d  123 MB  {folder}"
    )
    # In 80 columns names are cut and the size is left out.
    heading, line, below = run_table([summary], 80).split("\n")
    assert line == (
        "interrupted  mountain_…  alphazero  random_sh…    12  123,456/1,000,000  -1234.6"
    )
    assert (len(line), below) == (80, f"  {folder}")
    assert heading.split() == ["state", "env", "agent", "planner", "seed", "steps", "return"]
    (medium,) = run_table([summary], 130).split("\n")[1:2]
    assert medium.endswith("-1234.6  3 d  123 MB")


ROOT = Path(__file__).parent.parent
DOCUMENTED = [
    command
    for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))
    for command in re.findall(r"^mbrl runs.*$", path.read_text(encoding="utf-8"), re.MULTILINE)
]
IN_HELP = re.findall(r"^  (mbrl runs.*?)   .*$", EPILOG, re.MULTILINE)


@pytest.mark.parametrize("command", [*DOCUMENTED, *IN_HELP])
def test_every_command_of_the_documents_and_the_help_runs(outputs, mbrl, command):
    with (outputs / "a" / "config.yaml").open("a") as file:
        file.write("tags: [baseline]\n")
    words = shlex.split(command.replace("SWEEP", "sweep").replace("=25", "=10"), comments=True)
    done = mbrl(*words[1:])
    assert (done.code, done.err) == (0, "")
    assert "outputs/" in done.out
