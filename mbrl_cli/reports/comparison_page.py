"""A comparison as one HTML page: no scripts, and nothing is loaded from a network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from mbrl_cli.errors import printable
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
from mbrl_cli.reports.svg_chart import (
    COLOURS,
    curves_svg,
    finals_svg,
    improvement_svg,
    published_dashes,
)
from mbrl_cli.return_text import format_return

# Distinguishable with a colour vision deficiency (Okabe and Ito 2008), darker on a light page.
LIGHT = ("#0072b2", "#d55e00", "#00805c", "#b8509a", "#8a6d00", "#444c56", "#6a4fc4", "#9c2f1f")
DARK = ("#56b4e9", "#e69f00", "#2fc79a", "#dd8fc0", "#e8dc4a", "#c3cad3", "#a99bff", "#ff8a65")
STYLE = """
:root { color-scheme: light dark; --page: #fff; --text: #1d2126; --soft: #59616b; --rule: #d8dce1;
  --panel: #f5f6f8; LIGHT }
@media (prefers-color-scheme: dark) { :root { --page: #14171b; --text: #e4e7eb; --soft: #a3abb5;
  --rule: #363c44; --panel: #1d2127; DARK } }
body { margin: 0 auto; padding: 1.5rem 2rem 4rem; max-width: 1290px; background: var(--page);
  color: var(--text); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.25rem; margin: 2.5rem 0 .5rem; }
h3 { font-size: 1rem; margin: 0 0 .25rem; }
p, ul { margin: .4rem 0; } .soft, .notes { color: var(--soft); }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(480px, 1fr)); gap: 1rem; }
.panel { background: var(--panel); border-radius: 8px; padding: .9rem 1rem; min-width: 0; }
svg { width: 100%; height: auto; display: block; font: 12px system-ui, sans-serif; }
svg text { fill: var(--soft); } svg text.label { fill: var(--text); }
svg .axis { stroke: var(--soft); } svg .grid { stroke: var(--rule); stroke-width: .7; }
svg .mark { stroke: var(--soft); stroke-dasharray: 2 3; }
svg .b { fill: none; stroke: var(--soft); stroke-width: 1.5; }
svg .line { fill: none; stroke: var(--c); stroke-width: 2; stroke-linejoin: round; }
svg .band { fill: var(--c); opacity: .18; } svg .dot { fill: var(--c); }
svg .published { fill: var(--soft); opacity: .1; }
svg .run { fill: var(--c); opacity: .45; }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; margin: .2rem 0 .5rem; }
.chip::before { content: ""; display: inline-block; width: 1.3em; height: .28em;
  margin-right: .45em; vertical-align: .22em; border-radius: 2px; background: var(--c); }
svg.key { display: inline-block; width: 34px; height: 8px; margin-right: .45em; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; margin: .3rem 0; }
th, td { text-align: right; padding: .3rem .55rem; border-bottom: 1px solid var(--rule);
  font-variant-numeric: tabular-nums; white-space: nowrap; }
th { color: var(--soft); font-weight: 600; vertical-align: bottom; white-space: normal; }
th:first-child, td:first-child, td.text, th.text { text-align: left; }
td.text { white-space: normal; min-width: 15rem; } code { font: 12.5px ui-monospace, monospace;
  overflow-wrap: anywhere; }
.runs td { padding: .2rem .5rem; font-size: 13px; }
@media (max-width: 700px) { body { padding: 1rem; } .charts { grid-template-columns: 1fr; } }
"""
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
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>mbrl compare: {_text(comparison.metric)}</title>\n<style>{_style()}</style>\n"
        f"</head>\n<body>\n{body}</body>\n</html>\n"
    )


def _body(comparison: Comparison, colours: dict[str, int]) -> Iterator[str]:
    yield f"<h1>Comparison of {_text(comparison.metric)}</h1>\n"
    yield f"<p>{_text(summary(comparison))}.</p>\n"
    if comparison.meaning:
        yield f'<p class="soft">{_text(comparison.meaning)}.</p>\n'
    yield _notes(comparison.notes)
    ordered = sorted(comparison.sections, key=lambda section: not section.is_overall)
    for section in ordered:
        yield from _section(section, colours, comparison.label)
    yield f'<h2>How to read this page</h2>\n<ul class="soft">{METHOD}</ul>\n'
    if comparison.differing:
        yield "<h2>Settings that differ between the runs</h2>\n"
        rows = [
            [f"<code>{_text(key)}</code>", ", ".join(map(_text, values))]
            for key, values in comparison.differing.items()
        ]
        yield _table(("key", "values"), rows, text_columns=(1,))
    yield "<h2>Runs</h2>\n"
    yield _runs(comparison.runs)


def _section(section: Section, colours: dict[str, int], metric: str) -> Iterator[str]:
    label = "normalized score" if section.is_overall else metric
    yield f"<h2>{_text(section.title)}</h2>\n"
    yield _legend(section, colours)
    yield '<div class="charts">\n'
    finals = {"Final values (small dots: single runs)": finals_svg(section, colours, label)}
    improvement = {}
    if section.pairs:
        title = f"Probability of improvement: {_text(section.compared()[0])}"
        improvement[title] = improvement_svg(section, colours)
    if section.is_overall:
        yield _panel(finals) + _panel(improvement)
    else:
        curves = {"Learning curves": curves_svg(section, colours, metric)}
        yield _panel(curves) + _panel(finals | improvement)
    yield "</div>\n"
    yield _groups(section)
    yield _pairs(section)
    yield _notes([*baseline_texts(section), *section.notes])


def _panel(charts: dict[str, str]) -> str:
    inner = "".join(f"<h3>{title}</h3>{svg}\n" for title, svg in charts.items() if svg)
    return f'<div class="panel">{inner}</div>\n' if inner else ""


def _legend(section: Section, colours: dict[str, int]) -> str:
    chips = [
        f'<span class="chip c{colours[group.name] % COLOURS}">{_text(group.name)}</span>'
        for group in section.groups
    ]
    chips += [
        f'<span><svg class="key" viewBox="0 0 34 8"><path class="b" d="M0 4H34" '
        f'stroke-dasharray="{published_dashes(number)}"/></svg>'
        f"{_text(baseline.name)} (published)</span>"
        for number, baseline in enumerate(section.baselines)
    ]
    if section.threshold is not None and not section.is_overall:
        value, source = f"{section.threshold.value:g}", _text(section.threshold.source)
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
            _text(group.name), str(len(group.final)), format_return(group.mean.value, scale),
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
    return _table(head, rows)


def _pairs(section: Section) -> str:
    if not section.pairs:
        return ""
    scale = number_scale(section)
    heading, names = section.compared()
    rows = [
        [
            _text(name),
            format_return(pair.difference.value, scale),
            interval_text(pair.difference, scale),
            f"{pair.improvement.probability:.2f}",
            ratio_text(pair.improvement.low, pair.improvement.high),
            _text(pair_note(pair)),
        ]
        for pair, name in zip(section.pairs, names, strict=True)
    ]
    head = (
        _text(heading), "difference of means", "95 % interval", "probability of improvement",
        "95 % interval", "conclusion",
    )  # fmt: skip
    return _table(head, rows, text_columns=(5,))


def _runs(runs: Sequence[RunRecord]) -> str:
    rows = [
        [
            _text(run.env), _text(run.group), str(run.seed), f"{run.steps:,}",
            format_return(float(run.curve.values[-1])), run.state, _text(run.commit[:8] or NONE),
            f'<code title="{_text(run.folder)}">{_text(run.command or run.folder)}</code>',
        ]
        for run in runs
    ]  # fmt: skip
    head = ("environment", "group", "seed", "steps", "last", "state", "commit", "command")
    return _table(head, rows, text_columns=(1, 7), style="runs")


def _table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    text_columns: Sequence[int] = (),
    style: str = "",
) -> str:
    def cell(tag: str, index: int, content: str) -> str:
        kind = ' class="text"' if index in text_columns else ""
        return f"<{tag}{kind}>{content}</{tag}>"

    lines = ["".join(cell("th", index, text) for index, text in enumerate(head))]
    lines += ["".join(cell("td", index, text) for index, text in enumerate(row)) for row in rows]
    inner = "\n".join(f"<tr>{line}</tr>" for line in lines)
    return f'<div class="scroll"><table class="{style}">\n{inner}\n</table></div>\n'


def _notes(notes: Sequence[str]) -> str:
    items = "".join(f"<li>{_text(note)}</li>" for note in notes)
    return f'<ul class="notes">{items}</ul>\n' if items else ""


def _style() -> str:
    def variables(colours: Sequence[str]) -> str:
        return " ".join(f"--c{index}: {colour};" for index, colour in enumerate(colours))

    classes = "".join(f".c{index} {{ --c: var(--c{index}); }}\n" for index in range(COLOURS))
    style = STYLE.replace("LIGHT", variables(LIGHT)).replace("DARK", variables(DARK))
    return style + classes


def _text(value: object) -> str:
    """Return text of a run folder for the page: nothing in it is taken for HTML."""
    return escape(printable(value))
