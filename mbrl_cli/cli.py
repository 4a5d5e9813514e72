"""Command-line subcommands. Heavy modules are imported only when a subcommand needs them."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
from collections.abc import Callable

from mbrl_cli.commands.saved_run_parser import SavedRunParser
from mbrl_cli.config.error_exit import exit_on_user_error
from mbrl_cli.errors import UserError, nearest
from mbrl_cli.signals import ctrl_c_ends_the_process
from mbrl_cli.standard_streams import protect_standard_streams

HELP = """\
mbrl: experiments in model-based reinforcement learning

  mbrl train [key=value ...]            run an experiment: mbrl train env=cartpole planner=cem
  mbrl train -m key=a,b ...             a sweep: one run for each combination
  mbrl search key=value ... trials=20   search hyperparameters: mbrl search --help
  mbrl resume FOLDER [key=value ...]    continue an interrupted run or sweep, or extend it
  mbrl fork RUN_DIR at=STEP [key=value] a new run from a checkpoint: planner=icem seed=1
  mbrl eval RUN_DIR [key=value ...]     run evaluation episodes with a saved run
  mbrl play RUN_DIR [--video FILE]      watch a saved run, or write a GIF or MP4
  mbrl check env=NAME [key=value ...]   check an environment: does it fit, how long is a run?
  mbrl runs [FOLDER] [key=value ...]    list runs: state, settings, steps, return
  mbrl compare FOLDER ... [key=value]   compare groups of runs, with intervals: --html report.html
  mbrl diagnose RUN_DIR [budget=5]      which part of a saved run loses the return?
  mbrl reproduce RECIPE [seeds=5]       run a recipe again, compare with its stated result
  mbrl list [GROUP [CHOICE]]            the choices of each group, the keys of a choice

  mbrl COMMAND --help                   options and examples of a command
  mbrl train --cfg job [...]            print the composed config without running
  mbrl --version

Runs are written to outputs/; to see their curves type: tensorboard --logdir outputs
"""
EVAL_EPILOG = """\
examples:
  mbrl eval outputs/RUN eval_episodes=50                    more episodes
  mbrl eval outputs/RUN planner=icem planner.horizon=30     another planner
  mbrl eval outputs/RUN planner=mine --config-dir my_configs
                                     the planner in my_configs/planner/mine.yaml
"""


def main() -> None:
    """Run `mbrl COMMAND ...`; a mistake in the words exits with code 2."""
    commands: dict[str, Callable[[list[str]], None]] = {
        "train": _train, "resume": _resume, "eval": _eval, "list": _list, "runs": _runs,
        "compare": _compare, "play": _play, "check": _check, "reproduce": _reproduce,
        "diagnose": _diagnose, "fork": _fork, "search": _search,
    }  # fmt: skip
    protect_standard_streams()
    argv = sys.argv[1:]
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(HELP, end="")
        return
    command, rest = argv[0], argv[1:]
    if command == "--version":
        from mbrl_cli import __version__

        print(f"mbrl {__version__}")
        return
    if command.startswith("-sc") or command == "--shell-completion":
        _complete(rest, list(commands))
        return
    with ctrl_c_ends_the_process(), exit_on_user_error():
        if command not in commands:
            close = nearest(command, commands)
            hint = f"did you mean {close[0]}?" if close else f"allowed are {', '.join(commands)}"
            raise UserError(f"{command}: unknown command; {hint}")
        # Waiting OpenMP threads sleep; by default they spin and slow down other runs.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        commands[command](rest)


def _train(argv: list[str]) -> None:
    from mbrl_cli.commands.train import run

    run(argv)


def _resume(argv: list[str]) -> None:
    from mbrl_cli.commands.resume import run

    run(argv)


def _fork(argv: list[str]) -> None:
    from mbrl_cli.commands.fork import run

    run(argv)


def _eval(argv: list[str]) -> None:
    description = "Run evaluation episodes with a saved run and print their returns."
    words = SavedRunParser("eval", description, EVAL_EPILOG).parse(argv)
    from mbrl_cli.config.eval_command import evaluate_saved_run

    evaluate_saved_run(words.run_dir, words.overrides, words.trust, words.config_dir)


def _runs(argv: list[str]) -> None:
    from mbrl_cli.commands.runs import run

    run(argv)


def _compare(argv: list[str]) -> None:
    from mbrl_cli.commands.compare import run

    run(argv)


def _play(argv: list[str]) -> None:
    from mbrl_cli.commands.play import run

    run(argv)


def _check(argv: list[str]) -> None:
    from mbrl_cli.commands.check import run

    run(argv)


def _diagnose(argv: list[str]) -> None:
    from mbrl_cli.commands.diagnose import run

    run(argv)


def _reproduce(argv: list[str]) -> None:
    from mbrl_cli.commands.reproduce import run

    run(argv)


def _search(argv: list[str]) -> None:
    from mbrl_cli.commands.search import run

    run(argv)


def _list(argv: list[str]) -> None:
    from mbrl_cli.commands.list import run

    run(argv)


def _complete(argv: list[str], commands: list[str]) -> None:
    """Answer the shell's completion query.

    Hydra completes commands of one word only, so `train` is removed from the line that it reads.
    From its answer the shared blocks (planner=_trajectory) are removed, which are not choices.
    """
    line = os.environ.get("COMP_LINE", "")
    program, _, rest = line.partition(" ")
    command, space, rest = rest.lstrip().partition(" ")
    if argv and argv[0].startswith("query") and not space:
        print("\n".join(name for name in commands if name.startswith(command)))
        return
    if argv and argv[0].startswith("query") and command == "list":
        from mbrl_cli.commands.list import complete

        print("\n".join(complete(rest.split(" "))))
        return
    if argv and argv[0].startswith("query") and command != "train":
        return
    if space:
        short = f"{program} {rest}"
        removed = len(line) - len(short)
        point = int(os.environ.get("COMP_POINT", len(line)))
        os.environ["COMP_POINT"] = str(max(0, point - removed))
        os.environ["COMP_LINE"] = short
    with contextlib.redirect_stdout(io.StringIO()) as answer:
        _train(["-sc", *argv])
    print(re.sub(r"\w+=_\w+ *", "", answer.getvalue()), end="")
