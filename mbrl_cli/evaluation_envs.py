"""The environments in which evaluation episodes are played, built when they are first needed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from mbrl_cli.envs.env import Env
from mbrl_cli.errors import UserError, printable


class EvaluationEnvs:
    """Builds and keeps up to `limit` environments; the others' episodes are played afterwards.

    Args:
        new_env: builds an environment.
        training_envs: the environments of the training, used if there can be no other.
        limit: number of instances beside those of the training; 0: episodes are played in the
            environments of the training; None: one for each episode, or 0 if a further instance
            cannot be built.
    """

    def __init__(
        self, new_env: Callable[[], Env], training_envs: Sequence[Env], limit: int | None
    ) -> None:
        self._new_env = new_env
        self._training_envs = list(training_envs)
        self._limit = limit
        self._built: list[Env] = []

    def uses_training_envs(self) -> bool:
        """Return whether evaluation must wait for the end of the training episodes."""
        self.take(1)
        return self._limit == 0

    def take(self, episodes: int) -> list[Env]:
        """Return the environments for this number of episodes; at least one."""
        wanted = episodes if self._limit is None else min(episodes, self._limit)
        while len(self._built) < wanted:
            try:
                self._built.append(self._new_env())
            except UserError as error:
                if self._limit is not None:
                    raise
                self._limit = wanted = len(self._built)
                print(
                    f"mbrl: a further instance of the environment cannot be built ({error}); "
                    f"evaluation uses {wanted or 'the environments of the training'}",
                    file=sys.stderr,
                )
        return self._built[:wanted] if wanted else self._training_envs[:episodes]

    def notices(self) -> list[str]:
        """Return the notices of all environments, each once."""
        lines = (line for env in (*self._training_envs, *self._built) for line in env.notices())
        return list(dict.fromkeys(lines))

    def close(self) -> None:
        """Close all environments, the training environment too; print one line if this fails."""
        envs = (*self._training_envs, *self._built)
        failures = [reason for env in envs if (reason := env.close()) is not None]
        if failures:
            count = f", in {len(failures)} of {len(envs)} instances" if len(envs) > 1 else ""
            print(f"mbrl: {printable(failures[0])}{count}", file=sys.stderr)
