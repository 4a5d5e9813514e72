"""The words after `mbrl train`: options in any place, paths with any character, clear mistakes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from mbrl_cli.config.groups import GROUPS, LISTED, SPACES, choices
from mbrl_cli.config.run_level_keys import run_level_keys
from mbrl_cli.errors import UserError, nearest

# Options of Hydra: those that stand alone, and those with a value behind them.
FLAGS = (
    "--help", "-h", "--hydra-help", "--version", "--resolve", "--run", "-r", "--multirun", "-m",
    "--shell-completion", "-sc",
)  # fmt: skip
WITH_VALUE = (
    "--cfg", "-c", "--config-dir", "-cd", "--config-path", "-cp", "--config-name", "-cn",
    "--package", "-p", "--info", "-i", "--experimental-rerun",
)  # fmt: skip
SWEEP = ("-m", "--multirun")
# Keys whose values are paths, which may contain commas.
PATH_KEYS = ("model_from", "hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir")


def prepare_words(argv: Sequence[str], user_dir: Path | None = None) -> list[str]:
    """Return the options, then the overrides, with quotes around paths that Hydra cannot read.

    Args:
        argv: the words after `mbrl train`, in any order.
        user_dir: the folder of `--config-dir`, whose choices count as known names.

    Raises:
        UserError: for an unknown option, and for a word that is neither option nor override.
    """
    options: list[str] = []
    overrides: list[str] = []
    words = list(argv)
    while words:
        word = words.pop(0)
        if not word.startswith("-"):
            overrides.append(word)
            continue
        name, equals, _ = word.partition("=")
        if name not in FLAGS and name not in WITH_VALUE:
            raise UserError(_unknown_option(word, words))
        options.append(word)
        if name in WITH_VALUE and not equals and words:
            options.append(words.pop(0))
    for word in overrides:
        _refuse_bare_word(word, user_dir)
        if word.startswith(f"{SPACES}="):
            raise UserError(f"{word}: is a search space; type mbrl search {word} key=value ...")
    is_sweep = any(option in SWEEP for option in options)
    if is_sweep and any(option.partition("=")[0] in ("--cfg", "-c") for option in options):
        raise UserError("--cfg: shows the config of one run; leave out -m")
    return options + [quote_path(word, is_sweep) for word in overrides]


def key_of(word: str) -> str:
    """Return the key of an override: `planner.horizon` of `++planner.horizon=3`."""
    return word.lstrip("+~").partition("=")[0]


def allow_new_group_key(argument: str) -> str:
    """Return `++planner.key=1` for `planner.key=1`, so that Hydra accepts a key that YAML omits.

    `build` then refuses keys that the class in use does not have.
    """
    is_group_key = argument.startswith(tuple(f"{group}." for group in GROUPS))
    return f"++{argument}" if is_group_key and "=" in argument else argument


def quote_path(override: str, is_sweep: bool = False) -> str:
    """Return `key=value` with quotes around a path that Hydra cannot read.

    Hydra gives `=` and `,` a meaning of their own, and mbrl's job folders have both in their names.
    In a sweep a comma may separate values: those are the existing paths.
    """
    key, equals, value = override.partition("=")
    if not equals or not value or value[0] in "'\"":
        return override
    is_path_key = key.lstrip("+") in PATH_KEYS
    if not is_path_key and "/" not in value:
        return override
    if _is_readable(override) and not (is_path_key and "," in value):
        return override
    paths = [value] if not is_sweep or key.startswith("hydra.") else _existing_paths(value)
    return f"{key}={','.join(map(_quoted, paths))}" if paths else override


def _existing_paths(text: str) -> list[str]:
    """Return the existing paths that `text` lists, separated by commas; empty if it does not."""
    if Path(text).exists():
        return [text]
    start = text.find(",")
    while start >= 0:
        if Path(text[:start]).exists() and (others := _existing_paths(text[start + 1 :])):
            return [text[:start], *others]
        start = text.find(",", start + 1)
    return []


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _is_readable(override: str) -> bool:
    try:
        OverridesParser.create().parse_override(override)
    except HydraException:
        return False
    return True


def _unknown_option(word: str, following: Sequence[str]) -> str:
    """Return the error text for an option that does not exist."""
    name, _, value = word.lstrip("-").partition("=")
    key = name.replace("-", "_")
    if not value and following and not following[0].startswith("-") and "=" not in following[0]:
        value = following[0]
    keys = [*run_level_keys(), "experiment"]
    if key in keys or key.partition(".")[0] in GROUPS:
        return f"{word}: settings have no dashes; type {key}={value or 'VALUE'}"
    close = nearest(word, [*FLAGS, *WITH_VALUE], 1) or [f"{k}=VALUE" for k in nearest(key, keys, 1)]
    hint = f"did you mean {close[0]}?" if close else "for all options type: mbrl train --help"
    return f"{word}: unknown option; {hint}"


def _refuse_bare_word(word: str, user_dir: Path | None) -> None:
    """Raise UserError for a word without `=`, such as the name of a choice."""
    if "=" in word or word.startswith("~"):
        return
    groups = LISTED
    options = [f"{group}={word}" for group in groups if word in choices(group, user_dir)]
    if word in groups:
        raise UserError(f"{word}: has no value; type {word}=NAME, NAME is one of "
                        f"{', '.join(choices(word, user_dir))}")  # fmt: skip
    if word in run_level_keys():
        raise UserError(f"{word}: has no value; type {word}=VALUE")
    if not options:
        names = {name: group for group in groups for name in choices(group, user_dir)}
        options = [f"{names[name]}={name}" for name in nearest(word, names, 1)]
    hint = f"did you mean {' or '.join(options)}?" if options else "for the keys type: mbrl list"
    raise UserError(f"{word}: is not of the form key=value; {hint}")
