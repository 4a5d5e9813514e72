"""Use the parts of a run once, before the run has a folder, and refuse those that do not work.

Each part is called with tiny inputs: the model imagines three steps, the planner decides with one
iteration, the policy acts once, and the agent's state is saved and loaded in memory. Models and
agents from outside of this package are first updated once on random transitions. Built-in parts
are not, because a fit takes seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor

from mbrl_cli.agents.base import Agent, Decision
from mbrl_cli.agents.random import random_actions
from mbrl_cli.checkpoint import decode_checkpoint, encode_checkpoint
from mbrl_cli.config.contract import check_members
from mbrl_cli.config.failing_calls import failing_call
from mbrl_cli.config.state_shapes import refuse_other_shapes
from mbrl_cli.envs.env import Env
from mbrl_cli.envs.known_function_check import check_known_functions
from mbrl_cli.errors import UserError
from mbrl_cli.models.base import Model, Trajectories
from mbrl_cli.planners.base import Plan, Planner
from mbrl_cli.planners.deadline import Deadline
from mbrl_cli.planners.world import World
from mbrl_cli.replay.buffer import ReplayBuffer
from mbrl_cli.types import ActionSpec, EnvSpec, State, Step

SEED = 0  # of everything that is drawn here
STEPS, EPISODE_LENGTH = 40, 8  # random transitions that a plug-in is updated with
ONE_ITERATION = 0.0  # milliseconds: a deadline that only lets the first iteration pass


def rehearse(
    env: Env, model: Model | None, planner: Planner | None, agent: Agent, check_known: bool = True
) -> None:
    """Raise UserError, with the name of the class, if a part breaks its contract.

    The parts are changed by their use, so a run needs new ones.

    Args:
        env: the training environment.
        model: the run's model; None: the agent has none.
        planner: the run's planner; None: the agent has none.
        agent: the run's agent.
        check_known: whether known functions must agree with the environment.

    Raises:
        UserError: if a part breaks its contract.
        EnvironmentFault: if the environment fails.
    """
    plugins = has_plugins(model, agent)
    replay = _random_transitions(env, STEPS if plugins else 1)
    if check_known:
        check_known_functions(env.spec, replay.batch(np.arange(len(replay))))
    obs = env.reset(SEED)
    generator = torch.Generator().manual_seed(SEED)
    if model is not None:
        _rehearse_model(model, env, obs, generator)
    if plugins:
        _rehearse_update(agent, model, replay)
        if model is not None:  # an evaluation may come before the first fit, so both must work
            _rehearse_model(model, env, obs, generator)
    if model is not None and planner is not None:
        _rehearse_planner(planner, model, env, obs, generator)
    _rehearse_agent(agent, planner, env, obs, generator)


def has_plugins(model: Model | None, agent: Agent) -> bool:
    """Return whether the model or the agent comes from outside of this package."""
    parts = [part for part in (model, agent) if part is not None]
    return any(not type(part).__module__.startswith("mbrl_cli.") for part in parts)


def _random_transitions(env: Env, steps: int) -> ReplayBuffer:
    """Take random steps in short episodes."""
    spec = env.spec
    generator = torch.Generator().manual_seed(SEED)
    replay = ReplayBuffer(
        steps, spec.obs_dim, spec.action.dim, 0.2, images=spec.obs_shape is not None
    )
    obs = env.reset(SEED)
    for step in range(1, steps + 1):
        action = random_actions(spec.action, 1, generator)[0]
        next_obs, reward, terminated, truncated = env.step(action)
        truncated = truncated or step % EPISODE_LENGTH == 0
        replay.add(obs, action, reward, next_obs, terminated, truncated)
        obs = env.reset(SEED + step) if terminated or truncated else next_obs
    return replay


# --- the parts --------------------------------------------------------------------------------


def _rehearse_update(agent: Agent, model: Model | None, replay: ReplayBuffer) -> None:
    with _named("agent", agent, "update"):
        metrics = agent.update(replay, STEPS)
    _check_metrics("agent", agent, "update", metrics)
    if model is not None and model.learns_from == "replay" and not model.is_fitted:
        _refuse("model", model, "is_fitted is false after fit; set it to true there")


def _rehearse_model(model: Model, env: Env, obs: np.ndarray, generator: torch.Generator) -> None:
    spec, plans, horizon, particles = env.spec, 2, 3, model.num_particles
    observed = _observed(model, env, obs)
    with _named("model", model, "branch"):
        rows = model.branch(observed, plans)
    _check_state("model", model, "branch", rows, plans)
    actions = torch.from_numpy(random_actions(spec.action, horizon * plans, generator))
    actions = actions.view(horizon, plans, -1).to(model.device)  # [H, M, A]
    with _named("model", model, "step"):
        step = model.step(rows, actions[0], generator)
    _check_type("model", model, "step", step, Step)
    _check_state("model", model, "step", step.state, plans)
    for name in ("reward", "continues"):
        _check_shape("model", model, f"step: {name}", getattr(step, name), (plans, particles))
    with _named("model", model, "unroll"):
        unrolled = model.unroll(model.branch(observed, plans), actions, generator)
    _check_type("model", model, "unroll", unrolled, Trajectories)
    for name in ("reward", "continues"):
        value = getattr(unrolled, name)
        if name == "reward" or value is not None:
            shape = (horizon, plans, particles)
            _check_shape("model", model, f"unroll: {name}", value, shape)
    if model.learns_from == "replay":  # latents that only a search reads have no observation
        with _named("model", model, "decode"):
            decoded = model.decode(step.state)
        _check_shape("model", model, "decode", decoded, (plans, particles, spec.obs_dim))


def _observed(model: Model, env: Env, obs: np.ndarray) -> State:
    with _named("model", model, "initial"):
        state = model.initial(1)
    _check_state("model", model, "initial", state, 1)
    no_action = torch.zeros(1, env.spec.action.dim, device=model.device)
    with _named("model", model, "observe"):
        state = model.observe(state, no_action, torch.from_numpy(obs)[None], [env])
    _check_state("model", model, "observe", state, 1)
    return state


def _rehearse_planner(
    planner: Planner, model: Model, env: Env, obs: np.ndarray, generator: torch.Generator
) -> None:
    world = World.of_model(model, 1.0, generator)
    with _named("planner", planner, "initial_memory"):
        memory = planner.initial_memory(1)
    with _one_iteration(planner):
        for _ in range(2):  # the second decision starts from the memory of the first one
            _check_state("planner", planner, "memory", memory, 1)
            state = _observed(model, env, obs)
            with _named("planner", planner, "plan"), torch.inference_mode():
                plan = planner.plan(world, state, memory, generator)
            _check_type("planner", planner, "plan", plan, Plan)
            _check_plan(planner, env.spec, plan)
            memory = {} if plan.memory is None else plan.memory


def _check_plan(planner: Planner, spec: EnvSpec, plan: Plan) -> None:
    actions, dim = plan.actions, spec.action.dim
    right = isinstance(actions, Tensor) and actions.dim() == 3 and len(actions) == 1
    if not right or actions.shape[1] < planner.replan_every or actions.shape[2] != dim:
        _refuse(
            "planner", planner,
            f"plan: actions are {_shown(actions)}; must be a tensor [1, H, {dim}] with "
            f"H >= {planner.replan_every}",
        )  # fmt: skip
    _check_actions("planner", planner, "plan", actions[0], spec.action)
    if plan.predicted_return is not None:
        _check_shape("planner", planner, "plan: predicted_return", plan.predicted_return, (1,))


def _rehearse_agent(
    agent: Agent,
    planner: Planner | None,
    env: Env,
    obs: np.ndarray,
    generator: torch.Generator,
) -> None:
    with _named("agent", agent, "policy"):
        policy = agent.policy([env], True, generator)
    check_members("policy", policy)
    with _named("policy", policy, "reset"):
        policy.reset()
    with _one_iteration(planner), _named("policy", policy, "act"):
        decision = policy.act(obs[None])
    _check_type("policy", policy, "act", decision, Decision)
    action, shape = decision.action, (1, env.spec.action.dim)
    if not isinstance(action, np.ndarray) or action.shape != shape:
        _refuse("policy", policy, f"act: action is {_shown(action)}; must be an array {shape}")
    _check_actions("policy", policy, "act", torch.from_numpy(action), env.spec.action)
    if decision.predicted_return is not None and decision.predicted_return.shape != (1,):
        shown = _shown(decision.predicted_return)
        _refuse("policy", policy, f"act: predicted_return is {shown}; must be an array (1,)")
    with _named("policy", policy, "retain"):
        policy.retain(np.array([0]))
    with _named("policy", policy, "metrics"):
        metrics = policy.metrics()
    _check_metrics("policy", policy, "metrics", metrics)


def rehearse_saving(agent: Agent, loaded: Agent) -> None:
    """Save the agent's state and load it into `loaded`, whose state must then be the same.

    Both happen in memory. Raises UserError if the state cannot be saved or is not restored.
    """
    with _named("agent", agent, "state_dict"):
        state = agent.state_dict()
    _check_type("agent", agent, "state_dict", state, dict)
    with _named("agent", agent, "state_dict"):
        content = encode_checkpoint("agent", state)
    restored = decode_checkpoint("agent", bytearray(content))
    hint = f"agent={type(agent).__name__}: state_dict of a new agent has other keys or shapes"
    refuse_other_shapes(restored, loaded.state_dict(), hint, "agent")
    with _named("agent", agent, "load_state_dict"):
        loaded.load_state_dict(restored)
    with _named("agent", agent, "state_dict"):
        again = encode_checkpoint("agent", loaded.state_dict())
    if content != again:
        _refuse("agent", agent, "load_state_dict: does not restore what state_dict returned")


@contextmanager
def _one_iteration(planner: Planner | None) -> Iterator[None]:
    """Let the planner take one iteration a decision, unless it has a time budget of its own."""
    if planner is None or planner.deadline.max_ms is not None:
        yield
        return
    own = planner.deadline
    planner.deadline = Deadline(ONE_ITERATION, planner.device)
    try:
        yield
    finally:
        planner.deadline = own


# --- the checks -------------------------------------------------------------------------------


def _named(role: str, part: object, method: str) -> AbstractContextManager[None]:
    return failing_call(role, type(part).__name__, f"{method} failed")


def _refuse(role: str, part: object, text: str) -> NoReturn:
    raise UserError(f"{role}={type(part).__name__}: {text}")


def _check_type(role: str, part: object, method: str, value: Any, expected: type) -> None:
    if not isinstance(value, expected):
        name = expected.__name__
        _refuse(role, part, f"{method}: returned {_shown(value)}; must return a {name}")


def _check_shape(role: str, part: object, what: str, value: Any, shape: tuple[int, ...]) -> None:
    if not isinstance(value, Tensor) or value.shape != shape:
        _refuse(role, part, f"{what} is {_shown(value)}; must be a tensor {list(shape)}")


def _check_state(role: str, part: object, method: str, state: Any, rows: int) -> None:
    _check_type(role, part, method, state, dict)
    for key, value in state.items():
        if not isinstance(key, str):
            _refuse(role, part, f"{method}: a state has the key {key!r}; keys must be texts")
        if not isinstance(value, Tensor) or value.shape[:1] != (rows,):
            shown = f"state[{key!r}] is {_shown(value)}"
            _refuse(role, part, f"{method}: {shown}; must be a tensor with {rows} rows")


def _check_actions(
    role: str, part: object, method: str, actions: Tensor, action: ActionSpec
) -> None:
    """Refuse actions [n, A] that are not finite or, where actions are discrete, not one-hot."""
    if not actions.is_floating_point() or not bool(actions.isfinite().all()):
        _refuse(role, part, f"{method}: actions must be finite floats, not {actions.tolist()}")
    for block in torch.split(actions, list(action.sizes), dim=-1) if action.sizes else ():
        if not bool(((block == 0) | (block == 1)).all() and (block.sum(-1) == 1).all()):
            text = f"{method}: discrete actions must be one-hot, not {block.tolist()}"
            _refuse(role, part, text)


def _check_metrics(role: str, part: object, method: str, metrics: Any) -> None:
    numbers = isinstance(metrics, Mapping) and all(
        isinstance(tag, str) and isinstance(value, int | float) for tag, value in metrics.items()
    )
    if not numbers:
        shown = repr(metrics)[:100]
        _refuse(role, part, f"{method}: returned {shown}; must return a dict of tags and numbers")


def _shown(value: Any) -> str:
    shape = getattr(value, "shape", None)
    name = type(value).__name__
    return name if shape is None else f"{name} {list(shape)}"
