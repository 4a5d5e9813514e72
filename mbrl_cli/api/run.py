"""A saved run, finished or not: its settings, its state and what it logged."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mbrl_cli.api.metrics_file import last_step_and_return, read_metrics
from mbrl_cli.api.run_summary import RunSummary, State
from mbrl_cli.config.choice_record import choice_names
from mbrl_cli.config.fork_record import ForkRecord, read_fork
from mbrl_cli.config.run_config import read_run_config
from mbrl_cli.config.run_tags import run_tags
from mbrl_cli.config.saved_config import CONFIG
from mbrl_cli.errors import UserError
from mbrl_cli.lock import is_locked
from mbrl_cli.metrics_csv import METRICS_CSV
from mbrl_cli.run_files import FAULT_FILE, FINAL_FILE, STOPPED_FILE

if TYPE_CHECKING:
    import gymnasium
    import pandas

    from mbrl_cli.api.metrics_file import Series
    from mbrl_cli.api.run_model import RunModel
    from mbrl_cli.api.run_policy import RunPolicy
    from mbrl_cli.config.build import RunObjects


class Run:
    """A run folder. Nothing is written into it.

    `config` and `choices` are read once. `state`, `steps`, `progress` and the returns are read from
    the folder each time, so they follow a run that is training.

    Attributes:
        folder: the run folder.
        trust: whether the folder's config may import any code that it names.
        config_dir: a folder of YAML files of yours, whose code the run's config may name.
    """

    def __init__(self, folder: Path, trust: bool = False, config_dir: Path | None = None) -> None:
        """Read the config; raise `UserError` if the folder holds no run or its config is damaged.

        Args:
            folder: the run folder.
            trust: as `--trust` of `mbrl eval`.
            config_dir: as `--config-dir` of `mbrl eval`.
        """
        self.folder = folder
        self.trust = trust
        self.config_dir = config_dir
        self._config = read_run_config(folder, trust)
        for key, kind in (("env", dict), ("seed", int), ("total_steps", int)):
            if not isinstance(self._config.get(key), kind):
                shown = str(self._config.get(key))[:80]
                raise UserError(f"{folder / CONFIG}: is not of a run: it has {key}={shown}")

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"

    @property
    def config(self) -> dict[str, Any]:
        """The settings of the run as nested dicts, for example `config["planner"]["horizon"]`."""
        return self._config

    @cached_property
    def choices(self) -> dict[str, str]:
        """The choices of env, model, planner and agent: `{"env": "cartpole", ...}`.

        A choice that is not recorded is given by the name of its class.
        """
        return choice_names(self.folder, self._config)

    @cached_property
    def fork(self) -> ForkRecord | None:
        """How `mbrl fork` made the run: the step, the words, the runs before it; None: it did not.

        Raises UserError if the record is damaged.
        """
        return read_fork(self.folder)

    @property
    def name(self) -> str:
        """The name of the folder."""
        return self.folder.absolute().name

    @property
    def seed(self) -> int:
        """The seed of the run."""
        return int(self._config["seed"])

    @property
    def tags(self) -> tuple[str, ...]:
        """The words that were given as `tags=[a,b]`."""
        return run_tags(self._config)

    @property
    def total_steps(self) -> int:
        """Environment steps that the run takes in all."""
        return int(self._config["total_steps"])

    @property
    def steps(self) -> int:
        """Environment steps up to the newest row of metrics.csv."""
        return last_step_and_return(self.folder)[0]

    @property
    def progress(self) -> float:
        """Fraction of `total_steps` that the run has taken, 0 to 1."""
        return min(1.0, self.steps / self.total_steps) if self.total_steps else 1.0

    @property
    def state(self) -> State:
        """Whether the run is running, finished, interrupted, or failed.

        "running": a process holds the folder's lock. "finished": the final evaluation is saved,
        after `total_steps` or where a callback ended the run (stopped.txt has the reason).
        "failed": an error ended the run, and its trace is in fault.txt.
        """
        return self._state(self.steps)

    def _state(self, steps: int) -> State:
        if is_locked(self.folder):
            return "running"
        has_ended = steps >= self.total_steps or (self.folder / STOPPED_FILE).is_file()
        if has_ended and (self.folder / FINAL_FILE).is_file():
            return "finished"
        return "failed" if (self.folder / FAULT_FILE).is_file() else "interrupted"

    @property
    def last_return(self) -> float | None:
        """Mean return of the newest evaluation; None if there was none."""
        return last_step_and_return(self.folder)[1]

    @property
    def final_return(self) -> float | None:
        """Mean return of the final evaluation; None if the run has not finished."""
        return self.last_return if self.state == "finished" else None

    def summary(self) -> RunSummary:
        """Return state, steps, return, age and size, each read once."""
        steps, last_return = last_step_and_return(self.folder)
        newest = self.folder / METRICS_CSV
        changed = (newest if newest.is_file() else self.folder / CONFIG).stat().st_mtime
        return RunSummary(
            folder=self.folder,
            state=self._state(steps),
            seed=self.seed,
            steps=steps,
            total_steps=self.total_steps,
            last_return=last_return,
            age=max(0.0, time.time() - changed),
            size=_size(self.folder),
            tags=self.tags,
            **self.choices,
        )

    def metrics(self, tags: Sequence[str] | None = None) -> dict[str, Series]:
        """Return what the run logged: tag -> {"env_step": int64 [n], "value": float64 [n]}.

        Args:
            tags: the tags to read, which is faster than reading all; None: all. A tag that the run
                has not logged is left out.

        Raises:
            UserError: if metrics.csv is damaged.
        """
        return read_metrics(self.folder, tags)

    def metrics_frame(self, tags: Sequence[str] | None = None) -> pandas.DataFrame:
        """Return what the run logged as a DataFrame with the columns env_step, tag and value.

        Args:
            tags: the tags to read; None: all.

        Raises:
            UserError: if pandas is not installed, or metrics.csv is damaged.
        """
        from mbrl_cli.api.frames import metrics_frame

        return metrics_frame([self.metrics(tags)], [{}])

    def make_env(self, render_mode: str | None = None) -> gymnasium.Env[Any, Any]:
        """Return a new environment as the run has it, with its wrappers and time limit.

        Args:
            render_mode: "rgb_array", "human" or another mode of the environment; None: as in the
                run.

        Raises:
            UserError: if the environment cannot be built, or the run names code that it may not.
        """
        from gymnasium.wrappers import TimeLimit

        from mbrl_cli.config.saved_run import load_saved_env
        from mbrl_cli.envs.env import STEPS_WITHOUT_LIMIT
        from mbrl_cli.envs.image_observation import ImageObservation

        adapter = load_saved_env(self.folder, render_mode, self.trust, self.config_dir)
        env = adapter.gym
        if isinstance(env, ImageObservation):  # policies and models convert images themselves
            env = env.env
        return env if adapter.has_limit else TimeLimit(env, STEPS_WITHOUT_LIMIT)

    def policy(
        self,
        planner: str | None = None,
        overrides: Sequence[str] = (),
        num_envs: int = 1,
        seed: int | None = None,
        envs: Sequence[gymnasium.Env[Any, Any]] | None = None,
    ) -> RunPolicy:
        """Return a new policy with what the run has learned up to its newest checkpoint.

        With the default seed its decisions are those of `mbrl eval`, to the bit.

        Args:
            planner: another planner, such as "icem"; None: that of the run.
            overrides: changed settings, such as `["planner.horizon=30"]`.
            num_envs: number of environments in which it acts at once.
            seed: of its random numbers; None: the seed of the run.
            envs: the `num_envs` environments in which it acts. Only a run with `model=oracle` and
                without a batched simulator needs them.

        Raises:
            UserError: if there is no checkpoint, a file is damaged, an override does not fit, or
                the config names code that it may not.
        """
        from mbrl_cli.api.run_policy import RunPolicy
        from mbrl_cli.envs.env import Env

        words = [*([f"planner={planner}"] if planner is not None else []), *overrides]
        objects = self._load(words) if words else self._objects
        model = objects.model
        if model is not None and model.state_source == "environment" and envs is None:
            raise UserError(
                f"run.policy: the oracle of {objects.env.spec.id} copies the environment itself; "
                "use run.policy(envs=[env]) with the environment in which you act"
            )
        if envs is not None and len(envs) != num_envs:
            raise UserError(f"run.policy: {len(envs)} envs; must be num_envs={num_envs}")
        adapters = None if envs is None else [Env(env) for env in envs]
        run_seed = objects.settings.seed if seed is None else seed
        return RunPolicy(objects.agent, objects.env, num_envs, run_seed, adapters)

    @cached_property
    def model(self) -> RunModel:
        """The learned model, with what the run has learned up to its newest checkpoint.

        Raises UserError as `policy` does, and if the run has no model or it is not fitted yet.
        """
        from mbrl_cli.api.run_model import RunModel

        model = self._objects.model
        if model is None:
            raise UserError(
                f"run.model: agent={self.choices['agent']} of {self.name} learns no model; use a "
                "run whose agent has one, such as agent=mpc"
            )
        return RunModel(model, self._objects.env)

    def evaluation_seeds(self, episodes: int) -> list[int]:
        """Return the reset seeds of the evaluation episodes of `mbrl eval`, which prints them."""
        from mbrl_cli.seeding import child_seed

        return [child_seed(self.seed, "evaluation", episode) for episode in range(episodes)]

    @cached_property
    def _objects(self) -> RunObjects:
        return self._load([])

    def _load(self, overrides: Sequence[str]) -> RunObjects:
        from mbrl_cli.config.saved_run import load_saved_run

        return load_saved_run(self.folder, overrides, self.trust, self.config_dir)[0]


def _size(folder: str | Path) -> int:
    """Return the bytes of all files in a folder and its subfolders; links are not followed.

    Files that a running run deletes meanwhile do not count.
    """
    total = 0
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):
                is_folder = entry.is_dir(follow_symlinks=False)
                size = entry.stat(follow_symlinks=False).st_size
                total += _size(entry.path) if is_folder else size
    return total
