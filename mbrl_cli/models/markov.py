"""Base class of models whose state is the observation."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from mbrl_cli.errors import UserError
from mbrl_cli.models.base import Model
from mbrl_cli.types import EnvSpec, State, Step

if TYPE_CHECKING:
    from mbrl_cli.envs.env import Env


class Prediction(NamedTuple):
    """Moments of the predicted next observation of n transitions, in units of the observation."""

    mean: Tensor  # [n, O]
    std: Tensor  # [n, O] of noise and disagreement together
    disagreement: Tensor  # [n] of the members' means, in standard deviations of the data


class MarkovModel(Model):
    """Model with the state {"obs": [B, O]}, imagined {"obs": [M, P, O]}.

    A subclass predicts transitions. This class replaces learned rewards and terminations by the
    environment's known functions, where there are any, and rounds integer observations.
    """

    def __init__(self, spec: EnvSpec, device: torch.device) -> None:
        if spec.obs_shape is not None:
            raise UserError(
                f"model={type(self).__name__}: {spec.id} observes images {list(spec.obs_shape)}, "
                "and one image is no Markov state; use agent=dreamer, or model=rssm or model=latent"
            )
        super().__init__(spec, device)
        self._integer = torch.tensor(spec.obs_integer, device=device)  # [O]
        self._any_integer = any(spec.obs_integer)
        self._all_integer = all(spec.obs_integer)

    @abstractmethod
    def transition(
        self, obs: Tensor, action: Tensor, generator: torch.Generator, common_noise: bool
    ) -> tuple[Tensor, Tensor]:
        """Map obs [M, P, O] and action [M, P, A] to next_obs [M, P, O] and reward [M, P].

        The reward is ignored where the environment's reward function is known.
        """

    def continues(self, obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor | None:
        """Return the probability [..., P] that the task continues after transitions [..., P, .].

        None: no transition can end the task. The result is ignored where the environment's
        termination function is known.
        """
        return None

    def predict(self, obs: Tensor, action: Tensor) -> Prediction:
        """Return the moments of the next observation for obs [n, O] and action [n, A].

        This default computes them over the model's particles, with a generator of a fixed seed.
        """
        generator = torch.Generator().manual_seed(0)
        state = self.branch({"obs": obs}, 1)  # [n, P, O]
        next_obs = self.step(state, action, generator).state["obs"]
        std, mean = torch.std_mean(next_obs, dim=1, unbiased=False)  # [n, O]
        return Prediction(mean, std, torch.zeros_like(mean[:, 0]))

    def initial(self, num_rows: int) -> State:
        """Return zeros, which the first observation replaces."""
        return {"obs": torch.zeros(num_rows, self.spec.obs_dim, device=self.device)}

    def observe(
        self, state: State, action: Tensor, obs: Tensor, envs: Sequence[Env] | None = None
    ) -> State:
        """Return the observation as the state."""
        return {"obs": obs.to(self.device)}

    def step(
        self, state: State, action: Tensor, generator: torch.Generator, common_noise: bool = False
    ) -> Step:
        """Imagine one step; see `Model.step`."""
        obs = state["obs"]
        if action.dim() == 2:
            action = action[:, None].expand(-1, obs.shape[1], -1)  # [M, P, A]
        next_obs, reward = self.transition(obs, action, generator, common_noise)
        if self._all_integer:
            next_obs = next_obs.round()
        elif self._any_integer:
            next_obs = torch.where(self._integer, next_obs.round(), next_obs)
        reward, continues = self.reward_and_continues(obs, action, next_obs, reward)
        if continues is None:
            continues = torch.ones_like(reward)
        return Step(state={"obs": next_obs}, reward=reward, continues=continues)

    def reward_and_continues(
        self, obs: Tensor, action: Tensor, next_obs: Tensor, reward: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Return reward and continue probability [..., P] of transitions [..., P, .].

        Known functions take precedence over the predicted `reward` and over `continues`. The
        probability is None where no transition can end the task.
        """
        spec = self.spec
        if spec.known_reward is not None:
            reward = spec.known_reward(obs, action, next_obs)
        if spec.known_termination is not None:
            return reward, 1.0 - spec.known_termination(obs, action, next_obs).float()
        return reward, self.continues(obs, action, next_obs)

    def decode(self, state: State) -> Tensor:
        """Return the observations [M, P, O]."""
        return state["obs"]
