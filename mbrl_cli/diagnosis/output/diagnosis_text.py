"""A diagnosis as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from mbrl_cli.diagnosis.diagnosis import Diagnosis, command_of
from mbrl_cli.diagnosis.finding import Finding
from mbrl_cli.diagnosis.output.shown_table import cell_text, interval_text, shown_table
from mbrl_cli.diagnosis.section import Section
from mbrl_cli.diagnosis.table import Table
from mbrl_cli.errors import printable
from mbrl_cli.reports.comparison_text import counted
from mbrl_cli.reports.text_table import GAP, text_table, wrapped

MAX_WIDTH = 100
KEY = 10  # columns before the facts of the first lines
MAX_ROWS = 12  # of a table
MAX_TABLES = 2  # of a section
SURE = 0.995  # confidence that is rounded to 1.00
WHOLE = "--html FILE or --json FILE"


def diagnosis_text(diagnosis: Diagnosis, width: int = MAX_WIDTH) -> str:
    """Return the verdict and its command, then the findings, then short tables.

    Args:
        diagnosis: what was found.
        width: columns of the terminal; lines of commands may be longer.
    """
    width = min(width, MAX_WIDTH)
    lines = [
        *fact_lines("verdict", diagnosis.verdict, width),
        f"{'command':<{KEY}}{diagnosis.command or 'none: nothing is known that helps'}",
        *fact_lines("run", f"{diagnosis.folder}: {run_text(diagnosis)}", width),
        *fact_lines("return", return_text(diagnosis), width),
        *fact_lines("duration", duration_text(diagnosis), width),
        *_findings(diagnosis, width),
    ]
    for section in diagnosis.sections:
        lines += _tables(section, width)
    return printable("\n".join(lines) + "\n")


def run_text(diagnosis: Diagnosis) -> str:
    """Return the choices, the seed and the step of the run."""
    choices = " ".join(f"{group}={choice}" for group, choice in diagnosis.choices.items())
    return f"{choices} seed={diagnosis.seed}, {diagnosis.step:,} steps"


def return_text(diagnosis: Diagnosis) -> str:
    """Return the mean return of the saved agent with its interval."""
    mean = diagnosis.mean_return
    if mean is None:
        return "not measured"
    scale = max(abs(x) for x in (mean.value, mean.low, mean.high) if x == x)
    interval = interval_text(mean.low, mean.high, scale)
    episodes = counted(diagnosis.episodes, "episode")
    return f"{cell_text(mean.value, scale)}, 95 % interval {interval} over {episodes}"


def duration_text(diagnosis: Diagnosis) -> str:
    """Return the duration of the diagnosis and the words that set its effort."""
    seconds = diagnosis.seconds
    text = f"{seconds:.0f} seconds" if seconds < 90 else f"{seconds / 60:.1f} minutes"
    return f"{text} ({' '.join(diagnosis.settings)})" if diagnosis.settings else text


def sentence(text: str) -> str:
    """Return a text that begins with a capital letter and ends with a period."""
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def finding_text(finding: Finding) -> str:
    """Return the sentence of a finding, with its confidence if that is below 1."""
    sure = confidence_text(finding)
    return f"{finding.fault}: {sentence(finding.text)}{f' ({sure})' if sure else ''}"


def confidence_text(finding: Finding) -> str:
    """Return the confidence with two digits; empty if that is 1."""
    return "" if finding.confidence >= SURE else f"confidence {finding.confidence:.2f}"


def fact_lines(key: str, text: str, width: int) -> list[str]:
    """Return a key and its text, wrapped."""
    lines = wrapped(text, width - KEY, hanging="")
    return [f"{key if i == 0 else '':<{KEY}}{line}" for i, line in enumerate(lines or ["-"])]


def _findings(diagnosis: Diagnosis, width: int) -> Iterator[str]:
    findings = diagnosis.findings()
    for severity in ("problem", "note"):
        found = [finding for finding in findings if finding.severity == severity]
        if not found:
            continue
        yield from ("", counted(len(found), severity))
        for finding in found:
            yield from wrapped(finding_text(finding), width, "  ", "    ")
            command = command_of(finding, diagnosis.folder)
            if command is not None:
                yield f"      {command}"
    fine = list(dict.fromkeys(f.fault for f in findings if f.severity == "fine"))
    if fine:
        yield ""
        yield from wrapped(f"nothing wrong: {', '.join(fine)}", width)
    skipped = [reason for section in diagnosis.sections for reason in section.skipped]
    if skipped:
        yield from ("", "not measured")
        for reason in skipped:
            yield from wrapped(sentence(reason), width, "  ", "  ")


def _tables(section: Section, width: int) -> Iterator[str]:
    tables = [table for table in section.tables if table.rows]
    if not tables:
        return
    yield from ("", *wrapped(section.title, width), "-" * min(len(section.title), width))
    for number, table in enumerate(tables[:MAX_TABLES]):
        yield from ([""] if number else [])
        yield from table_lines(table, width)
    left = tables[MAX_TABLES:]
    if left:
        titles = "; ".join(table.title for table in left)
        further = counted(len(left), "further table")
        yield from ("", *wrapped(f"({further} in {WHOLE}: {titles})", width))


def table_lines(table: Table, width: int) -> Iterator[str]:
    """Yield a short table; a line says where the whole one is."""
    shown = shown_table(table)
    columns = _fitting(shown.head, shown.rows, width)
    texts = [row[:columns] for row in (shown.head, *shown.rows[:MAX_ROWS])]
    yield from wrapped(table.title, width)
    yield from text_table(texts, width, text_columns=shown.text_columns)
    left = []
    if len(shown.rows) > MAX_ROWS:
        left.append(counted(len(shown.rows) - MAX_ROWS, "more row"))
    if columns < len(shown.head):
        left.append(f"the columns {', '.join(shown.head[columns:])}")
    if left:
        yield from wrapped(f"({' and '.join(left)} in {WHOLE})", width)
    if table.note:
        yield from wrapped(f"note: {table.note}", width)


def _fitting(head: list[str], rows: list[list[str]], width: int) -> int:
    """Return the number of columns that fit; two at least. Long first cells have their own line."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    total = len(head[0])
    for number, size in enumerate(widths[1:], 1):
        total += len(GAP) + size
        if total > width and number >= 2:
            return number
    return len(widths)
