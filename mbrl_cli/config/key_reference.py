"""The reference of all config keys as Markdown pages, from constructors and YAML files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from mbrl_cli.config.choice_keys import ChoiceKey, file_keys, group_keys, run_keys
from mbrl_cli.config.groups import GROUPS, SPACES, choices
from mbrl_cli.config.list_command import RUN, described, full_key
from mbrl_cli.config.recommended import Recommendation
from mbrl_cli.config.yaml_values import format_value

MAX_CONDITIONS = 6  # recommended values in one cell; more of them have a link instead
SPECIAL = re.compile(r"([\\*_\[\]<>|#])")

PRIORITY = "`{group}=NAME` on the command line has priority."
INTRODUCTIONS = {
    RUN: "Keys of the run itself. They stand alone: `mbrl train total_steps=5000`.",
    "env": "A choice is one environment, or one package of environments. All choices have the same "
    "keys. The file of a choice states what differs, and recommends values for other groups.",
    "model": f"Each agent brings its own model. {PRIORITY.format(group='model')}",
    "planner": f"Each agent brings its own planner. {PRIORITY.format(group='planner')}",
    "agent": "An agent also selects the model and the planner, unless the command line names them.",
    "logger": "Loggers change no number. Several form a list: `logger=[tensorboard,wandb]`.",
    SPACES: "A search space has the values that `mbrl search` tries for each key.",
    "experiment": "A recipe holds the settings of a measured run. The command line has priority.",
}
HOW_TO_READ = """\
- *default*: the value if nothing else is given. With a star: an environment may recommend another.
- *allowed*: type and bounds, which are checked before a run starts.
- *recommended*: values that environments recommend. The command line has priority over them.
"""


def reference_pages() -> dict[str, str]:
    """Return {name of the page: Markdown}; "index" has tables for docs/keys/index.md."""
    keys: dict[str, dict[str, list[ChoiceKey]]] = {RUN: {"": run_keys()}}
    for group in GROUPS:
        names = ["gym"] if group == "env" else choices(group)  # env=gym has all defaults
        keys[group] = {name: group_keys(group, name) for name in names}
    for group in ("logger", "experiment", SPACES):
        keys[group] = {name: file_keys(group, name) for name in choices(group)}
    pages = {group: _page(group, keys[group]) for group in keys}
    return {"index": _index(keys), **pages, "recommended": _recommended_page(keys)}


def _page(group: str, keys: Mapping[str, Sequence[ChoiceKey]]) -> str:
    """Return the page of one group: a section with a table for each choice."""
    lines = [f"# Keys: `{group}`", "", INTRODUCTIONS[group], ""]
    if group == RUN:
        lines += ["In a terminal: `mbrl list run`, and `mbrl list run KEY` for one key.", ""]
        return "\n".join([*lines, HOW_TO_READ, *_table(group, "", keys[""])])
    command = f"`mbrl list {group} NAME`, and `mbrl list {group} NAME KEY` for one key"
    lines += [f"In a terminal: {command}.", ""]
    if group in GROUPS:
        lines += [HOW_TO_READ]
    texts = described(group, None)
    if group == "env":
        lines += ["## Keys of every environment", "", *_table(group, "gym", keys["gym"])]
    for name in choices(group):
        lines += [f"## `{group}={name}`", "", f"{_escaped(texts[name])}.", ""]
        if group == "env":
            lines += _file_table(group, file_keys(group, name))
        elif not keys[name]:
            lines += ["No keys.", ""]
        elif group in GROUPS:
            lines += _table(group, name, keys[name])
        else:
            lines += _file_table(group, keys[name])
    return "\n".join(lines)


def _table(group: str, choice: str, keys: Iterable[ChoiceKey]) -> list[str]:
    """Return the lines of a table with default, allowed values, meaning and recommendations."""
    lines = ["| key | default | allowed | meaning | recommended |", "|---|---|---|---|---|"]
    for key in keys:
        name = full_key(group, key.name)
        cells = [
            f"`{name}`{{ #{_anchor(group, choice, key)} .key }}",
            _code({"???": "required", "1/8*": "total_steps/8*"}.get(key.default, key.default)),
            _escaped(key.allowed),
            _escaped(key.comment),
            _recommended_cell(group, key),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def _file_table(group: str, keys: Sequence[ChoiceKey]) -> list[str]:
    """Return the lines of a table with what the file of a choice sets."""
    if not keys:
        return ["The file sets nothing.", ""]
    lines = ["| key | value | meaning |", "|---|---|---|"]
    for key in keys:
        cells = [
            f"`{full_key(group, key.name)}`{{ .key }}",
            _code(key.default),
            _escaped(key.comment),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def _recommended_cell(group: str, key: ChoiceKey) -> str:
    if len(key.recommended) > MAX_CONDITIONS:
        anchor = full_key(group, key.name).replace(".", "-")
        return f"[{len(key.recommended)} values](recommended.md#{anchor})"
    return "; ".join(
        f"{_code(value)}: {', '.join(entry.condition.removeprefix('env=') for entry in entries)}"
        for value, entries in _by_value(key.recommended).items()
    )


def _by_value(recommended: Iterable[Recommendation]) -> dict[str, list[Recommendation]]:
    """Return the recommendations grouped by value, in their order."""
    found: dict[str, list[Recommendation]] = {}
    for entry in recommended:
        found.setdefault(format_value(entry.value), []).append(entry)
    return found


def _recommended_page(keys: Mapping[str, Mapping[str, Sequence[ChoiceKey]]]) -> str:
    """Return the page with all recommended values, one section for each key."""
    sections: dict[str, list[Recommendation]] = {}
    for group in (RUN, *GROUPS):
        for choice_keys in keys[group].values():
            for key in choice_keys:
                entries = sections.setdefault(full_key(group, key.name), [])
                entries += [entry for entry in key.recommended if entry not in entries]
    lines = [
        "# Recommended values",
        "",
        "The values that environments recommend for a key. A run has a value if its words include "
        "those of the second column, and do not set the key itself. The most specific one counts.",
        "",
    ]
    for name, entries in sections.items():
        if not entries:
            continue
        lines += [
            f"## `{name}` {{ #{name.replace('.', '-')} }}",
            "",
            "| value | with |",
            "|---|---|",
        ]
        for value, same in _by_value(entries).items():
            lines.append(f"| `{value}` | {', '.join(f'`{entry.condition}`' for entry in same)} |")
        lines.append("")
    return "\n".join(lines)


def _index(keys: Mapping[str, Mapping[str, Sequence[ChoiceKey]]]) -> str:
    """Return the tables of the first page: the groups; every key with the choices that have it."""
    lines = ["## Pages", "", "| page | content |", "|---|---|"]
    for group in keys:
        lines.append(f"| [{group}]({group}.md) | {INTRODUCTIONS[group]} |")
    lines += ["| [recommended](recommended.md) | values that environments recommend |", "",
              "## All keys", "", "| key | choices that have it |", "|---|---|"]  # fmt: skip
    for group in (RUN, *GROUPS):
        having: dict[str, list[str]] = {}
        for choice, found in keys[group].items():
            label = (
                "every run" if group == RUN else "every environment" if group == "env" else choice
            )
            for key in found:
                link = f"[{label}]({group}.md#{_anchor(group, choice, key)})"
                having.setdefault(full_key(group, key.name), []).append(link)
        lines += [f"| `{name}` | {', '.join(links)} |" for name, links in having.items()]
    return "\n".join([*lines, ""])


def _anchor(group: str, choice: str, key: ChoiceKey) -> str:
    return ".".join(filter(None, (group, choice, key.name)))


def _code(text: str) -> str:
    return f"`{text}`".replace("|", "\\|") if text else ""


def _escaped(text: str) -> str:
    """Return plain text for a table cell: no character has a meaning in Markdown."""
    return SPECIAL.sub(r"\\\1", text)
