"""Lines that libraries write when they are loaded do not reach the user."""

import importlib
import logging
import sys

import pytest

from mbrl_cli.envs.make import make_env
from mbrl_cli.envs.silent_libraries import silent_libraries

PYBULLET = """
import os
DIRECT, SHARED_MEMORY, GUI = 2, 3, 1
os.write(2, b"pybullet build time: Jan 29 2025\\n")
def connect(mode, options=""):
    os.write(1, f"argv[0]={options}\\n".encode())
    return mode
"""
ENVIRONMENT = """
import logging
import gymnasium
logging.getLogger("OpenGL.acceleratesupport").info("No OpenGL_accelerate module loaded")
class Quiet(gymnasium.Env):
    action_space = gymnasium.spaces.Discrete(2)
    observation_space = gymnasium.spaces.Box(-1, 1, (2,))
"""


@pytest.fixture
def library(tmp_path, monkeypatch):
    """Return a function that writes a module into a folder of the search path."""
    monkeypatch.syspath_prepend(tmp_path)
    own = {name: sys.modules.pop(name) for name in ("pybullet", "mujoco") if name in sys.modules}
    written = []

    def write(name, text):
        (tmp_path / f"{name}.py").write_text(text)
        written.append(name)
        importlib.invalidate_caches()

    yield write
    for name in written:
        sys.modules.pop(name, None)
    sys.modules |= own


def test_pybullet_prints_neither_its_build_time_nor_its_arguments(library, capfd):
    library("pybullet", PYBULLET)
    finders = list(sys.meta_path)
    with silent_libraries():
        pybullet = importlib.import_module("pybullet")
    assert sys.meta_path == finders
    assert pybullet.connect(pybullet.DIRECT, options="x") == pybullet.DIRECT
    assert pybullet.connect(pybullet.SHARED_MEMORY) == pybullet.SHARED_MEMORY
    print("after")
    assert capfd.readouterr() == ("after\n", "")
    pybullet.connect(pybullet.GUI)  # a window: its messages stay
    assert capfd.readouterr().out == "argv[0]=\n"


def test_a_library_that_logs_when_its_environment_is_imported_is_silent(library, caplog):
    logging.getLogger("OpenGL").setLevel(logging.NOTSET)
    library("quiet_env", ENVIRONMENT + 'gymnasium.register("Quiet-v0", "quiet_view:Quiet")\n')
    library("quiet_view", ENVIRONMENT)
    with caplog.at_level(logging.INFO):
        assert make_env("quiet_env:Quiet-v0").spec.obs_dim == 2
    assert not caplog.records


def test_mujoco_warnings_go_to_the_log_instead_of_a_file_in_the_current_folder(library, caplog):
    library("mujoco", "def set_mju_user_warning(handler):\n    global warn\n    warn = handler\n")
    with silent_libraries():
        mujoco = importlib.import_module("mujoco")
    mujoco.warn("compiler attribute 'settotalmass' is deprecated")
    mujoco.warn("Nan, Inf or huge value in QACC at DOF 0. The simulation is unstable.")
    assert [record.message[:12] for record in caplog.records] == ["Nan, Inf or "]
    assert mujoco.__loader__.get_source("mujoco")  # the module's own loader is in place
