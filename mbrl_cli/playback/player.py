"""Play episodes of a saved run, one step at a time, with the plan of each decision."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import gymnasium
import numpy as np
from gymnasium.error import DependencyNotInstalled
from numpy.typing import NDArray

from mbrl_cli.api.run_policy import RunPolicy
from mbrl_cli.envs.described_error import described_error
from mbrl_cli.envs.global_random import restored_global_generators, seed_global_generators
from mbrl_cli.envs.registration import missing_package
from mbrl_cli.errors import EnvironmentFault, UserError
from mbrl_cli.playback.played_step import PlayedStep
from mbrl_cli.playback.projections.registry import projection_of
from mbrl_cli.signals import raise_if_stop_requested, reraise_stop

SAMPLES = 20  # imagined trajectories whose mean is drawn

_Result = TypeVar("_Result")


class Player:
    """Plays episodes with a policy in an environment that renders `rgb_array`.

    Attributes:
        note: why no plan is drawn although the agent plans; empty if there is no reason.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], env_id: str, policy: RunPolicy) -> None:
        """Create it.

        Args:
            env: a new environment of the run.
            env_id: its id, for error messages.
            policy: a new policy of the run, for one environment.
        """
        self.note = ""
        self._env = env
        self._env_id = env_id
        self._policy = policy
        self._projection = projection_of(env)

    def episode(self, number: int, seed: int) -> Iterator[PlayedStep]:
        """Play one episode; yield each step after it was taken.

        Args:
            number: of the episode, which the steps show.
            seed: reset seed.

        Raises:
            EnvironmentFault: if the environment raises an exception.
            UserError: if a package that renders is not installed.
        """
        with restored_global_generators():
            seed_global_generators(seed)
            obs, _ = self._call("reset", lambda: self._env.reset(seed=seed))
            self._policy.reset()
            total, step, end = 0.0, 0, ""
            while not end:
                raise_if_stop_requested()
                image = self._image()
                action = self._policy.act(obs)
                plan = self._plan(obs)
                obs, reward, terminated, truncated, _ = self._call("step", self._step_with(action))
                total += float(reward)
                end = "terminated" if terminated else "truncated" if truncated else ""
                last = self._image() if end else None
                yield PlayedStep(
                    image, number, step, action, float(reward), total, end, last_image=last, **plan
                )
                step += 1

    def _step_with(self, action: Any) -> Callable[[], Any]:
        return lambda: self._env.step(action)

    def _plan(self, obs: Any) -> dict[str, Any]:
        """Return the fields of `PlayedStep` that describe the plan of the last decision."""
        predicted = self._policy.predicted_return
        fields: dict[str, Any] = {}
        if predicted is not None and np.isfinite(predicted[0]):
            fields["predicted_return"] = float(predicted[0])
        plan = self._policy.plan()
        if plan is None or self.note:
            return fields
        try:
            imagined = self._policy.imagine(SAMPLES)
        except UserError as error:  # a model without observations, such as muzero
            self.note = str(error)
            return fields
        assert imagined is not None
        fields["horizon"] = len(plan[0])
        fields["predicted_reward"] = float(imagined.reward[0, 0])
        if self._projection is not None:
            states = np.concatenate([np.asarray(obs)[None], imagined.obs[0]])  # [1 + H, O]
            # Steps after the predicted end of the task are not drawn.
            ends = np.flatnonzero(imagined.termination[0] > 0.5)
            states = states[: ends[0] + 2] if len(ends) else states
            fields["path"] = self._projection.points(states.astype(np.float64))
        return fields

    def _image(self) -> NDArray[np.uint8]:
        image = np.asarray(self._call("render", self._env.render))
        if image.ndim != 3 or image.shape[-1] != 3:
            raise EnvironmentFault(
                f"env.id={self._env_id}: render returned an array of shape {list(image.shape)}; "
                "it must be [height, width, 3]"
            )
        return image.astype(np.uint8)

    def _call(self, name: str, call: Callable[[], _Result]) -> _Result:
        """Return `call()`; turn its exceptions into one line."""
        try:
            return call()
        except (ImportError, DependencyNotInstalled) as error:
            raise UserError(f"env.id={self._env_id}: {missing_package(error)}") from error
        except BaseException as error:
            reraise_stop(error)
            raise EnvironmentFault(
                f"env.id={self._env_id}: {name} failed ({described_error(error)})"
            ) from error
