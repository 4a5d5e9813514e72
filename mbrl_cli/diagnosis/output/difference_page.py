"""The difference of two diagnoses as one HTML page, in the style of a diagnosis."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mbrl_cli.diagnosis.diagnosis import Diagnosis
from mbrl_cli.diagnosis.output.diagnosis_difference import (
    DiagnosisDifference,
    GradeChange,
    diagnosis_difference,
)
from mbrl_cli.diagnosis.output.diagnosis_page import (
    STYLE,
    findings_list,
    table_html,
    verdict_card,
)
from mbrl_cli.diagnosis.output.diagnosis_text import return_text, run_text, sentence
from mbrl_cli.diagnosis.output.difference_text import INTERVAL_NOTE
from mbrl_cli.reports.html_page import html_page
from mbrl_cli.reports.html_text import html_text


def difference_page(first: Diagnosis, second: Diagnosis) -> str:
    """Return the page; the same diagnoses give the same text."""
    difference = diagnosis_difference(first, second)
    title = f"mbrl diagnose {first.folder} {second.folder}"
    return html_page(title, "".join(_body(difference)), style=STYLE)


def _body(difference: DiagnosisDifference) -> Iterator[str]:
    yield "<h1>Difference of two diagnoses</h1>\n"
    yield f'<div class="charts">\n{_run("First", difference.first)}'
    yield f"{_run('Second', difference.second)}</div>\n"
    yield "<h2>Appeared in the second run, or became worse</h2>\n"
    yield _changes(difference.appeared, difference.second.folder)
    yield "<h2>Vanished in the second run, or became milder</h2>\n"
    yield _changes(difference.vanished, difference.first.folder)
    yield "<h2>In both runs</h2>\n"
    common = [(finding, "text of the second run") for finding in difference.common]
    yield findings_list(common, difference.second.folder) or "<p>No problem and no note.</p>\n"
    if difference.tables:
        yield "<h2>Numbers, second minus first</h2>\n"
        yield from map(table_html, difference.tables)
        yield f'<p class="soft">{html_text(sentence(INTERVAL_NOTE))}</p>\n'


def _run(name: str, diagnosis: Diagnosis) -> str:
    return (
        f"<div><h2>{name}: {html_text(diagnosis.folder)}</h2>\n{verdict_card(diagnosis)}"
        f'<p class="soft">{html_text(run_text(diagnosis))}</p>\n'
        f"<p>Return {html_text(return_text(diagnosis))}</p></div>\n"
    )


def _changes(changes: Sequence[GradeChange], folder: str) -> str:
    findings = [
        (change.finding, f"{change.first} in the first, {change.second} in the second")
        for change in changes
    ]
    return findings_list(findings, folder) or "<p>None.</p>\n"
