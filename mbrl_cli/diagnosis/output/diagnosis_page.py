"""A diagnosis as one HTML page: no scripts, and nothing is loaded from a network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mbrl_cli.diagnosis.curve import Curve
from mbrl_cli.diagnosis.diagnosis import Diagnosis, command_of
from mbrl_cli.diagnosis.finding import Finding
from mbrl_cli.diagnosis.output.diagnosis_svg import bars_svg, curve_svg, line_style
from mbrl_cli.diagnosis.output.diagnosis_text import (
    confidence_text,
    duration_text,
    return_text,
    run_text,
    sentence,
)
from mbrl_cli.diagnosis.output.shown_table import cell_text, shown_table
from mbrl_cli.diagnosis.section import Section
from mbrl_cli.diagnosis.table import Table
from mbrl_cli.reports.comparison_text import counted
from mbrl_cli.reports.html_page import html_notes, html_page, html_table
from mbrl_cli.reports.html_text import html_text

STYLE = """
:root { --problem: #b3261e; --note: #8a6d00; --fine: #00704e; }
@media (prefers-color-scheme: dark) { :root { --problem: #ff8a80; --note: #e8c34a;
  --fine: #2fc79a; } }
p, .findings, dl, .verdict { max-width: 1000px; } h1 { overflow-wrap: anywhere; }
.verdict { background: var(--panel); border-left: 6px solid var(--state); border-radius: 8px;
  padding: 1rem 1.2rem; margin: 1rem 0; } .verdict p { margin: 0 0 .6rem; }
.verdict .sentence { font-size: 1.2rem; line-height: 1.4; }
.problem { --state: var(--problem); } .note { --state: var(--note); }
.fine { --state: var(--fine); }
.command { display: block; user-select: all; padding: .45rem .7rem; background: var(--page);
  border: 1px solid var(--rule); border-radius: 6px; white-space: pre-wrap; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1.2rem; margin: 1rem 0; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
.findings { list-style: none; padding: 0; } .findings li { padding: .6rem 0 .6rem .9rem;
  border-left: 3px solid var(--state); margin: .6rem 0; } .findings p { margin: 0 0 .3rem; }
.badge { color: var(--state); font-weight: 600; margin-right: .5em; }
details { border-top: 1px solid var(--rule); } details:last-of-type { border-bottom: 1px solid
  var(--rule); margin-bottom: 1rem; } details > div { padding: 0 0 1rem; }
summary { cursor: pointer; padding: .6rem 0; font-size: 1.1rem; font-weight: 600; }
summary .soft { font-size: .9rem; font-weight: 400; margin-left: .6em; }
h3 { margin-top: 1.2rem; } .charts { margin: .8rem 0; align-items: start;
  grid-template-columns: repeat(auto-fill, minmax(min(480px, 100%), 1fr)); }
.charts h3 { margin: 0 0 .25rem; } svg .bar { fill: var(--c); opacity: .3; }
.scroll table { width: auto; min-width: min(100%, 600px); }
.scroll td:first-child { white-space: normal; min-width: 8rem; }
svg.key { width: 26px; } a { color: inherit; }
@media print { body { max-width: none; padding: 0; } details::details-content {
  content-visibility: visible; block-size: auto; } .panel, li, tr { break-inside: avoid; } }
"""
METHOD = """
<li><b>Problem</b>: loses return, or makes the data wrong. <b>Note</b>: worth knowing, but it is not
shown to cost return. <b>Confidence</b>: how sure this grade is, from 0 to 1.</li>
<li><b>95 % interval</b>: an effect whose interval contains 0 is not shown by these episodes; a
larger <code>budget=</code> makes intervals shorter.</li>
<li>A bar ends at the measured value; the line through its dot is the 95 % interval.</li>
<li>A hyphen in a table: this could not be measured.</li>
"""


def diagnosis_page(diagnosis: Diagnosis) -> str:
    """Return the page; the same diagnosis gives the same text."""
    return html_page(f"mbrl diagnose {diagnosis.folder}", "".join(_body(diagnosis)), style=STYLE)


def verdict_card(diagnosis: Diagnosis) -> str:
    """Return the box with the verdict and its command."""
    state = {"healthy": "fine", "inconclusive": "note"}.get(diagnosis.fault, "problem")
    if diagnosis.command is None:
        command = '<p class="soft">No command is known that helps.</p>'
    else:
        command = (
            '<p class="soft">Most likely to help (a click selects the command):</p>'
            f'<code class="command">{html_text(diagnosis.command)}</code>'
        )
    return (
        f'<div class="verdict {state}"><p class="sentence">{html_text(diagnosis.verdict)}</p>'
        f"{command}</div>\n"
    )


def findings_list(findings: Sequence[tuple[Finding, str]], folder: str) -> str:
    """Return findings, each with the HTML that stands after its sentence."""
    items = []
    for finding, after in findings:
        command = command_of(finding, folder)
        shown = "" if command is None else f'<code class="command">{html_text(command)}</code>'
        sure = confidence_text(finding)
        details = ", ".join(text for text in (sure, after) if text)
        items.append(
            f'<li class="{finding.severity}"><p><span class="badge">'
            f"{finding.severity}</span><b>{html_text(finding.fault)}</b> "
            f'{html_text(sentence(finding.text))} <span class="soft">{details}</span></p>'
            f"{shown}</li>"
        )
    return f'<ul class="findings">{"".join(items)}</ul>\n' if items else ""


def _body(diagnosis: Diagnosis) -> Iterator[str]:
    yield f"<h1>Diagnosis of {html_text(diagnosis.folder)}</h1>\n"
    yield verdict_card(diagnosis)
    facts = {
        "return": return_text(diagnosis),
        "run": run_text(diagnosis),
        "duration": duration_text(diagnosis),
    }
    items = "".join(f"<dt>{key}</dt><dd>{html_text(text)}</dd>" for key, text in facts.items())
    yield f"<dl>{items}</dl>\n"
    yield "<h2>Findings</h2>\n"
    yield _findings(diagnosis)
    yield "<h2>Evidence</h2>\n"
    for section in diagnosis.sections:
        yield _section(section, diagnosis.folder)
    yield f'<h2>How to read this page</h2>\n<ul class="soft">{METHOD}</ul>\n'
    yield _costs(diagnosis)


def _findings(diagnosis: Diagnosis) -> str:
    links = {
        id(finding): f'<a href="#{html_text(section.name)}">evidence</a>'
        for section in diagnosis.sections
        for finding in section.findings
    }
    findings = diagnosis.findings()
    bad = [(f, links[id(f)]) for f in findings if f.severity != "fine"]
    text = findings_list(bad, diagnosis.folder) or "<p>No problem and no note.</p>\n"
    fine = list(dict.fromkeys(f.fault for f in findings if f.severity == "fine"))
    if fine:
        text += f'<p class="soft">Nothing wrong: {html_text(", ".join(fine))}.</p>\n'
    skipped = [sentence(reason) for section in diagnosis.sections for reason in section.skipped]
    return text + (f"<h3>Not measured</h3>\n{html_notes(skipped)}" if skipped else "")


def _section(section: Section, folder: str) -> str:
    numbers = []
    for severity in ("problem", "note"):
        found = sum(finding.severity == severity for finding in section.findings)
        numbers += [counted(found, severity)] if found else []
    state = " open" if numbers else ""
    fine = [(finding, "") for finding in section.findings if finding.severity == "fine"]
    inner = _charts(section) + "".join(table_html(table) for table in section.tables)
    if fine:
        inner += f"<h3>Nothing wrong</h3>\n{findings_list(fine, folder)}"
    return (
        f'<details{state}><summary>{html_text(section.title)}<span class="soft">'
        f"{', '.join(numbers) or 'nothing wrong'}</span></summary>\n"
        f'<div id="{html_text(section.name)}">\n{inner}</div></details>\n'
    )


def _charts(section: Section) -> str:
    charts = [(bars.title, "", bars_svg(bars)) for bars in section.bars]
    charts += [(curve.title, _legend(curve), curve_svg(curve)) for curve in section.curves]
    panels = "".join(
        f'<div class="panel"><h3>{html_text(title)}</h3>{legend}{svg}</div>\n'
        for title, legend, svg in charts
        if svg
    )
    return f'<div class="charts">\n{panels}</div>\n' if panels else ""


def _legend(curve: Curve) -> str:
    chips = "".join(
        f'<span><svg class="key" viewBox="0 0 26 8"><path {line_style(number)} d="M0 4H26"/></svg>'
        f"{html_text(name)}</span>"
        for number, name in enumerate(curve.lines)
    )
    return f'<div class="legend">{chips}</div>'


def table_html(table: Table) -> str:
    """Return a table with its title and note."""
    shown = shown_table(table)
    head = [html_text(name) for name in shown.head]
    rows = [[html_text(cell) for cell in row] for row in shown.rows]
    note = f'<p class="soft">{html_text(table.note)}</p>\n' if table.note else ""
    text_columns = [column for column in shown.text_columns if column]
    return f"<h3>{html_text(table.title)}</h3>\n{html_table(head, rows, text_columns)}{note}"


def _costs(diagnosis: Diagnosis) -> str:
    if not diagnosis.costs:
        return ""
    titles = {section.name: section.title for section in diagnosis.sections}
    titles["model"] = "Accuracy of the model"
    rows = [
        [
            html_text(titles.get(name, name)), cell_text(cost.seconds, 10.0),
            "-" if cost.peak_mb is None else f"{cost.peak_mb:,.0f}",
        ]
        for name, cost in diagnosis.costs.items()
    ]  # fmt: skip
    head = ("part", "seconds", "peak memory, MB")
    return f"<h2>Time and memory</h2>\n{html_table(head, rows)}"
