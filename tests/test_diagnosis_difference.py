"""diagnosis.json and the difference of two diagnoses."""

import json
import math
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from diagnoses import NAN, accuracy, data, diagnosis, substitution

from mbrl_cli.diagnosis.finding import Finding
from mbrl_cli.diagnosis.output.diagnosis_difference import (
    diagnosis_difference,
    independent_difference,
)
from mbrl_cli.diagnosis.output.diagnosis_json import diagnosis_json, difference_json
from mbrl_cli.diagnosis.output.diagnosis_page import diagnosis_page
from mbrl_cli.diagnosis.output.diagnosis_text import diagnosis_text
from mbrl_cli.diagnosis.output.difference_page import difference_page
from mbrl_cli.diagnosis.output.difference_text import difference_text
from mbrl_cli.diagnosis.output.read_diagnosis import read_diagnosis
from mbrl_cli.diagnosis.section import Section
from mbrl_cli.diagnosis.table import Table
from mbrl_cli.errors import UserError
from mbrl_cli.reports.comparison import Estimate

SCHEMA = json.loads(
    (Path(__file__).parent.parent / "docs" / "diagnosis.schema.json").read_text(encoding="utf-8")
)


def test_the_file_follows_the_documented_schema():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    for example in (diagnosis(), diagnosis(mean_return=None, command=None, sections=[])):
        jsonschema.validate(json.loads(diagnosis_json(example)), SCHEMA)


def test_a_file_with_another_key_or_without_one_is_invalid():
    content = json.loads(diagnosis_json(diagnosis()))
    for changed in ({**content, "other": 1}, {k: content[k] for k in content if k != "verdict"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(changed, SCHEMA)


def test_numbers_that_are_not_finite_are_null():
    table = Table("t", ["a", "b"], [["x", NAN], ["y", math.inf], ["z", np.float32(0.5)]])
    text = diagnosis_json(diagnosis(sections=[Section("s", "S", tables=[table])]))
    rows = json.loads(text, parse_constant=pytest.fail)["sections"][0]["tables"][0]["rows"]
    assert rows == [["x", None], ["y", None], ["z", 0.5]]


def test_a_command_of_a_finding_names_the_run_folder():
    content = json.loads(diagnosis_json(diagnosis()))
    finding = content["sections"][0]["findings"][0]
    assert finding["command"] == "mbrl resume outputs/RUN1 total_steps=2000"


def test_a_diagnosis_that_was_read_gives_the_same_outputs(tmp_path):
    file = tmp_path / "diagnosis.json"
    file.write_text(diagnosis_json(diagnosis()), encoding="utf-8")
    read = read_diagnosis(file)
    assert diagnosis_text(read) == diagnosis_text(diagnosis())
    assert diagnosis_page(read) == diagnosis_page(diagnosis())
    assert diagnosis_json(read) == file.read_text(encoding="utf-8")


@pytest.mark.parametrize("content", ["", "[]", '{"version": 2, "sections": []}', "{}"])
def test_another_file_is_rejected_in_one_line(tmp_path, content):
    file = tmp_path / "other.json"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=r"other\.json: "):
        read_diagnosis(file)


def test_a_file_without_a_key_is_rejected_in_one_line(tmp_path):
    content = json.loads(diagnosis_json(diagnosis()))
    del content["seed"]
    file = tmp_path / "d.json"
    file.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(UserError, match="seed"):
        read_diagnosis(file)


def other():
    """Return a diagnosis whose dynamics are fine and whose actions are shifted."""
    replaced, checks = substitution(), data()
    replaced.tables[0].rows[1][1:5] = [487.3, 12.4, -4.0, 20.0]
    replaced.findings[0] = Finding("dynamics", "fine", "nothing is lost")
    checks.findings[0] = Finding("shifted_actions", "problem", "actions are one step late")
    return diagnosis(
        folder="outputs/RUN2", fault="shifted_actions", verdict="The data are wrong.",
        mean_return=Estimate(474.9, 460.0, 490.1), sections=[replaced, checks],
    )  # fmt: skip


def test_the_interval_of_a_difference_of_independent_estimates():
    # Symmetric intervals: half widths 3 and 4 give hypot(3, 4) = 5.
    found = independent_difference(Estimate(10.0, 7.0, 13.0), Estimate(30.0, 26.0, 34.0))
    assert found == Estimate(20.0, 15.0, 25.0)
    # Asymmetric: down hypot(8, 6) = 10, up hypot(5, 12) = 13.
    found = independent_difference(Estimate(0.0, -12.0, 6.0), Estimate(0.0, -8.0, 5.0))
    assert found == Estimate(0.0, -10.0, 13.0)


def test_findings_that_appeared_or_vanished():
    difference = diagnosis_difference(diagnosis(), other())
    appeared = [(change.fault, change.first, change.second) for change in difference.appeared]
    assert appeared == [("shifted_actions", "fine", "problem")]
    vanished = [(change.fault, change.first, change.second) for change in difference.vanished]
    assert vanished == [
        ("dynamics", "problem", "fine"), ("overconfident", "note", "not checked"),
    ]  # fmt: skip
    assert [finding.fault for finding in difference.common] == ["planner"]


def test_only_numbers_with_intervals_in_both_are_compared():
    returns, gains, shares = diagnosis_difference(diagnosis(), other()).tables
    assert returns.rows[0][1:4] == [121.4, 474.9, pytest.approx(353.5)]
    # "as saved" and "2 x horizon" have no interval.
    assert [row[0] for row in gains.rows] == [
        "true dynamics", "true reward", "true termination", "10 x plans",
    ]  # fmt: skip
    assert [row[-1] for row in gains.rows] == [
        "lower in the second", *["no difference is shown"] * 3,
    ]  # fmt: skip
    assert [row[0] for row in shares.rows] == ["dynamics", "reward"]


def test_tables_with_other_columns_are_not_compared():
    first = diagnosis(mean_return=None, sections=[substitution()])
    changed = substitution()
    changed.tables = [Table(changed.tables[0].title, ["variant", "gain", "low", "high"], [])]
    second = diagnosis(mean_return=None, sections=[changed, accuracy()])
    assert diagnosis_difference(first, second).tables == []


def test_the_difference_as_text_page_and_file():
    text = difference_text(diagnosis(), other())
    assert "shifted_actions (fine in the first, problem in the second): Actions are one" in text
    assert max(map(len, text.splitlines())) <= 100
    page = difference_page(diagnosis(), other())
    assert "outputs/RUN2" in page
    assert "-332.8 to -266.9" in page
    both = json.loads(difference_json(diagnosis(), other()))
    for name in ("first", "second"):
        jsonschema.validate(both[name], SCHEMA)


def test_a_diagnosis_does_not_differ_from_itself():
    text = difference_text(diagnosis(), diagnosis())
    assert text.count("  none\n") == 2
    assert "higher" not in text
    assert "lower" not in text
