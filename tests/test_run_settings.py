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
        assert value == default, key
