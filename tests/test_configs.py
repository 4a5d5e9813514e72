"""The YAML files agree with the code: comments, constructor defaults, recommended keys, presets."""

import inspect
import re
from collections import Counter
from typing import get_args, get_type_hints

import pytest
import torch
from hydra.utils import get_object
from omegaconf import OmegaConf

from mbrl_cli.agents.mbpo import SAC_DEFAULTS as MBPO_SAC
from mbrl_cli.agents.mpc import SAC_DEFAULTS as MPC_SAC
from mbrl_cli.agents.sac import SAC
from mbrl_cli.config.argument_check import OBJECT_ARGUMENTS
from mbrl_cli.config.groups import GROUPS, choices, config_dir
from mbrl_cli.config.overrides import apply_overrides
from mbrl_cli.envs.make import make_env
from mbrl_cli.errors import UserError
from mbrl_cli.types import ArgumentsOf

FILES = sorted(config_dir().rglob("*.yaml"))
CHOICES = [(group, name) for group in GROUPS for name in choices(group)]
SECTIONS = (*GROUPS, "recommended", "hydra")  # explained where they are read, not in every file
READ = re.compile(r"\$\{for_env:(\w+),")


def file_of(group, name):
    return config_dir() / group / f"{name}.yaml"


def raw(path):
    return OmegaConf.to_container(OmegaConf.load(path))


def has_own_class(group, name):
    """Return whether the choice names its class itself, so that it inherits from no other one."""
    content = raw(file_of(group, name))
    return bool((content.get("agent", {}) if group == "agent" else content).get("_target_"))


BASES = [(group, name) for group, name in CHOICES if has_own_class(group, name)]


def names(paths):
    return [str(path.relative_to(config_dir())) for path in paths]


# --- the files ----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", FILES, ids=names(FILES))
def test_every_key_has_a_comment_on_its_line_or_above(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    uncommented = []
    for above, line in zip(["", *lines], lines, strict=False):
        key = re.match(r"\s*(\w+):", line)
        if key is None or key[1] in ("defaults", "_target_"):
            continue
        if key[1] == "hydra":  # Hydra's own keys, explained in its documentation
            break
        if key[1] not in SECTIONS and "#" not in line and not above.strip().startswith("#"):
            uncommented.append(line)
    assert not uncommented


def test_what_files_share_is_inherited():
    """Count the settings that occur in more than one file, comments and spaces included.

    Not counted: `defaults:`, its entries, section headings, and recipes with their results, which
    state their values so that other defaults do not change them. 191 settings were repeated before
    the shared files existed.
    """
    files = Counter()
    for path in (path for path in FILES if path.parent.name not in ("experiment", "published")):
        lines = {" ".join(line.split()) for line in path.read_text(encoding="utf-8").splitlines()}
        files.update(line for line in lines if re.match(r"\w+: [^#]", line))
    repeated = {line: count - 1 for line, count in files.items() if count > 1}
    assert sum(repeated.values()) <= 40, repeated


# --- recommended values -------------------------------------------------------------------------


def sections(recommended):
    """Yield every mapping of recommended keys to values: the block, `pixels` and each agent's."""
    yield {key: value for key, value in recommended.items() if key not in ("pixels", "agents")}
    yield from recommended.get("agents", {}).values()
    if "pixels" in recommended:
        yield from sections(recommended["pixels"])


def recommended_keys():
    found = set()
    for name in choices("env"):
        for section in sections(raw(file_of("env", name)).get("recommended", {})):
            found |= section.keys()
    return found


def test_every_recommended_key_is_read_and_every_read_key_is_recommended():
    read = {key for path in FILES for key in READ.findall(path.read_text(encoding="utf-8"))}
    assert recommended_keys() == read


def test_values_for_an_agent_are_under_its_name_on_the_command_line():
    for name in choices("agent"):
        assert raw(file_of("agent", name))["agent_name"] == name
    for name in choices("env"):
        agents = raw(file_of("env", name)).get("recommended", {}).get("agents", {})
        assert agents.keys() <= choices("agent").keys()


RECOMMENDED = {
    "total_steps": 1,
    "agents": {"mbpo": {"total_steps": 2}},
    "pixels": {"total_steps": 3, "agents": {"mbpo": {"total_steps": 4}}},
}


@pytest.mark.parametrize(
    ("obs", "agent", "without", "expected"),
    [
        ("vector", "mpc", None, 1),
        ("vector", "mbpo", None, 2),
        ("vector", "pets", None, 1),  # an agent without a section of its own
        ("pixels", "mpc", None, 3),
        ("pixels", "mbpo", None, 4),
        ("pixels", "mbpo", "agents", 3),  # pixels have priority over the agent
    ],
)
def test_the_most_specific_recommended_value_counts(compose_run, obs, agent, without, expected):
    cfg = compose_run("env=gridworld", f"env.obs={obs}", f"agent={agent}")
    recommended = {**RECOMMENDED, "pixels": {**RECOMMENDED["pixels"]}}
    recommended["pixels"].pop(without, None)
    OmegaConf.set_struct(cfg, False)
    cfg.env.recommended = recommended
    assert cfg.total_steps == expected


def test_another_planner_for_a_saved_run_gets_the_values_for_its_agent(compose_run):
    cfg = compose_run("env=gridworld", "agent=pets")
    OmegaConf.set_struct(cfg, False)
    cfg.env.recommended = {"horizon": 1, "agents": {"pets": {"horizon": 2}}}
    apply_overrides(cfg, ["planner=icem"])
    assert cfg.planner.horizon == 2


@pytest.mark.parametrize(
    ("words", "total_steps"),
    [
        ("env=cartpole", 1000), ("env=cartpole agent=pets", 1000),
        ("env=cartpole agent=mbpo", 3000),
        ("env=cartpole agent=dreamer", 8000), ("env=cartpole agent=muzero", 10000),
        ("env=cartpole agent=alphazero", 10000), ("env=pendulum agent=sac", 20000),
        ("env=pendulum agent=mbpo", 3000), ("env=pendulum agent=dreamer", 7000),
        ("env=pendulum agent=planet", 4000), ("env=inverted_pendulum agent=mbpo", 3000),
        ("env=gridworld env.obs=pixels agent=dreamer", 4000), ("env=dmc agent=dreamer", 50000),
        ("env=mujoco agent=pets", 50000), ("env=mujoco agent=sac", 100000),
    ],
)  # fmt: skip
def test_a_run_is_as_long_as_the_measured_result_took(compose_run, words, total_steps):
    cfg = compose_run(*words.split())
    assert cfg.total_steps == total_steps


@pytest.mark.parametrize(
    ("words", "id"),
    [
        ("", "dm_control/cartpole-swingup-v0"),
        ("env.task=walker-walk", "dm_control/walker-walk-v0"),
        ("env.id=dm_control/finger-spin-v0", "dm_control/finger-spin-v0"),
    ],
)
def test_a_task_of_deepmind_control_is_a_short_form_of_its_id(compose_run, words, id):
    assert compose_run("env=dmc", *words.split()).env.id == id


def test_a_task_that_is_not_the_id_is_refused():
    text = "env.task=walker-walk: differs from env.id=CartPole-v1; env=dmc reads env.task"
    with pytest.raises(UserError, match=text):
        make_env("CartPole-v1", task="walker-walk")


@pytest.mark.parametrize("agent", choices("agent"))
@pytest.mark.parametrize("env", choices("env"))
def test_a_default_run_has_eight_to_twenty_evaluations(compose_run, env, agent):
    cfg = compose_run(f"env={env}", f"agent={agent}", "++env.id=X-v0")
    assert 8 <= len(range(cfg.eval_every, cfg.total_steps, cfg.eval_every)) + 1 <= 20


@pytest.mark.parametrize(
    ("words", "eval_every"),
    [
        ("env=cartpole", 125), ("env=cartpole total_steps=50", 7), ("env=gym total_steps=3", 1),
        ("env=pendulum agent=mbpo", 250), ("env=pendulum agent=mbpo total_steps=400", 50),
        ("env=cartpole eval_every=600", 600), ("env=cartpole eval_every=0", 0),
        ("env=cartpole total_steps=1e3", 125), ("env=cartpole total_steps=null", 0),
    ],
)  # fmt: skip
def test_the_interval_of_evaluations_follows_the_length_of_the_run(compose_run, words, eval_every):
    assert compose_run(*words.split()).eval_every == eval_every


def test_presets_are_other_agents_with_a_model_and_a_planner(compose_run):
    def composed(*words):
        cfg = compose_run("env=gym", "env.id=Pendulum-v1", *words)
        cfg.agent_name = ""
        return OmegaConf.to_container(cfg, resolve=True)

    assert composed("agent=planet") == composed("agent=mpc", "model=rssm", "planner=cem")
    assert composed("agent=muzero") == composed("agent=alphazero", "model=muzero")
    assert composed("agent=pets") == composed("agent=mpc", "agent.explore=none")


# --- constructors -------------------------------------------------------------------------------


def nested_class(target, name):
    """Return the class whose arguments the parameter `name` of `target` holds, or None."""
    function = target.__init__ if inspect.isclass(target) else target
    hint = get_type_hints(function, include_extras=True).get(name)
    for part in (hint, *get_args(hint)):
        for extra in getattr(part, "__metadata__", ()):
            if isinstance(extra, ArgumentsOf):
                return extra.target
    return None


def plain(value):
    """Return a value from YAML as a default would have it: tuples for lists, None for {}."""
    if value == {}:
        return None
    return tuple(map(plain, value)) if isinstance(value, list) else value


def differing(target, values, prefix):
    """Return the keys of `values` whose value differs from the default of `target`'s parameter."""
    found = {}
    for name, parameter in inspect.signature(target).parameters.items():
        key, nested = f"{prefix}.{name}", nested_class(target, name)
        if name not in values:
            continue
        if nested is None:
            if parameter.default not in (inspect.Parameter.empty, plain(values[name])):
                found[key] = (parameter.default, values[name])
        elif nested.__name__ != "SAC":  # an agent too: its defaults are those of agent=sac
            found |= differing(nested, values[name], key)
    return found


def defaults(compose_run, group, name):
    """Compose a choice on an environment that recommends nothing."""
    cfg = compose_run("env=gym", "env.id=CartPole-v1", f"{group}={name}")
    values = OmegaConf.to_container(cfg[group], resolve=True)
    return get_object(values.pop("_target_")), values


@pytest.mark.parametrize(("group", "name"), [*BASES, ("env", "gym")])
def test_constructor_defaults_are_the_values_of_the_yaml_file(compose_run, group, name):
    target, values = defaults(compose_run, group, name)
    assert not differing(target, values, group)


@pytest.mark.parametrize(("agent", "defaults_of_sac"), [("mbpo", MBPO_SAC), ("mpc", MPC_SAC)])
def test_sac_of_mbpo_and_mpc_has_the_values_of_their_yaml_files(
    compose_run, agent, defaults_of_sac
):
    _, values = defaults(compose_run, "agent", agent)
    signature = inspect.signature(SAC).parameters
    built = {key: signature[key].default for key in values["sac"]} | defaults_of_sac
    assert built == {key: plain(value) for key, value in values["sac"].items()}


@pytest.mark.parametrize(("group", "name"), [*BASES, ("env", "gym")])
def test_every_parameter_is_a_key_and_every_key_a_parameter(compose_run, group, name):
    target, values = defaults(compose_run, group, name)
    assert inspect.signature(target).parameters.keys() - OBJECT_ARGUMENTS == values.keys()


@pytest.mark.parametrize(("group", "name"), BASES)
def test_a_class_can_be_built_with_its_sizes_alone(compose_run, generator, group, name):
    spec = make_env("mbrl/GridWorld-v0").spec
    device = torch.device("cpu")
    live = {"spec": spec, "action": spec.action, "device": device, "generator": generator}
    cfg = compose_run("env=gridworld", f"{group}={name}")
    for role in ("model", "planner", "agent") if group == "agent" else (group,):
        target = cfg[role]._target_ and get_object(cfg[role]._target_)
        live[role] = target and target(
            **{key: live[key] for key in inspect.signature(target).parameters if key in live}
        )
