"""The key-figure card: value, change against the tape before, whether that is good, and its history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from dash import html

from dash_app.components import text
from dash_app.components.aria import aria
from dash_app.data.kpis import Kpi


def kpi_card(kpi: Kpi, currency: str, target: float | None = None) -> html.Article:
    """A card with the id `kpi-<key>`; the exact value is the tooltip of what is shown."""
    definition = kpi.definition
    shown = text.quantity(kpi.value, definition.unit, currency)
    exact = "" if kpi.value is None else f"{kpi.value:,.6g}" if definition.unit == "share" else f"{kpi.value:,.2f}"
    values = [value for _, value in kpi.history]
    picture = sparkline(values)
    return html.Article(
        [
            html.Div(
                [
                    html.H2(definition.label, className="kpi-label", title=definition.meaning),
                    _target(kpi, target),
                ],
                className="kpi-top",
            ),
            html.Div(
                [
                    html.Span(shown, id=f"kpi-{definition.key}-value", className="kpi-value", title=exact),
                    html.Img(src=picture, className="kpi-spark", alt="") if picture else None,
                ],
                className="kpi-row",
            ),
            html.Div(_change(kpi), className="kpi-foot"),
        ],
        id=f"kpi-{definition.key}",
        className="card kpi",
    )


def _change(kpi: Kpi) -> html.Span:
    if kpi.value is None:
        return html.Span(kpi.note or "Not available for this view.", className="kpi-note")
    if kpi.change is None or kpi.previous is None or kpi.verdict is None:
        return html.Span(kpi.note or "No earlier tape to compare with", className="kpi-note")
    size, verdict = text.change(kpi.value, kpi.previous, kpi.definition.unit), kpi.verdict
    if not any(figure in size for figure in "123456789") and size != "new":
        verdict = "same"  # what is shown as no change is called none
    arrow = "→" if verdict == "same" else "▲" if kpi.change > 0 else "▼"
    good, bad = kpi.definition.words
    said = {"better": f"{size} {good}", "worse": f"{size} {bad}", "same": "unchanged"}[verdict]
    before = f"{text.quantity(kpi.previous, kpi.definition.unit)} on {text.day(kpi.previous_as_of)}"
    badge = html.Span([html.Span(f"{arrow} ", **aria(hidden="true")), said], className=f"badge {verdict}", title=before)
    return html.Span(
        [badge, html.Span(f"vs {text.day(kpi.previous_as_of)}", className="kpi-since")], className="kpi-change"
    )


def _target(kpi: Kpi, target: float | None) -> html.Span | None:
    if target is None or kpi.value is None:
        return None
    met = kpi.value <= target
    return html.Span(
        f"{'✓ within' if met else '! above'} target {text.percent(target)}",
        className=f"target {'met' if met else 'missed'}",
    )


def stat_card(label: str, value: str, note: str = "", tone: str = "", title: str = "", name: str = "") -> html.Article:
    """A plain card of label, value and a remark; `tone` is '', 'better' or 'worse'."""
    more: dict[str, Any] = {"id": name} if name else {}
    return html.Article(
        [
            html.H2(label, className="kpi-label", title=title),
            html.Div(html.Span(value, className="kpi-value"), className="kpi-row"),
            html.Div(html.Span(note, className=f"badge {tone}" if tone else "kpi-note"), className="kpi-foot"),
        ],
        className="card kpi",
        **more,
    )


def sparkline(values: Sequence[float | None], width: int = 92, height: int = 30) -> str:
    """The history as a small line in a data URL; '' where there are not two points to join."""
    points = [(place, value) for place, value in enumerate(values) if value is not None]
    if len(points) < 2:
        return ""
    low, high = min(v for _, v in points), max(v for _, v in points)
    span = (high - low) or 1.0
    first, last = points[0][0], points[-1][0]
    xy = [
        (3 + (x - first) / (last - first) * (width - 8), height - 4 - (v - low) / span * (height - 8))
        for x, v in points
    ]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in xy)
    area = f"{xy[0][0]:.1f},{height} {line} {xy[-1][0]:.1f},{height}"
    end_x, end_y = xy[-1]
    svg = (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='{height}' viewBox='0 0 {width} {height}'>"
        f"<polygon points='{area}' fill='#3B8FCC' fill-opacity='.14'/>"
        f"<polyline points='{line}' fill='none' stroke='#3B8FCC' stroke-width='2' stroke-linejoin='round'/>"
        f"<circle cx='{end_x:.1f}' cy='{end_y:.1f}' r='2.8' fill='#3B8FCC'/></svg>"
    )
    return f"data:image/svg+xml,{quote(svg)}"
