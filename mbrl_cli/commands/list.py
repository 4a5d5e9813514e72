"""`mbrl list`: the choices of each group, the keys of a choice or of the run, one key."""

from __future__ import annotations

from mbrl_cli.commands.config_dir import add_config_dir, prepare_config_dir
from mbrl_cli.commands.parser import Parser
from mbrl_cli.config.groups import GROUPS, LISTED, choices
from mbrl_cli.config.list_command import GROUPS_AND_SPACES, RUN, list_choices, list_key, list_keys
from mbrl_cli.config.run_level_keys import run_level_keys
from mbrl_cli.config.yaml_comments import composed_comments
from mbrl_cli.errors import UserError

EPILOG = """\
examples:
  mbrl list                              the choices of all groups
  mbrl list planner                      the choices of one group
  mbrl list planner cem                  the keys of a choice: default, allowed, meaning
  mbrl list planner cem env=pendulum     the values in a run on pendulum, too
  mbrl list planner cem horizon          one key, with its value for each environment
  mbrl list run                          the keys of the run itself, such as total_steps
"""


def run(argv: list[str]) -> None:
    """Print what the words ask for."""
    parser = Parser(
        command="list",
        usage="[GROUP [CHOICE [KEY]]] [env=NAME] [--config-dir DIR]",
        description="List the choices of each group, the keys of a choice, or one key.",
        epilog=EPILOG,
    )
    groups = f"{', '.join(GROUPS_AND_SPACES)}; or run, which has no CHOICE: mbrl list run [KEY]"
    parser.add_argument("group", nargs="?", metavar="GROUP", help=groups)
    parser.add_argument("choice", nargs="?", metavar="CHOICE", help="a choice of the group")
    parser.add_argument("key", nargs="?", metavar="KEY", help="a key of the choice")
    parser.add_argument(
        "env",
        nargs="?",
        metavar="env=NAME",
        help="show the values in a run on this environment, too",
    )
    add_config_dir(parser, "also list the YAML files in DIR, such as DIR/planner/mine.yaml")
    words = parser.parse_intermixed_args(argv)
    prepare_config_dir(words.config_dir)
    given = [words.group, words.choice, words.key, words.env]
    plain = [word for word in given if word is not None and "=" not in word]
    env = _env([word for word in given if word is not None and "=" in word])
    group = plain[0] if plain else None
    if group == RUN:
        plain.insert(1, "")
    if group is None or len(plain) == 1:
        if env is not None:
            parser.error(f"env={env}: needs GROUP and CHOICE before it")
        print(list_choices(group, words.config_dir), end="")
    elif len(plain) == 2:
        print(list_keys(group, plain[1], env, words.config_dir), end="")
    elif len(plain) == 3:
        print(list_key(group, plain[1], plain[2], words.config_dir), end="")
    else:
        parser.error(f"{plain[3]}: is one word too many")


def complete(words: list[str]) -> list[str]:
    """Return what the last word can become: groups, then choices, keys or env=NAME; no torch.

    Args:
        words: those behind `mbrl list`; the last one may be empty.
    """
    before, last = [word for word in words[:-1] if word], words[-1]
    if last.startswith("env="):
        found = [f"env={name}" for name in choices("env")]
    elif not before:
        found = [*GROUPS_AND_SPACES, RUN]
    elif before == [RUN]:
        found = [key for key in run_level_keys() if key not in LISTED]
    elif len(before) == 1 and before[0] in GROUPS_AND_SPACES:
        found = list(choices(before[0]))
    elif len(before) == 2 and before[0] in GROUPS and before[1] in choices(before[0]):
        keys = composed_comments([f"{before[0]}={before[1]}"], None)
        of_group = (key.partition(".") for key in keys)
        found = [key for group, _, key in of_group if group == before[0] and key]
    else:
        found = []
    return [word for word in found if word.startswith(last)]


def _env(words: list[str]) -> str | None:
    """Return NAME of the one word env=NAME; None if there is no such word."""
    env = None
    for word in words:
        key, _, env = word.partition("=")
        if key != "env" or not env or len(words) > 1:
            raise UserError(f"list {word}: unknown word; use env=NAME, such as env=pendulum")
    return env
