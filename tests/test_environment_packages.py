"""Environments of other packages: ids, versions of their libraries, wrappers, machines without
a display. The packages are small stand-ins."""

import importlib
import os
import re
import sys
import types

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from mbrl_cli.envs.checked_values import scalar_reward
from mbrl_cli.envs.described_error import described_error
from mbrl_cli.envs.env import Env
from mbrl_cli.envs.headless import rendering_hint, use_no_display
from mbrl_cli.envs.make import make_env
from mbrl_cli.envs.silent_libraries import silent_libraries
from mbrl_cli.envs.version_conflict import version_conflict
from mbrl_cli.errors import EnvironmentFault, UserError

ENVIRONMENT = """
import gymnasium
class Still(gymnasium.Env):
    action_space = gymnasium.spaces.Discrete(2)
    observation_space = gymnasium.spaces.Box(-1, 1, (2,))
    def __init__(self, render_mode=None):
        assert not WRONG
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Return a function that writes a module into a folder of the search path."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(gymnasium.registry)

    def write(name, text):
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
        importlib.invalidate_caches()

    yield write
    for name in set(gymnasium.registry) - before:
        del gymnasium.registry[name]


def registering(*ids):
    lines = (f'gymnasium.register("{id}", "stand_in:Still")\n' for id in ids)
    return ENVIRONMENT.replace("WRONG", "False") + "".join(lines)


UNKNOWN = {
    # ids that the package registers -> what is asked for -> the hint
    "nothing": ((), "CartPole-v7", "stand_in registers nothing with gymnasium; if a module"),
    "an id of a namespace": (
        ("blocks/Blocks",), "Blocks-v0", "did you mean stand_in:blocks/Blocks?"
    ),
    "an older version": (
        ("Still-v1", "Still-v3"), "Still-v2", "did you mean stand_in:Still-v3?"
    ),
    "other names": (
        ("Qqqq-v0", "Wwww-v0"), "CartPole-v1x",
        "stand_in does not register it; it registers 2, such as Qqqq-v0, Wwww-v0",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", UNKNOWN)
def test_an_unknown_id_is_compared_with_the_ids_of_its_package(package, case):
    ids, asked, hint = UNKNOWN[case]
    package("stand_in", registering(*ids))
    with pytest.raises(UserError, match=re.escape(hint)):
        make_env(f"stand_in:{asked}")


@pytest.mark.parametrize("form", ["dict", "env_specs"])  # of Gym 0.26, of Gym 0.21
def test_an_id_of_the_old_gym_names_the_wrapper_that_converts_it(package, monkeypatch, form):
    registry = {"Old-v0": None}
    if form == "env_specs":
        registry = types.SimpleNamespace(env_specs=registry)
    old = types.SimpleNamespace(registry=registry)
    monkeypatch.setitem(sys.modules, "gym.envs.registration", old)
    package("stand_in", "")
    text = "env.id=shimmy:GymV21Environment-v0 env.kwargs.env_id=stand_in:Old-v0"
    with pytest.raises(UserError, match=re.escape(text)):
        make_env("stand_in:Old-v0")


def test_an_error_without_a_text_names_its_place(package):
    package("stand_in", registering("Still-v0").replace("False", "True"))
    line = 1 + ENVIRONMENT.split("\n").index("        assert not WRONG")
    with pytest.raises(EnvironmentFault, match=rf"AssertionError in stand_in, line {line}\)"):
        make_env("stand_in:Still-v0")
    assert described_error(ValueError("a\nb")) == "ValueError: a b"
    assert described_error(ValueError()) == "ValueError"


@pytest.fixture
def installed(monkeypatch):
    """Return a function that replaces the installed distributions: name -> version, needs."""
    versions, needs = {}, {}

    def install(name, version, *requirements):
        versions[name], needs[name] = version, list(requirements)

    def version_of(name):
        if name not in versions:
            raise importlib.metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr("importlib.metadata.version", version_of)
    monkeypatch.setattr("importlib.metadata.requires", needs.get)
    monkeypatch.setattr(
        "importlib.metadata.packages_distributions",
        lambda: {name.replace("-", "_"): [name] for name in versions},
    )
    return install


def test_a_requirement_that_is_not_met_is_named(installed):
    installed("arms", "2.0", "physics==3.3.0", "missing>=1", 'pictures<2; extra == "view"')
    installed("physics", "3.17.0")
    installed("pictures", "5.0")
    text = "arms 2.0 needs physics==3.3.0, and 3.17.0 is installed"
    assert version_conflict("arms.envs.reach") == text
    installed("physics", "3.3.0")
    assert version_conflict("arms.envs.reach") == ""
    assert version_conflict("") == ""


def test_a_requirement_that_gymnasium_robotics_does_not_state_is_known(installed):
    installed("gymnasium-robotics", "1.4.2", "mujoco>=2.2.0")
    installed("mujoco", "3.17.0")
    text = "gymnasium-robotics 1.4.2 needs mujoco==3.3.7, and 3.17.0 is installed"
    assert version_conflict("gymnasium_robotics.envs") == text
    installed("mujoco", "3.3.7")
    assert version_conflict("gymnasium_robotics.envs") == ""


def test_the_conflict_is_part_of_the_error(package, installed):
    package("stand_in", registering("Still-v0").replace("False", "True"))
    installed("stand-in", "1.0", "physics<2")
    installed("physics", "2.1")
    with pytest.raises(
        EnvironmentFault, match=r"stand-in 1\.0 needs physics<2, and 2\.1 is installed\)"
    ):
        make_env("stand_in:Still-v0")


class Weighted(gymnasium.Wrapper):
    """Needs an array, as the wrappers of multi-objective packages do."""

    def __init__(self, env, weight: "np.ndarray | None" = None, names: list[str] = ()):
        super().__init__(env)
        assert weight.shape == (2,)
        assert names == ["a"]


def test_a_list_becomes_an_array_where_the_wrapper_is_annotated_so():
    target = f"{__name__}.Weighted"
    env = make_env(
        "CartPole-v1", wrappers=[{"_target_": target, "weight": [0.25, 0.75], "names": ["a"]}]
    )
    assert env.spec.obs_dim == 4


def test_vector_rewards_show_a_wrapper_with_one_weight_per_entry(package):
    package(
        "stand_in",
        registering("Still-v0") + "Still.reward_space = gymnasium.spaces.Box(-1, 1, (3,))\n",
    )
    with pytest.raises(UserError, match=r"LinearReward, weight: \[1\.0, 1\.0, 1\.0\]\}\]"):
        make_env("stand_in:Still-v0")


def test_a_vector_reward_without_a_space_shows_the_whole_wrapper():
    error = None
    try:
        scalar_reward(np.array([1.0, 2.0]))
    except ValueError as caught:
        error = described_error(caught)
    assert error.endswith(
        "'env.wrappers=[{_target_: mo_gymnasium.wrappers.LinearReward, weight: [1.0, 1.0]}]'"
    )


def test_a_text_among_the_observations_can_be_left_out():
    env = gymnasium.make("CartPole-v1").unwrapped
    env.observation_space = spaces.Dict(
        mission=spaces.Text(9), image=spaces.Box(0, 9, (3,)), direction=spaces.Discrete(4)
    )
    text = "{_target_: gymnasium.wrappers.FilterObservation, filter_keys: [image, direction]}"
    with pytest.raises(UserError, match=re.escape(text)):
        Env(env)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have a display")
def test_a_machine_without_a_display_uses_drivers_that_need_none(monkeypatch):
    names = ("DISPLAY", "WAYLAND_DISPLAY", "MUJOCO_GL", "SDL_VIDEODRIVER")
    for name in names:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    use_no_display()
    assert (os.environ["MUJOCO_GL"], os.environ["SDL_VIDEODRIVER"]) == ("egl", "dummy")
    for name in names:
        monkeypatch.setenv(name, "chosen")
    use_no_display()
    assert (os.environ["MUJOCO_GL"], os.environ["SDL_VIDEODRIVER"]) == ("chosen", "chosen")


def test_the_rendering_hint_is_about_mujoco_only(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "egl")
    monkeypatch.setitem(sys.modules, "mujoco", types.ModuleType("mujoco"))
    assert "try MUJOCO_GL=osmesa" in rendering_hint()
    monkeypatch.delitem(sys.modules, "mujoco")
    assert rendering_hint() == ""


def test_notices_of_old_packages_are_hidden_and_other_lines_are_not(capsys):
    with silent_libraries():
        print("Gym has been unmaintained since 2022 and ...", file=sys.stderr)
        print("careful", file=sys.stderr)
    assert capsys.readouterr().err == "careful\n"


def test_the_atari_logger_reports_errors_only(monkeypatch):
    modes = []
    fake = types.ModuleType("ale_py")
    fake.LoggerMode = types.SimpleNamespace(Error="errors")
    fake.ALEInterface = types.SimpleNamespace(setLoggerMode=modes.append)
    monkeypatch.setitem(sys.modules, "ale_py", fake)
    with silent_libraries():
        assert modes == ["errors"]
