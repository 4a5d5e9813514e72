"""The cases of `kill_and_resume.py`: every agent, model and kind of observation that combine."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator
from typing import NamedTuple

RUN = [
    "total_steps=60", "prefill_steps=20", "eval_every=15", "eval_episodes=2",
    "final_eval_episodes=2", "env.max_episode_steps=10", "checkpoint_every=10", "threads=1",
    "device=cpu", "console=false",
]  # fmt: skip
EXTENDED = "total_steps=80"
FITS = ["agent.fit_every=10"]
PLANNER = [
    "planner=cem", "planner.horizon=3", "planner.population=12", "planner.iterations=1",
]  # fmt: skip
SEARCH = ["planner.num_simulations=4", "agent.batch_size=4"]
SAC = ["agent.sac.hidden=[8]", "agent.sac.batch_size=8", "agent.sac.updates_per_step=1"]
DREAMS = ["agent.pretrain_steps=2", "agent.replay_ratio=0.2", "agent.log_every=20"]
NETWORK = ["model.max_steps=5", "model.hidden=[8]", "model.termination_steps=5"]
SEQUENCES = ["model.batch_size=2", "model.sequence_length=4"]
MODELS = {
    "linear": ["model=linear"],
    "mlp": ["model=mlp", *NETWORK],
    "ensemble": ["model=ensemble", *NETWORK],
    "gaussian_ensemble": ["model=gaussian_ensemble", *NETWORK],
    "oracle": ["model=oracle"],
    "rssm": ["model=rssm", "model.fit_steps=2", *SEQUENCES],
    "latent": ["model=latent", "model.fit_steps=2", *SEQUENCES],
    "muzero": ["model=muzero", "model.hidden=[8]", "model.latent_dim=8"],
}
MARKOV = ["linear", "mlp", "ensemble", "gaussian_ensemble", "oracle"]
LATENT = ["rssm", "latent"]
PRESETS = {
    "random": ["agent=random"],
    "sac": ["agent=sac", "agent.hidden=[8]", "agent.batch_size=8"],
    "pets": ["agent=pets", *PLANNER, *FITS, *NETWORK],
    "planet": ["agent=planet", *PLANNER, *FITS, "model.fit_steps=2", *SEQUENCES],
    "tdmpc2": [
        "agent=tdmpc2",
        "planner.population=12",
        "planner.iterations=2",
        "agent.proposals=2",
        "agent.batch_size=4",
        "agent.pretrain_steps=2",
        "agent.log_every=20",
    ],
    "muzero": ["agent=muzero", *SEARCH, "model.hidden=[8]", "model.latent_dim=8"],
}
AGENTS = {
    "mpc": (MARKOV + LATENT, ["agent=mpc", *PLANNER, *FITS]),
    "terminal_value": (MARKOV, ["agent=mpc", "agent.terminal_value=true", *PLANNER, *FITS, *SAC]),
    "mbpo": (MARKOV, ["agent=mbpo", "agent.rollouts=20", *FITS, *SAC]),
    "mbpo_plan": (
        MARKOV, ["agent=mbpo", "agent.act=plan", "agent.rollouts=20", *PLANNER, *FITS, *SAC],
    ),
    "dreamer": (LATENT, ["agent=dreamer", *DREAMS]),
    "alphazero": ([*MARKOV, *LATENT, "muzero"], ["agent=alphazero", *SEARCH, *FITS]),
}  # fmt: skip
FEW_PLANS = ["planner.population=5", "planner.horizon=2"]  # copies of simulators are slow
LEARNERS = PRESETS | {
    f"{agent} {model}": [
        *words,
        *MODELS[model],
        *FEW_PLANS * (model == "oracle" and PLANNER[0] in words),
    ]
    for agent, (models, words) in AGENTS.items()
    for model in models
}
OBSERVATIONS = {
    "vector": ["env=pendulum"],
    "dict": ["env=gym", "env.id=moving_target:MovingTarget-v0"],
    "pixels": ["env=gridworld", "env.obs=pixels", "env.pixel_size=8"],
    "dmc": ["env=dmc"],
}
DISCRETE = ["env=cartpole"]  # instead of the pendulum, for a search over discrete actions
KILLED_IN = ("fit", "eval", "write", "resume")


class Case(NamedTuple):
    """What is killed, where and how."""

    learner: str
    observation: str
    phase: str
    number: int  # signal
    is_sequential: bool  # evaluation in the environments of the training
    is_parallel: bool  # four training episodes at a time
    is_extended: bool  # the resumed run has more steps
    is_new_interpreter: bool

    def words(self) -> list[str]:
        """Return the arguments of `mbrl train`."""
        env = OBSERVATIONS[self.observation]
        if self.observation == "vector" and self.learner.startswith(("alphazero", "muzero")):
            env = DISCRETE
        changes = ["eval_envs=0"] if self.is_sequential else []
        changes += ["num_envs=4", "env.max_episode_steps=5"] if self.is_parallel else []
        return [*env, *RUN, *LEARNERS[self.learner], *changes]


def all_cases(
    learners: list[str], observations: list[str], phases: list[str], rng: random.Random
) -> Iterator[Case]:
    """Yield every combination, each phase first with another part of them; then all again."""
    cells = [(learner, observation) for learner in learners for observation in observations]
    rng.shuffle(cells)
    number = 0
    while True:
        for shift in range(len(phases)):
            for index, (learner, observation) in enumerate(cells):
                number += 1
                yield Case(
                    learner,
                    observation,
                    phases[(index + shift) % len(phases)],
                    signal.SIGTERM if number % 5 == 0 else signal.SIGKILL,
                    is_sequential=index % 3 == 0,
                    is_parallel=index % 2 == 1,
                    is_extended=phases[(index + shift) % len(phases)] == "resume" and index % 8 < 4,
                    is_new_interpreter=number % 10 == 0,
                )
