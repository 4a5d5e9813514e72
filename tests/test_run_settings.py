"""The defaults of `RunSettings` are those of `configs/train.yaml`."""

import re
from dataclasses import asdict

from omegaconf import OmegaConf

from mbrl_cli.config.groups import config_dir
from mbrl_cli.run_settings import RunSettings


def test_defaults_equal_the_yaml_file():
    raw = OmegaConf.to_container(OmegaConf.load(config_dir() / "train.yaml"), resolve=False)
    for key, default in asdict(RunSettings()).items():
        value = raw[key]
        if match := re.fullmatch(r"\$\{for_env:\w+,(.+)\}", str(value)):
            value = int(match[1])  # the default for environments without a recommended value
        if key == "eval_every":
            value = raw_eval_every(raw["total_steps"])
        assert value == default, key


def raw_eval_every(total_steps):
    """Return the default for environments that recommend nothing."""
    total = int(re.fullmatch(r"\$\{for_env:\w+,(.+)\}", total_steps)[1])
    return total // 8
