"""The environment part of `mbrl check`: spaces, values, seeds, ends, images, known functions."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.error import DependencyNotInstalled

from mbrl_cli.config.composed_run import ComposedRun
from mbrl_cli.console.waiting import waiting
from mbrl_cli.envs.described_error import described_error
from mbrl_cli.envs.env import Env
from mbrl_cli.envs.known_function_check import compare_known_functions
from mbrl_cli.envs.registration import missing_package
from mbrl_cli.errors import UserError
from mbrl_cli.reports.check_report import CheckReport
from mbrl_cli.reports.env_sampling import ReturnCheck, Sampling
from mbrl_cli.reports.env_seeding import ROUNDING, SEED, Trajectory, difference_text, num_steps
from mbrl_cli.reports.space_entries import action_rows, observation_rows, short_space


class EnvCheck:
    """The checks of one environment.

    Args:
        words: `key=value` words, as after `mbrl train`.
        user_dir: the folder of `--config-dir`.
        report: prints the results and keeps the faults.

    Attributes:
        is_simulated: whether the environment has a batched simulator; known after `run`.
    """

    def __init__(self, words: Sequence[str], user_dir: Path | None, report: CheckReport) -> None:
        self._report = report
        self._run = ComposedRun(words, user_dir)
        self.is_simulated = False

    def run(self) -> Sampling | None:
        """Check everything and print it; return the random steps, or None if the environment fails.

        Raises:
            UserError: if the environment cannot be built.
        """
        with waiting("building the environment"):
            env = self._run.new_env()
        notes = ReturnCheck(env.gym)
        env.gym = notes
        self._spaces(env)
        try:
            sampling = self._contract(env, notes)
            if sampling is not None and self._seeding(env, num_steps(sampling.step_seconds)):
                self._ends(env, sampling)
            else:
                sampling = None
        finally:
            failure = env.close()
        if sampling is None:
            return None
        if failure is not None:
            self._report.add("closing", "note", failure)
        self._rendering()
        self._known(env, sampling)
        self.is_simulated = env.spec.simulator is not None
        return sampling

    def _spaces(self, env: Env) -> None:
        report, space, own = self._report, env.gym.observation_space, env.gym.unwrapped
        report.add("environment", "", env.spec.id)
        text = short_space(own.observation_space)
        if text != short_space(space):
            text += f", converted to {short_space(space)}"
        report.add(
            "observation",
            "",
            f"{text}: {_count(env.spec.obs_dim, 'entry', 'entries')} in this order",
        )
        report.table("", observation_rows(env))
        text = short_space(env.gym.action_space)
        report.add("action", "", f"{text}: {_count(env.spec.action.dim, 'entry', 'entries')}")
        report.table("", action_rows(env))

    def _contract(self, env: Env, notes: ReturnCheck) -> Sampling | None:
        """Take random steps; return None if the environment fails."""
        settings = self._run.settings()
        try:
            with waiting("taking random steps"):
                sampling = Sampling(env, settings.seed, settings.holdout_ratio)
        except UserError as error:
            self._report.add("contract", "fault", str(error))
            return None
        steps = sampling.replay.total_added
        episodes = _count(max(1, len(sampling.lengths)), "episode", "episodes")
        self._report.add(
            "contract", "ok",
            f"{steps:,} random steps in {episodes}: reset and step "
            "return finite values of the right types and sizes",
        )  # fmt: skip
        for note in [*notes.notes.values(), *_other_notices(env)]:
            self._report.add("contract", "note", note)
        seconds = sampling.step_seconds
        self._report.add(
            "speed", "", f"{1.0 / max(seconds, 1e-9):,.0f} environment steps per second (estimate "
            f"from {steps:,} steps)",
        )  # fmt: skip
        return sampling

    def _seeding(self, env: Env, steps: int) -> bool:
        """Repeat a trajectory; return whether the environment could play it."""
        report, name = self._report, f"env.id={env.spec.id}"
        with waiting("checking the seeds"):
            try:
                first = Trajectory.of(env, SEED, steps)
                again = Trajectory.of(env, SEED, steps, reset_twice=True)
                found = first.first_difference(again)
            except UserError as error:
                report.add("seeding", "fault", str(error))
                return False
            where = "in one instance"
            second, reason = self._second_instance(steps) if found is None else (None, None)
            if second is not None:
                found, where = first.first_difference(second), "in a second instance"
        if found is not None and found[1] > ROUNDING:
            report.add(
                "seeding", "fault",
                f"{name}: ignores its seed: two episodes with the same seed and actions differ "
                f"{where} ({difference_text(found)}), so a run cannot be repeated or resumed "
                "exactly; in reset call super().reset(seed=seed) and draw from self.np_random "
                "only, and let reset restore the whole state",
            )  # fmt: skip
        elif found is not None:
            report.add("seeding", "note", f"two episodes with the same seed and actions differ by "
                       f"rounding {where}: {difference_text(found)}")  # fmt: skip
        else:
            both = " and in a second instance" if second is not None else ""
            report.add("seeding", "ok", f"the same seed and actions give the same {steps} steps, "
                       f"twice in one instance{both}")  # fmt: skip
        if first.uses_globals:
            report.add("seeding", "note", "draws from the global generators of Python, numpy or "
                       "torch, which mbrl seeds; self.np_random is safer")  # fmt: skip
        if reason is not None:
            report.add("instances", "note", f"a second instance cannot be built ({reason}); "
                       "evaluation uses the training environment, between episodes")  # fmt: skip
        return True

    def _second_instance(self, steps: int) -> tuple[Trajectory | None, str | None]:
        """Return the trajectory of a second instance, or why there is none."""
        try:
            second = self._run.new_env()
        except UserError as error:
            return None, str(error)
        try:
            return Trajectory.of(second, SEED, steps), None
        except UserError as error:
            return None, str(error)
        finally:
            second.close()

    def _ends(self, env: Env, sampling: Sampling) -> None:
        report, name = self._report, f"env.id={env.spec.id}"
        steps, lengths = sampling.replay.total_added, sampling.lengths
        own_limit = sampling.num_truncated > env.num_cut
        limit = env.spec.max_episode_steps
        seen = (
            f"terminated {sampling.num_terminated}, truncated "
            f"{sampling.num_truncated - env.num_cut} episodes in {steps:,} random steps"
        )
        if lengths:
            shortest, longest = min(lengths), max(lengths)
            seen += f", after {shortest:,}"
            seen += f" to {longest:,} steps" if longest > shortest else " steps"
        if limit is not None:
            seen += f"; the time limit is {limit:,} steps"
        if not (env.has_limit or own_limit or sampling.num_terminated):
            report.add(
                "ends", "fault",
                f"{name}: has no time limit, and no episode ended in {steps:,} random steps; set "
                "env.max_episode_steps=N, such as env.max_episode_steps=200",
            )  # fmt: skip
        elif not (env.has_limit or own_limit):
            report.add("ends", "note", f"{seen}; there is no time limit, so episodes are cut "
                       "after 1,000 steps; to change this: env.max_episode_steps=N")  # fmt: skip
        else:
            report.add("ends", "ok", seen)
        if sampling.same_length:
            report.add("ends", "note", f"every episode terminated after exactly {lengths[0]} "
                       "steps; if this is a time limit, return it as truncated, not terminated, "
                       "because the agent learns that a terminated task is worth 0")  # fmt: skip

    def _rendering(self) -> None:
        """Build one more instance that renders images."""
        # gymnasium warns about a render_mode that the metadata do not name.
        with waiting("rendering an image"), warnings.catch_warnings(action="ignore"):
            try:
                env = self._run.new_env({"render_mode": "rgb_array"})
            except UserError as error:
                text, verdict = str(error).removeprefix("env.obs=pixels: "), "missing"
                if "takes no render_mode" in text:
                    text = (
                        "the constructor takes no render_mode; add it, and a method render that "
                        'returns an array [height, width, 3] for render_mode="rgb_array"'
                    )
            else:
                text, verdict = _rendered(env)
                env.close()
        if verdict == "ok":
            self._report.add("rendering", "ok", text)
            return
        self._report.add("rendering", "note", f"no images, which videos and env.obs=pixels need: "
                         f"{text}")  # fmt: skip

    def _known(self, env: Env, sampling: Sampling) -> None:
        """Compare known functions with the transitions."""
        batch = sampling.replay.batch(np.arange(len(sampling.replay)))
        roles = {"reward": env.spec.known_reward, "termination": env.spec.known_termination}
        with waiting("comparing known functions"):
            comparisons = {c.role: c for c in compare_known_functions(env.spec, batch)}
        rewards = batch.reward.numpy()
        if (rewards == 0.0).all():
            text = f"every reward was 0 in {len(rewards):,} random steps"
            self._report.add("reward", "note", f"{text}; nothing is learned before another one")
        for role in roles:
            if role not in comparisons:
                text = "learned by the model"
                if role == "reward":
                    text += f"; {rewards.min():.4g} to {rewards.max():.4g} in random steps"
                self._report.add(role, "", text)
                continue
            comparison = comparisons[role]
            fault, number = comparison.first_fault(), len(comparison.wrong)
            largest = f"largest difference {comparison.largest_difference():.3g}"
            if fault is None:
                self._report.add(role, "ok", f"the known function agrees with {number:,} "
                                 f"transitions; {largest}")  # fmt: skip
            elif role in env.spec.approximate:
                self._report.add(role, "note", f"the known function is approximate; {largest} in "
                                 f"{number:,} transitions")  # fmt: skip
            else:
                wrong = int(comparison.wrong.sum())
                self._report.add(role, "fault", f"{fault} ({wrong:,} of {number:,} transitions "
                                 f"differ; {largest})")  # fmt: skip


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def _rendered(env: Env) -> tuple[str, str]:
    """Return the size of an image and 'ok', or the fault and 'missing'."""
    try:
        env.reset(SEED)
        image: Any = env.gym.render()
    except NotImplementedError:
        return "the environment has no method render", "missing"
    except (ImportError, DependencyNotInstalled) as error:
        return missing_package(error), "missing"
    except Exception as error:  # any error of the environment's own code
        return described_error(error), "missing"
    shape = list(np.shape(image))
    if len(shape) != 3 or shape[-1] != 3:
        return f"render returns {type(image).__name__} {shape}, not [height, width, 3]", "missing"
    return f"rgb_array, {shape[0]} x {shape[1]} pixels", "ok"


def _other_notices(env: Env) -> list[str]:
    """Return the notices of the environment except the one about its time limit."""
    prefix = f"env.id={env.spec.id}: "
    lines = [line.removeprefix(prefix) for line in env.notices()]
    return [line for line in lines if not line.startswith("has no time limit")]
