"""The charts of the scoring page: the PD along a slider, and the way that it took."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from dash_app.charts.style import BLUE, GREY, INK, MUTED, RATING_COLOURS, VERMILLION, Chart, axis, blank, layout
from dash_app.components import text
from dash_app.data.scoring import Field

PROMPT = "Move a slider to see where the PD goes."


def shown_value(field: Field, value: float, currency: str) -> str:
    """A field's stored value as people read it."""
    if field.unit == "money":
        return text.money(value, currency) if value >= 1e5 else f"{text.count(value)} {currency}"
    digits = 0 if field.whole else 2 if field.unit == "%" else 0
    number = f"{value * field.scale:,.{digits}f}"
    number = number.rstrip("0").rstrip(".") if "." in number else number
    return f"{number}{text.SPACE}{field.unit}"


def pd_along(
    field: Field, curve: Sequence[tuple[float, float]], now: tuple[float, float], threshold: float, currency: str
) -> Chart:
    """The PD over a slider's range, all else unchanged; `now` is where the slider stands, as value and PD."""
    if not curve:
        return Chart(blank(PROMPT), PROMPT)
    line = {
        "type": "scatter",
        "mode": "lines",
        "x": [value * field.scale for value, _ in curve],
        "y": [pd for _, pd in curve],
        "line": {"color": BLUE, "width": 2.5},
        "customdata": [shown_value(field, value, currency) for value, _ in curve],
        "hovertemplate": f"{field.label} %{{customdata}}<br>PD %{{y:.2%}}<extra></extra>",
    }
    dot = {
        "type": "scatter",
        "mode": "markers+text",
        "x": [now[0] * field.scale],
        "y": [now[1]],
        "marker": {"size": 12, "color": VERMILLION, "line": {"color": "#FFFFFF", "width": 1.5}},
        "text": [f"<b>{text.percent(now[1])}</b>"],
        "textposition": "top center",
        "textfont": {"size": 12, "color": INK},
        "cliponaxis": False,
        "hovertemplate": f"{field.label} {shown_value(field, now[0], currency)}<br>PD %{{y:.2%}}<extra></extra>",
    }
    highest = max(now[1], threshold, *(pd for _, pd in curve))
    unit = currency if field.unit == "money" else field.unit
    figure = {
        "data": [line, dot],
        "layout": layout(
            shapes=[_level(threshold)],
            annotations=[_level_name(threshold)],
            xaxis=axis(
                title={"text": f"{field.label}, {unit}", "font": {"size": 12, "color": MUTED}, "standoff": 6},
                tickformat="~s" if field.unit == "money" else None,
                nticks=7,
            ),
            yaxis=axis(showgrid=True, tickformat=".1~%", nticks=5, range=[0, highest * 1.2]),
        ),
    }
    data = pl.DataFrame({field.name: [v for v, _ in curve], "pd_12m": [p for _, p in curve]})
    low, high = min(pd for _, pd in curve), max(pd for _, pd in curve)
    return Chart(
        figure, f"{field.label} alone moves the PD between {text.percent(low)} and {text.percent(high)}.", data
    )


def _level(threshold: float) -> dict[str, object]:
    return {
        "type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": threshold, "y1": threshold,
        "line": {"color": MUTED, "width": 1.5, "dash": "dash"},
    }  # fmt: skip


def _level_name(threshold: float) -> dict[str, object]:
    return {
        "xref": "paper", "x": 1, "y": threshold, "xanchor": "right", "yanchor": "bottom", "showarrow": False,
        "text": f"decision threshold {text.percent(threshold)}", "font": {"size": 11, "color": MUTED},
    }  # fmt: skip


def pd_path(steps: Sequence[tuple[str, float, str]], threshold: float) -> Chart:
    """The PD after every step: what was changed, the PD, and the rating."""
    if not steps:
        return Chart(blank(PROMPT), PROMPT)
    places = list(range(len(steps)))
    values = [pd for _, pd, _ in steps]
    trace = {
        "type": "scatter",
        "mode": "lines+markers+text",
        "x": places,
        "y": values,
        "line": {"color": GREY, "width": 1.5},
        "marker": {"size": 12, "color": [RATING_COLOURS.get(rating, GREY) for _, _, rating in steps]},
        "text": [text.percent(pd) if place in (0, len(steps) - 1) else "" for place, pd in enumerate(values)],
        "textposition": "top center",
        "textfont": {"size": 12, "color": INK},
        "cliponaxis": False,
        "customdata": [[what, rating] for what, _, rating in steps],
        "hovertemplate": "<b>%{customdata[0]}</b><br>PD %{y:.2%}, %{customdata[1]}<extra></extra>",
    }
    figure = {
        "data": [trace],
        "layout": layout(
            shapes=[_level(threshold)],
            annotations=[_level_name(threshold)],
            xaxis=axis(
                tickvals=places if len(steps) < 9 else places[:: len(steps) // 6],
                ticktext=None
                if len(steps) >= 9
                else [
                    what.replace(" to ", "<br>", 1) if len(steps) < 6 else str(i)
                    for i, (what, _, _) in enumerate(steps)
                ],
                range=[-0.4, max(len(steps) - 0.6, 3.4)],
            ),
            yaxis=axis(showgrid=True, tickformat=".1~%", nticks=5, range=[0, max(threshold, *values) * 1.25]),
        ),
    }
    data = pl.DataFrame(steps, schema=["step", "pd_12m", "rating"], orient="row")
    if len(steps) == 1:
        return Chart(figure, f"The application stands at {text.percent(values[0])}. {PROMPT}", data)
    change = (values[-1] - values[0]) * 100
    words = f"{'+' if change >= 0 else '−'}{abs(change):.1f}{text.SPACE}pp"
    return Chart(
        figure, f"From {text.percent(values[0])} to {text.percent(values[-1])} ({words}); last: {steps[-1][0]}.", data
    )
