"""How the portfolio came to be what it is: growth, defaults and originations over time."""

from __future__ import annotations

import polars as pl

from credit_risk_assets.config.tables import RISK_CATEGORIES
from credit_risk_assets.tape.contract import LOAN_STATUSES
from dash_app.charts.style import (
    INK,
    MUTED,
    NO_LOAN,
    RISK_COLOURS,
    STATUS_COLOURS,
    VERMILLION,
    Chart,
    axis,
    blank,
    drill,
    layout,
)
from dash_app.components import text
from dash_app.data.cube import Cube
from dash_app.data.filters import UNKNOWN, Filters
from dash_app.data.kpis import Kpi


def portfolio_growth(cube: Cube, filters: Filters, currency: str) -> Chart:
    """Balance on book at each tape, stacked by risk category."""
    sums = cube.by(filters, "risk_category", all_tapes=True)
    tapes = cube.shown(filters)
    last = tapes[-1].month
    totals = {t.month: float(sums.filter(pl.col("as_of_month") == t.month)["balance"].sum()) for t in tapes}
    if not sum(totals.values()):
        return Chart(blank(NO_LOAN), NO_LOAN)
    days = [text.day(tape.as_of) for tape in tapes]
    bars = []
    for category in RISK_CATEGORIES:
        part = sums.filter(pl.col("risk_category") == category)
        found = dict(zip(part["as_of_month"], part["balance"], strict=True))
        values = [float(found.get(tape.month, 0)) for tape in tapes]
        bars.append(
            {
                "type": "bar",
                "name": category,
                "x": days,
                "y": values,
                "marker": {"color": RISK_COLOURS[category]},
                "customdata": [
                    [
                        text.money(v, currency),
                        text.percent(v / totals[t.month] if totals[t.month] else 0),
                        drill({"as_of": t.month, "risk": category}),
                    ]
                    for v, t in zip(values, tapes, strict=True)
                ],
                "hovertemplate": f"<b>{category}</b>, %{{x}}<br>%{{customdata[0]}}, %{{customdata[1]}}<extra></extra>",
            }
        )
    few = len(tapes) <= 8
    marks = [
        {
            "x": d,
            "y": totals[t.month],
            "text": f"<b>{text.money(totals[t.month], currency)}</b>",
            "yshift": 10,
            "showarrow": False,
            "font": {"size": 12, "color": INK},
        }
        for d, t in zip(days, tapes, strict=True)
        if few
    ]
    figure = {
        "data": bars,
        "layout": layout(
            barmode="stack",
            annotations=marks,
            showlegend=True,
            bargap=0.75 if len(tapes) == 1 else 0.45 if few else 0.15,
            xaxis=axis(type="category"),
            yaxis=axis(
                showgrid=True,
                tickprefix=text.money(0, currency)[:-1],
                nticks=5,
                tickformat="~s",
                range=[0, max(totals.values()) * 1.14],
            ),
        ),
    }
    note = f"Balance on {days[-1]}: {text.money(totals[last], currency)}."
    if len(tapes) > 1 and totals[tapes[-2].month]:
        grown = totals[last] / totals[tapes[-2].month] - 1
        note = f"{'Up' if grown >= 0 else 'Down'} {text.percent(abs(grown))} since {days[-2]}."
    data = sums.select("as_of_month", "risk_category", "loans", "balance").sort("as_of_month", "risk_category")
    return Chart(figure, note, data)


def default_rate_trend(kpi: Kpi, target: float) -> Chart:
    """The observed default rate at each tape, with the target as a line."""
    points = [(day, value) for day, value in kpi.history if value is not None]
    if not points:
        reason = kpi.note or "Needs a tape from 12 months before."
        return Chart(blank(_wrapped(reason)), "Loans that defaulted within the 12 months before each tape.")
    days, values = [text.day(day) for day, _ in points], [value for _, value in points]
    top = max(*values, target) * 1.25
    line = {
        "type": "scatter",
        "mode": "lines+markers+text",
        "x": days,
        "y": values,
        "line": {"color": VERMILLION, "width": 2.5},
        "marker": {"size": 8, "color": VERMILLION},
        "text": [text.percent(value) for value in values] if len(values) <= 8 else None,
        "textposition": "top center",
        "textfont": {"size": 12, "color": INK},
        "cliponaxis": False,
        "customdata": [[text.percent(value, 2), drill({"as_of": f"{day:%Y-%m}"})] for day, value in points],
        "hovertemplate": "<b>%{customdata[0]}</b><br>12 months to %{x}<extra></extra>",
    }
    figure = {
        "data": [line],
        "layout": layout(
            xaxis=axis(type="category", range=[-0.5, len(days) - 0.5]),
            yaxis=axis(showgrid=True, tickformat=".0%", range=[0, top], nticks=5),
            shapes=[
                {
                    "type": "line",
                    "xref": "paper",
                    "x0": 0,
                    "x1": 1,
                    "y0": target,
                    "y1": target,
                    "line": {"color": MUTED, "width": 1.5, "dash": "dash"},
                }
            ],
            annotations=[
                {
                    "text": f"Target {text.percent(target)}",
                    "xref": "paper",
                    "x": 0,
                    "y": target,
                    "yshift": -9 if values[0] >= target else 9,  # away from the line
                    "xanchor": "left",
                    "showarrow": False,
                    "font": {"size": 11.5, "color": MUTED},
                }
            ],
        ),
    }
    gap = values[-1] - target
    note = (
        f"{text.percent(values[-1])}, {text.change(values[-1], target, 'share')} "
        f"{'above' if gap > 0 else 'below'} the target."
    )
    data = pl.DataFrame(
        {"as_of_date": [day.isoformat() for day, _ in points], "default_rate": values, "target": target}
    )
    return Chart(figure, note, data)


def originations(cube: Cube, filters: Filters) -> Chart:
    """Loans by the quarter they were paid out and the status they have now; closed loans too unless filtered."""
    every = filters if filters.values("status") else filters.with_values("status", LOAN_STATUSES)
    sums = cube.by(every, "origination_quarter", "loan_status").filter(
        pl.col("loans") > 0, pl.col("origination_quarter") != UNKNOWN
    )
    if sums.height == 0:
        return Chart(blank(NO_LOAN), NO_LOAN)
    quarters = sorted(set(sums["origination_quarter"]))[-24:]
    bars = []
    for status in LOAN_STATUSES:
        part = sums.filter(pl.col("loan_status") == status)
        found = dict(zip(part["origination_quarter"], part["loans"], strict=True))
        if not found:
            continue
        name = text.label(status)
        bars.append(
            {
                "type": "bar",
                "name": name,
                "x": quarters,
                "y": [found.get(q, 0) for q in quarters],
                "customdata": [[drill({"from": q, "to": q, "status": status})] for q in quarters],
                "marker": {"color": STATUS_COLOURS[status]},
                "hovertemplate": f"<b>{name}</b>, originated %{{x}}<br>%{{y:,}} loans<extra></extra>",
            }
        )
    wide = max(1, -(-len(quarters) // 6))
    figure = {
        "data": bars,
        "layout": layout(
            barmode="stack",
            showlegend=True,
            bargap=0.8 if len(quarters) == 1 else 0.12,
            xaxis=axis(
                type="category",
                tickvals=quarters[::wide],
                ticktext=[_short_quarter(q) for q in quarters[::wide]],
                tickangle=0,
            ),
            yaxis=axis(showgrid=True, nticks=5, tickformat="~s"),
        ),
    }
    newest = sums.filter(pl.col("origination_quarter") == quarters[-1])["loans"].sum()
    return Chart(
        figure,
        f"{text.count(int(newest))} loans originated in {_quarter(quarters[-1])}; colours show their status.",
        sums.select("origination_quarter", "loan_status", "loans", "loan_amount").sort(
            "origination_quarter", "loan_status"
        ),
    )


def _quarter(name: str) -> str:
    year, _, quarter = name.partition("-")
    return f"{quarter} {year}"


def _short_quarter(name: str) -> str:
    year, _, quarter = name.partition("-")
    return f"{quarter} ’{year[2:]}"


def _wrapped(sentence: str, width: int = 44) -> str:
    lines, line = [], ""
    for word in sentence.split():
        if len(line) + len(word) > width:
            lines.append(line)
            line = ""
        line = f"{line} {word}".strip()
    return "<br>".join([*lines, line])
