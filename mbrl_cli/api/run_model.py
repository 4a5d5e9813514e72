"""The learned model of a run, in terms of the environment's own observations and actions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mbrl_cli.api.imagination import Moments, as_prediction, imagined_moments
from mbrl_cli.api.model_prediction import ModelPrediction
from mbrl_cli.api.space_values import split_batch
from mbrl_cli.envs.checked_values import flatten_obs
from mbrl_cli.envs.env import Env
from mbrl_cli.envs.image_observation import ImageObservation
from mbrl_cli.errors import UserError
from mbrl_cli.models.base import Model
from mbrl_cli.models.ensemble import Ensemble


class RunModel:
    """Predicts transitions and imagines trajectories.

    A latent model (`rssm`, `latent`) starts from one observation without its history; to use the
    history of an episode see `RunPolicy.imagine`. Means and
    standard deviations are those of sampled trajectories. For one step of an ensemble the moments
    of the observation are computed exactly; they include the noise that a deterministic model left
    unexplained.

    Axes: n rows, H imagined steps, O obs_dim, A encoded action dim.

    Attributes:
        model: the model itself, in the package's own encoding.
        samples: number of sampled trajectories; rounded up to a multiple of the model's particles.
        observation_space: the space of one observation. Images are [channels, height, width].
        action_space: the space of one action.
    """

    def __init__(self, model: Model, env: Env, samples: int = 100) -> None:
        """Use a fitted model; users get this object from `Run.model`.

        Raises:
            UserError: if the model is not fitted, or cannot start from an observation.
        """
        if not model.is_fitted:
            raise UserError("run.model: the model has not been fitted yet; let the run go on")
        if model.state_source == "environment":
            raise UserError(
                f"run.model: {env.spec.id} has no batched simulator, so its oracle needs the "
                "environment itself; use a run with a learned model"
            )
        self.model = model
        self.samples = samples
        self.observation_space: gymnasium.Space[Any] = env.gym.observation_space
        self.action_space: gymnasium.Space[Any] = env.gym.action_space
        self._env = env

    def predict(self, obs: Any, action: Any) -> ModelPrediction:
        """Predict one transition.

        Args:
            obs: an observation of the environment.
            action: an action of the environment.

        Raises:
            ValueError: if the observation or the action does not fit its space.
        """
        return self._prediction([obs], [[action]], (0, 0))

    def predict_batch(self, obs: Any, actions: Any) -> ModelPrediction:
        """Predict n transitions; the arrays of the result have the leading axis n.

        Args:
            obs: a list of n observations, or their arrays with a leading axis n.
            actions: n actions.
        """
        observations = split_batch(self.observation_space, obs)
        one_step = [[action] for action in split_batch(self.action_space, actions)]
        return self._prediction(observations, one_step, (slice(None), 0))

    def imagine(self, obs: Any, actions: Any) -> ModelPrediction:
        """Imagine H actions in sequence; the arrays of the result have the leading axis H.

        Args:
            obs: the observation in which the sequence starts.
            actions: H actions, for example the plan of `RunPolicy.plan`.
        """
        sequence = split_batch(self.action_space, actions)
        return self._prediction([obs], [sequence], (0, slice(None)))

    def imagine_batch(self, obs: Any, actions: Sequence[Any]) -> ModelPrediction:
        """Imagine n sequences; the arrays of the result have the leading axes [n, H].

        Args:
            obs: a list of n observations, or their arrays with a leading axis n.
            actions: n sequences of H actions each.
        """
        observations = split_batch(self.observation_space, obs)
        sequences = [split_batch(self.action_space, sequence) for sequence in actions]
        return self._prediction(observations, sequences, (slice(None), slice(None)))

    def _prediction(
        self, observations: list[Any], sequences: list[list[Any]], index: tuple[Any, Any]
    ) -> ModelPrediction:
        """Return the entries `index` of the axes [n, H] of all imagined steps."""
        if len(observations) != len(sequences):
            raise ValueError(
                f"{len(observations)} observations and {len(sequences)} actions or sequences; "
                "their numbers must be equal"
            )
        lengths = {len(sequence) for sequence in sequences}
        if len(lengths) != 1 or 0 in lengths:
            raise ValueError("actions: all sequences need the same length, at least 1")
        obs = np.stack([self._flat(o) for o in observations])  # [n, O]
        encode = self._env.codec.encode
        actions = np.stack([[encode(a) for a in sequence] for sequence in sequences])  # [n, H, A]
        device = self.model.device
        with torch.inference_mode():
            moments = self._moments(
                torch.from_numpy(obs).to(device), torch.from_numpy(actions).to(device)
            )
        return as_prediction(self.observation_space, moments, index)

    def _moments(self, obs: Tensor, actions: Tensor) -> Moments:
        """Return the moments of all steps for obs [n, O] and actions [n, H, A]."""
        model = self.model
        state = model.observe(model.initial(len(obs)), torch.zeros_like(actions[:, 0]), obs)
        moments = imagined_moments(model, state, actions, self.samples)
        if actions.shape[1] == 1 and isinstance(model, Ensemble):
            exact = model.predict(obs, actions[:, 0])
            return (exact.mean[:, None], exact.std[:, None], *moments[2:])
        return moments

    def _flat(self, obs: Any) -> NDArray[np.float32]:
        gym_env = self._env.gym
        if isinstance(gym_env, ImageObservation):
            obs = gym_env.observation(obs)
        return flatten_obs(gym_env.observation_space, obs)
