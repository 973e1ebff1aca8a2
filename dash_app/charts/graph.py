"""The one place where a graph is made: no button that uploads, no logo, an image named after the chart."""

from __future__ import annotations

from typing import Any

from dash import dcc, html

from dash_app.charts.style import blank
from dash_app.components.aria import aria


def graph_config(name: str) -> Any:
    """Plotly's options: nothing can leave the machine, only the picture can be saved."""
    return {
        "displaylogo": False,
        "displayModeBar": "hover",
        "showSendToCloud": False,
        "plotlyServerURL": "",
        "responsive": True,
        "scrollZoom": False,
        "doubleClick": False,
        "modeBarButtonsToRemove": [
            "zoom2d",
            "pan2d",
            "select2d",
            "lasso2d",
            "zoomIn2d",
            "zoomOut2d",
            "autoScale2d",
            "resetScale2d",
            "hoverClosestCartesian",
            "hoverCompareCartesian",
            "toggleSpikelines",
            "hoverClosestPie",
            "sendDataToCloud",
        ],
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


def chart_card(
    name: str, title: str, *, width: int = 4, height: int = 260, aside: Any = None, wide: bool = False
) -> html.Section:
    """A card with a chart, its title and, below the title, what it says (`<name>-note`).

    `width` is in twelfths of the page; `aside` stands at the right of the title; a `wide` chart
    scrolls sideways on a narrow screen.
    """
    heading = html.Div([html.H2(title, id=f"{name}-title", className="card-title"), aside], className="card-heading")
    note = html.P("", id=f"{name}-note", className="card-note")
    return html.Section(
        [heading, note, html.Div(graph(name, height), className="card-graph wide" if wide else "card-graph")],
        className=f"card chart-card span-{width}",
        **aria(labelledby=f"{name}-title", describedby=f"{name}-note"),
    )
