"""Run folders for tests of `mbrl compare`, without a run."""

import json

import pytest
import yaml

TARGETS = {
    "cem": "mbrl_cli.planners.cem.CEM", "mppi": "mbrl_cli.planners.mppi.MPPI", "none": None,
}  # fmt: skip


@pytest.fixture
def write_run(tmp_path):
    """Return a function that writes a run folder: settings, and evaluations {step: return}."""

    def write(folder, evaluations, planner="cem", seed=0, env="CartPole-v1", **changes):
        path = tmp_path / folder
        (path / ".hydra").mkdir(parents=True)
        finished = changes.pop("finished", True)
        horizon = changes.pop("horizon", 20)
        config = {
            "env": {"id": env, "action_repeat": 1, "obs": "vector"},
            "model": {"_target_": "mbrl_cli.models.ensemble.Ensemble", "accuracy_horizon": horizon},
            "planner": {"_target_": TARGETS[planner], "horizon": horizon},
            "agent": {"_target_": "mbrl_cli.agents.mpc.MPC"},
            "seed": seed, "total_steps": max(evaluations), "console": bool(seed % 2), **changes,
        }  # fmt: skip
        (path / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        choices = {"env": "gym", "model": "ensemble", "planner": planner, "agent": "mpc"}
        lines = "".join(f"      {key}: {value}\n" for key, value in choices.items())
        hydra = f"hydra:\n  runtime:\n    choices:\n{lines}"
        (path / ".hydra" / "hydra.yaml").write_text(hydra, encoding="utf-8")
        words = [f"planner={planner}", f"planner.horizon={horizon}", f"seed={seed}"]
        (path / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump(words), encoding="utf-8")
        versions = json.dumps({"git": f"{seed:08x}aa"})
        (path / "versions.json").write_text(versions, encoding="utf-8")
        rows = ["env_step,tag,value"]
        for step, value in evaluations.items():
            rows += [f"{step},time/plan,{step * 0.6}", f"{step},time/fit,{step * 0.6}"]
            rows += [f"{step},eval/return,{value}", f"{step},model/error_k1,{100.0 / value}"]
        (path / "metrics.csv").write_text("\n".join([*rows, ""]), encoding="utf-8")
        if finished:
            (path / "checkpoint.safetensors").write_bytes(b"")
        return path

    return write


@pytest.fixture
def two_planners(write_run):
    """Write five runs of each of two planners; cem is better by 100 + 10 * seed."""
    for seed in range(5):
        write_run(f"runs/cem{seed}", {100: 50.0, 200: 300.0 + 10 * seed}, "cem", seed)
        write_run(f"runs/mppi{seed}", {100: 40.0, 200: 200.0}, "mppi", seed)
