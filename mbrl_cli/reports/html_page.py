"""One HTML page: its style, tables, charts and notes; no scripts, nothing from a network."""

from __future__ import annotations

from collections.abc import Sequence

from mbrl_cli.reports.html_text import html_text
from mbrl_cli.reports.svg_parts import COLOURS

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


def html_page(title: str, body: str, style: str = "") -> str:
    """Return the page.

    Args:
        title: plain text.
        body: HTML.
        style: further rules of CSS.
    """
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html_text(title)}</title>\n<style>{_style()}{style}</style>\n"
        f"</head>\n<body>\n{body}</body>\n</html>\n"
    )


def html_table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    text_columns: Sequence[int] = (),
    style: str = "",
) -> str:
    """Return a table; all texts are HTML.

    Args:
        head: names of the columns.
        rows: as many cells as columns each.
        text_columns: further columns beside the first that are aligned to the left.
        style: class of the table.
    """

    def cell(tag: str, index: int, content: str) -> str:
        kind = ' class="text"' if index in text_columns else ""
        return f"<{tag}{kind}>{content}</{tag}>"

    lines = ["".join(cell("th", index, text) for index, text in enumerate(head))]
    lines += ["".join(cell("td", index, text) for index, text in enumerate(row)) for row in rows]
    inner = "\n".join(f"<tr>{line}</tr>" for line in lines)
    return f'<div class="scroll"><table class="{style}">\n{inner}\n</table></div>\n'


def html_notes(notes: Sequence[str]) -> str:
    """Return a list of plain texts; empty if there is none."""
    items = "".join(f"<li>{html_text(note)}</li>" for note in notes)
    return f'<ul class="notes">{items}</ul>\n' if items else ""


def html_panel(charts: dict[str, str]) -> str:
    """Return charts, title -> SVG, in one box; titles are HTML, empty charts are left out."""
    inner = "".join(f"<h3>{title}</h3>{svg}\n" for title, svg in charts.items() if svg)
    return f'<div class="panel">{inner}</div>\n' if inner else ""


def _style() -> str:
    def variables(colours: Sequence[str]) -> str:
        return " ".join(f"--c{index}: {colour};" for index, colour in enumerate(colours))

    classes = "".join(f".c{index} {{ --c: var(--c{index}); }}\n" for index in range(COLOURS))
    style = STYLE.replace("LIGHT", variables(LIGHT)).replace("DARK", variables(DARK))
    return style + classes
