"""The YAML groups on disk: which choices there are, and the one line that describes each."""

from __future__ import annotations

from pathlib import Path

GROUPS = ("env", "model", "planner", "agent")


def config_dir() -> Path:
    """Return the folder of our YAML groups: in a wheel, in an editable install, in a checkout."""
    inside = Path(__file__).parent.parent / "configs"  # in a wheel
    return inside if inside.is_dir() else Path(__file__).parent.parent.parent / "configs"


def choices(group: str) -> dict[str, str]:
    """Return name -> description for every choice of `group`.

    Files whose name starts with an underscore are blocks that choices share, not choices.
    """
    found = {}
    for path in sorted((config_dir() / group).glob("[!_]*.yaml")):
        comments = [
            line.lstrip("# ").strip()
            for line in path.read_text(encoding="utf-8").splitlines()
            if line.startswith("#") and not line.startswith("# @package")
        ]
        found[path.stem] = comments[0] if comments else ""
    return found
