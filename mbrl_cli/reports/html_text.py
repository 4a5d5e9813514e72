"""Texts of run folders in HTML and SVG."""

from __future__ import annotations

from html import escape

from mbrl_cli.errors import printable


def html_text(value: object) -> str:
    """Return text as HTML: nothing in it is taken for HTML, and control characters are escaped."""
    return escape(printable(value))
