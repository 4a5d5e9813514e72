"""What is different on a GPU; nothing here runs without one."""

import numpy as np
import pytest
import torch

from mbrl_cli.agents.random import random_actions
from mbrl_cli.config.build import build
from mbrl_cli.logger import Logger
from mbrl_cli.planners.cuda_graph import CudaGraphPlanner
from mbrl_cli.replay.buffer import ReplayBuffer
from mbrl_cli.runner import Runner
from mbrl_cli.seeding import torch_generator

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

PLANNERS = ["cem", "icem", "mppi", "random_shooting"]


def build_on_gpu(compose_run, *overrides):
    return build(compose_run("device=cuda", "model=gaussian_ensemble", *overrides))


@pytest.mark.parametrize("env", ["cartpole", "pendulum"])
@pytest.mark.parametrize("planner", PLANNERS)
def test_a_cuda_graph_decides_as_the_planner_itself(compose_run, planner, env):
    agent = build_on_gpu(compose_run, f"env={env}", f"planner={planner}").agent
    state = {"obs": torch.zeros(3, agent.model.spec.obs_dim, device="cuda")}
    decided = []
    for use_graph in (False, True):
        generator = torch.Generator("cuda").manual_seed(1)
        world, memory = agent.planning.world(generator), agent.planning.planner.initial_memory(3)
        graph = CudaGraphPlanner(agent.planning.planner, world, generator, 0.0)
        for _ in range(3):
            with torch.inference_mode():
                if use_graph:
                    plan = graph.plan(state, memory)
                else:
                    plan = agent.planning.planner.plan(world, state, memory, generator)
            memory = plan.memory
            decided.append(plan.actions)
    for plain, replayed in zip(decided[:3], decided[3:], strict=True):
        torch.testing.assert_close(plain, replayed, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("model", ["linear", "mlp", "ensemble", "gaussian_ensemble", "oracle"])
def test_every_model_acts_on_a_gpu(compose_run, model):
    parts = build(compose_run("device=cuda", "env=pendulum", f"model={model}", "planner=cem"))
    env = parts.env
    policy = parts.agent.policy([env], True, torch_generator(0, "policy"))
    obs = env.reset(0)
    policy.reset()
    for _ in range(3):
        obs = env.step(policy.act(obs[None]).action[0])[0]
    assert np.isfinite(obs).all()


def test_a_policy_records_a_new_graph_after_a_fit(compose_run):
    parts = build_on_gpu(compose_run, "env=pendulum", "planner=cem")
    agent, env = parts.agent, parts.env
    policy = agent.policy([env], True, torch_generator(0, "policy"))
    obs = env.reset(0)
    policy.reset()
    policy.act(obs[None])
    first = policy.graph
    agent.load_state_dict(agent.state_dict())
    policy.act(obs[None])
    assert policy.graph is not first


@pytest.mark.parametrize("env", ["pendulum", "cartpole"])
def test_a_recorded_update_of_tdmpc2_learns_as_its_operations_one_by_one(compose_run, env):
    learned = []
    for recorded in (False, True):
        words = [f"env={env}", "agent=tdmpc2", "model.size=small", "planner.population=32"]
        parts = build(compose_run("device=cuda", *words))
        agent, spec = parts.agent, parts.env.spec
        if not recorded:
            agent.gradient_step = agent._gradient_step
        replay, generator = (
            ReplayBuffer(300, spec.obs_dim, spec.action.dim),
            torch_generator(0, "x"),
        )
        for step in range(300):
            obs, next_obs = torch.randn(2, spec.obs_dim, generator=generator).numpy()
            action = random_actions(spec.action, 1, generator)[0]
            replay.add(obs, action, float(obs[0]), next_obs, step % 10 == 9, False)
        agent.model.refit_scales(replay, agent.discount)
        for _ in range(8):
            agent.learn(replay)
        if recorded:
            assert agent.gradient_step._graph is not None
        learned.append([*agent.actor.network.detached(), *agent.model.slow_critics])
    for one, other in zip(*learned, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


def test_tdmpc2_trains_in_four_environments(compose_run, tmp_path):
    words = [
        "env=pendulum", "agent=tdmpc2", "num_envs=4", "total_steps=400", "prefill_steps=200",
        "env.max_episode_steps=25", "eval_every=0", "final_eval_episodes=2", "device=cuda",
    ]  # fmt: skip
    parts = build(compose_run(*words))
    with Logger(tmp_path, console=False) as logger:
        runner = Runner(parts.envs, parts.eval_envs, parts.agent, parts.settings, logger, tmp_path)
        assert np.isfinite(runner.run().returns).all()
