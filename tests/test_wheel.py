"""The wheel contains every module and config, and runs from another folder."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.wheel
def test_the_wheel_runs_from_another_folder(tmp_path: Path) -> None:
    def python(*words: str, **extra: str) -> str:
        done = subprocess.run(
            [sys.executable, *words], cwd=tmp_path, capture_output=True, text=True, check=False,
            env=os.environ | extra, timeout=600,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    # --no-deps and --target: the dependencies come from the environment that runs the tests.
    python("-m", "build", "--wheel", "--outdir", str(tmp_path / "dist"), str(ROOT))
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    shipped = set(zipfile.ZipFile(wheel).namelist())
    modules = {path.relative_to(ROOT) for path in (ROOT / "mbrl_cli").rglob("*.py")}
    configs = {"mbrl_cli" / path.relative_to(ROOT) for path in (ROOT / "configs").rglob("*.yaml")}
    assert {path.as_posix() for path in modules | configs} <= shipped
    target = tmp_path / "site"
    python("-m", "pip", "install", "-q", "--no-deps", "--target", str(target), str(wheel))
    path = {"PYTHONPATH": str(target), "OMP_NUM_THREADS": "1"}
    where = python("-c", "import mbrl_cli; print(mbrl_cli.__file__)", **path)
    assert Path(where.strip()).is_relative_to(target)
    assert "gaussian_ensemble" in python("-m", "mbrl_cli", "list", "model", **path)
    python(
        "-m", "mbrl_cli", "train", "env=cartpole", "planner=cem", "total_steps=25",
        "prefill_steps=15", "model.max_steps=5", "env.max_episode_steps=10",
        "final_eval_episodes=1", "planner.horizon=3", "hydra.run.dir=run", **path,
    )  # fmt: skip
    assert (tmp_path / "run" / "checkpoint.safetensors").exists()
