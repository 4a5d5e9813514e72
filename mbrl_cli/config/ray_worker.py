"""Set up the worker processes of a Ray cluster; `configs/hydra/launcher/ray.yaml` names this."""

from __future__ import annotations

import os


def enter_launch_folder() -> None:
    """Change to the folder in which the sweep was launched, so that relative paths are the same."""
    os.chdir(os.environ["MBRL_LAUNCH_FOLDER"])
