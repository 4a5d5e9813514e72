"""Names of keys, from the YAML files alone."""

from __future__ import annotations

from omegaconf import DictConfig, OmegaConf

from mbrl_cli.config.groups import GROUPS, SIDE_GROUPS, config_dir
from mbrl_cli.errors import OTHER_NAMES


def run_level_keys() -> list[str]:
    """Return the groups and the keys of `train.yaml`."""
    keys = OmegaConf.load(config_dir() / "train.yaml")
    return [*GROUPS, *SIDE_GROUPS, *(str(key) for key in keys if key not in ("defaults", "hydra"))]


def keys_in_groups(name: str) -> list[str]:
    """Return group.name for each group that has a choice with the key `name`."""
    found: dict[str, None] = {}
    for group in GROUPS:
        for path in sorted((config_dir() / group).glob("*.yaml")):
            keys = OmegaConf.load(path)
            assert isinstance(keys, DictConfig)
            # The files of agents are at the top level and have their keys below `agent`.
            section = OmegaConf.to_container(keys, resolve=False)
            assert isinstance(section, dict)
            section = section.get(group, section)
            for wanted in (name, *OTHER_NAMES.get(name.lower(), ())):
                if isinstance(section, dict) and wanted in section:
                    found[f"{group}.{wanted}"] = None
    return list(found)
