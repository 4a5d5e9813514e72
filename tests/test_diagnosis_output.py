"""Text and page of `mbrl diagnose`, made of hand-made diagnoses."""

import html.parser
import re
from dataclasses import replace

import numpy as np
import pytest
from diagnoses import NAN, accuracy, data, diagnosis, substitution

from mbrl_cli.diagnosis.bars import Bars
from mbrl_cli.diagnosis.curve import Curve
from mbrl_cli.diagnosis.diagnosis import command_of
from mbrl_cli.diagnosis.finding import Finding
from mbrl_cli.diagnosis.output.diagnosis_page import diagnosis_page
from mbrl_cli.diagnosis.output.diagnosis_svg import bars_svg, curve_svg
from mbrl_cli.diagnosis.output.diagnosis_text import diagnosis_text
from mbrl_cli.diagnosis.output.shown_table import shown_table
from mbrl_cli.diagnosis.output.table_bars import table_bars
from mbrl_cli.diagnosis.section import Section
from mbrl_cli.diagnosis.table import Table
from mbrl_cli.reports.svg_parts import short_label
from mbrl_cli.reports.text_table import wrapped


def test_the_verdict_and_its_command_come_first():
    lines = diagnosis_text(diagnosis()).splitlines()
    assert lines[0].startswith("verdict   The dynamics of the model lose the return.")
    assert lines[2] == "command   mbrl resume outputs/RUN1 total_steps=2000"
    assert "return    121.4, 95 % interval 100.2 to 143.0 over 16 episodes" in lines


def test_findings_are_ordered_by_severity_and_confidence():
    text = diagnosis_text(diagnosis())
    places = [text.index(word) for word in ("1 problem", "2 notes", "overconfident:", "planner:")]
    assert places == sorted(places)
    assert "nothing wrong: time_limit_as_termination, shifted_actions, reward" in text
    assert "  The horizon: the environment's time limit is shorter." in text


def test_the_findings_of_the_verdict_come_first():
    surer = Section("other", "", [Finding("reward_model", "problem", "Wrong.", 1.0)])
    found = diagnosis(sections=[substitution(), surer]).findings()
    assert [finding.fault for finding in found[:2]] == ["dynamics", "reward_model"]


def test_labels_of_a_figure_are_short():
    table = Table(
        "Gains", ["variant", "gain", "gain, low", "gain, high"],
        [["true reward + true termination + 10 times the plans", 1.0, 0.0, 2.0]],
    )  # fmt: skip
    name = table_bars(table, "return")[0].names[0]
    assert short_label(name) == "true reward + termination + 10 x plans"


def test_an_interval_is_one_column_with_the_decimals_of_its_value():
    text = diagnosis_text(diagnosis())
    assert "true dynamics      432.9  311.5  280.2 to 340.9        16" in text
    assert "2 x horizon            -      -               -        16" in text


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_lines_fit_the_terminal_except_commands(width):
    lines = diagnosis_text(diagnosis(), width).splitlines()
    too_long = [line for line in lines if len(line) > min(width, 100)]
    assert all("mbrl " in line for line in too_long)


def test_no_line_ends_before_a_percent_sign():
    assert wrapped("an interval of 95 % is long", 18) == ["an interval of", "  95 % is long"]


def test_long_and_wide_tables_are_shortened_and_say_so():
    text = diagnosis_text(diagnosis(sections=[accuracy()]))
    assert "entry 11" in text
    assert "entry 12" not in text
    assert "(5 more rows in --html FILE or --json FILE)" in text
    wide = Table("wide", ["row", *(f"column {i}" for i in range(20))], [["a", *range(20)]])
    section = Section("wide", "Wide", [], [wide, wide, replace(wide, title="third")])
    text = diagnosis_text(diagnosis(sections=[section]), 80)
    assert "(the columns column 7, column 8" in text
    assert "(1 further table in --html FILE or --json FILE: third)" in text


def test_numbers_of_a_column_that_differ_much_have_their_own_digits():
    rows = [["a", 0.00123, 1], ["b", 12345.6, 2000], ["c", None, None], ["d", NAN, True]]
    shown = shown_table(Table("t", ["name", "value", "count"], rows))
    assert [row[1] for row in shown.rows] == ["0.00123", "12,346", "-", "-"]
    assert [row[2] for row in shown.rows] == ["1", "2,000", "-", "yes"]


def test_a_column_named_value_has_another_quantity_in_each_row():
    rows = [["entropy", 0.3456], ["return", 123.4]]
    assert [row[1] for row in shown_table(Table("t", ["name", "value"], rows)).rows] == [
        "0.346", "123",
    ]  # fmt: skip
    assert [row[1] for row in shown_table(Table("t", ["name", "error"], rows)).rows] == [
        "0.3", "123.4",
    ]  # fmt: skip


def test_cells_of_numpy_are_shown_as_numbers():
    rows = [["a", np.float32(1.5), np.int64(3), np.bool_(True)]]
    shown = shown_table(Table("t", ["name", "x", "n", "flag"], rows))
    assert shown.rows == [["a", "1.50", "3", "yes"]]


def test_a_healthy_run_has_no_command_and_no_problem():
    healthy = diagnosis(
        fault="healthy", verdict="No part loses the return.", command=None, sections=[data()],
        mean_return=None, episodes=0,
    )  # fmt: skip
    text = diagnosis_text(healthy)
    assert "command   none: nothing is known that helps" in text
    assert "return    not measured" in text
    assert "problem" not in text
    page = diagnosis_page(healthy)
    assert '<div class="verdict fine">' in page
    assert "No problem and no note." in page


def test_the_command_names_the_run_folder_as_a_shell_reads_it():
    finding = Finding("dynamics", "problem", "", command="mbrl resume RUN total_steps=2000")
    assert command_of(finding, "my runs/a") == "mbrl resume 'my runs/a' total_steps=2000"


class Page(html.parser.HTMLParser):
    """Checks that every element is closed, and collects references and text."""

    VOID = ("meta", "br", "rect", "line", "circle", "polyline", "polygon", "path")

    def __init__(self, page):
        super().__init__()
        self.open, self.names, self.links, self.ids, self.text = [], set(), [], set(), ""
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.names.add(tag)
        for key, value in attrs:
            if key in ("src", "href"):
                self.links.append(value)
            if key == "id":
                assert value not in self.ids
                self.ids.add(value)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.names.add(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, text):
        self.text += text


def test_the_page_is_well_formed_and_loads_nothing():
    text = diagnosis_page(diagnosis())
    page = Page(text)
    assert "script" not in page.names
    assert page.links
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.links)
    assert not re.search(r"https?:|url\(|@import", text)
    assert {"svg", "details", "table"} <= page.names
    assert "entry 16" in page.text  # tables are whole


def test_sections_are_open_only_if_something_was_found():
    page = diagnosis_page(diagnosis())
    assert page.count("<details open>") == 2  # substitution, accuracy
    assert page.count("<details>") == 1  # data


def test_the_same_diagnosis_gives_the_same_page():
    assert diagnosis_page(diagnosis()) == diagnosis_page(diagnosis())


def test_texts_of_the_run_are_escaped():
    bad = '<img onload="x">&\x1b[2J'
    section = Section(
        "s", bad, [Finding(bad, "problem", bad, command=f"mbrl eval RUN {bad}")],
        [Table(bad, [bad, bad], [[bad, 1.0]], bad)],
        [Curve(bad, bad, bad, np.arange(3.0), {bad: np.arange(3.0)})],
        [bad], [Bars(bad, bad, [bad], [1.0], [0.5], [1.5])],
    )  # fmt: skip
    changed = diagnosis(
        folder=bad, choices={"env": bad}, verdict=bad, command=bad, settings=[bad],
        sections=[section],
    )  # fmt: skip
    text = diagnosis_page(changed)
    assert "img" not in Page(text).names
    assert "\x1b" not in text
    assert "\x1b" not in diagnosis_text(changed)


def test_a_line_has_no_point_where_a_value_is_missing():
    # 25 points with one NaN: 24 + 25 dots.
    svg = curve_svg(accuracy().curves[0])
    assert svg.count("<polyline") == 2
    assert svg.count("<circle") == 49
    assert "NaN" not in svg
    assert "nan" not in svg


def test_charts_without_a_finite_value_are_left_out():
    assert curve_svg(Curve("t", "x", "y", np.arange(2.0), {"a": np.full(2, NAN)})) == ""
    assert bars_svg(Bars("t", "y", ["a"], [NAN], [NAN], [NAN])) == ""


def test_a_bar_begins_at_zero_and_ends_at_its_value():
    svg = bars_svg(Bars("t", "gain", ["a", "b", "c"], [10.0, -10.0, NAN], [5, NAN, NAN], [15] * 3))
    bars = re.findall(r'<rect class="bar c0" x="([\d.]+)" y="[\d.]+" width="([\d.]+)"', svg)
    (right, size), (left, other) = [tuple(map(float, bar)) for bar in bars]
    assert size == pytest.approx(other, abs=0.2)
    assert left + other == pytest.approx(right, abs=0.2)


def test_bars_of_a_table_have_its_numbers_and_intervals():
    gains, shares = [table_bars(table, "return") for table in substitution().tables]
    assert [bars.names for bars in gains] == [
        ["true dynamics", "true reward", "true termination", "10 x plans"]
    ]
    assert (gains[0].y_label, gains[0].low[0], gains[0].high[0]) == ("gain, return", 280.2, 340.9)
    assert shares[0].values == [305.0, 4.0]
    assert table_bars(accuracy().tables[0], "m/s") == []


def test_the_substitution_has_one_bar_for_each_measured_variant():
    assert bars_svg(substitution().bars[0]).count("<rect") == 4
