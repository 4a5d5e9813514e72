"""Hooks of MkDocs: pages from files outside of docs/, the key reference, links between them.

Every text has one place in the repository. Three kinds of pages are made while the site is built:
- pages from other files (`PAGES`), such as CONTRIBUTING.md;
- the reference of all config keys, from `mbrl_cli.config.key_reference`;
- the Python interface, from docstrings (`API`).

In a page of docs/, a line that holds nothing but a link to a file outside of docs/ is followed by
the file's content. With `#section` it is replaced by that section. On GitHub the line stays a link.
"""

from __future__ import annotations

import posixpath
import re
import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

# File in the repository -> its page in the site.
PAGES = {
    "README.md": "index.md",  # for links; the site has docs/index.md and sections of README.md
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "examples/README.md": "examples.md",
    "benchmarks/README.md": "benchmarks.md",
    "benchmarks/RESULTS.md": "results.md",
}
# Page -> title and the objects whose docstrings it shows.
API = {
    "api/index.md": (
        "Python: runs and policies",
        "load_run load_runs train api.run.Run api.run_list.RunList api.run_policy.RunPolicy "
        "api.run_model.RunModel api.model_prediction.ModelPrediction api.run_summary.RunSummary "
        "errors.UserError",
    ),
    "api/contracts.md": (
        "Python: contracts of plug-ins",
        "types.EnvSpec types.ActionSpec types.Simulator types.Step types.Batch types.Sequences "
        "planners.base.Planner planners.base.Plan planners.world.World "
        "planners.trajectory.TrajectoryPlanner models.base.Model models.base.Trajectories "
        "models.markov.MarkovModel models.markov.Prediction models.plan_evaluation.PlanEvaluation "
        "agents.base.Agent agents.base.Policy agents.base.Decision callbacks.base.Callback "
        "callbacks.base.Episode replay.buffer.ReplayBuffer",
    ),
}
KEY_TABLES: list[str] = []  # of keys/index.md, once they are made
ONLY_LINK = re.compile(r"^\[[^\]]+\]\((\.\./[^)#]+)(?:#([\w-]+))?\)$", re.MULTILINE)
LINK = re.compile(r"(?<!\\)(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
FENCE = re.compile(r"(^ *```.*?^ *```[^\n]*$|`[^`\n]+`)", re.MULTILINE | re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made from files outside of docs/."""
    from mbrl_cli.config.key_reference import reference_pages

    made = {
        page: _one_title((ROOT / source).read_text(encoding="utf-8"))
        for source, page in PAGES.items()
        if source != "README.md"
    }
    reference = reference_pages()
    KEY_TABLES.append(reference.pop("index"))
    made |= {f"keys/{name}.md": text for name, text in reference.items()}
    for page, (title, objects) in API.items():
        made[page] = "\n\n".join(
            [f"# {title}", *(f"::: mbrl_cli.{name}" for name in objects.split())]
        )
    for page, text in made.items():
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Insert the files and sections that the page names; rewrite links to the site's pages."""
    uri = page.file.src_uri
    sources = {page: file for file, page in PAGES.items() if file != "README.md"}
    source = sources.get(uri, f"docs/{uri}")

    def insert(match: re.Match[str]) -> str:
        file = posixpath.normpath(posixpath.join(posixpath.dirname(source), match[1]))
        if not match[2] and file in PAGES:
            return match[0]
        text = (ROOT / file).read_text(encoding="utf-8")
        if match[2]:
            return _linked(_section(text, match[2]), file, uri)
        language = {".py": "python", ".yaml": "yaml"}[Path(file).suffix]
        return f'```{language} title="{file}"\n{text}```'

    if uri == "keys/index.md":
        return f"{markdown}\n\n{KEY_TABLES[-1]}"
    text, position = "", 0
    for match in ONLY_LINK.finditer(markdown):
        text += _linked(markdown[position : match.start()], source, uri) + insert(match)
        position = match.end()
    return text + _linked(markdown[position:], source, uri)


def _one_title(text: str) -> str:
    """Return a text whose second title, and all headings after it, are one level lower.

    The table of contents of a page has the headings below its first title alone.
    """
    lines, titles, is_code = [], 0, False
    for line in text.splitlines():
        is_code ^= line.startswith("```")
        if line.startswith("#") and not is_code:
            titles += line.startswith("# ")
            line = f"#{line}" if titles > 1 else line
        lines.append(line)
    return "\n".join(lines)


def _section(text: str, anchor: str) -> str:
    """Return the content below a heading of the second level, without the heading."""
    lines: list[str] = []
    is_code = is_found = False
    for line in text.splitlines():
        is_code ^= line.startswith("```")
        if line.startswith("## ") and not is_code:
            if is_found:
                break
            is_found = _anchor(line[3:]) == anchor
        elif is_found:
            lines.append(line)
    if not is_found:
        raise ValueError(f"no section #{anchor}")
    return "\n".join(lines).strip()


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def _linked(markdown: str, source: str, uri: str) -> str:
    """Return text of the file `source` with links that are right in the page `uri`.

    A file that the site does not have is named without a link. An option in brackets, as usage
    texts have it, is no reference.
    """

    def rewritten(match: re.Match[str]) -> str:
        is_image, text, link = match.groups()
        path, hash_sign, anchor = link.partition("#")
        if not path or re.match(r"\w+:", path):
            return match[0]
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        if target.startswith("docs/"):
            page = target.removeprefix("docs/")
        elif target in PAGES:
            page = PAGES[target]
        elif (ROOT / target).exists():
            return text if "`" in text else f"`{target}`"
        else:
            return match[0]  # MkDocs reports it
        if text.endswith(".md"):  # a file's name: the site shows the title instead
            text = _title(ROOT / target) or text
        start = posixpath.dirname(uri) or "."
        return f"{is_image}[{text}]({posixpath.relpath(page, start)}{hash_sign}{anchor})"

    pieces = FENCE.split(markdown)
    return "".join(
        piece if FENCE.fullmatch(piece) else LINK.sub(rewritten, piece).replace("[--", "\\[--")
        for piece in pieces
    )


def _title(path: Path) -> str:
    """Return the first heading of a file; empty if there is no such file."""
    if not path.is_file():
        return ""
    match = re.search(r"^# (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return match[1] if match else ""
