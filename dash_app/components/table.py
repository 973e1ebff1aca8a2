"""A plain table for a few dozen rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dash import html


@dataclass(frozen=True)
class Column:
    """A column's heading, the key of its cells, and whether they are numbers."""

    heading: str
    key: str
    right: bool = False


def table(columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> html.Table:
    """The rows under their headings."""
    head = html.Tr([html.Th(c.heading, className="right" if c.right else "", scope="col") for c in columns])
    body = [html.Tr([html.Td(row.get(c.key), className="right" if c.right else "") for c in columns]) for row in rows]
    return html.Table([html.Thead(head), html.Tbody(body)], className="table")
