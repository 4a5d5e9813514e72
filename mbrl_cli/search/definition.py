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
from mbrl_cli.search.settings import Settings

FILE = "search.json"
MAX_BYTES = 2**20


@dataclass(frozen=True)
class Definition:
    """A search, without its trials.

    Attributes:
        words: `key=value` of every run.
        space: the searched keys.
        settings: how they are searched.
        rungs: environment steps at which trials are compared; the last one is `total_steps`.
        config_dir: the folder of `--config-dir`.
    """

    words: tuple[str, ...]
    space: tuple[SearchParameter, ...]
    settings: Settings
    rungs: tuple[int, ...]
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
            UserError: if a key is unknown, a part of the run cannot be built, or the run has no
                evaluation at which trials can be compared.
        """
        middle = [f"{parameter.key}={_middle(parameter)}" for parameter in space]
        run = ComposedRun([*words, *middle, "console=false"], config_dir)
        run.check()
        rungs = [run.settings().total_steps]
        if settings.pruning:
            env = run.new_env()
            limit = env.spec.max_episode_steps or 0
            env.close()
            rungs = rungs_of(run.settings(), limit, settings.reduction, settings.min_steps)
        if settings.brackets > len(rungs):
            raise UserError(
                f"brackets={settings.brackets}: must be {len(rungs)} or less, the number of steps "
                f"at which trials are compared: {', '.join(map(str, rungs))}"
            )
        folder = None if config_dir is None else config_dir.absolute()
        return Definition(tuple(words), tuple(space), settings, tuple(rungs), folder), run

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
        """Raise UserError if `other`, the search in `folder`, differs in more than its trials."""
        here, there = self.with_trials(1)._plain(), other.with_trials(1)._plain()
        for key, value in here.items():
            if value != there[key]:
                name, now, before = _first_difference(key, value, there[key])
                raise UserError(
                    f"{name}={now}: {folder} holds a search with {name}={before}; to continue it "
                    f"type: mbrl resume {folder}; for another search add hydra.sweep.dir=FOLDER"
                )

    def with_trials(self, trials: int) -> Definition:
        """Return the same search with another number of trials."""
        return replace(self, settings=replace(self.settings, trials=trials))

    def run_words(self, values: Mapping[str, Any]) -> list[str]:
        """Return the words of `mbrl train` for a trial, without its seed."""
        return [*self.words, *(f"{key}={value}" for key, value in values.items())]

    def _plain(self) -> dict[str, Any]:
        return {
            "words": list(self.words),
            "space": {parameter.key: parameter.text for parameter in self.space},
            "settings": asdict(self.settings) | {"seeds": list(self.settings.seeds)},
            "rungs": list(self.rungs),
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
