"""The registry of tags: docs/tags.md, TensorBoard's descriptions, and mean times.

`test_contract.py` checks that every agent logs registered tags only.
"""

import re
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mbrl_cli.logger import Logger
from mbrl_cli.stopwatch import Stopwatch
from mbrl_cli.tags import TAGS, describe, markdown

ROOT = Path(__file__).parent.parent


def test_the_page_of_tags_is_current():
    page = ROOT / "docs" / "tags.md"
    assert page.read_text(encoding="utf-8") == markdown(), "python -m mbrl_cli.tags > docs/tags.md"


def test_every_tag_has_a_meaning_and_a_unit():
    for name, tag in TAGS.items():
        assert tag.meaning[0].isupper(), name
        assert not tag.meaning.endswith("."), name
        assert tag.unit, name


def test_every_registered_tag_is_logged_somewhere():
    source = "\n".join(
        path.read_text(encoding="utf-8")
        for path in sorted((ROOT / "mbrl_cli").rglob("*.py"))
        if path.name != "tags.py"
    )
    for name in TAGS:
        word = re.sub(r"<k>$", "", name.partition("/")[2]).removesuffix("_loss")
        assert re.search(rf"\b{word}", source), name


def test_tags_that_differ_in_a_number_share_a_description():
    assert describe("model/error_k25") is TAGS["model/error_k<k>"]
    assert describe("model/error_k") is None
    assert describe("my/own") is None


def test_tensorboard_reads_the_description_once_and_after_a_resume(tmp_path):
    with Logger(tmp_path, console=False) as log:
        log.scalars(1, {"eval/return": 1.0, "my/own": 2.0})
        position = log.position()
        log.scalars(2, {"eval/return": 3.0})
    with Logger(tmp_path, console=False, position=position) as log:
        log.scalars(2, {"eval/return": 3.0, "train/length": 8.0})
    events = EventAccumulator(str(tmp_path)).Reload()
    descriptions = {
        tag: metadata.summary_description for tag, metadata in events.summary_metadata.items()
    }
    assert descriptions == {
        "eval/return": "Mean undiscounted return of the evaluation episodes. Unit: reward.",
        "train/length": "Length of a training episode. Unit: steps.",
    }
    assert events.Tags()["scalars"] == ["eval/return", "my/own", "train/length"]
    assert [(p.step, p.value) for p in events.Scalars("eval/return")] == [(1, 1.0), (2, 3.0)]


def test_mean_times_are_those_since_the_previous_row():
    class Clock:
        now = 0.0

        def __call__(self):
            return self.now

    clock = Clock()
    watch = Stopwatch(clock)
    for seconds in (0.5, 1.5):
        with watch("plan"):
            clock.now += seconds
    first = watch.metrics()
    assert (first["time/plan"], first["time/decision_ms"]) == (2.0, 1000.0)
    assert "time/update_ms" not in first  # nothing was learned yet
    with watch("plan"):
        clock.now += 0.25
    with watch("fit"):
        clock.now += 4.0
    second = watch.metrics()
    assert (second["time/plan"], second["time/decision_ms"]) == (2.25, 250.0)
    assert second["time/update_ms"] == 4000.0
