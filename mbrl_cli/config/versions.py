"""Versions of the software and the machine, as `versions.json` of a run folder records them."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess

from mbrl_cli import __version__

VERSIONS = "versions.json"
PACKAGES = ("torch", "numpy", "gymnasium", "hydra-core", "omegaconf", "tensorboard", "mujoco")


def collect_versions() -> dict[str, str | None]:
    """Return the versions that are needed to repeat a run, the machine and the git revision."""
    versions: dict[str, str | None] = {
        "mbrl": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": str(os.cpu_count()),
        "git": _git_revision(),
    }
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None  # an optional package that is not installed
    return versions


def _git_revision() -> str | None:
    """Return the git revision of the current folder, None outside of a git repository."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
