"""`fork.json` of a run folder: from which run, at which step and with which words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from mbrl_cli.errors import UserError
from mbrl_cli.run_files import read_regular, write_atomically

FORK = "fork.json"
MAX_BYTES = 2**16


@dataclass(frozen=True)
class Origin:
    """A run whose first `env_step` environment steps are also those of the fork.

    Attributes:
        run: its folder as an absolute path.
        env_step: the last step that both have in common.
    """

    run: str
    env_step: int


@dataclass(frozen=True)
class ForkRecord:
    """How a run was forked.

    Attributes:
        origins: the run that was forked, then the run from which that one was forked, and so on.
        words: the settings that were changed, as they were typed.
    """

    origins: Sequence[Origin]
    words: Sequence[str]

    @property
    def env_step(self) -> int:
        """Return the environment step of the fork."""
        return self.origins[0].env_step


def write_fork(folder: Path, source: Path, env_step: int, words: Sequence[str]) -> None:
    """Write `fork.json` for a fork of the run in `source`, which may be a fork itself."""
    earlier = read_fork(source)
    origins = [Origin(str(source.absolute()), env_step), *(earlier.origins if earlier else ())]
    content = {"origins": [asdict(origin) for origin in origins], "words": list(words)}
    write_atomically(folder / FORK, (json.dumps(content, indent=2) + "\n").encode())


def read_fork(folder: Path) -> ForkRecord | None:
    """Return how the run in `folder` was forked; None if it is no fork.

    Raises:
        UserError: if the file is damaged.
    """
    path = folder / FORK
    try:
        content = json.loads(read_regular(path, MAX_BYTES))
        origins = [Origin(str(one["run"]), int(one["env_step"])) for one in content["origins"]]
        words = [str(word) for word in content["words"]]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{path}: is damaged; restore it, or fork the run again") from error
    if not origins:
        raise UserError(f"{path}: is damaged; restore it, or fork the run again")
    return ForkRecord(origins, words)
