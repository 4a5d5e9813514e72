"""Sort runs into groups that are compared, and give each group a short name.

Runs belong to one group if they have the same choices of model, planner and agent, and equal
values of all keys that can change a result. The name holds the choices that differ, then the keys
that differ among runs with the same choices. Environments do not form groups: each one is a
comparison of its own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from mbrl_cli.errors import UserError, unknown_key

CHOICES = ("agent", "planner", "model")  # in the order of a name
# Keys that do not change what a run learns: seeds, machines, files and what is measured.
IGNORED = (
    "seed", "console", "device", "threads", "log_every", "eval_every", "eval_episodes",
    "final_eval_episodes", "eval_envs", "eval_video", "env_timeout", "check_known",
    "checkpoint_every", "checkpoint_minutes", "keep_checkpoints", "env.id",
    "logger", "callbacks", "debug", "tags", "budget",
)  # fmt: skip
MISSING = "unset"  # value of a key that a run does not have
IGNORED_SECTIONS = ("logger.", "callbacks.", "debug.", "env.recommended.")


@dataclass(frozen=True)
class RunSettings:
    """What grouping reads of one run."""

    env: str  # id of the environment
    choices: Mapping[str, str]  # group -> name of the choice
    values: Mapping[str, object]  # dotted key -> value
    typed: Sequence[str] = ()  # keys that were given on the command line


def name_groups(runs: Sequence[RunSettings], by: Sequence[str] | None = None) -> list[str]:
    """Return the name of the group of each run; runs with equal names form a group.

    Args:
        runs: the settings of each run.
        by: groups and keys such as planner or planner.horizon, whose values form the groups; None:
            everything that differs.

    Raises:
        UserError: if no run has a key of `by`.
    """
    if by is not None:
        return _names_by(runs, by)
    parts = _choice_parts(runs)
    classes: defaultdict[Hashable, list[int]] = defaultdict(list)
    for index, run in enumerate(runs):
        classes[tuple(run.choices.get(group) for group in CHOICES)].append(index)
    for members in classes.values():
        keys = _differing_keys([runs[i] for i in members])
        for index in members:
            parts[index] += [_pair(key, keys, runs[index]) for key in keys]
    if all(not part for part in parts):
        parts = [_all_choices(run) for run in runs]
    return [" ".join(part) for part in parts]


def comparable(run: RunSettings) -> tuple[tuple[str, str], ...]:
    """Return choices, and keys that can change a result, with values: equal for equal settings."""
    keys = (key for key in run.values if not _is_ignored(key))
    values = ((key, repr(run.values[key])) for key in sorted(keys))
    return (*sorted(run.choices.items()), *values)


def differing_values(runs: Sequence[RunSettings]) -> dict[str, list[str]]:
    """Return choices that differ, and keys that differ within an environment, with their values."""
    found: dict[str, list[str]] = {}
    for group in CHOICES:
        names = list(dict.fromkeys(run.choices.get(group, "none") for run in runs))
        if len(names) > 1:
            found[group] = names
    for env in dict.fromkeys(run.env for run in runs):
        for key, texts in _values_of_keys([run for run in runs if run.env == env]).items():
            known = found.setdefault(key, [])
            known += [text for text in dict.fromkeys(texts) if text not in known]
    return found


def _names_by(runs: Sequence[RunSettings], by: Sequence[str]) -> list[str]:
    groups = {"env", *CHOICES}
    keys = {key for run in runs for key in run.values}
    for word in by:
        if word not in groups and word not in keys:
            raise UserError(f"by={unknown_key(word, word, [*sorted(groups), *sorted(keys)])}")
    dotted = [word for word in by if word not in groups]
    return [
        " ".join(
            run.choices.get(word, "none") if word in groups else _pair(word, dotted, run)
            for word in by
        )
        for run in runs
    ]


def _choice_parts(runs: Sequence[RunSettings]) -> list[list[str]]:
    """Return for each run the choices that are needed to tell it from the others.

    A choice is part of the name if runs that are equal in the choices before it differ in it.
    """
    parts: list[list[str]] = [[] for _ in runs]
    equal: list[tuple[str, ...]] = [() for _ in runs]
    for group in CHOICES:
        names = [run.choices.get(group, "none") for run in runs]
        differing = defaultdict(set)
        for prefix, name in zip(equal, names, strict=True):
            differing[prefix].add(name)
        for index, name in enumerate(names):
            if len(differing[equal[index]]) > 1:
                parts[index].append(name if name != "none" else f"no {group}")
        equal = [(*prefix, name) for prefix, name in zip(equal, names, strict=True)]
    return parts


def _all_choices(run: RunSettings) -> list[str]:
    names = [run.choices.get(group, "none") for group in CHOICES]
    return list(dict.fromkeys(name for name in names if name != "none")) or ["all runs"]


def _differing_keys(runs: Sequence[RunSettings]) -> list[str]:
    """Return the keys that tell apart runs with equal choices, none that adds no difference.

    Values can depend on each other: the length of a model's accuracy test follows
    `planner.horizon`. Keys that were typed come first, so the key that follows is left out.
    """
    by_env: defaultdict[str, list[RunSettings]] = defaultdict(list)
    for run in runs:
        by_env[run.env].append(run)
    typed = {key for run in runs for key in run.typed}
    kept: list[str] = []
    for members in by_env.values():
        columns = _values_of_keys(members)
        known: list[tuple[str, ...]] = list(
            zip(*(columns[key] for key in kept if key in columns), strict=True)
        ) or [() for _ in members]
        for key in sorted(columns, key=lambda key: (key not in typed, key.count("."))):
            refined = [(*before, text) for before, text in zip(known, columns[key], strict=True)]
            if len(set(refined)) > len(set(known)):
                known = refined
                kept.append(key)
    return kept


def _values_of_keys(runs: Sequence[RunSettings]) -> dict[str, list[str]]:
    """Return the values, as text, of each key that differs among the runs that have it."""
    columns = {}
    for key in dict.fromkeys(key for run in runs for key in run.values):
        if _is_ignored(key) or key.endswith("_target_"):
            continue
        texts = [_text(run, key) for run in runs]
        # A key that is newer than some of the runs makes no difference.
        if len(set(texts) - {MISSING}) > 1:
            columns[key] = texts
    return columns


def _is_ignored(key: str) -> bool:
    return key in IGNORED or key.startswith(IGNORED_SECTIONS)


def _text(run: RunSettings, key: str) -> str:
    value = run.values.get(key, MISSING)
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, float):
        return f"{value:g}"
    return str(value).replace(" ", "")


def _pair(key: str, keys: Sequence[str], run: RunSettings) -> str:
    """Return `horizon=20` for the key planner.horizon; more of the key if its end is ambiguous."""
    words = key.split(".")
    for count in range(1, len(words) + 1):
        short = ".".join(words[-count:])
        if sum(other == short or other.endswith(f".{short}") for other in keys) == 1:
            break
    return f"{short}={_text(run, key)}"
