"""The one place where a graph is made: nothing that uploads, and every chart can be saved as picture and as data."""

from __future__ import annotations

from typing import Any

from dash import dcc, html

from dash_app.charts.style import blank
from dash_app.components.aria import aria


def graph_config(name: str) -> Any:
    """Plotly's options: nothing can leave the machine, and the buttons of the card save picture and data."""
    return {
        "displaylogo": False,
        "displayModeBar": False,
        "showSendToCloud": False,
        "plotlyServerURL": "",
        "responsive": True,
        "scrollZoom": False,
        "doubleClick": False,
        "toImageButtonOptions": {"format": "png", "filename": name, "scale": 2},
    }


def graph(name: str, height: int = 260) -> dcc.Graph:
    """A graph with the id `name`."""
    return dcc.Graph(
        id=name,
        figure=blank(""),
        config=graph_config(name),
        responsive=True,
        style={"height": f"{height}px"},
    )


def save_buttons(name: str, title: str) -> html.Div:
    """Save a graph as PNG, or its numbers as CSV; assets/save.js does both in the browser."""
    buttons = [
        html.Button(
            html.Span(className=f"icon {kind}", **aria(hidden="true")),
            type="button",
            id=f"{name}-{kind}",
            className="save",
            title=f"{title}: {what}",
            **{**aria(label=f"{title}: {what}"), "data-save": kind, "data-chart": name, "data-title": title},
        )
        for kind, what in (("png", "save as picture"), ("csv", "save the numbers as CSV"))
    ]
    return html.Div(buttons, className="save-buttons")


def chart_card(
    name: str, title: str, *, width: int = 4, height: int = 260, aside: Any = None, wide: bool = False
) -> html.Section:
    """A card with a chart, its title and, below the title, what it says (`<name>-note`).

    `width` is in twelfths of the page; `aside` stands at the right of the title; a `wide` chart
    scrolls sideways on a narrow screen.
    """
    tools = html.Div([aside, save_buttons(name, title)], className="card-tools")
    heading = html.Div([html.H2(title, id=f"{name}-title", className="card-title"), tools], className="card-heading")
    note = html.P("", id=f"{name}-note", className="card-note")
    place = html.Div(graph(name, height), className="card-graph")
    if wide:  # it scrolls, by the keyboard too
        place = html.Div(
            graph(name, height), className="card-graph wide", tabIndex=0, role="region", **aria(label=f"{title}, chart")
        )
    return html.Section(
        [heading, note, place],
        className=f"card chart-card span-{width}",
        **aria(labelledby=f"{name}-title", describedby=f"{name}-note"),
    )
