"""The words of the command line. Nothing heavy is imported before a word needs it."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

HELP = """\
mbrl: experiments in model-based reinforcement learning

  mbrl train [key=value ...]       run an experiment:  mbrl train env=cartpole planner=cem
  mbrl train -m key=a,b ...        a sweep: one run for each combination
  mbrl resume RUN_DIR [key=value]  go on with a run that was cut, or extend it: total_steps=...
  mbrl eval RUN_DIR [key=value ..] play evaluation episodes with a saved run
  mbrl list [GROUP]                what there is: env, model, planner, agent

  mbrl train --help                the keys of a run and the choices of each group
  mbrl train --cfg job [...]       print the composed config without running
  mbrl --version

Runs go to outputs/; look at them with: tensorboard --logdir outputs
"""


def main() -> None:
    """Dispatch `mbrl WORD ...`; exit code 2 for a mistake in what was asked."""
    words = {"train": _train, "resume": _resume, "eval": _eval, "list": _list}
    argv = sys.argv[1:]
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(HELP, end="")
        return
    word, rest = argv[0], argv[1:]
    if word == "--version":
        from mbrl_cli import __version__

        print(f"mbrl {__version__}")
        return
    if word in ("-sc", "--shell-completion") or word.startswith("-sc"):
        _complete(rest)
        return
    if word not in words:
        from mbrl_cli.errors import nearest

        close = nearest(word, words)
        hint = f"did you mean {close[0]}?" if close else f"allowed are {', '.join(words)}"
        _refuse(f"{word}: unknown command; {hint}")
    # Waiting threads sleep instead of spinning: spinning ones starve the runs beside this one.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    words[word](rest)


def _train(argv: list[str]) -> None:
    from mbrl_cli.config.app import launch

    launch(argv)


def _resume(argv: list[str]) -> None:
    from mbrl_cli.config.app import refusing
    from mbrl_cli.config.resume import resume

    with refusing():
        resume(argv)


def _eval(argv: list[str]) -> None:
    from mbrl_cli.config.app import refusing
    from mbrl_cli.config.saved_run import evaluate_saved

    with refusing():
        evaluate_saved(argv)


def _list(argv: list[str]) -> None:
    from mbrl_cli.config.groups import GROUPS, choices

    wrong = [group for group in argv if group not in GROUPS]
    if wrong:
        _refuse(f"list {wrong[0]}: unknown group; allowed are {', '.join(GROUPS)}")
    for group in argv or GROUPS:
        found = choices(group)
        width = max(len(name) for name in found)
        print(group)
        for name, description in found.items():
            print(f"  {name:<{width}}  {description}")


def _complete(argv: list[str]) -> None:
    """Hydra knows one-word commands only: hide `train` from the line that it completes."""
    line = os.environ.get("COMP_LINE", "")
    first, _, rest = line.partition(" ")
    word, space, rest = rest.lstrip().partition(" ")
    if argv and argv[0].startswith("query") and not space:
        print("\n".join(w for w in ("train", "resume", "eval", "list") if w.startswith(word)))
        return
    if argv and argv[0].startswith("query") and word != "train":
        return
    if space:
        short = f"{first} {rest}"
        os.environ["COMP_POINT"] = str(
            max(0, int(os.environ.get("COMP_POINT", len(line))) - (len(line) - len(short)))
        )
        os.environ["COMP_LINE"] = short
    _train(["-sc", *argv])


def _refuse(text: str) -> NoReturn:
    print(f"mbrl: {text}", file=sys.stderr)
    raise SystemExit(2)
