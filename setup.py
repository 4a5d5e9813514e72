"""Find the packages. All other metadata is in pyproject.toml.

`configs/` lies beside the package and is installed as `mbrl_cli.configs`, with its subfolders.
`tool.setuptools.packages.find` cannot express that.
"""

from setuptools import find_namespace_packages, find_packages, setup

configs = [
    "mbrl_cli.configs",
    *(f"mbrl_cli.configs.{p}" for p in find_namespace_packages("configs")),
]
setup(packages=[*find_packages(include=["mbrl_cli", "mbrl_cli.*"]), *configs])
