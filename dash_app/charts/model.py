"""The charts of the model page."""

from __future__ import annotations

from textwrap import wrap

import polars as pl

from dash_app.charts.style import BLUE, GREY, INK, RATING_COLOURS, SKY, Chart, axis, blank, drill, layout
from dash_app.components import text
from dash_app.data.model import Performance


def rating_distribution(ratings: pl.DataFrame, currency: str) -> Chart:
    """Loans per rating of the champion."""
    loans = [int(n) for n in ratings["loans"]]
    whole = sum(loans)
    if not whole:
        return Chart(blank("No loan is scored."), "No loan is scored.")
    names = ratings["risk_rating"].to_list()
    bars = {
        "type": "bar",
        "x": names,
        "y": loans,
        "marker": {"color": [RATING_COLOURS[name] for name in names]},
        "text": [f"<b>{text.count(n)}</b><br>{text.percent(n / whole)}" for n in loans],
        "textposition": "outside",
        "textfont": {"size": 11.5, "color": INK},
        "cliponaxis": False,
        "customdata": [
            [text.money(balance, currency), text.percent(pd, 2), drill({"rating": name})]
            for name, balance, pd in ratings.select("risk_rating", "balance", "mean_pd").iter_rows()
        ],
        "hovertemplate": "<b>%{x}</b><br>%{y:,} loans, %{customdata[0]}<br>mean PD %{customdata[1]}<extra></extra>",
    }
    figure = {
        "data": [bars],
        "layout": layout(
            xaxis=axis(type="category"),
            yaxis=axis(showgrid=True, nticks=5, tickformat="~s", range=[0, max(loans) * 1.22]),
        ),
    }
    risky = sum(loans[3:]) / whole
    return Chart(figure, f"{text.percent(risky)} of the loans on book are rated High or Very High.")


def expected_loss_by_rating(ratings: pl.DataFrame, currency: str) -> Chart:
    """Expected loss of 12 months (PD × LGD × EAD) per rating."""
    losses = [float(v or 0) for v in ratings["expected_loss"]]
    whole = sum(losses)
    if not whole:
        return Chart(blank("No expected loss."), "No expected loss.")
    names = ratings["risk_rating"].to_list()
    bars = {
        "type": "bar",
        "orientation": "h",
        "y": names,
        "x": losses,
        "marker": {"color": [RATING_COLOURS[name] for name in names]},
        "text": [f"<b>{text.money(v, currency)}</b>  {text.percent(v / whole)}" for v in losses],
        "textposition": "outside",
        "textfont": {"size": 11.5, "color": INK},
        "cliponaxis": False,
        "customdata": [[drill({"rating": name})] for name in names],
        "hovertemplate": "<b>%{y}</b><br>%{text} of the expected loss<extra></extra>",
    }
    figure = {
        "data": [bars],
        "layout": layout(
            bargap=0.3,
            xaxis=axis(showticklabels=False, range=[0, max(losses) * 1.5]),
            yaxis=axis(autorange="reversed", type="category", ticksuffix="  "),
        ),
    }
    return Chart(figure, f"{text.money(whole, currency)} over 12 months: PD × LGD × EAD of the champion.")


def discrimination(performance: Performance, metric: str = "auc") -> Chart:
    """AUC per data set with its interval; the out-of-time one is the honest one."""
    rows = [(name, *performance.metric(name, metric)) for name in performance.data_sets]
    rows = [row for row in rows if row[1] is not None]
    if not rows:
        return Chart(blank("Not measured."), "Not measured.")
    names = [text.label(row[0]) for row in rows]
    values = [float(row[1] or 0) for row in rows]
    below = [v - (row[2] if row[2] is not None else v) for v, row in zip(values, rows, strict=True)]
    above = [(row[3] if row[3] is not None else v) - v for v, row in zip(values, rows, strict=True)]
    dots = {
        "type": "scatter",
        "mode": "markers+text",
        "x": values,
        "y": names,
        "marker": {"size": 12, "color": [BLUE if row[0] == "out_of_time" else SKY for row in rows]},
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": above,
            "arrayminus": below,
            "thickness": 2,
            "width": 6,
            "color": GREY,
        },
        "text": [f"{v:.3f}" for v in values],
        "textposition": "top center",
        "textfont": {"size": 12, "color": INK},
        "hovertemplate": "<b>%{y}</b><br>AUC %{x:.4f}<extra></extra>",
    }
    low = min(0.5, *(v - b for v, b in zip(values, below, strict=True)))
    figure = {
        "data": [dots],
        "layout": layout(
            xaxis=axis(showgrid=True, range=[low - 0.01, 1.0], tickformat=".2f"),
            yaxis=axis(type="category", ticksuffix="  ", range=[len(names) - 0.5, -0.8]),
        ),
    }
    return Chart(figure, "Area under the ROC curve with its 95 % interval; 0.5 is chance.")


def reasons(frame: pl.DataFrame) -> Chart:
    """The main reasons of the riskiest loans."""
    if frame.height == 0:
        return Chart(blank("No reasons recorded."), "No loan is rated High or Very High.")
    names = ["<br>".join(wrap(str(name), 34)) for name in frame["reason"]]
    loans = [int(n) for n in frame["loans"]]
    bars = {
        "type": "bar",
        "orientation": "h",
        "y": names,
        "x": loans,
        "marker": {"color": BLUE},
        "text": [f"<b>{text.count(n)}</b>" for n in loans],
        "textposition": "outside",
        "cliponaxis": False,
        "textfont": {"size": 11.5, "color": INK},
        "customdata": frame["reason"].to_list(),
        "hovertemplate": "<b>%{customdata}</b><br>%{x:,} loans<extra></extra>",
    }
    figure = {
        "data": [bars],
        "layout": layout(
            bargap=0.3,
            xaxis=axis(showticklabels=False, range=[0, max(loans) * 1.25]),
            # room for five, so that a single reason is no wall of colour
            yaxis=axis(type="category", ticksuffix="  ", range=[max(len(names), 5) - 0.5, -0.5]),
        ),
    }
    return Chart(figure, f"First reason of the loans rated High or Very High; most often: {frame['reason'][0]}.")
