"""Progress line of a diagnosis, and its TensorBoard output."""

import numpy as np
import pytest
from diagnoses import NAN, accuracy, diagnosis
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mbrl_cli.diagnosis.bars import Bars
from mbrl_cli.diagnosis.curve import Curve
from mbrl_cli.diagnosis.output.diagnosis_progress import DiagnosisProgress
from mbrl_cli.diagnosis.output.figure_image import ROW, TOP, bars_image, curve_image
from mbrl_cli.diagnosis.output.tensorboard_output import write_events
from mbrl_cli.errors import UserError


def test_the_remaining_time_follows_from_the_fraction_that_is_done():
    now = 0.0
    progress = DiagnosisProgress(clock=lambda: now)
    assert progress.line(80) == "  0 %  loading  estimating"
    now = 30.0
    progress("substitution", 0.25)  # 30 s for a quarter: 90 s for the rest
    assert progress.line(80) == " 25 %  substitution  0:01:30 left"
    progress("accuracy", 0.1)  # a part that reports less does not move it back
    assert progress.line(80) == " 25 %  accuracy  0:01:30 left"
    progress("accuracy", 1.2)
    assert progress.line(80) == "100 %  accuracy  0:00:00 left"
    assert len(progress.line(12)) == 12


def test_nothing_is_shown_without_a_terminal(capsys):
    with DiagnosisProgress("RUN1") as progress:
        progress("substitution", 0.5)
    assert capsys.readouterr() == ("", "")
    assert progress.line(80).startswith("RUN1   50 %")


def read(folder):
    events = EventAccumulator(str(folder))
    events.Reload()
    return events


def test_scalars_text_and_figures_are_in_the_event_file(tmp_path):
    write_events(diagnosis(), tmp_path / "events")
    events = read(tmp_path / "events")
    scalars = {tag: events.Scalars(tag)[-1] for tag in events.Tags()["scalars"]}
    assert scalars["diagnosis/return"].value == pytest.approx(121.4)
    assert scalars["diagnosis/return"].step == 1000
    assert scalars["diagnosis/grade/dynamics"].value == 2.0
    assert scalars["diagnosis/grade/planner"].value == 1.0
    assert scalars["diagnosis/grade/reward"].value == 0.0
    assert set(events.Tags()["images"]) == {
        "diagnosis/substitution/Gain_of_each_variant", "diagnosis/accuracy/Error_over_the_horizon",
    }  # fmt: skip
    assert b"The dynamics of the model" in events.Tensors("diagnosis")[0].tensor_proto.string_val[0]


def test_a_later_diagnosis_is_added_to_the_same_file(tmp_path):
    write_events(diagnosis(), tmp_path)
    write_events(diagnosis(step=2000), tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    assert [point.step for point in read(tmp_path).Scalars("diagnosis/return")] == [1000, 2000]


def test_the_event_file_of_a_run_is_not_changed(tmp_path):
    (tmp_path / "metrics.csv").write_text("env_step,tag,value\n", encoding="utf-8")
    with pytest.raises(UserError, match="is the folder of a run"):
        write_events(diagnosis(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.csv"]


def test_an_image_has_bars_of_the_right_length_and_every_line():
    image = bars_image(Bars("t", "gain", ["a", "b"], [10.0, -5.0], [8.0, NAN], [12.0, NAN]))
    faint = (image == (0xB7, 0xD4, 0xE8)).all(-1)
    lengths = [faint[round(TOP + ROW * (row + 0.5)) - 7].sum() for row in (0, 1)]
    assert lengths[1] > 50
    assert lengths[0] == pytest.approx(2 * lengths[1], abs=6)
    lines = curve_image(accuracy().curves[0])
    for colour in ((0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)):
        assert (lines == colour).all(-1).sum() > 100


def test_there_is_no_image_without_a_finite_value():
    assert curve_image(Curve("t", "x", "y", np.arange(2.0), {"a": np.full(2, NAN)})) is None
    assert bars_image(Bars("t", "y", ["a"], [NAN], [NAN], [NAN])) is None
