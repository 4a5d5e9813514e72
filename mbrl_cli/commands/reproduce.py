"""`mbrl reproduce RECIPE`: run a recipe again and compare it with its stated result."""

from __future__ import annotations

import shlex
from pathlib import Path

from mbrl_cli.commands.config_dir import add_config_dir, prepare_config_dir
from mbrl_cli.commands.parser import Parser
from mbrl_cli.errors import UserError, unknown_key

EPILOG = """\
settings:
  seeds=5            the number of runs: the stated seeds first, then the next ones
  seeds=20,21,22     these seeds
  threads= device= logger= console= checkpoint_minutes= hydra/launcher= hydra.sweep.dir= ...
                     settings that are no part of the recipe, as after mbrl train

examples:
  mbrl list experiment                             the recipes, with their stated results
  mbrl reproduce pets_cartpole                     run it on the stated seeds
  mbrl reproduce pets_cartpole seeds=20,21,22      on other seeds

The runs are written to outputs/reproduce_RECIPE. The same command continues where it was stopped.
Exit code 0: the result is inside the interval. Exit code 1: it is outside.
"""
# Keys and their first parts that are no part of a recipe.
OTHER_KEYS = (
    "threads", "device", "logger", "console", "checkpoint_every", "checkpoint_minutes",
    "keep_checkpoints", "log_every", "eval_envs", "hydra",
)  # fmt: skip
MIN_SEEDS = 2


def run(argv: list[str]) -> None:
    """Run the seeds of a recipe, print both results, exit with code 1 if they differ."""
    parser = Parser(
        command="reproduce",
        usage="RECIPE [seeds=5] [key=value ...] [--config-dir DIR]",
        description="Run a recipe again and say whether the result agrees with the stated one.",
        epilog=EPILOG,
    )
    parser.add_argument("words", nargs="*", metavar="RECIPE", help="a choice of experiment")
    add_config_dir(parser, "also use the YAML files in DIR: experiment/ and published/")
    words = parser.parse_intermixed_args(argv)
    names = [word for word in words.words if "=" not in word]
    settings = [word for word in words.words if "=" in word]
    if len(names) != 1:
        parser.error("RECIPE: one must be given" if not names else f"{names[1]}: one RECIPE only")
    prepare_config_dir(words.config_dir)
    _reproduce(names[0], settings, words.config_dir)


def _reproduce(name: str, settings: list[str], user_dir: Path | None) -> None:
    from mbrl_cli.config.groups import choices, unknown_choice
    from mbrl_cli.config.published import read_published

    found = choices("experiment", user_dir)
    if name not in found:
        raise UserError(unknown_choice("experiment", name, found))
    stated = read_published(name, user_dir)
    if stated is None:
        known = [other for other in found if read_published(other, user_dir) is not None]
        raise UserError(
            f"reproduce {name}: states no result to compare with; run it with mbrl train "
            f"experiment={name}, or reproduce {', '.join(known)}"
        )
    given = dict(word.split("=", 1) for word in settings)
    for key in given:
        first = key.replace("/", ".").partition(".")[0]
        if first not in ("seeds", *OTHER_KEYS):
            if first == "seed":
                raise UserError(unknown_key(key, key, ["seeds"]))
            raise UserError(
                f"{key}: would change the recipe; to run it with another value type: mbrl train "
                f"experiment={name} {key}={given[key]}"
            )
    seeds = _seeds(given.pop("seeds", "5"), stated.seeds)
    folder = Path(given.setdefault("hydra.sweep.dir", f"outputs/reproduce_{name}"))

    from mbrl_cli.api.loading import load_runs
    from mbrl_cli.commands.sweep_report import report_failures
    from mbrl_cli.config.train_command import launch
    from mbrl_cli.config.versions import collect_versions
    from mbrl_cli.reports.reproduction import Reproduction

    end = launch([
        "-m", f"experiment={name}", f"seed={','.join(map(str, seeds))}",
        *(f"{key}={value}" for key, value in given.items()),
        *(["--config-dir", str(user_dir)] if user_dir is not None else []),
    ])  # fmt: skip
    if end is not None:
        report_failures(end)
    returns = {run.seed: run.final_return for run in load_runs(folder, config_dir=user_dir)}
    finished = [value for seed in seeds if (value := returns.get(seed)) is not None]
    if len(finished) < len(seeds):
        again = shlex.join(["mbrl", "reproduce", name, *settings])
        raise UserError(
            f"{folder}: {len(finished)} of {len(seeds)} runs have finished; to go on type: {again}"
        )
    result = Reproduction(seeds, finished, stated)
    print(result.text(collect_versions()), end="")
    if not result.is_inside:
        raise SystemExit(1)


def _seeds(text: str, stated: list[int]) -> list[int]:
    """Return the seeds that the word seeds=TEXT selects."""
    parts = text.split(",")
    if not all(part.isascii() and part.isdecimal() and len(part) <= 9 for part in parts):
        raise UserError(f"seeds={text}: must be a number of runs, or seeds such as 20,21,22")
    numbers = [int(part) for part in parts]
    if len(numbers) == 1:
        further = range(max(stated) + 1, max(stated) + 1 + numbers[0])
        numbers = [*stated, *further][: numbers[0]]
    if len(set(numbers)) < len(numbers):
        raise UserError(f"seeds={text}: has a seed twice")
    if len(numbers) < MIN_SEEDS:
        raise UserError(f"seeds={text}: must be {MIN_SEEDS} or more, for an interval")
    return numbers
