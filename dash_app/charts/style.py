"""Colours, fonts and the common frame of every chart; figures are plain dictionaries, so that none is built twice.

Ink, grid lines and slice borders are re-coloured by assets/charts.css in the dark scheme, so that a change of
scheme asks nothing of the server.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import polars as pl

# Okabe and Ito's palette: told apart with every common colour blindness.
BLUE, SKY, GREEN, YELLOW = "#0072B2", "#56B4E9", "#009E73", "#F0E442"
ORANGE, VERMILLION, PURPLE, GREY = "#E69F00", "#D55E00", "#CC79A7", "#8A94A3"

RISK_COLOURS = {"Low": BLUE, "Medium": SKY, "High": ORANGE, "Very High": VERMILLION}
RATING_COLOURS = {"Very Low": BLUE, "Low": SKY, "Medium": YELLOW, "High": ORANGE, "Very High": VERMILLION}
STATUS_COLOURS = {
    "current": BLUE,
    "delinquent": ORANGE,
    "default": VERMILLION,
    "charged_off": PURPLE,
    "paid_off": GREY,
}
FONT = 'Inter, "Segoe UI", system-ui, -apple-system, Roboto, "Helvetica Neue", Arial, sans-serif'
INK, MUTED, RULE = "#1C2733", "#566373", "#E3E8EE"
# Blue that thickens over whatever lies below it: right on white and on the dark card.
DENSITY = [[0, "rgba(0,114,178,0.04)"], [0.5, "rgba(0,114,178,0.38)"], [1, "rgba(0,114,178,0.72)"]]
HEAT = [[0, "rgba(213,94,0,0.04)"], [0.5, "rgba(213,94,0,0.36)"], [1, "rgba(213,94,0,0.70)"]]

NO_LOAN = "No loan matches the filters."


@dataclass(frozen=True)
class Chart:
    """A figure and the sentence that says what it shows; the sentence is also its text alternative.

    `data` are the exact numbers behind the marks, which a reader can save; they travel inside the figure.
    """

    figure: dict[str, Any]
    note: str
    data: pl.DataFrame | None = None

    def __post_init__(self) -> None:
        if self.data is not None:
            table = {"columns": self.data.columns, "rows": [list(row) for row in self.data.rows()]}
            self.figure["layout"]["meta"] = {"table": table}


def drill(filters: Mapping[str, str | Sequence[str]]) -> str:
    """What a click on a mark filters by, as the last entry of its custom data: a URL query such as 'risk=High'."""
    return urlencode(filters, doseq=True)


def axis(**more: Any) -> dict[str, Any]:
    """An axis without a frame."""
    base = {
        "showgrid": False,
        "zeroline": False,
        "fixedrange": True,
        "automargin": True,
        "tickfont": {"size": 11.5, "color": MUTED},
        "ticks": "",
        "gridcolor": RULE,
    }
    return {**base, **more}


def layout(**more: Any) -> dict[str, Any]:
    """The frame that every chart shares."""
    base: dict[str, Any] = {
        "font": {"family": FONT, "size": 12, "color": INK},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
        "showlegend": False,
        "hoverlabel": {
            "bgcolor": "#1C2733",
            "bordercolor": "#1C2733",
            "font": {"color": "#FFFFFF", "size": 12},
        },
        "legend": {
            "orientation": "h",
            "x": 0,
            "y": 1.02,
            "xanchor": "left",
            "yanchor": "bottom",
            "font": {"size": 11.5, "color": MUTED},
            "itemclick": False,
            "itemdoubleclick": False,
        },
        "bargap": 0.35,
    }
    return {**base, **more}


def blank(message: str) -> dict[str, Any]:
    """A chart without marks that says why."""
    return {
        "data": [],
        "layout": layout(
            xaxis={"visible": False, "fixedrange": True},
            yaxis={"visible": False, "fixedrange": True},
            annotations=[
                {
                    "text": message,
                    "x": 0.5,
                    "y": 0.5,
                    "xref": "paper",
                    "yref": "paper",
                    "showarrow": False,
                    "font": {"size": 13, "color": MUTED},
                }
            ],
        ),
    }
