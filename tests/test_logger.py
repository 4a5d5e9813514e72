"""Logging: metrics.csv, TensorBoard, and their state after a resume."""

from __future__ import annotations

import math
import re
import struct
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from mbrl_cli.errors import UserError
from mbrl_cli.logger import Logger
from mbrl_cli.metrics_csv import METRICS_CSV
from mbrl_cli.tags import TAGS, describe


def float32(value: float) -> float:
    return float(struct.unpack("f", struct.pack("f", value))[0])


def read_events(folder: Path) -> EventAccumulator:
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    return events.Reload()


def event_file(folder: Path) -> Path:
    (path,) = folder.glob("events.out.tfevents.*")  # one event file in the run folder
    return path


def hparams_records(folder: Path) -> dict[str, HParamsPluginData]:
    return {
        value.tag: HParamsPluginData.FromString(value.metadata.plugin_data.content)
        for event in LegacyEventFileLoader(str(event_file(folder))).Load()
        for value in event.summary.value
        if value.metadata.plugin_data.plugin_name == "hparams"
    }


def test_the_csv_holds_every_value_exactly(tmp_path: Path) -> None:
    with Logger(tmp_path, console=False) as log:
        log.scalars(0, {"train/return": 0.1 + 0.2, "model/train_loss": math.nan})
        log.scalars(10, {"eval/return": -math.inf, "model/train_loss": 5})
    assert (tmp_path / METRICS_CSV).read_bytes() == (
        b"env_step,tag,value\n"
        b"0,train/return,0.30000000000000004\n"
        b"0,model/train_loss,nan\n"
        b"10,eval/return,-inf\n"
        b"10,model/train_loss,5.0\n"
    )


def test_a_row_is_in_the_file_before_the_run_ends(tmp_path: Path) -> None:
    with Logger(tmp_path, console=False) as log:
        log.scalars(1, {"train/return": 1.0})
        assert (tmp_path / METRICS_CSV).read_text().endswith("1,train/return,1.0\n")


def test_tensorboard_reads_the_same_values(tmp_path: Path) -> None:
    with Logger(tmp_path, console=False) as log:
        for step in range(10_050):  # more points than TensorBoard's reader keeps by default
            log.scalars(step, {"train/return": step / 3})
        log.scalars(10_050, {"model/train_loss": math.nan})
    events = read_events(tmp_path)
    points = events.Scalars("train/return")
    assert [(p.step, p.value) for p in points] == [(i, float32(i / 3)) for i in range(10_050)]
    assert math.isnan(events.Scalars("model/train_loss")[0].value)


def test_the_hparams_page_has_settings_by_name_and_the_same_metrics_for_all_runs(
    tmp_path: Path,
) -> None:
    hparams = {
        "planner": "cem",
        "horizon": 25,
        "known": True,
        "cap": None,
        "h": [64, 64],
        "seed": 3,
    }
    with Logger(tmp_path, console=False) as log:
        log.describe(hparams, ["planner"], "a: 1\n")
        log.scalars(1, {"train/return": 1.0})
    records = hparams_records(tmp_path)
    assert set(records) == {
        "_hparams_/experiment", "_hparams_/session_start_info", "_hparams_/session_end_info"
    }  # fmt: skip
    columns = records["_hparams_/experiment"].experiment
    assert [(info.name, info.differs) for info in columns.hparam_infos] == [
        ("planner", True), ("horizon", False), ("known", False), ("cap", False), ("h", False),
        ("seed", False),
    ]  # fmt: skip
    # Values would hide the runs of a log folder that have others.
    assert not any(info.HasField("domain_discrete") for info in columns.hparam_infos)
    tags = [info.name.tag for info in columns.metric_infos]
    assert tags[0] == "eval/return"
    assert all(describe(tag) for tag in tags)
    settings = records["_hparams_/session_start_info"].session_start_info.hparams
    assert settings["horizon"].number_value == 25
    words = {k: v.string_value for k, v in settings.items() if v.HasField("string_value")}
    assert words == {
        "planner": "cem", "known": "true", "cap": "null", "h": "[64, 64]", "seed": "3"
    }  # fmt: skip
    assert records["_hparams_/session_end_info"].session_end_info.status == 1  # success


@pytest.mark.parametrize(("latent", "loss"), [(False, "holdout_loss"), (True, "train_loss")])
def test_the_config_is_a_text_and_the_layout_has_six_charts_of_known_tags(
    tmp_path: Path, latent: bool, loss: str
) -> None:
    with Logger(tmp_path, console=False) as log:
        log.describe({"seed": 1}, [], "planner:\n  horizon: 25\n", latent)
    values = {
        value.tag: value
        for event in LegacyEventFileLoader(str(event_file(tmp_path))).Load()
        for value in event.summary.value
    }
    (text,) = values["config"].tensor.string_val
    assert text.decode() == "```yaml\nplanner:\n  horizon: 25\n```"
    assert values["config"].metadata.plugin_data.plugin_name == "text"
    layout = Layout.FromString(values["custom_scalars__config__"].tensor.string_val[0])
    (category,) = layout.category
    assert len(category.chart) == 6
    assert list(category.chart[3].multiline.tag) == [f"model/{loss}$"]
    for chart in category.chart:
        assert len(chart.title) <= 36  # one line at a width of 1366 pixels
        for pattern in chart.multiline.tag:
            assert [tag for tag in TAGS if re.match(pattern, tag.replace("<k>", "1"))], pattern


def test_a_run_that_failed_has_no_end_record(tmp_path: Path) -> None:
    def run() -> None:
        with Logger(tmp_path, console=False) as log:
            log.describe({"seed": 1}, [], "")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run()
    assert "_hparams_/session_end_info" not in hparams_records(tmp_path)


def log_steps(folder: Path, steps: range, position: dict[str, int] | None = None) -> dict[str, int]:
    """Log each of `steps`; return the position of the files after step 4."""
    position_after_4: dict[str, int] = {}
    with Logger(folder, console=False, position=position) as log:
        log.describe({"seed": 1}, [], "")
        for step in steps:
            log.scalars(step, {"train/return": step / 3, "time/sps": 1.0})
            if step == 4:
                position_after_4 = log.position()
    return position_after_4


def test_a_resumed_run_has_the_files_of_an_uninterrupted_one(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    log_steps(whole, range(1, 9))
    position = log_steps(
        cut, range(1, 7)
    )  # the checkpoint is at step 4; steps 5 and 6 are repeated
    with (cut / METRICS_CSV).open("a") as file:
        file.write("7,train/ret")  # killed in the middle of a row
    log_steps(cut, range(5, 9), position)
    assert (whole / METRICS_CSV).read_bytes() == (cut / METRICS_CSV).read_bytes()
    steps = [point.step for point in read_events(cut).Scalars("train/return")]
    assert steps == list(range(1, 9))
    assert len(hparams_records(cut)) == 3  # reads the one event file: columns, one start, one end


@pytest.mark.parametrize("damage", ["cut", "gone", "overwritten"])
def test_a_damaged_event_file_is_rebuilt_from_the_csv(tmp_path: Path, damage: str) -> None:
    position = log_steps(tmp_path, range(1, 7))
    (path,) = tmp_path.glob("events.out.tfevents.*")
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(content[: position["events"] - 1])
    else:
        path.write_bytes(b"x" * len(content))
    log_steps(tmp_path, range(5, 9), position)
    points = read_events(tmp_path).Scalars("train/return")
    assert [(p.step, p.value) for p in points] == [(i, float32(i / 3)) for i in range(1, 9)]


def test_a_csv_that_lost_rows_is_refused(tmp_path: Path) -> None:
    position = log_steps(tmp_path, range(1, 7))
    path = tmp_path / METRICS_CSV
    path.write_bytes(path.read_bytes()[: position["csv"] - 1])
    with pytest.raises(UserError, match=r"metrics\.csv: shorter than when the checkpoint"):
        log_steps(tmp_path, range(5, 9), position)
