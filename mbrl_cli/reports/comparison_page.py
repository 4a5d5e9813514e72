"""A comparison as one HTML page: no scripts, and nothing is loaded from a network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mbrl_cli.reports.comparison import Comparison, RunRecord, Section
from mbrl_cli.reports.comparison_text import (
    NONE,
    baseline_texts,
    interval_text,
    number_scale,
    pair_note,
    ratio_text,
    summary,
    threshold_texts,
)
from mbrl_cli.reports.html_page import html_notes, html_page, html_panel, html_table
from mbrl_cli.reports.html_text import html_text
from mbrl_cli.reports.svg_chart import (
    curves_svg,
    finals_svg,
    improvement_svg,
    published_dashes,
)
from mbrl_cli.reports.svg_parts import COLOURS
from mbrl_cli.return_text import format_return

METHOD = """
<li><b>95 % interval</b>: stratified bootstrap over runs, widened for few runs. It describes the
mean of many training runs with other seeds, not the next single run.</li>
<li><b>IQM</b>: mean of the runs without the lowest and the highest quarter.
<b>Gap</b>: optimality gap, mean distance to the highest possible return as a fraction of the range
of returns; 0 is best.</li>
<li><b>Probability of improvement</b>: how often a run of the first group is better than a run of
the second; a tie counts one half; 0.5 is no difference.</li>
<li><b>Conclusion</b>: needs at least 5 runs of both groups and an interval of the difference
without 0. Intervals are not corrected for the number of pairs.</li>
<li><b>Curves</b>: mean over runs with interval, at all steps that every run of the group covers;
values between two evaluations of a run are interpolated.</li>
"""


def comparison_page(comparison: Comparison) -> str:
    """Return the page; the same comparison gives the same text."""
    names = list(
        dict.fromkeys(group.name for section in comparison.sections for group in section.groups)
    )
    colours = {name: index for index, name in enumerate(names)}
    body = "".join(_body(comparison, colours))
    return html_page(f"mbrl compare: {comparison.metric}", body)


def _body(comparison: Comparison, colours: dict[str, int]) -> Iterator[str]:
    yield f"<h1>Comparison of {html_text(comparison.metric)}</h1>\n"
    yield f"<p>{html_text(summary(comparison))}.</p>\n"
    if comparison.meaning:
        yield f'<p class="soft">{html_text(comparison.meaning)}.</p>\n'
    yield html_notes(comparison.notes)
    ordered = sorted(comparison.sections, key=lambda section: not section.is_overall)
    for section in ordered:
        yield from _section(section, colours, comparison.label)
    yield f'<h2>How to read this page</h2>\n<ul class="soft">{METHOD}</ul>\n'
    if comparison.differing:
        yield "<h2>Settings that differ between the runs</h2>\n"
        rows = [
            [f"<code>{html_text(key)}</code>", ", ".join(map(html_text, values))]
            for key, values in comparison.differing.items()
        ]
        yield html_table(("key", "values"), rows, text_columns=(1,))
    yield "<h2>Runs</h2>\n"
    yield _runs(comparison.runs)


def _section(section: Section, colours: dict[str, int], metric: str) -> Iterator[str]:
    label = "normalized score" if section.is_overall else metric
    yield f"<h2>{html_text(section.title)}</h2>\n"
    yield _legend(section, colours)
    yield '<div class="charts">\n'
    finals = {"Final values (small dots: single runs)": finals_svg(section, colours, label)}
    improvement = {}
    if section.pairs:
        title = f"Probability of improvement: {html_text(section.compared()[0])}"
        improvement[title] = improvement_svg(section, colours)
    if section.is_overall:
        yield html_panel(finals) + html_panel(improvement)
    else:
        curves = {"Learning curves": curves_svg(section, colours, metric)}
        yield html_panel(curves) + html_panel(finals | improvement)
    yield "</div>\n"
    yield _groups(section)
    yield _pairs(section)
    yield html_notes([*baseline_texts(section), *section.notes])


def _legend(section: Section, colours: dict[str, int]) -> str:
    chips = [
        f'<span class="chip c{colours[group.name] % COLOURS}">{html_text(group.name)}</span>'
        for group in section.groups
    ]
    chips += [
        f'<span><svg class="key" viewBox="0 0 34 8"><path class="b" d="M0 4H34" '
        f'stroke-dasharray="{published_dashes(number)}"/></svg>'
        f"{html_text(baseline.name)} (published)</span>"
        for number, baseline in enumerate(section.baselines)
    ]
    if section.threshold is not None and not section.is_overall:
        value, source = f"{section.threshold.value:g}", html_text(section.threshold.source)
        chips.append(f'<span class="soft">dotted line: threshold {value} ({source})</span>')
    return f'<div class="legend">{"".join(chips)}</div>\n'


def _groups(section: Section) -> str:
    scale = number_scale(section)
    head = ["group", "runs", "mean", "95 % interval", "median", "IQM", "IQM, 95 % interval"]
    if section.bounds is not None:
        head += ["gap", "gap, 95 % interval"]
    if section.threshold is not None:
        head += [f"reached {section.threshold.value:g}", "steps", "minutes"]
    rows = []
    for group in section.groups:
        row = [
            html_text(group.name), str(len(group.final)), format_return(group.mean.value, scale),
            interval_text(group.mean, scale), format_return(group.median.value, scale),
            format_return(group.iqm.value, scale), interval_text(group.iqm, scale),
        ]  # fmt: skip
        if section.bounds is not None:
            gap = group.gap
            row += (
                [NONE] * 2 if gap is None else [f"{gap.value:.3f}", ratio_text(gap.low, gap.high)]
            )
        if section.threshold is not None:
            row += threshold_texts(group)
        rows.append(row)
    return html_table(head, rows)


def _pairs(section: Section) -> str:
    if not section.pairs:
        return ""
    scale = number_scale(section)
    heading, names = section.compared()
    rows = [
        [
            html_text(name),
            format_return(pair.difference.value, scale),
            interval_text(pair.difference, scale),
            f"{pair.improvement.probability:.2f}",
            ratio_text(pair.improvement.low, pair.improvement.high),
            html_text(pair_note(pair)),
        ]
        for pair, name in zip(section.pairs, names, strict=True)
    ]
    head = (
        html_text(heading), "difference of means", "95 % interval", "probability of improvement",
        "95 % interval", "conclusion",
    )  # fmt: skip
    return html_table(head, rows, text_columns=(5,))


def _runs(runs: Sequence[RunRecord]) -> str:
    rows = [
        [
            html_text(run.env), html_text(run.group), str(run.seed), f"{run.steps:,}",
            format_return(float(run.curve.values[-1])), run.state,
            html_text(run.commit[:8] or NONE),
            f'<code title="{html_text(run.folder)}">{html_text(run.command or run.folder)}</code>',
        ]
        for run in runs
    ]  # fmt: skip
    head = ("environment", "group", "seed", "steps", "last", "state", "commit", "command")
    return html_table(head, rows, text_columns=(1, 7), style="runs")
