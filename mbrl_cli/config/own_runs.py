"""Recognise runs that this user started on this machine: they need no `--trust`.

A secret key lies in the user's state folder ($XDG_STATE_HOME/mbrl, or ~/.local/state/mbrl), which
only the user can read. `origin.json` of a run folder holds the folder in which `mbrl train` was
started and an HMAC of that folder and the config. Both are worthless on another machine. A folder
whose config was changed, or that another user wrote, does not have a matching HMAC.

Modules that the config names are searched for in the folder of the training, not in the current
one, which may come from another person together with a copy of the run.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from mbrl_cli.errors import UserError
from mbrl_cli.run_files import check_regular, read_regular, write_atomically

ORIGIN = "origin.json"
KEY_BYTES = 32
MAX_BYTES = 2**14


def record_origin(folder: Path, configs: Sequence[str], started_in: str) -> None:
    """Write `origin.json`, so that this user needs no `--trust` for the run.

    Args:
        folder: the run folder.
        configs: its config as text, see `saved_config.config_record`; the old and the new one while
            it is changed, because the process may be killed in between.
        started_in: the folder in which `mbrl train` was started.
    """
    key = _key(create=True)
    if key is None:
        return  # no state folder, for example a machine without HOME: `--trust` is needed
    codes = [_hmac(key, started_in, config) for config in configs]
    origin = {"folder": started_in, "hmacs": codes}
    write_atomically(folder / ORIGIN, (json.dumps(origin, indent=2) + "\n").encode())


def training_folder(folder: Path, config: str) -> str | None:
    """Return the folder in which this user started a run; None if somebody else may have.

    Args:
        folder: the run folder.
        config: its config as text, see `saved_config.config_record`.
    """
    key = _key(create=False)
    if key is None:
        return None
    try:
        origin = json.loads(read_regular(folder / ORIGIN, MAX_BYTES))
        started_in, codes = str(origin["folder"]), [str(code) for code in origin["hmacs"]]
    except (UserError, OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    expected = _hmac(key, started_in, config).encode()
    is_own = any(hmac.compare_digest(expected, code.encode()) for code in codes)
    return started_in if is_own else None


def _hmac(key: bytes, started_in: str, config: str) -> str:
    message = json.dumps([started_in, config]).encode()
    return hmac.new(key, message, hashlib.sha256).hexdigest()


def _key(create: bool) -> bytes | None:
    """Return this user's key; None if there is none, or none can be created."""
    root = os.environ.get("XDG_STATE_HOME", "")
    if not os.path.isabs(root):  # as the XDG specification says
        root = os.path.expanduser("~/.local/state")
    if not os.path.isabs(root):
        return None
    path = Path(root) / "mbrl" / "key"
    try:
        if create and not path.exists():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # A link appears at once or not at all, so two first runs agree on one key.
            unfinished = path.with_name(f"key.{secrets.token_hex(8)}")
            descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets.token_bytes(KEY_BYTES))
            try:
                os.link(unfinished, path)
            except FileExistsError:
                pass
            finally:
                unfinished.unlink()
        check_regular(path)
        status = path.stat()
        if hasattr(os, "getuid") and (status.st_uid != os.getuid() or status.st_mode & 0o077):
            return None  # another user could have read or written it
        key = read_regular(path, MAX_BYTES)
    except (OSError, UserError):
        return None
    return key if len(key) == KEY_BYTES else None
