"""`mbrl search`: search hyperparameters, with pruning by the evaluations of the runs."""

from __future__ import annotations

import dataclasses
import importlib.util
from pathlib import Path

from mbrl_cli.commands.config_dir import add_config_dir, prepare_config_dir
from mbrl_cli.commands.parser import Parser
from mbrl_cli.errors import UserError, install_extra

EPILOG = """\
settings:
  hparams_search=NAME  the search space, a file in configs/hparams_search: mbrl list hparams_search
  key=VALUES           a searched key: choice(1,2), range(1,10,3), interval(0.1,1),
                       int(interval(1,9)), tag(log,interval(1e-4,1e-2)), or 1,2,3
  key=value            as after mbrl train; a key of the space with one value is not searched
  trials=20            number of trials
  max_steps=50000      instead: as many trials as fit into these environment steps of all runs
  seeds=0,1,2          runs of each trial
  sampler=tpe          tpe or random
  pruning=true         false: every trial runs to its end
  min_steps=3000       trials are not compared before; default: the end of the prefill
  reduction=3          one trial in 3 is promoted to 3 times its steps
  brackets=1           Hyperband: further groups of trials that start with more steps
  search_seed=0        of the sampler
  hydra.sweep.dir=DIR  the folder; default: outputs/search_ENV_AGENT_PLANNER

examples:
  mbrl search env=cartpole planner=cem hparams_search=cem
  mbrl search env=pendulum agent=sac hparams_search=sac trials=40 seeds=0,1,2,3,4
  mbrl search env=cartpole 'planner.horizon=int(interval(5,40))' planner.population=50,100,200

The same command continues the search, also beside another worker: type it in several terminals, or
on several machines with the same folder. It needs the extra search.
"""


def run(argv: list[str]) -> None:
    """Search, print the table of trials and the command of the best one."""
    parser = Parser(
        command="search",
        usage="[hparams_search=NAME] [trials=20] [seeds=0,1,2] [key=value ...] [--config-dir DIR]",
        description="Search hyperparameters: trials of several seeds, pruned and promoted.",
        epilog=EPILOG,
    )
    parser.add_argument("words", nargs="*", metavar="key=value", help="settings of search and runs")
    add_config_dir(parser, "also use the YAML files in DIR: hparams_search/ and the groups")
    words = parser.parse_intermixed_args(argv)
    require_optuna()
    prepare_config_dir(words.config_dir, importable=True)
    _search(words.words, words.config_dir)


def resume(folder: Path, words: list[str], trust: bool) -> None:
    """Continue the search in a folder; `words` may only have trials=N."""
    require_optuna()
    from mbrl_cli.search.run_search import resume_search
    from mbrl_cli.search.settings import Settings

    given = dict(word.partition("=")[::2] for word in words)
    for key, value in given.items():
        if key != "trials":
            raise UserError(f"{key}={value}: cannot change in a search; only trials=N can")
    trials = Settings.of_words(given).trials if given else None
    resume_search(folder, trials, trust)


def require_optuna() -> None:
    """Raise UserError with the command that installs the extra, if it is missing."""
    for package in ("optuna", "scipy"):
        if importlib.util.find_spec(package) is None:
            raise UserError(f"search: needs the package {package}; {install_extra('search')}")


def _search(words: list[str], config_dir: Path | None) -> None:
    from mbrl_cli.config.command_words import prepare_words
    from mbrl_cli.config.groups import SPACES
    from mbrl_cli.config.search_space import read_space
    from mbrl_cli.search.definition import Definition
    from mbrl_cli.search.run_search import start_search
    from mbrl_cli.search.settings import Settings

    own = {field.name for field in dataclasses.fields(Settings)}
    given: dict[str, str] = {}
    others = []
    for word in words:
        key, _, value = word.partition("=")
        if key in (*own, SPACES, "hydra.sweep.dir"):
            given[key] = value
        elif key == "seed":
            raise UserError(f"{word}: each trial has several; type seeds={value}")
        else:
            others.append(word)
    others = prepare_words(others, config_dir)
    space, fixed = read_space(given.pop(SPACES, None), others, config_dir)
    folder = given.pop("hydra.sweep.dir", "")
    definition, run = Definition.checked(fixed, space, Settings.of_words(given), config_dir)
    names = (run.choices[group] for group in ("env", "agent", "planner"))
    start_search(Path(folder or f"outputs/search_{'_'.join(map(str, names))}"), definition)
