"""Where risk piles up: risk by purpose, and regions."""

from __future__ import annotations

import polars as pl

from credit_risk_assets.config.tables import RISK_CATEGORIES
from dash_app.charts.style import (
    DENSITY,
    HEAT,
    INK,
    MUTED,
    NO_LOAN,
    RULE,
    Chart,
    axis,
    blank,
    drill,
    layout,
)
from dash_app.components import text
from dash_app.data.cube import Cube
from dash_app.data.filters import Filters


def risk_by_purpose(cube: Cube, filters: Filters, measure: str, currency: str) -> Chart:
    """Risk category × purpose; `measure` is 'balance' or 'loss' (expected loss over balance)."""
    sums = cube.by(filters, "risk_category", "loan_purpose").filter(pl.col("loans") > 0)
    if sums.height == 0:
        return Chart(blank(NO_LOAN), NO_LOAN)
    totals = sums.group_by("loan_purpose").agg(pl.col("balance").sum()).sort("balance", descending=True)
    purposes = totals["loan_purpose"].to_list()
    categories = list(RISK_CATEGORIES)
    cells = {(r["risk_category"], r["loan_purpose"]): r for r in sums.to_dicts()}
    values: list[list[float | None]] = []
    words: list[list[str]] = []
    for category in categories:
        rows = [cells.get((category, purpose)) for purpose in purposes]
        if measure == "loss":
            found = [r["expected_loss"] / r["balance"] if r and r["balance"] else None for r in rows]
            words.append([text.percent(v) if v is not None else "" for v in found])
        else:
            found = [float(r["balance"]) if r else None for r in rows]
            words.append([text.money(v, currency) if v is not None else "" for v in found])
        values.append(found)
    detail = [
        [
            [
                text.count(r["loans"]) if r else "0",
                text.money(r["balance"], currency) if r else "",
                text.label(purpose),
                drill({"risk": category, "purpose": purpose}),
            ]
            for purpose in purposes
            for r in [cells.get((category, purpose))]
        ]
        for category in categories
    ]
    heat = {
        "type": "heatmap",
        "z": values,
        "x": [text.label(p).replace(" ", "<br>") for p in purposes],
        "y": categories,
        "text": words,
        "texttemplate": "%{text}",
        "textfont": {"size": 11.5, "color": INK},
        "colorscale": HEAT if measure == "loss" else DENSITY,
        "showscale": False,
        "xgap": 3,
        "ygap": 3,
        "customdata": detail,
        "hoverongaps": False,
        "hovertemplate": "<b>%{y} risk, %{customdata[2]}</b><br>%{customdata[1]}, %{customdata[0]} loans<br>"
        "%{text}<extra></extra>",
    }
    figure = {
        "data": [heat],
        "layout": layout(
            xaxis=axis(type="category", side="top", tickangle=0, tickfont={"size": 11, "color": MUTED}),
            yaxis=axis(autorange="reversed", type="category", ticksuffix="  "),
        ),
    }
    risky = sums.filter(pl.col("risk_category").is_in(RISK_CATEGORIES[2:]))
    by_purpose = risky.group_by("loan_purpose").agg(pl.col("balance").sum()).sort("balance", descending=True)
    note = "No balance in High or Very High."
    if by_purpose.height and by_purpose["balance"][0]:
        share = (
            by_purpose["balance"][0]
            / totals.filter(pl.col("loan_purpose") == by_purpose["loan_purpose"][0])["balance"][0]
        )
        note = (
            f"Most high-risk balance: {text.label(by_purpose['loan_purpose'][0]).lower()}, "
            f"{text.money(by_purpose['balance'][0], currency)} or {text.percent(share)} of its balance."
        )
    data = sums.select("risk_category", "loan_purpose", "loans", "balance", "expected_loss")
    return Chart(figure, note, data.sort("risk_category", "loan_purpose"))


REGIONS_SHOWN = 24
"""Smaller regions are drawn as one: their tiles could not be read."""


def region_treemap(cube: Cube, filters: Filters, currency: str) -> Chart:
    """Concentration: balance by region, shaded by expected loss over balance."""
    sums = cube.by(filters, "region").filter(pl.col("balance") > 0).sort("balance", descending=True)
    if sums.height == 0:
        return Chart(blank(NO_LOAN), NO_LOAN)
    whole = float(sums["balance"].sum())
    hhi = sum((float(balance) / whole) ** 2 for balance in sums["balance"])
    rows: list[tuple[str, str | None, float, float]] = [
        (text.label(region), region, balance, loss)
        for region, balance, loss in sums.select("region", "balance", "expected_loss").iter_rows()
    ]
    if len(rows) > REGIONS_SHOWN:
        small = rows[REGIONS_SHOWN - 1 :]
        merged = (f"{len(small)} others", None, sum(row[2] for row in small), sum(row[3] for row in small))
        rows = [*rows[: REGIONS_SHOWN - 1], merged]
    rates = [loss / balance for _, _, balance, loss in rows]
    tree = {
        "type": "treemap",
        "labels": [name for name, _, _, _ in rows],
        "parents": [""] * len(rows),
        "values": [balance for _, _, balance, _ in rows],
        "customdata": [
            [
                text.money(balance, currency),
                text.percent(balance / whole),
                text.percent(rate, 2),
                drill({"region": region}) if region else "",
            ]
            for (_, region, balance, _), rate in zip(rows, rates, strict=True)
        ],
        "texttemplate": "<b>%{label}</b><br>%{customdata[0]}<br>%{customdata[1]}",
        "hovertemplate": "<b>%{label}</b><br>%{customdata[0]}, %{customdata[1]} of the balance<br>"
        "expected loss %{customdata[2]}<extra></extra>",
        "textfont": {"size": 12, "color": INK},
        "marker": {
            "colors": [_tint(rate, min(rates), max(rates)) for rate in rates],
            "line": {"color": RULE, "width": 2},
            "pad": {"t": 0, "l": 0, "r": 0, "b": 0},
        },
        "tiling": {"pad": 2},
        "pathbar": {"visible": False},
    }
    note = (
        f"{rows[0][0]} holds {text.percent(rows[0][2] / whole)}; "
        f"concentration index (HHI) {hhi:.2f}. Darker: higher expected loss."
    )
    figure = {"data": [tree], "layout": layout(margin={"l": 0, "r": 0, "t": 0, "b": 0})}
    return Chart(figure, note, sums.select("region", "loans", "balance", "expected_loss"))


def _tint(value: float, low: float, high: float) -> str:
    """From a light to a full orange; treemaps know no translucent colours."""
    part = (value - low) / (high - low) if high > low else 0.3
    light, full = (251, 228, 206), (236, 148, 82)
    mixed = [round(a + (b - a) * part) for a, b in zip(light, full, strict=True)]
    return f"rgb({mixed[0]},{mixed[1]},{mixed[2]})"
