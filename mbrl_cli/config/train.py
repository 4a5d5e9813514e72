"""One training run: from a composed config to a folder that holds all there is to know of it."""

from __future__ import annotations

import importlib.metadata
import json
import logging
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from mbrl_cli import __version__
from mbrl_cli.config.before_run import check_folder
from mbrl_cli.config.build import build
from mbrl_cli.logger import Logger
from mbrl_cli.runner import Runner

CONFIG = "config.yaml"
VERSIONS = "versions.json"
RECORDED = ("torch", "numpy", "gymnasium", "hydra-core", "omegaconf", "tensorboard", "mujoco")


def train(cfg: DictConfig) -> float:
    """Run to the end and return the mean return of the final evaluation (for sweepers)."""
    hydra = HydraConfig.get()
    try:
        return _train(cfg, Path(hydra.runtime.output_dir))
    except Exception:
        # A sweep goes on with its other jobs' logs: leave the trace in this job's own.
        if hydra.mode == RunMode.MULTIRUN:
            logging.getLogger(__name__).exception("this job failed")
        raise


def _train(cfg: DictConfig, folder: Path) -> float:
    parts = build(cfg)
    check_folder(folder)
    torch.set_num_threads(parts.threads)
    resolved = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(resolved, dict)
    (folder / CONFIG).write_text(OmegaConf.to_yaml(resolved), encoding="utf-8")
    (folder / VERSIONS).write_text(json.dumps(versions(), indent=2) + "\n", encoding="utf-8")
    settings = parts.settings
    eval_envs = parts.make_eval_envs(max(settings.eval_episodes, settings.final_eval_episodes))
    try:
        with Logger(folder, settings.total_steps, settings.console) as logger:
            logger.message(f"run folder  {folder}")
            logger.hparams(flat(resolved))
            runner = Runner(parts.env, eval_envs, parts.agent, settings, logger, folder)
            final = runner.run()
            logger.message(
                f"final evaluation  return {final.returns.mean():.1f} "
                f"± {final.returns.std():.1f} over {len(final.returns)} episodes"
            )
    finally:
        for env in (parts.env, *eval_envs):
            env.close()
    return float(final.returns.mean())


def flat(config: dict[Any, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings as dotted keys, the `recommended` block left out."""
    pairs: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            if key != "recommended":
                pairs |= flat(value, f"{prefix}{key}.")
        else:
            pairs[f"{prefix}{key}"] = value
    return pairs


def versions() -> dict[str, str | None]:
    """Return what a person needs to repeat the run: versions, machine, git revision."""
    found: dict[str, str | None] = {
        "mbrl": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": str(os.cpu_count()),
        "git": _git_revision(),
    }
    for name in RECORDED:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None  # an extra that is not installed
    return found


def _git_revision() -> str | None:
    """Return the revision of the folder that the run was started in, None outside of git."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
