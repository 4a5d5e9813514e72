"""The reference of all config keys is complete, and `mbrl list` shows the same data."""

import re
from pathlib import Path

import pytest
import yaml

from mbrl_cli.config.choice_keys import group_keys, run_keys
from mbrl_cli.config.groups import GROUPS, SPACES, choices
from mbrl_cli.config.key_reference import reference_pages
from mbrl_cli.config.recommended import Recommendation, recommendations

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def pages():
    return reference_pages()


def rows(page, title):
    """Return {key: other cells} of the table below a heading; "" is the whole page."""
    section = page.partition(f"\n## {title}\n")[2].partition("\n## ")[0] if title else page
    cells = [
        line.strip("|").split(" | ") for line in section.splitlines() if line.startswith("| `")
    ]
    return {row[0].strip().strip("`").partition("`")[0]: row[1:] for row in cells}


def test_a_row_has_default_bounds_meaning_and_the_values_of_environments(pages):
    default, allowed, meaning, recommended = rows(pages["planner"], "`planner=cem`")[
        "planner.iterations"
    ]
    assert (default, allowed.replace("\\", "")) == ("`3*`", "a whole number >= 1")
    assert meaning == "refits per decision"
    assert recommended.startswith("`2`: cartpole, cartpole_continuous, pendulum")
    horizon = rows(pages["planner"], "`planner=cem`")["planner.horizon"][-1]
    assert horizon.startswith("[11 values](recommended.md#planner-horizon)")
    assert "| `20` | `env=pendulum` |" in pages["recommended"]


@pytest.mark.parametrize("group", ["run", *GROUPS])
def test_every_key_has_a_default_allowed_values_and_a_comment(pages, group):
    if group == "run":
        tables = {"": {key.name for key in run_keys()}}
    elif group == "env":
        tables = {"Keys of every environment": {f"env.{k.name}" for k in group_keys("env", "gym")}}
    else:
        tables = {
            f"`{group}={name}`": {f"{group}.{key.name}" for key in group_keys(group, name)}
            for name in ("cem", "mbpo", "rssm", "ensemble")
            if name in choices(group)
        }
    for title, keys in tables.items():
        found = rows(pages[group], title)
        assert keys <= found.keys()
        for key in keys:
            assert all(cell.strip() for cell in found[key][:3]), key


@pytest.mark.parametrize("group", [*GROUPS, "logger", "experiment", SPACES])
def test_every_choice_has_a_section(pages, group):
    titles = re.findall(r"^## `\w+=(\w+)`$", pages[group], re.MULTILINE)
    assert titles == list(choices(group))


def test_every_link_of_the_reference_has_its_target(pages):
    for page in pages.values():  # MkDocs checks them, too
        for name, anchor in re.findall(r"\]\((\w+)\.md(?:#([^)]+))?\)", page):
            assert not anchor or f"#{anchor} " in pages[name], anchor


def test_values_for_an_agent_and_for_images_name_their_condition():
    found = recommendations()["total_steps"]
    assert Recommendation("cartpole", "mbpo", False, 3000) in found
    assert Recommendation("gridworld", None, True, 4000) in found
    assert [entry.condition for entry in found if entry.pixels] == ["env=gridworld env.obs=pixels"]


def test_a_recommended_value_is_the_one_that_a_run_has(compose_run):
    for entry in recommendations()["prefill_steps"]:
        other = [] if entry.agent else ["agent=random"]  # for which no environment has a section
        cfg = compose_run(*entry.condition.split(), *other, "++env.id=X-v0")
        assert cfg.prefill_steps == entry.value, entry


def test_list_shows_one_key_with_the_values_of_environments(mbrl):
    shown = mbrl("list", "planner", "cem", "horizon").out
    assert shown == mbrl("list", "planner", "cem", "planner.horizon").out
    lines = shown.splitlines()
    assert lines[0] == "planner.horizon"
    assert "  default    25, unless the environment recommends another value" in lines
    assert "  allowed    a whole number >= 1" in lines
    assert "  50  env=cartpole" in lines
    assert lines[-1] == "to set it: mbrl train planner=cem planner.horizon=VALUE"


def test_list_shows_the_keys_of_the_run(mbrl):
    table = mbrl("list", "run", "env=pendulum").out
    (line,) = [line for line in table.splitlines() if line.startswith("total_steps ")]
    assert line.split()[1:3] == ["10000*", "1500"]
    one = mbrl("list", "run", "total_steps").out
    assert "  20000   env=pendulum agent=sac\n" in one
    assert one.endswith("to set it: mbrl train total_steps=VALUE\n")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("planner cem horizn", "unknown key; did you mean planner.horizon"),
        ("run totalsteps", "list run totalsteps: unknown key; did you mean total_steps"),
        ("planner env=pendulum", "env=pendulum: needs GROUP and CHOICE before it"),
        ("planner cem horizon x", "x: is one word too many"),
        ("plan", "unknown group; did you mean planner"),
    ],
)
def test_a_mistake_in_the_words_of_list_is_explained(mbrl, words, text):
    done = mbrl("list", *words.split())
    assert done.code == 2
    assert text in done.err


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("pl", ["planner"]),
        ("planner i", ["icem"]),
        ("planner cem hor", ["horizon"]),
        ("agent mbpo sac.disc", ["sac.discount"]),
        ("run total", ["total_steps"]),
        ("planner cem env=pen", ["env=pendulum"]),
        ("nothing cem ", []),
    ],
)
def test_the_shell_completes_groups_choices_and_keys(mbrl, monkeypatch, line, words):
    monkeypatch.setenv("COMP_LINE", f"mbrl list {line}")
    monkeypatch.setenv("COMP_POINT", str(len(f"mbrl list {line}")))
    assert mbrl("-sc", "query=bash").out.split() == words


class _Loader(yaml.SafeLoader):
    """Loader for mkdocs.yml, which names a function of Python."""


_Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: None)


def listed(entries):
    """Yield the pages of the navigation."""
    for entry in entries:
        value = next(iter(entry.values())) if isinstance(entry, dict) else entry
        if isinstance(value, list):
            yield from listed(value)
        else:
            yield value


def test_every_page_is_in_the_navigation_of_the_site(pages):
    config = yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), Loader=_Loader)
    found = set(listed(config["nav"]))
    docs = ROOT / "docs"
    wanted = {str(path.relative_to(docs)) for path in docs.rglob("*.md")}
    wanted |= {f"keys/{name}.md" for name in pages}
    assert not wanted - found, f"add to nav in mkdocs.yml: {sorted(wanted - found)}"
