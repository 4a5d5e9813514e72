"""The files about installation and releases agree with the package."""

import re
import tomllib
from pathlib import Path

import yaml

import mbrl_cli

ROOT = Path(__file__).parent.parent
DOCKER_FILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_the_docker_file_copies_files_that_exist_and_are_not_ignored():
    copied = [
        name
        for line in re.findall(r"^COPY (.*) \S+$", DOCKER_FILE, re.MULTILINE)
        for name in line.split()
    ]
    kept = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert copied
    for name in copied:
        assert (ROOT / name).exists()
        assert f"!{name}" in kept


def test_the_extras_of_the_docker_file_exist():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (extras,) = re.findall(r"^ARG EXTRAS=(.*)$", DOCKER_FILE, re.MULTILINE)
    assert set(extras.split(",")) <= set(project["optional-dependencies"])
    assert project["requires-python"] == ">=3.11"


def test_the_citation_has_the_version_of_the_package():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == mbrl_cli.__version__
