"""Hydra as `mbrl train` uses it: resolvers, launching, and its errors told in one line.

Light on purpose: `--help`, `--cfg` and completion must not wait for torch.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from omegaconf import DictConfig, OmegaConf

from mbrl_cli.config.groups import GROUPS, choices, config_dir
from mbrl_cli.errors import UserError, nearest


def _for_env(key: str, default: Any, *, _root_: DictConfig) -> Any:
    """Return the value that the environment's YAML recommends for `key`, else `default`.

    Values for pixels have priority where the environment shows pixels; among these and among the
    others, values for the agent have priority.
    """
    recommended = OmegaConf.select(_root_, "env.recommended") or {}
    agent = OmegaConf.select(_root_, "agent_name")
    sections = [recommended]
    if OmegaConf.select(_root_, "env.obs") == "pixels":
        sections.insert(0, recommended.get("pixels", {}))
    for section in sections:
        for values in (section.get("agents", {}).get(agent, {}), section):
            if key in values:
                return values[key]
    return default


def _job_name(overrides: str) -> str:
    """Return a folder name for one job of a sweep; what tells jobs apart comes first."""
    parts = [part.lstrip("+~") for part in str(overrides).split(",")]
    first = (*GROUPS, "seed")
    parts.sort(key=lambda part: (part.split("=")[0] not in first, "." in part.split("=")[0]))
    return "".join(c if c.isalnum() or c in "=,.-_" else "_" for c in ",".join(parts))[:100]


def register_resolvers() -> None:
    """Teach OmegaConf the words that `configs/` uses; harmless when done twice."""
    OmegaConf.register_new_resolver("for_env", _for_env, replace=True)
    # Cached, like `now`: drawn once a run, however often the folder's name is read.
    OmegaConf.register_new_resolver(
        "run_token", lambda: secrets.token_hex(2), replace=True, use_cache=True
    )
    OmegaConf.register_new_resolver("job_name", _job_name, replace=True)


# --- launching ------------------------------------------------------------------------------


def launch(argv: Sequence[str]) -> None:
    """Run `mbrl train ARGV`: Hydra composes, our task runs, mistakes leave in one line."""
    import hydra

    register_resolvers()
    name = "mbrl" if "-sc" in argv else "mbrl train"  # the shell completes one-word commands
    sys.argv = [name, *(_open_kwargs(argument) for argument in argv)]
    import_from_here()
    wants_trace = "HYDRA_FULL_ERROR" in os.environ
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra shall hand its errors over, not print them
    main = hydra.main(version_base="1.3", config_path=str(config_dir()), config_name="train")(task)
    try:
        with refusing():
            main()
    except Exception as error:
        text = None if wants_trace else explain(error)
        if text is None:
            raise  # a fault of ours or of the environment: the trace is what helps
        print(f"mbrl: {text}", file=sys.stderr)
        raise SystemExit(2) from None


def import_from_here() -> None:
    """Find a person's own modules in the current folder, as with `python -m`."""
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())


def task(cfg: DictConfig) -> float:
    """Run one job; importable, so that every Hydra launcher can pickle it."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from mbrl_cli.config.train import train

    register_resolvers()  # a launcher's worker process starts without them
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        return train(cfg)  # one job's mistake does not end the others
    with refusing():  # here: Hydra would print all overrides before the error
        return train(cfg)


@contextmanager
def refusing() -> Iterator[None]:
    """Let an error with an exit code of its own end the program: its text on stderr, no trace."""
    try:
        yield
    except UserError as error:
        print(f"mbrl: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt as stopped:
        raise SystemExit(getattr(stopped, "exit_code", 130)) from None


def _open_kwargs(argument: str) -> str:
    """Let `env.kwargs.anything=1` add a key: only the environment knows which it takes."""
    return f"++{argument}" if argument.startswith(("env.kwargs.", "env.kwargs=")) else argument


# --- Hydra's errors in one line ---------------------------------------------------------------


def explain(error: Exception) -> str | None:
    """Return one line for a mistake that Hydra found, None if it was no mistake of the user's."""
    from hydra.errors import HydraException, MissingConfigException
    from yaml import YAMLError

    if isinstance(error, YAMLError):
        return " ".join(str(error).split())
    if isinstance(error, MissingConfigException):
        return _explain_choice(error)
    if not isinstance(error, HydraException):
        return None
    text = " ".join(str(part) for part in (error, error.__cause__) if part)
    key = _between(text, "Could not override '", "'") or _between(text, "Key '", "'")
    if key is not None:
        return _explain_key(key.lstrip("+~").split("@")[0])
    return " ".join(text.split())[:300]


def _explain_choice(error: Any) -> str:
    missing = str(error.missing_cfg_file or "")
    group, _, name = missing.rpartition("/")
    if group not in GROUPS:
        return " ".join(str(error).split())[:300]
    allowed = error.options or list(choices(group))
    close = nearest(name, allowed)
    hint = f"did you mean {', '.join(close)}? " if close else ""
    return f"{group}={name}: unknown {group}; {hint}allowed are {', '.join(allowed)}"


def _explain_key(key: str) -> str:
    section, dot, name = key.rpartition(".")
    if dot and section.split(".")[0] in GROUPS:
        allowed = _known_keys(section)
    else:
        allowed, name, key = _known_keys(""), key.split(".")[0], key
    from mbrl_cli.config.values import unknown_key  # the types it checks import torch

    return unknown_key(key, name, allowed)


def _known_keys(section: str) -> list[str]:
    """Return the keys of the run level, or those that the choices on the command line have."""
    if not section:
        loaded = OmegaConf.load(config_dir() / "train.yaml")
        return [*GROUPS, *(str(k) for k in loaded if k not in ("defaults", "hydra"))]
    from mbrl_cli.config.composition import compose_choice

    keys: dict[str, None] = {}
    for name in choices(section.split(".")[0]):
        choice = compose_choice(section.split(".")[0], name)
        keys |= dict.fromkeys(str(key) for key in choice if key != "_target_")
    return list(keys)


def _between(text: str, start: str, end: str) -> str | None:
    _, found, rest = text.partition(start)
    return rest.partition(end)[0] if found else None
