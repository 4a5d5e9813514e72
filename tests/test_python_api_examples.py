"""The examples of docs/python_api.md and of the notebook run as they stand, with smaller runs."""

import json
import re
import shutil
from pathlib import Path

import pytest

import mbrl_cli as mbrl_package

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "python_api.md"
NOTEBOOK = ROOT / "examples" / "analyse_runs.ipynb"


@pytest.fixture
def small_runs(monkeypatch, tmp_path, tiny_run):
    """Let `mbrl.train` take a second: its words are followed by those of a tiny run."""
    monkeypatch.chdir(tmp_path)
    train = mbrl_package.train

    def train_small(words, config_dir=None):
        keys = {word.partition("=")[0] for word in words}
        small = [w for w in tiny_run if w.partition("=")[0] not in ({"agent"} | keys)]
        if "model=linear" in words:
            small = [word for word in small if not word.startswith("model.")]
        if "planner=random_shooting" in words:
            small.remove("planner.iterations=1")
        return train([*words, *small], config_dir)

    monkeypatch.setattr(mbrl_package, "train", train_small)
    return train_small


def test_every_example_of_the_page_runs(small_runs, capsys):
    first = small_runs(["env=cartpole", "planner=cem"])
    text = PAGE.read_text(encoding="utf-8").replace("outputs/RUN", str(first.folder))
    variables: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(compile(block, str(PAGE), "exec"), variables)
    assert variables["total"] == first.final_return  # one evaluation episode
    assert variables["run"].seed == 1
    assert len(variables["rows"]) == 3
    assert "planner=cme: unknown planner" in capsys.readouterr().out


def test_the_example_of_the_readme_runs(small_runs):
    run = small_runs(["env=cartpole", "planner=cem"])
    text = (ROOT / "README.md").read_text(encoding="utf-8").replace("outputs/RUN", str(run.folder))
    (block,) = re.findall(r"```python\n(# use_run.py.*?)```", text, re.DOTALL)
    variables: dict[str, object] = {}
    exec(compile(block, "README.md", "exec"), variables)
    assert variables["prediction"].obs.shape == (4,)


def test_the_page_lists_every_public_member():
    text = PAGE.read_text(encoding="utf-8")
    from mbrl_cli.api.run import Run
    from mbrl_cli.api.run_list import RunList
    from mbrl_cli.api.run_model import RunModel
    from mbrl_cli.api.run_policy import RunPolicy

    for kind in (Run, RunList, RunPolicy, RunModel):
        for name in vars(kind):
            if not name.startswith("_"):
                assert re.search(rf"`{name}[`(]", text), f"{kind.__name__}.{name}"
    for name in ("load_run", "load_runs", "train"):
        assert f"| `{name}(" in text


def test_the_notebook_runs(small_runs, tmp_path, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "agg")
    shutil.copytree(ROOT / "examples", tmp_path, dirs_exist_ok=True)
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    variables: dict[str, object] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), str(NOTEBOOK), "exec"), variables)
    assert len(variables["runs"]) == 4
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    assert not any(output["output_type"] == "error" for output in outputs)
