"""Plug-ins from outside of the package: the four examples run, faulty ones are refused in one line.

Every refusal names the class and what is wrong, and comes before there is a run folder.
"""

import shutil
from pathlib import Path

import pytest

from mbrl_cli.agents.base import Agent, Policy
from mbrl_cli.config.contract import members
from mbrl_cli.models.base import Model
from mbrl_cli.planners.base import Planner

EXAMPLES = Path(__file__).parent.parent / "examples"
SMALL = [
    "total_steps=60", "prefill_steps=20", "eval_every=0", "final_eval_episodes=1",
    "env.max_episode_steps=10", "console=false", "device=cpu", "hydra.run.dir=run",
]  # fmt: skip
SMALL_MODEL = ["model.hidden=[8]", "model.max_steps=5", "model.termination_steps=5"]
SMALL_PLANNER = ["planner.horizon=3", "planner.population=8", "planner.iterations=1"]


@pytest.fixture
def plugins(mbrl, tmp_path):
    """Return `mbrl train` in a folder that holds the examples."""
    shutil.copytree(EXAMPLES, tmp_path, dirs_exist_ok=True)

    def train(*words):
        return mbrl("train", "--config-dir", "configs", *SMALL, *words)

    return train


@pytest.mark.parametrize(
    "words",
    [
        ["env=point_mass", "planner=hill_climbing", *SMALL_MODEL],
        ["env=point_mass", "model=nearest_neighbour", *SMALL_PLANNER],
        ["env=point_mass", *SMALL_MODEL, *SMALL_PLANNER],
        ["env=gridworld", "agent=dyna_q"],
        [
            "env=pendulum",
            "model=nearest_neighbour",
            "planner=hill_climbing",
            "planner.iterations=2",
        ],
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_the_examples_train_resume_and_evaluate(plugins, mbrl, tmp_path, words):
    done = plugins(*words)
    assert (done.code, done.err) == (0, "")
    assert (tmp_path / "run" / "checkpoint.safetensors").is_file()
    trusted = ["--trust", "--config-dir", "configs"]
    assert mbrl("resume", "run", "total_steps=80", *trusted).code == 0
    assert "mean return" in mbrl("eval", "run", "eval_episodes=1", *trusted).out


# Each case: the class that is derived from, the body of the derived class, and the line.
FAULTY = {
    "planner-without-plan": (
        "planner", "mbrl_cli.planners.base.Planner",
        "pass",
        "planner=Faulty: lacks plan; ",
    ),
    "planner-without-init": (
        "planner", "mbrl_cli.planners.base.Planner",
        "def __init__(self, action): pass\n    def plan(self, *args): pass",
        "planner=Faulty: lacks device, horizon, replan_every, deadline; ",
    ),
    "planner-returns-a-dict": (
        "planner", "hill_climbing.HillClimbing",
        "def plan(self, *args): return {}",
        "planner=Faulty: plan: returned dict; must return a Plan",
    ),
    "planner-returns-one-step-without-its-axis": (
        "planner", "hill_climbing.HillClimbing",
        "def plan(self, *args):\n        plan = super().plan(*args)\n"
        "        return plan._replace(actions=plan.actions[:, 0])",
        "planner=Faulty: plan: actions are Tensor [1, 2]; must be a tensor [1, H, 2]",
    ),
    "planner-raises": (
        "planner", "hill_climbing.HillClimbing",
        "def plan(self, world, *args): return world.evaluate(1)",
        "planner=Faulty: plan failed (AttributeError: 'World' object has no attribute 'evaluate'; "
        "faulty_planner_raises.py, line 5)",
    ),
    "planner-returns-nan": (
        "planner", "hill_climbing.HillClimbing",
        "def plan(self, *args):\n        plan = super().plan(*args)\n"
        "        return plan._replace(actions=plan.actions * float('nan'))",
        "planner=Faulty: plan: actions must be finite floats, not [[nan, nan]",
    ),
    "model-with-a-wrong-reward-shape": (
        "model", "nearest_neighbour.NearestNeighbour",
        "def transition(self, *args):\n        next_obs, reward = super().transition(*args)\n"
        "        return next_obs, reward[..., None]",
        "model=Faulty: step: reward is Tensor [2, 1, 1]; must be a tensor [2, 1]",
    ),
    "model-with-tuple-keys": (
        "model", "nearest_neighbour.NearestNeighbour",
        "def initial(self, num_rows): return {(0, 1): self.inputs}",
        "model=Faulty: initial: a state has the key (0, 1); keys must be texts",
    ),
    "model-that-is-never-fitted": (
        "model", "nearest_neighbour.NearestNeighbour",
        "def fit(self, replay, generator): return {}",
        "model=Faulty: is_fitted is false after fit; set it to true there",
    ),
    "model-whose-fit-returns-nothing": (
        "model", "nearest_neighbour.NearestNeighbour",
        "def fit(self, replay, generator): pass",
        "agent=MPC: update failed (AttributeError: ",
    ),
    "model-that-cannot-predict-before-its-first-fit": (
        "model", "nearest_neighbour.NearestNeighbour",
        "def transition(self, *args):\n        assert self.is_fitted, 'not fitted'\n"
        "        return super().transition(*args)",
        "model=Faulty: step failed (AssertionError: not fitted; ",
    ),
    "model-whose-state-grows-a-key": (
        "model", "nearest_neighbour.NearestNeighbour",
        "def state_dict(self):\n        state = super().state_dict()\n"
        "        return state if self.is_fitted else {'is_fitted': False}",
        "agent=MPC: state_dict of a new agent has other keys or shapes: agent.model.inputs is not "
        "in what is built now",
    ),
    "model-that-does-not-restore": (
        "model", "nearest_neighbour.NearestNeighbour",
        "def state_dict(self):\n        self.n = getattr(self, 'n', 0) + 1\n"
        "        return super().state_dict() | {'n': self.n}",
        "agent=MPC: load_state_dict: does not restore what state_dict returned",
    ),
    "agent-without-policy": (
        "agent", "mbrl_cli.agents.base.Agent",
        "pass",
        "agent=Faulty: lacks policy; ",
    ),
    "agent-whose-policy-is-a-function": (
        "agent", "dyna_q.DynaQ",
        "def policy(self, *args): return lambda obs: obs",
        "policy=function: lacks prediction_horizon, discount, reset, act, retain, metrics; ",
    ),
    "agent-whose-actions-are-indices": (
        "agent", "dyna_q.DynaQ",
        "def policy(self, *args):\n        policy = super().policy(*args)\n"
        "        act = policy.act\n"
        "        policy.act = lambda obs: act(obs)._replace(action=act(obs).action.argmax(1))\n"
        "        return policy",
        "policy=_GreedyPolicy: act: action is ndarray [1]; must be an array (1, 4)",
    ),
    "agent-with-tuple-keys": (
        "agent", "dyna_q.DynaQ",
        "def state_dict(self): return {(0.0, 1.0): 1}",
        "agent=Faulty: state_dict failed (TypeError: checkpoint: the keys of agent must be str or",
    ),
    "agent-that-logs-tensors": (
        "agent", "dyna_q.DynaQ",
        "def update(self, *args): return {'agent/loss': self.generator}",
        "agent=Faulty: update: returned {'agent/loss': ",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTY)
def test_a_faulty_plugin_is_refused_in_one_line_before_there_is_a_folder(plugins, tmp_path, name):
    role, base, body, line = FAULTY[name]
    base_module, _, base_class = base.rpartition(".")
    module = f"faulty_{name.replace('-', '_')}"
    source = (
        f"from {base_module} import {base_class}\n\n\nclass Faulty({base_class}):\n    {body}\n"
    )
    (tmp_path / f"{module}.py").write_text(source)
    head = "# @package _global_\nagent:\n  " if role == "agent" else ""
    text = f"{head}_target_: {module}.Faulty\n"
    (tmp_path / "configs" / role / "faulty.yaml").write_text(text)
    others = {
        "planner": ["env=point_mass", *SMALL_MODEL],
        "model": ["env=point_mass", "env.reward=learned", "planner=hill_climbing"],
        "agent": ["env=gridworld", "model=none", "planner=none"],
    }
    done = plugins(f"{role}=faulty", *others[role])
    assert done.code == 2
    assert done.err.startswith(f"mbrl: {line}")
    assert done.err.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("function", "line"),
    [
        ("return next_obs[..., :2].sum()", "env.reward=wrong_reward_0:reward: returned [] for obs"),
        ("return next_obs[..., 0]", "env.reward: the known function gives"),
    ],
)
def test_a_faulty_reward_function_is_refused(plugins, tmp_path, function, line):
    number = int("sum" not in function)
    source = f"def reward(obs, action, next_obs):\n    {function}\n"
    (tmp_path / f"wrong_reward_{number}.py").write_text(source)
    done = plugins("env=point_mass", f"env.reward=wrong_reward_{number}:reward", *SMALL_MODEL)
    assert done.code == 2
    assert done.err.startswith(f"mbrl: {line}")
    assert not (tmp_path / "run").exists()


def test_the_contracts_list_methods_and_attributes():
    assert members("policy") == [
        "prediction_horizon", "discount", "reset", "act", "retain", "metrics",
    ]  # fmt: skip
    for role, base in {"model": Model, "planner": Planner, "agent": Agent}.items():
        public = {name for name in vars(base) if not name.startswith("_")}
        assert public <= set(members(role))
    assert Policy.__abstractmethods__ == {"act"}
    assert {"spec", "num_particles", "state_source"} <= set(members("model"))
