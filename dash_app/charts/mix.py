"""What the portfolio is made of at one tape: risk, days past due, score and purpose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from credit_risk_assets.config.tables import DPD_BUCKETS, RISK_CATEGORIES, SCORE_BANDS
from dash_app.charts.style import (
    BLUE,
    GREY,
    INK,
    NO_LOAN,
    ORANGE,
    RISK_COLOURS,
    SKY,
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

DPD_COLOURS = (BLUE, SKY, "#F3C661", ORANGE, "#E27B1A", VERMILLION, "#9E4300")


def _column(frame: pl.DataFrame, key: str, order: tuple[str, ...], measure: str) -> list[float]:
    found: Mapping[str, float] = dict(zip(frame[key], frame[measure], strict=True))
    return [float(found.get(value, 0) or 0) for value in order]


def risk_donut(cube: Cube, filters: Filters, currency: str) -> Chart:
    """Balance by risk category."""
    sums = cube.by(filters, "risk_category")
    loans, balance = (_column(sums, "risk_category", RISK_CATEGORIES, m) for m in ("loans", "balance"))
    if not sum(loans):
        return Chart(blank(NO_LOAN), NO_LOAN)
    whole = sum(balance)
    high = (balance[2] + balance[3]) / whole if whole else 0
    pie = {
        "type": "pie",
        "labels": list(RISK_CATEGORIES),
        "values": balance if whole else loans,
        "hole": 0.66,
        "sort": False,
        "direction": "clockwise",
        "marker": {
            "colors": [RISK_COLOURS[c] for c in RISK_CATEGORIES],
            "line": {"color": "#FFFFFF", "width": 2},
        },
        "textinfo": "none",
        "customdata": [
            [text.money(b, currency), text.count(n), drill({"risk": category})]
            for b, n, category in zip(balance, loans, RISK_CATEGORIES, strict=True)
        ],
        "hovertemplate": "<b>%{label}</b><br>%{customdata[0]}, %{percent}<br>%{customdata[1]} loans<extra></extra>",
        "domain": {"x": [0, 0.5], "y": [0.02, 0.98]},
    }
    lines = [f"{text.percent(b / whole if whole else 0)}   {text.money(b, currency)}" for b in balance]
    notes: list[dict[str, Any]] = [
        {
            "text": f"<b>{text.money(whole, currency)}</b><br><span style='font-size:11px'>on book</span>",
            "x": 0.25,
            "y": 0.5,
            "xref": "paper",
            "yref": "paper",
            "xanchor": "center",
            "showarrow": False,
            "font": {"size": 17, "color": INK},
        }
    ]
    for place, (category, line) in enumerate(zip(RISK_CATEGORIES, lines, strict=True)):
        notes.append(
            {
                "text": f"<span style='color:{RISK_COLOURS[category]};font-size:15px'>●</span> <b>{category}</b>"
                f"<br>{line}",
                "x": 0.57,
                "y": 0.9 - place * 0.265,
                "xref": "paper",
                "yref": "paper",
                "xanchor": "left",
                "yanchor": "middle",
                "align": "left",
                "showarrow": False,
                "font": {"size": 12, "color": INK},
            }
        )
    note = f"High and Very High hold {text.percent(high)} of the balance."
    data = pl.DataFrame({"risk_category": RISK_CATEGORIES, "loans": loans, "balance": balance})
    return Chart({"data": [pie], "layout": layout(annotations=notes)}, note, data)


def dpd_distribution(cube: Cube, filters: Filters) -> Chart:
    """Loans per bucket of days past due, 0 included."""
    sums = cube.by(filters, "dpd_bucket")
    loans = _column(sums, "dpd_bucket", DPD_BUCKETS, "loans")
    whole = sum(loans)
    if not whole:
        return Chart(blank(NO_LOAN), NO_LOAN)
    shares = [n / whole for n in loans]
    names = ["0 (on time)", *DPD_BUCKETS[1:]]
    bars = {
        "type": "bar",
        "orientation": "h",
        "y": names,
        "x": loans,
        "marker": {"color": list(DPD_COLOURS)},
        "cliponaxis": False,
        "text": [f"<b>{text.count(n)}</b>  {text.percent(s)}" for n, s in zip(loans, shares, strict=True)],
        "textposition": "outside",
        "textfont": {"size": 11.5, "color": INK},
        "customdata": [
            [text.percent(s), drill({"dpd": bucket})] for bucket, s in zip(DPD_BUCKETS, shares, strict=True)
        ],
        "hovertemplate": "<b>%{y} days</b><br>%{x:,} loans, %{customdata[0]}<extra></extra>",
    }
    figure = {
        "data": [bars],
        "layout": layout(
            bargap=0.3,
            xaxis=axis(showticklabels=False, range=[0, max(loans) * 1.55]),
            yaxis=axis(autorange="reversed", type="category", ticksuffix="  "),
        ),
    }
    late = sum(shares[1:])
    return Chart(
        figure,
        f"{text.percent(late)} of the loans are past due, {text.percent(sum(shares[2:]))} by 30+ days.",
        pl.DataFrame({"days_past_due": DPD_BUCKETS, "loans": loans, "share": shares}),
    )


def score_distribution(cube: Cube, filters: Filters) -> Chart:
    """Loans per band of the bureau score."""
    sums = cube.by(filters, "score_band")
    loans = _column(sums, "score_band", SCORE_BANDS, "loans")
    losses, balance = (_column(sums, "score_band", SCORE_BANDS, m) for m in ("expected_loss", "balance"))
    whole = sum(loans)
    if not whole:
        return Chart(blank(NO_LOAN), NO_LOAN)
    if whole == loans[-1]:
        return Chart(blank("No loan has a bureau score."), "The tape brings no bureau scores.")
    shown = [i for i, band in enumerate(SCORE_BANDS) if band != UNKNOWN or loans[i]]
    bands = [SCORE_BANDS[i] for i in shown]
    bars = {
        "type": "bar",
        "x": [b.replace("-", "–<br>") for b in bands],
        "y": [loans[i] for i in shown],
        "marker": {"color": [GREY if band == UNKNOWN else BLUE for band in bands]},
        "text": [text.percent(loans[i] / whole) for i in shown],
        "textposition": "outside",
        "textfont": {"size": 11.5, "color": INK},
        "cliponaxis": False,
        "customdata": [
            [
                SCORE_BANDS[i],
                text.percent(losses[i] / balance[i] if balance[i] else None, 2),
                drill({"score": SCORE_BANDS[i]}),
            ]
            for i in shown
        ],
        "hovertemplate": "<b>Score %{customdata[0]}</b><br>%{y:,} loans"
        "<br>expected loss %{customdata[1]} of balance<extra></extra>",
    }
    figure = {
        "data": [bars],
        "layout": layout(
            bargap=0.18,
            xaxis=axis(type="category", tickangle=0),
            yaxis=axis(showgrid=True, nticks=5, tickformat="~s", range=[0, max(loans) * 1.15]),
        ),
    }
    known = whole - loans[-1]
    weak = sum(loans[:3])
    note = f"{text.percent(weak / known)} of the scored loans lie below 660 points."
    data = pl.DataFrame({"score_band": SCORE_BANDS, "loans": loans, "balance": balance, "expected_loss": losses})
    return Chart(figure, note, data)


def amount_by_purpose(cube: Cube, filters: Filters, currency: str) -> Chart:
    """Balance per loan purpose, the largest first."""
    sums = cube.by(filters, "loan_purpose").filter(pl.col("loans") > 0).sort("balance", descending=True)
    if sums.height == 0:
        return Chart(blank(NO_LOAN), NO_LOAN)
    whole = float(sums["balance"].sum())
    values = [float(v) for v in sums["balance"]]
    shares = [v / whole if whole else 0 for v in values]
    names = [text.label(p) for p in sums["loan_purpose"]]
    bars = {
        "type": "bar",
        "orientation": "h",
        "y": names,
        "x": values,
        "marker": {"color": BLUE},
        "cliponaxis": False,
        "text": [f"<b>{text.money(v, currency)}</b>  {text.percent(s)}" for v, s in zip(values, shares, strict=True)],
        "textposition": "outside",
        "textfont": {"size": 11.5, "color": INK},
        "customdata": [
            [text.count(n), text.money(a, currency), drill({"purpose": purpose})]
            for purpose, n, a in sums.select("loan_purpose", "loans", "loan_amount").iter_rows()
        ],
        "hovertemplate": "<b>%{y}</b><br>%{text}<br>%{customdata[0]} loans, %{customdata[1]} lent<extra></extra>",
    }
    figure = {
        "data": [bars],
        "layout": layout(
            bargap=0.3,
            xaxis=axis(showticklabels=False, range=[0, (max(values) or 1) * 1.95]),
            yaxis=axis(autorange="reversed", type="category", ticksuffix="  "),
        ),
    }
    note = f"{names[0]} is the largest purpose, with {text.percent(shares[0])} of the balance."
    return Chart(figure, note, sums.select("loan_purpose", "loans", "balance", "loan_amount"))
