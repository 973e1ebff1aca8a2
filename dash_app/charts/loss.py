"""What the model expects to be lost, by its ratings."""

from __future__ import annotations

import polars as pl

from credit_risk_assets.config.tables import RISK_RATINGS
from dash_app.charts.style import INK, RATING_COLOURS, Chart, axis, blank, drill, layout
from dash_app.components import text

NOT_SCORED = "The model has scored no loan of this view: scores describe the newest tape."


def expected_loss_by_rating(sums: pl.DataFrame | None, currency: str) -> Chart:
    """PD × LGD × EAD of twelve months per rating of the champion; `sums` as `Rated.by_rating` gives them."""
    if sums is None or sums.height == 0:
        return Chart(blank("No scored loan in this view."), NOT_SCORED)
    found = {row["risk_rating"]: row for row in sums.to_dicts()}
    rows = [found.get(rating) or {"risk_rating": rating} for rating in RISK_RATINGS]
    losses = [float(row.get("model_loss") or 0) for row in rows]
    whole = sum(losses)
    detail = []
    for row in rows:
        loans, balance = row.get("scored_loans") or 0, row.get("balance") or 0.0
        allowance = f", allowance {text.money(row['ecl'], currency)}" if row.get("ecl") is not None else ""
        detail.append(
            [
                f"{text.count(loans)} loans, {text.money(balance, currency)}{allowance}",
                text.percent(row["pd_sum"] / loans if loans else None, 2),
                text.percent((row.get("model_loss") or 0) / balance if balance else None, 2),
                drill({"rating": row["risk_rating"]}),
            ]
        )
    bars = {
        "type": "bar",
        "orientation": "h",
        "y": list(RISK_RATINGS),
        "x": losses,
        "marker": {"color": [RATING_COLOURS[rating] for rating in RISK_RATINGS]},
        "cliponaxis": False,
        "text": [f"<b>{text.money(v, currency)}</b>  {text.percent(v / whole if whole else 0)}" for v in losses],
        "textposition": "outside",
        "textfont": {"size": 11.5, "color": INK},
        "customdata": detail,
        "hovertemplate": "<b>%{y}</b><br>%{text} of the expected loss<br>%{customdata[0]}<br>"
        "mean PD %{customdata[1]}, expected loss %{customdata[2]} of the balance<extra></extra>",
    }
    figure = {
        "data": [bars],
        "layout": layout(
            bargap=0.3,
            xaxis=axis(showticklabels=False, range=[0, (max(losses) or 1) * 1.8]),
            yaxis=axis(autorange="reversed", type="category", ticksuffix="  "),
        ),
    }
    data = pl.DataFrame(
        {
            "risk_rating": RISK_RATINGS,
            "loans": [row.get("scored_loans") or 0 for row in rows],
            "balance": [float(row.get("balance") or 0) for row in rows],
            "expected_loss_12m": losses,
        }
    )
    return Chart(figure, f"{text.money(whole, currency)} over 12 months: the model’s PD × LGD × EAD.", data)
