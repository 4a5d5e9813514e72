"""Build the environment, model, planner and agent of a run from its composed config."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, cast, get_type_hints

import torch
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from mbrl_cli.agents.base import Agent
from mbrl_cli.config.argument_check import (
    OBJECT_ARGUMENTS,
    check_arguments,
    check_value,
    parameters_of,
)
from mbrl_cli.config.budget_text import BUDGET, parse_budget
from mbrl_cli.config.composition import compose_choice
from mbrl_cli.config.contract import CONTRACTS, check_class, check_members
from mbrl_cli.config.eval_video import check_rendering, rendering_arguments
from mbrl_cli.config.failing_calls import failing_call
from mbrl_cli.config.groups import GROUPS, choices
from mbrl_cli.config.memory_check import check_memory
from mbrl_cli.config.model_from import load_source_model
from mbrl_cli.config.run_tags import check_tags
from mbrl_cli.config.targets import import_target
from mbrl_cli.envs.env import Env
from mbrl_cli.envs.global_random import restored_global_generators, seed_global_generators
from mbrl_cli.envs.make import make_env
from mbrl_cli.envs.registration import constructor_arguments
from mbrl_cli.errors import UserError
from mbrl_cli.evaluation_envs import EvaluationEnvs
from mbrl_cli.models.base import Model
from mbrl_cli.models.oracle import Oracle
from mbrl_cli.planners.base import Planner
from mbrl_cli.run_settings import RunSettings
from mbrl_cli.seeding import child_seed, torch_generator
from mbrl_cli.types import Bounds

# By `Model.learns_from`: what a model learns from, and what to use if the agent does not train it.
TRAINERS = {
    "replay": ("the replay", "agent=mpc, or model=tdmpc2"),
    "search": ("tree search", "agent=alphazero, or a model that is fitted to the replay"),
    "td": ("temporal differences", "agent=tdmpc2, or a model that is fitted to the replay"),
}


@dataclass(frozen=True)
class RunObjects:
    """The objects of one run."""

    envs: list[Env]  # of the training, `num_envs` instances
    eval_envs: EvaluationEnvs
    model: Model | None
    planner: Planner | None
    agent: Agent
    settings: RunSettings
    device: torch.device
    threads: int

    @property
    def env(self) -> Env:
        """Return the first environment of the training."""
        return self.envs[0]


def build(cfg: DictConfig, restored: bool = False) -> RunObjects:
    """Check the whole config, then build the objects of a run.

    Args:
        cfg: a composed config.
        restored: whether a checkpoint is loaded afterwards; `model_from` is then ignored.

    Raises:
        UserError: for any mistake in the config.
    """
    settings, device, threads = run_level_settings(cfg)
    for key in ("model_from_frozen", "model_from_replay"):
        if getattr(settings, key) and settings.model_from is None:
            raise UserError(f"{key}=true: needs a run to start from; add model_from=RUN_DIR")
    groups = {group: _checked_group(cfg, group) for group in GROUPS}
    _check_roles(groups)

    def new_env() -> Env:
        return _new_env(groups["env"], settings)

    env = new_env()
    new_eval_env: Callable[[], Env] = new_env
    if settings.eval_video:
        arguments = rendering_arguments(groups["env"].arguments, env, settings)
        new_eval_env = partial(_new_env, replace(groups["env"], arguments=arguments), settings)
        if not restored:
            check_rendering(new_eval_env, settings)
    spec = env.spec
    check_memory(settings, spec, {name: group.arguments for name, group in groups.items()}, device)
    envs = [env, *_further_envs(new_env, settings.num_envs)]
    objects: dict[str, Any] = {"spec": spec, "action": spec.action, "device": device}
    for group in ("model", "planner", "agent"):
        objects["generator"] = torch_generator(settings.seed, group)
        objects[group] = _build_group(groups[group], objects)
        if objects[group] is not None:
            check_members(group, objects[group])
    model = objects["model"]
    if isinstance(model, Oracle) and spec.simulator is None:
        if settings.eval_video:
            raise UserError(
                f"eval_video={settings.eval_video}: model=oracle copies {spec.id}, and an "
                "environment that renders cannot be copied; use eval_video=0"
            )
        scratch = new_env()
        try:
            model.choose_copies(scratch)
        finally:
            scratch.close()
    if settings.model_from is not None and not restored:
        load_source_model(settings, model, groups["env"].arguments)
    if not restored and settings.prefill_steps == 0 and model is not None and not model.is_fitted:
        raise UserError(
            "prefill_steps=0: must be >= 1, because a learned model must be fitted to data first"
        )
    if not restored:
        _check_steps(settings, objects["agent"], model)
    return RunObjects(
        envs=envs,
        eval_envs=EvaluationEnvs(new_eval_env, envs, settings.num_eval_envs),
        model=model,
        planner=objects["planner"],
        agent=objects["agent"],
        settings=settings,
        device=device,
        threads=threads,
    )


def build_env(cfg: DictConfig, kwargs: Mapping[str, Any] | None = None) -> Env:
    """Check the part of a config that describes the environment, and build it.

    Args:
        cfg: a composed config.
        kwargs: further arguments of the environment's constructor.
    """
    settings, _, _ = run_level_settings(cfg)
    group = _checked_group(cfg, "env")
    if kwargs:
        group.arguments["kwargs"] = {**(group.arguments.get("kwargs") or {}), **kwargs}
    return _new_env(group, settings)


def _new_env(group: _Group, settings: RunSettings) -> Env:
    with restored_global_generators():
        seed_global_generators(child_seed(settings.seed, "environment"))
        env: Env = group.build({})
    env.timeout = settings.env_timeout
    return env


def _further_envs(new_env: Callable[[], Env], num_envs: int) -> list[Env]:
    """Build the instances that parallel training episodes need beside the first one."""
    try:
        return [new_env() for _ in range(num_envs - 1)]
    except UserError as error:
        raise UserError(
            f"num_envs={num_envs}: a further instance cannot be built; use num_envs=1 ({error})"
        ) from error


def _build_group(group: _Group, objects: Mapping[str, Any]) -> Any:
    # A requested size does not fit into memory, or a user's class raises.
    with failing_call(group.name, getattr(group.target, "__name__", "none"), "cannot be built"):
        return group.build(objects)


def _check_steps(settings: RunSettings, agent: Agent, model: Model | None) -> None:
    """Raise UserError if the run ends before the agent learns anything."""
    total, prefill = settings.total_steps, settings.prefill_steps
    # A model that is fitted before the run, such as the oracle, needs no data.
    needs_no_data = settings.model_from_frozen or (model is not None and model.is_fitted)
    learns = type(agent).update is not Agent.update
    if learns and not needs_no_data and total <= prefill:
        raise UserError(
            f"total_steps={total}: must be > prefill_steps={prefill}, because nothing is learned "
            "during the prefill; increase total_steps or decrease prefill_steps"
        )


def run_level_settings(cfg: DictConfig) -> tuple[RunSettings, torch.device, int]:
    """Return the checked run-level settings, the device and the number of CPU threads."""
    check_tags(cfg.get("tags"))
    parse_budget(cfg.get(BUDGET))
    hints = get_type_hints(RunSettings, include_extras=True)
    values = {key: check_value(key, _value(cfg, key), hint) for key, hint in hints.items()}
    return RunSettings(**values), _device(_value(cfg, "device")), _threads(_value(cfg, "threads"))


def _device(name: Any) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise UserError(f"device={name}: allowed are auto, cpu, cuda, cuda:1, ...") from error
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"device={name}: allowed are auto, cpu, cuda, cuda:1, ...")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        found = torch.cuda.device_count()
        raise UserError(f"device={name}: this machine has {found} CUDA devices; use auto or cpu")
    return device


def _threads(value: Any) -> int:
    if value == "auto":
        # A second thread is faster only for large batches, and torch becomes many times slower
        # when threads outnumber free cores, as they do when several runs share a machine.
        return 1
    threads: int = check_value("threads", value, Annotated[int, Bounds(1, os.cpu_count() or 1)])
    return threads


@dataclass(frozen=True)
class _Group:
    """The choice of one group: its class or function, and its checked arguments."""

    name: str
    target: Callable[..., Any] | None
    arguments: dict[str, Any]

    def takes(self, argument: str) -> bool:
        return self.target is not None and argument in inspect.signature(self.target).parameters

    def needs(self, argument: str) -> bool:
        if not self.takes(argument):
            return False
        parameter = inspect.signature(cast(Callable[..., Any], self.target)).parameters[argument]
        return parameter.default is inspect.Parameter.empty

    def build(self, objects: Mapping[str, Any]) -> Any:
        if self.target is None:
            return None
        taken = {
            name: objects[name] for name in objects.keys() & OBJECT_ARGUMENTS if self.takes(name)
        }
        return self.target(**taken, **self.arguments)


def _checked_group(cfg: DictConfig, group: str) -> _Group:
    node = _value(cfg, group)
    if not isinstance(node, dict) or "_target_" not in node:
        raise UserError(f"{group}: has no _target_; add _target_: package.module.Class to its YAML")
    arguments = {key: value for key, value in node.items() if key != "_target_"}
    if group == "env":
        _refuse_constructor_arguments(arguments)
    if node["_target_"] is None:
        for key in arguments:
            raise UserError(
                f"{group}.{key}: unknown key, because no {group} is in use; add {group}=NAME"
            )
        return _Group(group, None, {})
    target = import_target(group, node["_target_"])
    if group in CONTRACTS:
        check_class(group, target)
    return _Group(group, target, check_arguments(group, target, arguments))


def _refuse_constructor_arguments(arguments: Mapping[str, Any]) -> None:
    """Raise UserError for `env.KEY` where KEY is an argument of the environment's constructor."""
    env_id = arguments.get("id")
    unknown = [key for key in arguments if key not in parameters_of(make_env)]
    if not unknown or not isinstance(env_id, str):
        return
    try:
        takes = constructor_arguments(env_id)
    except UserError:
        return  # an unknown environment is reported later
    for key in unknown:
        if key in takes:
            raise UserError(f"env.{key}: unknown key; did you mean env.kwargs.{key}?")


def _check_roles(groups: Mapping[str, _Group]) -> None:
    """Raise UserError if the agent needs a model or planner that is not given, or uses none."""
    for group in ("env", "agent"):
        if groups[group].target is None:
            raise UserError(f"{group}: must be given; allowed are {', '.join(choices(group))}")
    agent = groups["agent"]
    assert agent.target is not None
    for role in ("model", "planner"):
        given = groups[role].target is not None
        kind = agent.target.__name__
        if agent.needs(role) and not given:
            options = ", ".join(name for name in choices(role) if name != "none")
            raise UserError(f"{role}=none: agent {kind} needs a {role}; use one of {options}")
        if given and not agent.takes(role):
            raise UserError(
                f"{role}={getattr(groups[role].target, '__name__', '')}: agent {kind} uses no "
                f"{role}; use {role}=none, or an agent that has one: "
                f"{', '.join(_agents_with(role))}"
            )
    learns_from = getattr(groups["model"].target, "learns_from", "replay")
    if learns_from not in getattr(agent.target, "trains_models_from", ("replay",)):
        source, trainer = TRAINERS.get(learns_from, TRAINERS["replay"])
        raise UserError(
            f"model={getattr(groups['model'].target, '__name__', '')}: learns from {source}, "
            f"and agent {agent.target.__name__} does not train it; use {trainer}"
        )


def _agents_with(role: str) -> list[str]:
    """Return agent=NAME for every agent that takes a model, or a planner."""
    found = []
    for name in choices("agent"):
        target = compose_choice("agent", name).get("_target_")
        if target and role in inspect.signature(import_target("agent", target)).parameters:
            found.append(f"agent={name}")
    return found


def _value(cfg: DictConfig, key: str) -> Any:
    """Return a plain value of the config, every `${...}` resolved."""
    try:
        node = cfg[key]
        if OmegaConf.is_config(node):
            return OmegaConf.to_container(node, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        full = getattr(error, "full_key", None) or key
        example = " (for example env.id=LunarLander-v3)" if full == "env.id" else ""
        raise UserError(f"{full}: must be given{example}") from error
    except OmegaConfBaseException as error:
        raise UserError(f"{key}: {str(error).splitlines()[0]}") from error
    return node
