"""A saved run with everything that a diagnosis looks at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from mbrl_cli.agents.base import Agent
from mbrl_cli.api.run import Run
from mbrl_cli.checkpoint_store import load_newest_replay
from mbrl_cli.config.build import RunObjects
from mbrl_cli.config.saved_run import load_saved_run, saved_env_builder
from mbrl_cli.diagnosis.episode import Episode
from mbrl_cli.envs.env import Env
from mbrl_cli.envs.global_random import restored_global_generators
from mbrl_cli.episode_steps import episode_steps
from mbrl_cli.models.base import Model
from mbrl_cli.replay.buffer import ReplayBuffer
from mbrl_cli.seeding import child_seed, torch_generator

# Called with the number of steps that each running episode has taken.
StepReport = Callable[[int], None]


class DiagnosedRun:
    """A saved run: its objects with the learned weights, its replay, and episodes played now.

    Nothing is written into the run folder. Objects and replay are those of the newest checkpoint.

    Attributes:
        run: the run folder, for its config and its metrics.
        overrides: settings that the user changed for the diagnosis, `key=value`.
        objects: environment, model, planner, agent.
        step: environment step of the learned weights.
    """

    def __init__(self, run: Run, overrides: Sequence[str] = ()) -> None:
        """Load the run.

        Raises:
            UserError: as `load_saved_run`.
        """
        self.run = run
        self.overrides = list(overrides)
        self.objects, self.step = self.load([])

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.run.folder

    @property
    def agent(self) -> Agent:
        """The agent as it was saved."""
        return self.objects.agent

    @property
    def model(self) -> Model | None:
        """The learned model; None: the agent has none."""
        return self.objects.model

    def load(self, overrides: Sequence[str]) -> tuple[RunObjects, int]:
        """Return new objects of the run, with further settings changed, and their step."""
        run = self.run
        return load_saved_run(run.folder, [*self.overrides, *overrides], run.trust, run.config_dir)

    def new_env(self) -> Env:
        """Return a new environment of the run."""
        return self._env_builder()

    @cached_property
    def _env_builder(self) -> Callable[[], Env]:
        run = self.run
        return saved_env_builder(run.folder, None, run.trust, run.config_dir)

    @cached_property
    def replay(self) -> ReplayBuffer:
        """All transitions that the run collected.

        Raises:
            UserError: if the folder has no replay, or it is damaged.
        """
        stored, episodes = load_newest_replay(self.run.folder)
        spec, rows = self.objects.env.spec, len(stored["reward"])
        replay = ReplayBuffer(
            rows,
            spec.obs_dim,
            spec.action.dim,
            self.objects.settings.holdout_ratio,
            images=spec.obs_shape is not None,
        )
        replay.load_state_dict({"total_added": rows, "num_episodes": episodes, **stored})
        return replay

    def seeds(self, episodes: int, first: int = 0) -> list[int]:
        """Return reset seeds of episodes `first`, `first` + 1, ...; no run was trained on them."""
        numbers = range(first, first + episodes)
        return [child_seed(self.run.seed, "diagnosis", number) for number in numbers]

    def play(
        self,
        seeds: Sequence[int],
        agent: Agent | None = None,
        max_steps: int | None = None,
        explore: bool = False,
        report: StepReport | None = None,
    ) -> list[Episode]:
        """Play one episode for each reset seed, all in parallel.

        Args:
            seeds: of the episodes' first states; equal seeds give equal first states.
            agent: None: the saved one.
            max_steps: steps after which episodes are cut; None: as the environment has it.
            explore: whether the policy explores as in training.
            report: shows the progress.
        """
        agent = self.agent if agent is None else agent
        envs = [self.new_env() for _ in seeds]
        try:
            with restored_global_generators():
                return _play(agent, envs, seeds, max_steps, explore, report, self.run.seed)
        finally:
            for env in envs:
                env.close()


def _play(
    agent: Agent,
    envs: Sequence[Env],
    seeds: Sequence[int],
    max_steps: int | None,
    explore: bool,
    report: StepReport | None,
    seed: int,
) -> list[Episode]:
    policy = agent.policy(envs, explore, torch_generator(seed, "diagnosis"))
    obs = np.stack([env.reset(s) for env, s in zip(envs, seeds, strict=True)])  # [B, O]
    policy.reset()
    observations = [[row] for row in obs]
    actions: list[list[np.ndarray]] = [[] for _ in seeds]
    rewards: list[list[float]] = [[] for _ in seeds]
    predicted: list[list[float]] = [[] for _ in seeds]
    ends = [(False, False)] * len(seeds)
    for number, step in enumerate(episode_steps(policy, envs, obs, agent.divergence_advice), 1):
        values = step.decision.predicted_return
        for row, episode in enumerate(step.episodes.tolist()):
            observations[episode].append(step.next_obs[row])
            actions[episode].append(step.decision.action[row])
            rewards[episode].append(float(step.reward[row]))
            predicted[episode].append(np.nan if values is None else float(values[row]))
            ends[episode] = bool(step.terminated[row]), bool(step.truncated[row])
        if report is not None:
            report(number)
        if number == max_steps:
            break
    return [
        Episode(
            seed=seeds[k],
            obs=np.stack(observations[k]),
            action=np.stack(actions[k]),
            reward=np.array(rewards[k]),
            terminated=ends[k][0],
            truncated=ends[k][1],
            predicted_return=np.array(predicted[k]),
        )
        for k in range(len(seeds))
    ]
