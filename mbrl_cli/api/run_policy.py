"""The learned policy of a run, in terms of the environment's own observations and actions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mbrl_cli.agents.base import Agent
from mbrl_cli.agents.planning_policy import PlanningPolicy
from mbrl_cli.api.imagination import as_prediction, imagined_moments
from mbrl_cli.api.model_prediction import ModelPrediction
from mbrl_cli.api.space_values import split_batch
from mbrl_cli.divergence import refuse_nonfinite_action
from mbrl_cli.envs.checked_values import flatten_obs
from mbrl_cli.envs.env import Env
from mbrl_cli.envs.image_observation import ImageObservation
from mbrl_cli.seeding import torch_generator


class RunPolicy:
    """Acts in one environment or in a batch of them, without exploration.

    It keeps the state of an episode, such as the last plan: call `reset` whenever the environment
    is reset, and `act` once for every step. Policies of one run are independent of each other.

    Attributes:
        num_envs: number of environments in a batch.
        observation_space: the space of one observation.
        action_space: the space of one action.
        predicted_return: float64 [n]; the return that the model predicts over the horizon of the
            plan, in the environment's units; NaN or None: there is no prediction for this step.
    """

    def __init__(
        self, agent: Agent, env: Env, num_envs: int, seed: int, envs: Sequence[Env] | None = None
    ) -> None:
        """Create it; users call `Run.policy`.

        Args:
            agent: the learned agent, which is not changed.
            env: an environment of the run, for its spaces.
            num_envs: number of environments in a batch.
            seed: of the policy's random numbers.
            envs: the environments in which it acts, if the agent needs them.
        """
        self.num_envs = num_envs
        space_env = env.gym.env if isinstance(env.gym, ImageObservation) else env.gym
        self.observation_space: gymnasium.Space[Any] = space_env.observation_space
        self.action_space: gymnasium.Space[Any] = env.gym.action_space
        self.predicted_return: NDArray[np.float64] | None = None
        self._agent = agent
        self._env = env
        self._envs = [env] * num_envs if envs is None else list(envs)
        self._start(seed)

    def _start(self, seed: int) -> None:
        # The name is that of an evaluation, so that the decisions are those of `mbrl eval`.
        self._generator = torch_generator(seed, "evaluation")
        self._new_policy()

    def _new_policy(self) -> None:
        self._policy = self._agent.policy(self._envs, explore=False, generator=self._generator)
        self._has_retained = False

    def reset(self, seed: int | None = None) -> None:
        """Start new episodes; call it after the environments were reset.

        Args:
            seed: of the policy's random numbers from now on; None: they continue. A new policy has
                the seed of the run.
        """
        if seed is not None:
            self._start(seed)
        elif self._has_retained:
            self._new_policy()
        self._policy.reset()

    def act(self, obs: Any) -> Any:
        """Return the action for the observation of one environment.

        Args:
            obs: an element of `observation_space`.

        Returns:
            An element of `action_space`, of the type that `action_space.sample()` returns.

        Raises:
            ValueError: if the observation does not fit the space, or `num_envs` is not 1.
        """
        if self.num_envs != 1:
            raise ValueError(
                f"act: this policy acts in {self.num_envs} environments; use act_batch"
            )
        return self._env.codec.to_env(self._act([obs])[0])

    def act_batch(self, obs: Any) -> NDArray[Any]:
        """Return the actions [n, *action_shape] for the observations of n environments.

        n is `num_envs`, or fewer after `retain`. The rows belong to the same environments at each
        call.

        Args:
            obs: a list of n observations, or their arrays with a leading axis n, as vectorized
                environments of gymnasium return them.

        Raises:
            ValueError: if the observations do not fit the space.
        """
        actions = self._act(split_batch(self.observation_space, obs))
        return np.stack(self._env.codec.all_to_env(actions))

    def retain(self, rows: Sequence[int] | NDArray[np.int64]) -> None:
        """Continue with the environments at these rows only: the other episodes have ended.

        `reset` starts episodes in all `num_envs` environments again.
        """
        self._policy.retain(np.asarray(rows, dtype=np.int64))
        self._has_retained = True

    def plan(self) -> list[NDArray[Any]] | None:
        """Return the plan of each environment: actions [H, *action_shape].

        The first one is that of the last decision; a plan that was partly executed is shorter.
        None: the agent does not plan with trajectories, or has not decided yet.
        """
        planned = self._planned()
        if planned is None:
            return None
        to_env = self._env.codec.all_to_env
        return [np.stack(to_env(plan)) for plan in planned.cpu().numpy()]  # n plans [H, A]

    def imagine(self, samples: int = 100) -> ModelPrediction | None:
        """Imagine `plan` from the present state, which includes the history of the episode.

        The arrays of the result have the leading axes [n, H]; None where `plan` is None.

        Args:
            samples: number of sampled trajectories.

        Raises:
            UserError: if the model cannot predict observations (`model=muzero`).
        """
        planned = self._planned()
        if planned is None:
            return None
        assert isinstance(self._policy, PlanningPolicy)
        with torch.inference_mode():
            moments = imagined_moments(self._policy.model, self._policy.state, planned, samples)
        return as_prediction(self._env.gym.observation_space, moments, (slice(None), slice(None)))

    def _planned(self) -> Tensor | None:
        """Return the encoded actions [n, H, A] from the last decision on."""
        policy = self._policy
        if not isinstance(policy, PlanningPolicy) or policy.planned is None:
            return None
        return policy.planned[:, (policy.step - 1) % policy.planner.replan_every :]

    def _act(self, observations: list[Any]) -> NDArray[np.float32]:
        """Return encoded actions [n, A] for n observations."""
        flat = np.stack([self._flat(obs) for obs in observations])  # [n, O]
        decision = self._policy.act(flat)
        refuse_nonfinite_action(decision.action, self._agent.divergence_advice)
        predicted = decision.predicted_return
        self.predicted_return = None if predicted is None else predicted.astype(np.float64)
        return decision.action

    def _flat(self, obs: Any) -> NDArray[np.float32]:
        gym_env = self._env.gym
        if isinstance(gym_env, ImageObservation):
            obs = gym_env.observation(obs)
        flat = flatten_obs(gym_env.observation_space, obs)
        if not np.isfinite(flat).all():
            raise ValueError("an observation is not finite")
        return flat
