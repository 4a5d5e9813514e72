"""Exceptions that end a run with an exit code and a message of one line, without a traceback."""

from __future__ import annotations

import difflib
import errno
import unicodedata
from collections.abc import Iterable
from pathlib import Path

# Reasons for which a write to a disk fails; other OSErrors are not the disk's fault.
DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO}
# Common names of hyperparameters in other packages -> the names here.
OTHER_NAMES = {
    "lr": ("learning_rate",), "gamma": ("discount",), "tau": ("target_rate",),
    "lambda": ("gae_lambda",), "lam": ("gae_lambda",), "elites": ("num_elites", "elite_ratio"),
    "ensemble_size": ("num_members",), "layers": ("hidden",), "hidden_size": ("hidden",),
    "hidden_sizes": ("hidden",), "num_samples": ("population",), "samples": ("population",),
    "popsize": ("population",), "plan_horizon": ("horizon",), "simulations": ("num_simulations",),
    "timesteps": ("total_steps",), "total_timesteps": ("total_steps",), "steps": ("total_steps",),
    "num_steps": ("total_steps",), "learning_starts": ("prefill_steps",),
    "warmup_steps": ("prefill_steps",), "env_id": ("env",), "cuda": ("device",), "gpu": ("device",),
    "render_mode": ("env",), "logdir": ("hydra.run.dir",), "log_dir": ("hydra.run.dir",),
    "output_dir": ("hydra.run.dir",), "save_dir": ("hydra.run.dir",),
}  # fmt: skip


class UserError(Exception):
    """A mistake of the user; the message names the key, the value and the allowed values."""

    exit_code = 2


class EnvironmentFault(UserError):
    """The environment raised an exception, did not return, or returned an invalid value."""

    exit_code = 3


class Diverged(UserError):
    """The model diverged in several fits in a row."""

    exit_code = 4


class DiskFault(UserError):
    """The disk is full, or the run folder can no longer be written."""

    exit_code = 5


def disk_fault(error: OSError, folder: Path | None = None, remedy: str = "") -> DiskFault | None:
    """Return the fault for an OSError of the disk or of a file in `folder`, None for another one.

    Args:
        error: what the operating system reported.
        folder: a run folder; every failed access to a file in it is a fault of the disk.
        remedy: what to type when the cause is removed.
    """
    path = Path(str(error.filename)) if error.filename is not None else None
    in_folder = folder is not None and path is not None and _contains(folder, path)
    if error.errno not in DISK_ERRORS and not in_folder:
        return None
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    cause = "free disk space" if full else "make the folder writable again"
    place = path or folder or "a file"
    return DiskFault(f"{place}: {error.strerror or error}; {cause}{remedy and f', {remedy}'}")


def _contains(folder: Path, path: Path) -> bool:
    return folder.absolute() in (path.absolute(), *path.absolute().parents)


class RunPaused(Exception):
    """A callback pauses the run after an evaluation; its state is saved, and it can be resumed.

    Attributes:
        env_step: step of the evaluation.
        mean_return: its mean return.
    """

    def __init__(self, env_step: int, mean_return: float) -> None:
        super().__init__(env_step, mean_return)
        self.env_step = env_step
        self.mean_return = mean_return


class StopRequested(KeyboardInterrupt):
    """A signal asked the run to stop; raised at whatever line is running."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.signal_number = signal_number
        self.exit_code = 128 + signal_number  # as shells report it


def printable(text: object) -> str:
    r"""Return text for a terminal: control characters and text directions as escapes like \x1b.

    Text from a file of another person could otherwise move the cursor, change the title of the
    window or hide what was printed before. Line breaks stay.
    """
    return "".join(
        c if c == "\n" or unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Zl", "Zp")
        else c.encode("unicode_escape").decode()
        for c in str(text)
    )  # fmt: skip


def install_extra(extra: str) -> str:
    """Return the command that installs an extra of this package; no registry has the package."""
    return f'in the clone of mbrl type: pip install -c constraints.txt ".[{extra}]"'


def nearest(
    word: str, allowed: Iterable[str], count: int = 3, similarity: float = 0.5
) -> list[str]:
    """Return up to `count` names from `allowed` that are similar to `word`, best match first."""
    by_lower_case = {name.lower(): name for name in allowed}
    close = difflib.get_close_matches(word.lower(), by_lower_case, n=count, cutoff=similarity)
    return [by_lower_case[name] for name in close]


def unknown_key(full_key: str, key: str, allowed: Iterable[str]) -> str:
    """Return the error text about an unknown key: the nearest allowed ones, or else all of them.

    Args:
        full_key: the key as it was given, for example planner.horizn.
        key: its last part, which is compared with `allowed`.
        allowed: the keys that exist in its place.
    """
    allowed = list(allowed)
    named = [name for name in OTHER_NAMES.get(key.lower(), ()) if name in allowed]
    close = named or nearest(key, allowed, similarity=0.6)
    hint = f"did you mean {', '.join(close)}?" if close else f"allowed are {', '.join(allowed)}"
    return f"{full_key}: unknown key; {hint}"
