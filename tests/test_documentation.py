"""The documentation agrees with the code: commands compose, plug-ins run, links exist."""

from __future__ import annotations

import importlib
import re
import shlex
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from mbrl_cli.agents.base import Agent, Decision, Policy
from mbrl_cli.callbacks.base import Callback, Episode
from mbrl_cli.config.config_changes import find_changes, refuse_fixed_keys
from mbrl_cli.config.fork_command import FREE_KEYS
from mbrl_cli.config.groups import GROUPS, choices
from mbrl_cli.config.overrides import apply_overrides
from mbrl_cli.config.published import read_published
from mbrl_cli.config.search_space import read_space
from mbrl_cli.models.base import Model, Trajectories
from mbrl_cli.models.markov import MarkovModel, Prediction
from mbrl_cli.models.plan_evaluation import PlanEvaluation
from mbrl_cli.planners.base import Plan, Planner
from mbrl_cli.planners.trajectory import Scores, TrajectoryPlanner
from mbrl_cli.planners.world import World
from mbrl_cli.search.settings import Settings
from mbrl_cli.types import ActionSpec, Batch, EnvSpec, Simulator, Step

ROOT = Path(__file__).parent.parent
DOCUMENTS = [
    path
    for folder in ("", "docs", "docs/keys", "benchmarks", "examples")
    for path in sorted((ROOT / folder).glob("*.md"))
    if path.name != "CHANGELOG.md"
]
PLUGINS = [ROOT / "docs" / "plugins.md", *sorted((ROOT / "docs").glob("own_*.md"))]
EXAMPLES = ["--config-dir", "configs"]  # words of a command that tests/test_plugins.py runs
SMALL = [
    "total_steps=45", "prefill_steps=20", "eval_every=0", "final_eval_episodes=2",
    "env.max_episode_steps=10", "console=false", "device=cpu",
]  # fmt: skip


def blocks(path: Path, language: str) -> list[str]:
    """Return the fenced code blocks of one language."""
    return re.findall(rf"```{language}\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)


def commands(path: Path, subcommand: str) -> list[list[str]]:
    """Return the words after `mbrl SUBCOMMAND` of each such command in a document."""
    found = []
    for block in blocks(path, "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            for command in line.split("&&"):
                words = shlex.split(command, comments=True)
                if words[:2] == ["mbrl", subcommand]:
                    found.append(words[2:])
    return found


TRAIN = [
    pytest.param(words, id=f"{path.name}: {' '.join(words)}")
    for path in DOCUMENTS
    for words in commands(path, "train")
    if path not in PLUGINS and "--config-dir" not in words
]


@pytest.mark.parametrize("words", TRAIN)
def test_a_command_composes(compose_run, words):
    if "-m" in words:  # one job of the sweep
        words = [re.sub(r"=([^\[,]+),.*", r"=\1", word) for word in words if word != "-m"]
    overrides = [word for word in words if word not in ("--cfg", "job")]
    kwargs = ("env.kwargs.", "hydra.", "model_from=")
    compose_run(*(f"++{word}" if word.startswith(kwargs) else word for word in overrides))


REPRODUCE = [words for path in DOCUMENTS for words in commands(path, "reproduce")]


@pytest.mark.parametrize("words", REPRODUCE, ids=" ".join)
def test_a_command_names_a_recipe_with_a_stated_result(words):
    name, *settings = words
    assert read_published(name) is not None
    assert all(re.fullmatch(r"seeds=\d+(,\d+)+", setting) for setting in settings)


SEARCH = [words for path in DOCUMENTS for words in commands(path, "search")]


@pytest.mark.parametrize("words", SEARCH, ids=" ".join)
def test_a_search_of_the_documentation_composes(compose_run, words):
    given = dict(word.split("=", 1) for word in words)
    own = {key: given.pop(key) for key in ("trials", "seeds", "max_steps") if key in given}
    Settings.of_words(own)
    name = given.pop("hparams_search", None)
    space, fixed = read_space(name, [f"{key}={value}" for key, value in given.items()], None)
    assert space
    compose_run(*fixed)


# Examples with a state of their own, which are also evaluated and resumed.
SAVED_PLUGINS = {"model=nearest_neighbour", "agent=greedy", "callbacks=action_size"}
PLUGIN_RUNS = [
    pytest.param(path, words, id=f"{path.name}: {' '.join(words)}")
    for path in (ROOT / "README.md", *PLUGINS)
    for words in commands(path, "train")
    if (path in PLUGINS or "--config-dir" in words) and words[:2] != EXAMPLES
]


@pytest.mark.parametrize(("path", "words"), PLUGIN_RUNS)
def test_a_plugin_of_the_documentation_runs(mbrl, tmp_path, path, words):
    pages = PLUGINS if path in PLUGINS else [path]
    for language in ("python", "yaml"):  # the file of a block is named in its first two lines
        for block in (block for page in pages for block in blocks(page, language)):
            name = re.search(r"^# (\S+\.(?:py|yaml))(?::|$)", block, re.MULTILINE)
            assert name is not None, block
            file = tmp_path / name[1]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block, encoding="utf-8")
    done = mbrl("train", *words, *SMALL, "hydra.run.dir=run")
    assert done.code == 0, done.err
    assert (tmp_path / "run" / "checkpoint.safetensors").exists()
    if SAVED_PLUGINS & set(words):
        plugins = ("--config-dir", "my_configs")
        done = mbrl("eval", "run", "eval_episodes=2", *plugins)
        assert (done.code, done.err) == (0, "")
        done = mbrl("resume", "run", "total_steps=60", *plugins)
        assert (done.code, done.err) == (0, "")


CONTRACT_TEXT = "\n".join(path.read_text(encoding="utf-8") for path in PLUGINS)
IMPORTS = re.findall(r"^\| `(mbrl_cli[.\w]+)` \| (`.*`) \|$", CONTRACT_TEXT, re.MULTILINE)


def test_every_contract_can_be_imported_from_the_module_in_the_table():
    listed = {}
    for module, names in IMPORTS:
        for name in re.findall(r"\w+", names):
            listed[name] = getattr(importlib.import_module(module), name)
    assert {contract.__name__: contract for contract in CONTRACTS}.items() <= listed.items()


CONTRACTS = (
    Planner, Plan, World, Model, MarkovModel, Step, Trajectories, Prediction, Agent, Policy,
    Decision, EnvSpec, ActionSpec, Simulator, Batch, TrajectoryPlanner, Scores, PlanEvaluation,
    Callback, Episode,
)  # fmt: skip


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.__name__)
def test_every_member_of_a_contract_is_documented(contract):
    members = {*vars(contract), *getattr(contract, "__annotations__", {})}
    public = {name for name in members if not name.startswith("_")} - {"of_model"}
    public -= set(dir(tuple))
    missing = {name for name in public if not re.search(rf"`{name}(\(|`)", CONTRACT_TEXT)}
    assert not missing


@pytest.mark.parametrize("group", GROUPS)
def test_the_readme_names_every_choice(group):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert {name for name in choices(group) if name != "none" and f"`{name}`" not in text} == set()


def anchor(heading: str) -> str:
    """Return the anchor that GitHub gives to a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_exist(path):
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)]+)\)", text):
        if link.startswith(("http://", "https://")):
            continue
        name, _, fragment = link.partition("#")
        target = path.parent / name if name else path
        assert target.exists(), link
        if fragment:
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert fragment in map(anchor, headings), link


PATH_IN_CODE = re.compile(r"`((?:[\w.]+/)+[\w.]*\.(?:py|yaml|png|md))`")


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_files_that_the_text_names_exist(path):
    for name in PATH_IN_CODE.findall(path.read_text(encoding="utf-8")):
        if "my_" not in name and "GROUP" not in name:  # files of the reader, placeholders
            assert any((start / name).exists() for start in (ROOT, ROOT / "mbrl_cli")), name


def keys_of(group: str) -> set[str]:
    """Return the keys that the YAML files give to a group."""
    keys: set[str] = set()
    for path in (ROOT / "configs").rglob("*.yaml"):
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        part = content.get(group, content if path.parent.name == group else None)
        keys |= set(part) if isinstance(part, dict) else set()
    return keys


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_keys_that_the_text_names_exist(path):
    if path.name in ("mistakes.md", "field_cases.md", "RESULTS.md"):
        pytest.skip("its commands are wrong on purpose, or were typed for an earlier version")
    text = path.read_text(encoding="utf-8")
    if path.name == "migrating.md":  # the left columns have keys of other packages
        text = "\n".join(row.split("|")[2] for row in text.splitlines() if row.startswith("| "))
    named = re.findall(r"`(?:[^`\n]* )?(env|model|planner|agent)\.([a-z_]+)(?=[=.` ,])", text)
    allowed = {group: keys_of(group) for group in ("env", "model", "planner", "agent")}
    assert [f"{group}.{key}" for group, key in named if key not in allowed[group]] == []


FORKS = [words for path in DOCUMENTS for words in commands(path, "fork") if len(words) > 1]


@pytest.mark.parametrize("words", FORKS, ids=" ".join)
def test_a_fork_changes_settings_that_can_change(compose_run, words):
    folder, at, *settings = words
    config = compose_run("env=cartpole")
    before = OmegaConf.to_container(config, resolve=True)
    apply_overrides(config, [word for word in settings if not word.startswith("hydra.")])
    changes = find_changes(before, OmegaConf.to_container(config, resolve=True))
    refuse_fixed_keys(changes, Path(folder), "a fork", FREE_KEYS)
    assert re.fullmatch(r"at=\d+", at)
    assert changes or settings == [word for word in settings if word.startswith("hydra.")]
