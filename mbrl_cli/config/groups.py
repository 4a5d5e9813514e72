"""The folders of YAML files: which choices each group has, and a one-line description of each."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from mbrl_cli.errors import UserError, nearest

GROUPS = ("env", "model", "planner", "agent")
# Groups beside those of which a run is built; several can be chosen: logger=[tensorboard,wandb].
SIDE_GROUPS = ("logger", "callbacks", "debug")
SPACES = "hparams_search"  # search spaces of `mbrl search`; no part of a run's config
LISTED = (*GROUPS, *SIDE_GROUPS, "experiment")


def config_dir() -> Path:
    """Return the folder with mbrl's YAML files: `mbrl_cli/configs` in a wheel, else `configs`."""
    inside = Path(__file__).parent.parent / "configs"  # in a wheel
    return inside if inside.is_dir() else Path(__file__).parent.parent.parent / "configs"


def config_dirs(user_dir: Path | None) -> list[Path]:
    """Return the folders that Hydra searches, mbrl's first.

    Args:
        user_dir: the folder of `--config-dir`.
    """
    return [config_dir()] if user_dir is None else [config_dir(), user_dir]


def choices(group: str, user_dir: Path | None = None) -> dict[str, str]:
    """Return name -> description for every choice of `group`.

    Files whose name starts with an underscore are blocks that choices share, not choices.

    Args:
        group: one of `LISTED`, or `SPACES`.
        user_dir: the folder of `--config-dir`, whose choices are listed too.
    """
    found: dict[str, str] = {}
    for folder in config_dirs(user_dir):
        for path in sorted((folder / group).glob("[!_]*.yaml")):
            comments = [
                line.lstrip("# ").strip()
                for line in path.read_text(encoding="utf-8").splitlines()
                if line.startswith("#") and not line.startswith("# @package")
            ]
            found.setdefault(path.stem, comments[0] if comments else "")
    return found


def find_file(group: str, name: str, user_dir: Path | None = None) -> Path:
    """Return the path of a choice's YAML file."""
    paths = [folder / group / f"{name}.yaml" for folder in config_dirs(user_dir)]
    return next(path for path in paths if path.is_file())


def unknown_choice(group: str, name: str, allowed: Collection[str]) -> str:
    """Return the error text about a choice that does not exist."""
    close = nearest(name, allowed)
    hint = f"did you mean {', '.join(close)}? " if close else ""
    return f"{group}={name}: unknown {group}; {hint}allowed are {', '.join(allowed)}"


def check_user_dir(user_dir: Path) -> None:
    """Raise UserError if the folder of `--config-dir` is missing or repeats a name of mbrl's.

    Hydra would ignore a file of the same name without a message.
    """
    if not user_dir.is_dir():
        raise UserError(f"--config-dir {user_dir}: is not a folder")
    for group in GROUPS:
        for name in choices(group):
            if (user_dir / group / f"{name}.yaml").exists():
                raise UserError(
                    f"--config-dir {user_dir}: {group}/{name}.yaml has the name of a choice of "
                    "mbrl, which takes precedence; rename the file"
                )
