"""What is searched: words, space and settings, saved as search.json in the search folder."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mbrl_cli.config.composed_run import ComposedRun
from mbrl_cli.config.own_runs import record_origin, training_folder
from mbrl_cli.config.search_parameter import SearchParameter, parse_parameter
from mbrl_cli.errors import UserError
from mbrl_cli.run_files import read_regular, write_atomically
from mbrl_cli.search.rungs import rungs_of
from mbrl_cli.search.schedule import Schedule
from mbrl_cli.search.settings import Settings

FILE = "search.json"
MAX_BYTES = 2**20
MAX_TRIALS = 10_000  # of a search with max_steps


@dataclass(frozen=True)
class Definition:
    """A search, without its trials.

    Attributes:
        words: `key=value` of every run.
        space: the searched keys.
        settings: how they are searched.
        rungs: environment steps at which trials are compared; the last one is `total_steps`.
        repeated: steps that a promoted run takes again, at most.
        config_dir: the folder of `--config-dir`.
    """

    words: tuple[str, ...]
    space: tuple[SearchParameter, ...]
    settings: Settings
    rungs: tuple[int, ...]
    repeated: int = 0
    config_dir: Path | None = None

    @staticmethod
    def checked(
        words: Sequence[str],
        space: Sequence[SearchParameter],
        settings: Settings,
        config_dir: Path | None,
    ) -> tuple[Definition, ComposedRun]:
        """Return the search and a run of it, with values from the middle of the space.

        Raises:
            UserError: if a key is unknown, a part of the run cannot be built, the run has no
                evaluation at which trials can be compared, or `max_steps` is too small.
        """
        middle = [f"{parameter.key}={_middle(parameter)}" for parameter in space]
        run = ComposedRun([*words, *middle, "console=false"], config_dir)
        run.check()
        env = run.new_env()
        limit = env.spec.max_episode_steps or 0
        env.close()
        folder = None if config_dir is None else config_dir.absolute()
        of_run, reduction = run.settings(), settings.reduction

        def with_trials(trials: int) -> Definition:
            rungs = [of_run.total_steps]
            if settings.pruning:
                rungs = rungs_of(of_run, limit, reduction, settings.min_steps, trials)
            return Definition(
                words=tuple(words),
                space=tuple(space),
                settings=replace(settings, trials=trials),
                rungs=tuple(rungs),
                repeated=limit * of_run.num_envs,
                config_dir=folder,
            )

        if not settings.max_steps:
            return _largest([with_trials(settings.trials)], settings), run
        steps_of_a_trial = len(settings.seeds) * with_trials(MAX_TRIALS).rungs[0]
        limit_of_trials = min(MAX_TRIALS, settings.max_steps // steps_of_a_trial + 1)
        return _largest([with_trials(n + 1) for n in range(limit_of_trials)], settings), run

    @staticmethod
    def load(folder: Path, trust: bool) -> Definition:
        """Return the search in a folder.

        Raises:
            UserError: if it was started by another user or on another machine and `trust` is false,
                or if the file is damaged.
        """
        content = read_regular(folder / FILE, MAX_BYTES)
        if not trust and training_folder(folder, _identity(content)) is None:
            raise UserError(
                f"{folder}: was not started by you on this machine, and its runs may import any "
                "code; if you trust it add --trust"
            )
        try:
            values = json.loads(content)
            space = [parse_parameter(f"{key}={text}") for key, text in values["space"].items()]
            settings = values["settings"] | {"seeds": tuple(values["settings"]["seeds"])}
            return Definition(
                words=tuple(map(str, values["words"])),
                space=tuple(parameter for parameter in space if parameter is not None),
                settings=Settings(**settings),
                rungs=tuple(map(int, values["rungs"])),
                repeated=int(values.get("repeated", 0)),  # older searches do not have it
                config_dir=Path(values["config_dir"]) if values["config_dir"] else None,
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{folder / FILE}: is damaged") from error

    @staticmethod
    def started_in(folder: Path) -> Path | None:
        """Return the folder in which this user typed the command, None if it is not known."""
        found = training_folder(folder, _identity(read_regular(folder / FILE, MAX_BYTES)))
        return None if found is None else Path(found)

    def save(self, folder: Path) -> None:
        """Write search.json, and origin.json so that this user needs no `--trust`."""
        content = (json.dumps(self._plain(), indent=2) + "\n").encode()
        record_origin(folder, [_identity(content)], os.getcwd())
        write_atomically(folder / FILE, content)

    def refuse_other(self, other: Definition, folder: Path) -> None:
        """Raise UserError if `other`, the search in `folder`, differs in more than its trials.

        The rungs are not compared: they follow from the settings and from the first number of
        trials.
        """
        here, there = self.with_trials(1)._plain(), other.with_trials(1)._plain()
        for key, value in here.items():
            if key not in ("rungs", "repeated") and value != there[key]:
                name, now, before = _first_difference(key, value, there[key])
                raise UserError(
                    f"{name}={now}: {folder} holds a search with {name}={before}; to continue it "
                    f"type: mbrl resume {folder}; for another search add hydra.sweep.dir=FOLDER"
                )

    def with_trials(self, trials: int) -> Definition:
        """Return the same search with another number of trials."""
        return replace(self, settings=replace(self.settings, trials=trials))

    def schedule(self) -> Schedule:
        """Return the order in which trials are run and promoted."""
        settings = self.settings
        return Schedule(
            num_rungs=len(self.rungs),
            seeds=settings.seeds,
            trials=settings.trials,
            reduction=settings.reduction,
            brackets=settings.brackets,
        )

    @property
    def most_steps(self) -> int:
        """Environment steps of all runs at most, if none is interrupted."""
        return self.schedule().most_steps(self.rungs, self.repeated)

    def run_words(self, values: Mapping[str, Any]) -> list[str]:
        """Return the words of `mbrl train` for a trial, without its seed."""
        return [*self.words, *(f"{key}={value}" for key, value in values.items())]

    def _plain(self) -> dict[str, Any]:
        return {
            "words": list(self.words),
            "space": {parameter.key: parameter.text for parameter in self.space},
            "settings": asdict(self.settings) | {"seeds": list(self.settings.seeds)},
            "rungs": list(self.rungs),
            "repeated": self.repeated,
            "config_dir": str(self.config_dir) if self.config_dir else "",
        }


def _identity(content: bytes) -> str:
    """Return search.json as text without the number of trials, which may be raised."""
    try:
        values = json.loads(content)
        values["settings"]["trials"] = 0
    except (ValueError, KeyError, TypeError):
        return ""
    return json.dumps(values)


def _largest(definitions: Sequence[Definition], settings: Settings) -> Definition:
    """Return the search with the most trials that fits into `max_steps`, if that is set.

    Args:
        definitions: of searches that differ in the number of trials, ascending.
        settings: of the search.
    """
    possible = [found for found in definitions if settings.brackets <= len(found.rungs)]
    if not possible:
        rungs = definitions[-1].rungs
        raise UserError(
            f"brackets={settings.brackets}: must be {len(rungs)} or less, the number of steps at "
            f"which trials are compared: {', '.join(map(str, rungs))}"
        )
    if not settings.max_steps:
        return possible[-1]
    # With one trial more there may be one rung more, which saves steps: each number is tried.
    fitting = [found for found in possible if found.most_steps <= settings.max_steps]
    if not fitting:
        raise UserError(
            f"max_steps={settings.max_steps}: must be {possible[0].most_steps} or more, the steps "
            f"of a search with {possible[0].settings.trials} trials"
        )
    return fitting[-1]


def _middle(parameter: SearchParameter) -> Any:
    if parameter.choices is not None:
        return parameter.choices[len(parameter.choices) // 2]
    if parameter.log:
        middle = (parameter.low * parameter.high) ** 0.5
    else:
        middle = (parameter.low + parameter.high) / 2
    if parameter.step is not None:
        middle = parameter.low + (middle - parameter.low) // parameter.step * parameter.step
    return int(middle) if parameter.is_integer else parameter.rounded(middle)


def _first_difference(key: str, now: Any, before: Any) -> tuple[str, Any, Any]:
    """Return the name of the first setting that differs, its value now and the one before."""
    if isinstance(now, dict) and isinstance(before, dict):
        name = next(k for k in {**now, **before} if now.get(k) != before.get(k))
        return name, now.get(name, "(not searched)"), before.get(name, "(not searched)")
    return key, now, before
