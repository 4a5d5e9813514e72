"""Read the comments of keys from YAML files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from mbrl_cli.config.composition import composed_files
from mbrl_cli.config.groups import config_dirs

KEY_LINE = re.compile(
    r"(?P<indent> *)(?P<key>[\w-]+):(?:\s+(?P<value>[^#].*?))??(?:\s+#(?P<comment>.*))?"
)
COMMENT_LINE = re.compile(r" *#(?P<comment>.*)")


def key_comments(path: Path, package: str = "") -> dict[str, str]:
    """Return {dotted key: comment} of one YAML file.

    A comment stands behind its key and may continue on the lines below it, in the same column; or
    it stands above its key. Comments before the first key describe the file and are left out.

    Args:
        path: the file.
        package: the section of the config that the file's keys belong to, such as planner.
    """
    comments: dict[str, str] = {}
    sections: list[tuple[int, str]] = []  # (indentation, key) of the keys around the current line
    full_key, column = "", -1  # the last key, and the column of its comment
    above: list[str] = []  # comment lines that may belong to the next key
    for line in path.read_text(encoding="utf-8").splitlines():
        if match := COMMENT_LINE.fullmatch(line):
            text = match["comment"].strip()
            if match.start("comment") == column:
                comments[full_key] += f" {text}"
            elif full_key:
                above.append(text)
            continue
        if match := KEY_LINE.fullmatch(line):
            indent = len(match["indent"])
            sections = [section for section in sections if section[0] < indent]
            sections.append((indent, match["key"]))
            full_key = ".".join([*([package] if package else []), *(key for _, key in sections)])
            column = match.start("comment")
            comment = match["comment"] or " ".join(above)
            if comment:
                comments[full_key] = comment.strip()
        above = []
    return comments


def composed_comments(overrides: Sequence[str], user_dir: Path | None) -> dict[str, str]:
    """Return {dotted key: comment} of all YAML files that `overrides` select.

    Args:
        overrides: words of the command line such as planner=cem.
        user_dir: the folder of `--config-dir`.
    """
    comments: dict[str, str] = {}
    for name, package in composed_files(overrides, user_dir):
        for folder in config_dirs(user_dir):
            path = folder / f"{name}.yaml"
            if path.is_file():
                comments |= key_comments(path, package)
                break
    return comments
