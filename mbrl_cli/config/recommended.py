"""The values that an environment's YAML recommends (`recommended:`): read and check them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from mbrl_cli.config.groups import choices, find_file
from mbrl_cli.errors import UserError, unknown_key

PIXELS = "pixels"  # section of values for observations that are images
AGENTS = "agents"  # section of values for single agents, by name
USE = re.compile(r"\$\{for_env:\s*([^,}\s]+)")


@dataclass(frozen=True)
class Recommendation:
    """A value that an environment recommends for one key."""

    env: str  # the choice of env
    agent: str | None  # the agent for which it counts; None: for all
    pixels: bool  # whether it counts for env.obs=pixels only
    value: Any

    @property
    def condition(self) -> str:
        """Return the words with which a run has the value: env=cartpole agent=mbpo."""
        agent = f" agent={self.agent}" if self.agent else ""
        return f"env={self.env}{' env.obs=pixels' if self.pixels else ''}{agent}"


def recommendations(user_dir: Path | None = None) -> dict[str, list[Recommendation]]:
    """Return {key of `${for_env:KEY,...}`: its values in all files of the group env}.

    Args:
        user_dir: the folder of `--config-dir`.
    """
    found: dict[str, list[Recommendation]] = {}

    def add(env: str, agent: str | None, pixels: bool, values: Mapping[Any, Any]) -> None:
        for key, value in values.items():
            if key == PIXELS:
                add(env, agent, True, value)
            elif key == AGENTS:
                for name, for_agent in value.items():
                    add(env, str(name), pixels, for_agent)
            else:
                entry = Recommendation(env, agent, pixels, value)
                found.setdefault(str(key), []).append(entry)

    for env in choices("env", user_dir):
        content = OmegaConf.to_container(OmegaConf.load(find_file("env", env, user_dir)))
        assert isinstance(content, dict)
        add(env, None, False, content.get("recommended") or {})
    return found


def check_recommended(recommended: Any, folders: Sequence[Path]) -> None:
    """Raise UserError for a recommended key that no YAML file uses as `${for_env:KEY,...}`.

    Args:
        recommended: the `recommended` block of an environment.
        folders: mbrl's folder of YAML files, and those of the user.
    """
    keys = sorted(
        {
            key
            for folder in folders
            for path in [*folder.glob("*.yaml"), *folder.glob("*/*.yaml")]
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines()
            for key in USE.findall(line.partition("#")[0])
        }
    )
    agents = [path.stem for folder in folders for path in (folder / "agent").glob("[!_]*.yaml")]
    block = _check_keys("env.recommended", recommended, [*keys, AGENTS, PIXELS])
    _check_agents(f"env.recommended.{AGENTS}", block.get(AGENTS, {}), agents, keys)
    for_pixels = _check_keys(f"env.recommended.{PIXELS}", block.get(PIXELS, {}), [*keys, AGENTS])
    _check_agents(f"env.recommended.{PIXELS}.{AGENTS}", for_pixels.get(AGENTS, {}), agents, keys)


def _check_agents(section: str, values: Any, agents: Sequence[str], keys: Sequence[str]) -> None:
    for agent, for_agent in _check_keys(section, values, agents).items():
        _check_keys(f"{section}.{agent}", for_agent, keys)


def _check_keys(section: str, values: Any, allowed: Sequence[str]) -> Mapping[Any, Any]:
    """Return `values`; raise UserError if it is not a mapping or has a key that is not allowed."""
    if not isinstance(values, Mapping):
        raise UserError(f"{section}={values}: must be a mapping of keys to values, or {{}}")
    for key in values:
        if key not in allowed:
            raise UserError(unknown_key(f"{section}.{key}", str(key), allowed))
    return values
