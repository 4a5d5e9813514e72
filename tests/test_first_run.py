"""README's first run shows what the console prints."""

from __future__ import annotations

import re
from pathlib import Path


def template(text: str) -> str:
    """Return a text in which every number is N and every path is PATH."""
    text = re.sub(r"(/|outputs/)\S+", "PATH", text.strip())
    return re.sub(r"-?\d[\d,.:]*(e-\d+)?", "N", text)


def test_the_readme_shows_what_a_run_prints(mbrl):
    """Each part of each line is one that a shortened run prints; the five last lines are whole."""
    readme = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    section = readme.split("## First run")[1]
    command, block = re.findall(r"```(?:bash)?\n(.*?)```", section, re.DOTALL)[:2]
    shown = [line for line in block.splitlines() if line != " ..."]
    done = mbrl(
        *command.split()[1:], "total_steps=40", "prefill_steps=12", "eval_every=15",
        "env.max_episode_steps=10", "agent.fit_every=20", "model.max_steps=60", "device=cpu",
        "planner.horizon=5",
    )  # fmt: skip
    assert done.code == 0, done.err
    printed = done.out.splitlines()
    known = {template(part) for line in printed for part in line.split("  ")}
    assert {template(part) for line in shown[1:-5] for part in line.split("  ")} <= known
    assert template(shown[0]) == template(printed[0])
    assert [template(line) for line in shown[-5:]] == [template(line) for line in printed[-5:]]
