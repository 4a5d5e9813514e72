"""uv.lock has the versions of constraints.txt, and a torch without CUDA for `uv sync`."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
LOCK = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CONSTRAINTS = [
    Requirement(line)
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]
UPDATE = "run the command of docs/release.md, section 'Lock file'"


def locked(name: str) -> list[dict]:
    """Return the entries of a package; torch has several."""
    name = canonicalize_name(name)
    return [package for package in LOCK["package"] if package["name"] == name]


@pytest.mark.parametrize("constraint", CONSTRAINTS, ids=lambda constraint: constraint.name)
def test_a_constraint_has_the_locked_version(constraint):
    versions = {package["version"].partition("+")[0] for package in locked(constraint.name)}
    assert len(versions) == 1, UPDATE  # every constraint belongs to some extra
    assert constraint.specifier.contains(versions.pop(), prereleases=True), UPDATE


def test_the_lock_file_has_the_requirements_of_the_project():
    (project,) = locked("mbrl-cli")
    extras = PROJECT["project"]["optional-dependencies"]
    assert set(project["metadata"]["provides-extras"]) == set(extras), UPDATE
    stated = PROJECT["project"]["dependencies"] + [
        line for part in extras.values() for line in part
    ]
    names = {canonicalize_name(Requirement(line).name) for line in stated} - {"mbrl-cli"}
    assert {entry["name"] for entry in project["metadata"]["requires-dist"]} - {"mbrl-cli"} == names


def test_uv_sync_installs_torch_without_cuda():
    (project,) = locked("mbrl-cli")
    (entry,) = (e for e in project["dev-dependencies"]["cpu"] if e["version"].endswith("+cpu"))
    assert PROJECT["tool"]["uv"]["default-groups"] == ["cpu"]
    assert entry["source"]["registry"] == "https://download.pytorch.org/whl/cpu"
    assert "sys_platform == 'linux'" in entry["marker"]
    (cpu,) = (package for package in locked("torch") if package["version"].endswith("+cpu"))
    names = {entry["name"] for entry in cpu["dependencies"]}
    assert not any(re.match("nvidia|cuda|triton", name) for name in names)


@pytest.mark.parametrize("version", ["cp311", "cp312", "cp313"])
@pytest.mark.parametrize(
    "platform", ["manylinux_2_28_x86_64", "manylinux_2_28_aarch64", "win_amd64"]
)
def test_each_python_version_has_a_wheel_of_torch_with_a_checksum(version, platform):
    (cpu,) = (package for package in locked("torch") if package["version"].endswith("+cpu"))
    torch = cpu["version"].partition("+")[0]
    name = f"torch-{torch}%2Bcpu-{version}-{version}-{platform}.whl"
    (wheel,) = (wheel for wheel in cpu["wheels"] if wheel["url"].endswith(name))
    assert re.fullmatch("sha256:[0-9a-f]{64}", wheel["hash"])
