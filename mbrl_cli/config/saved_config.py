"""Read the config of a run folder, and refuse code that the user did not name.

The folder may come from another person, so its config is data. Without `--trust` a `_target_` must
be one that mbrl's own YAML files name, or those in the folder of `--config-dir`; the same holds for
environments and functions of other packages. A run of this user on this machine needs no `--trust`,
see `own_runs`.

A saved config is written with every `${...}` resolved. Without `--trust` none is allowed; with it
those that name keys of the same config are. Resolvers such as `${oc.env:HOME}` are never called.
"""

from __future__ import annotations

import copy
import io
import json
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import AliasEvent, CollectionEndEvent, CollectionStartEvent, YAMLError, parse

from mbrl_cli.config.config_changes import flatten
from mbrl_cli.config.groups import GROUPS, config_dir, config_dirs
from mbrl_cli.config.own_runs import training_folder
from mbrl_cli.config.resolvers import register_resolvers
from mbrl_cli.config.targets import make_importable
from mbrl_cli.errors import UserError
from mbrl_cli.run_files import read_regular

CONFIG = "config.yaml"
# Their values import code where they have the form package:name.
IMPORTING_KEYS = (
    ("env", "id"), ("env", "reward"), ("env", "termination"), ("env", "simulator"),
)  # fmt: skip
# Limits of a config that a few bytes cannot exceed by much; a usual one has 5,000 bytes.
MAX_BYTES = 2**19
MAX_VALUES = 6_000  # OmegaConf takes a second for these
MAX_DEPTH = 40
RESOLVER = re.compile(r"\$\{[^}]*:")


def load_saved_config(
    folder: Path, trust: bool = False, user_dir: Path | None = None
) -> DictConfig:
    """Return the config of a run folder, with the defaults of keys that are newer than the run.

    Args:
        folder: a run folder.
        trust: whether its config may name any code.
        user_dir: the folder of `--config-dir`; its YAML files name code that is allowed.

    Raises:
        UserError: if the folder has no readable config, or if the config names other code.
    """
    path = folder / CONFIG
    config = read_saved_config(folder)
    _refuse_references(config, path, trust)
    if not trust:
        try:
            _refuse_foreign_code(config, path, user_dir)
        except UserError:
            started_in = training_folder(folder, _as_text(config))
            if started_in is None:
                raise
            make_importable(started_in)
    resolved = OmegaConf.create(_resolve(config, path))
    register_resolvers()  # of the keys in train.yaml
    for key, value in OmegaConf.load(config_dir() / "train.yaml").items():
        if key not in resolved and key not in ("defaults", "hydra"):
            resolved[key] = value
    return resolved


def read_saved_config(folder: Path) -> dict[Any, Any]:
    """Return the config of a run folder as plain values; no `${...}` is resolved.

    Raises:
        UserError: if the folder has no readable config.
    """
    path = folder / CONFIG
    return checked_groups(copy.deepcopy(_parse(read_config_bytes(folder), path)), path)


def read_config_bytes(folder: Path) -> bytes:
    """Return the content of a run folder's config file.

    Raises:
        UserError: if the folder has no such file, or it cannot be read.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise UserError(f"{folder}: is not a run folder (it has no {CONFIG})")
    try:
        return read_regular(path, MAX_BYTES)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error


def checked_groups(config: Any, path: Path) -> dict[Any, Any]:
    """Return the parsed content of `path`, or raise UserError if it is not the config of a run."""
    if not isinstance(config, dict) or any(group not in config for group in GROUPS):
        raise UserError(f"{path}: is not the config of a run")
    return config


def config_record(folder: Path) -> str:
    """Return the config of a run folder as one text, equal for equal settings.

    Checkpoints hold it. It does not depend on the order of keys, comments or spaces.
    """
    return _as_text(read_saved_config(folder))


def parse_config_record(content: bytes, path: Path) -> str:
    """Return the text of `config_record` for the content of a config file; `path` names it."""
    return _as_text(_parse(content, path))


def refuse_other_config(folder: Path, accepted: list[str], step: int) -> None:
    """Raise UserError if the folder's config is none of those a checkpoint was written with.

    Args:
        folder: a run folder.
        accepted: configs as `config_record` returns them; none: written by an older version.
        step: the environment step of the checkpoint, for the error text.
    """
    now = config_record(folder)
    if not accepted or now in accepted:
        return
    where = f"{folder / CONFIG}: is not the config of the checkpoint of step {step:,}"
    remedy = "restore it; to change a setting use key=value on the command line"
    try:
        before, after = flatten(json.loads(accepted[-1])), flatten(json.loads(now))
        keys = [key for key in before | after if _shown(before, key) != _shown(after, key)]
    except (ValueError, AttributeError, RecursionError):
        keys = []  # a forged checkpoint
    if not keys:
        raise UserError(f"{where}; {remedy}")
    more = f" and {len(keys) - 1} more keys" if len(keys) > 1 else ""
    key = keys[0]
    raise UserError(
        f"{where}, which has {key}={_shown(before, key)}, not {_shown(after, key)}{more}; {remedy}"
    )


def _shown(settings: dict[str, Any], key: str) -> str:
    return str(settings.get(key, "(missing)"))[:80]


def _as_text(config: Any) -> str:
    return json.dumps(_with_text_keys(config), sort_keys=True, default=str)


def _with_text_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _with_text_keys(item) for key, item in value.items()}
    return [_with_text_keys(item) for item in value] if isinstance(value, list) else value


def _refuse_references(config: dict[Any, Any], path: Path, trust: bool) -> None:
    """Raise UserError for a `${...}` that is not allowed; see the module's docstring."""
    for keys, value in _leaves(config):
        if isinstance(value, str) and "${" in value:
            key = ".".join(map(str, keys))
            if RESOLVER.search(value):
                raise UserError(
                    f"{path}: {key}={value[:80]} calls a resolver, which a saved config may not; "
                    "write the value itself"
                )
            if not trust:
                raise UserError(
                    f"{path}: {key}={value[:80]} is not a plain value; write the value itself, or "
                    "add --trust if you know where the folder comes from"
                )


def _resolve(config: dict[Any, Any], path: Path) -> dict[Any, Any]:
    """Return the config with references to its own keys resolved."""
    try:
        resolved = OmegaConf.to_container(OmegaConf.create(config), resolve=True)
    except (OmegaConfBaseException, RecursionError, ValueError) as error:
        raise UserError(f"{path}: {str(error).splitlines()[0][:200]}") from error
    assert isinstance(resolved, dict)
    for keys, value in _leaves(resolved):  # two halves may have been put together
        if isinstance(value, str) and "${" in value:
            raise UserError(f"{path}: {'.'.join(map(str, keys))}={value[:80]}: is not plain")
    return resolved


def _refuse_foreign_code(config: dict[Any, Any], path: Path, user_dir: Path | None) -> None:
    """Raise UserError for a value that would import other code."""
    trust = "add --trust if you know where the folder comes from"
    remedy = f"add --config-dir DIR if a YAML file in DIR names it, or {trust}"
    env = config["env"]
    wrappers = env.get("wrappers") if isinstance(env, dict) else None
    if wrappers and not _is_given_wrappers(wrappers, user_dir):
        raise UserError(f"{path}: env.wrappers={str(wrappers)[:80]} imports other code; {remedy}")
    for keys, value in _leaves(config):
        key = ".".join(map(str, keys))
        if keys[:2] == ("env", "wrappers"):
            continue  # compared as a whole
        if keys[-1] == "_target_":
            # The class of a callback is one level deeper: callbacks.NAME._target_.
            is_class = len(keys) == 2 and keys[0] in GROUPS
            is_class |= len(keys) == 3 and keys[0] == "callbacks"
            name = ".".join(map(str, keys[1:]))
            if not is_class or not _is_named(value, keys[0], name, user_dir):
                shown = str(value)[:80]
                raise UserError(f"{path}: {key}={shown} is not one of mbrl's classes; {remedy}")
        imports = keys[:2] in IMPORTING_KEYS and ":" in str(value)
        if imports and (len(keys) > 2 or not _is_named(value, keys[0], keys[1], user_dir)):
            raise UserError(f"{path}: {key}={str(value)[:80]} imports other code; {remedy}")


def _leaves(value: Any, keys: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Yield (keys, value) of every value inside nested dicts and lists.

    The keys are not joined, because a key may contain a dot: {"env.id": 1} is not {"env": {"id":
    1}}.
    """
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in pairs:
            yield from _leaves(item, (*keys, key))
    else:
        yield keys, value


def _is_named(value: Any, group: str, name: str, user_dir: Path | None) -> bool:
    """Return whether a YAML file of mbrl or of the user gives this value to a key of a group."""
    word = value if isinstance(value, str) else ""  # null has several forms in YAML
    return any(
        value in (settings.get(name, ""), settings.get(f"{group}.{name}", ""))
        for settings in _given_settings(group, word, user_dir)
    )


def _is_given_wrappers(wrappers: Any, user_dir: Path | None) -> bool:
    """Return whether a YAML file of mbrl or of the user names exactly these wrappers."""
    return any(
        wrappers in (settings.get("wrappers"), settings.get("env.wrappers"))
        for settings in _given_settings("env", "wrappers", user_dir)
    )


def _given_settings(group: str, word: str, user_dir: Path | None) -> Iterator[dict[str, Any]]:
    """Yield the flat settings of each YAML file of a group or experiment that has a word in it.

    Only those files are parsed, because parsing all of them takes a second.
    """
    for folder in config_dirs(user_dir):
        for path in [*(folder / group).glob("*.yaml"), *(folder / "experiment").glob("*.yaml")]:
            try:
                text = path.read_text(encoding="utf-8")
                content = OmegaConf.load(io.StringIO(text)) if word in text else None
            except (YAMLError, OmegaConfBaseException, UnicodeDecodeError) as error:
                raise UserError(f"{path}: is not readable YAML") from error
            if isinstance(content, DictConfig):
                raw = OmegaConf.to_container(content, resolve=False)
                assert isinstance(raw, dict)
                yield flatten(raw)


@lru_cache(maxsize=4)
def _parse(content: bytes, path: Path) -> Any:
    """Return the plain values of YAML text whose size in memory is bounded."""
    try:
        text = content.decode()
        _check_events(text, path)
        config = OmegaConf.to_container(OmegaConf.load(io.StringIO(text)), resolve=False)
    except UserError:
        raise
    except Exception as error:  # YAML's constructors raise many types for a malformed value
        raise UserError(f"{path}: is not readable YAML") from error
    for keys, value in _leaves(config):
        if isinstance(value, int) and value.bit_length() > 64:
            raise UserError(
                f"{path}: {'.'.join(map(str, keys))} is an integer of more than 64 bits"
            )
    return config


def _check_events(text: str, path: Path) -> None:
    """Raise UserError for what mbrl does not write, and what expands when it is loaded."""
    depth = 0
    for count, event in enumerate(parse(text)):
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        if isinstance(event, AliasEvent):
            raise UserError(f"{path}: uses YAML aliases, which the config of a run does not have")
        if getattr(event, "tag", None) is not None:
            raise UserError(f"{path}: uses YAML tags, which the config of a run does not have")
        if depth > MAX_DEPTH or count > MAX_VALUES:
            limit = f"{MAX_VALUES:,} values or {MAX_DEPTH} levels"
            raise UserError(f"{path}: has more than {limit}, so it is not the config of a run")
