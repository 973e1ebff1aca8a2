"""How the features of one loan lead from the average loan's probability of default to its own."""

from __future__ import annotations

import math
from typing import Any

import polars as pl

from credit_risk_assets.credit.reasons import REASONS
from dash_app.charts.style import BLUE, INK, MUTED, VERMILLION, Chart, axis, layout
from dash_app.components import text
from dash_app.data.explain import Explanation

SHOWN = 9
"""Concepts with a bar of their own; the others are one bar."""
TICKS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95, 0.99)


def concepts(found: Explanation) -> list[tuple[str, float, str]]:
    """What each concept adds to the log-odds, the largest first: its name, the sum, and the features in it."""
    sums: dict[str, float] = {}
    parts: dict[str, list[str]] = {}
    for name, added in found.contributions:
        reason = REASONS.get(name)
        concept = reason.concept if reason else text.label(name).lower()
        sums[concept] = sums.get(concept, 0.0) + added
        value = found.values.get(name)
        shown = (
            text.NONE if value is None else f"{value:,.4g}" if isinstance(value, (int, float)) else text.label(value)
        )
        parts.setdefault(concept, []).append(f"{text.label(name)}: {shown} ({_signed(added)})")
    ranked = sorted(sums, key=lambda concept: -abs(sums[concept]))
    kept = [(name.capitalize(), sums[name], "<br>".join(parts[name][:4])) for name in ranked[:SHOWN]]
    if len(ranked) > SHOWN:
        rest = ranked[SHOWN:]
        kept.append(("Everything else", sum(sums[name] for name in rest), ", ".join(rest[:6])))
    return kept


def contribution_waterfall(found: Explanation) -> Chart:
    """Exact SHAP values, summed by concept, on a scale of log-odds that is labelled with probabilities."""
    bars = concepts(found)
    names = ["Average loan", *[name for name, _, _ in bars], "This loan"]
    odds, at = [found.base_odds], found.base_odds
    for _, added, _ in bars:
        at += added
        odds.append(at)
    low, high = min(odds), max(odds)
    margin = (high - low) * 0.22 or 0.5
    left = low - margin
    ticks = [p for p in TICKS if low - margin <= _odds(p) <= high + margin]
    trace = {
        "type": "waterfall",
        "orientation": "h",
        "measure": ["absolute", *["relative"] * len(bars), "total"],
        "y": names,
        # bars begin at the left edge, because log-odds have no natural zero
        "x": [found.base_odds - left, *[added for _, added, _ in bars], None],
        "base": left,
        "text": [text.percent(found.base_pd), *[_signed(added) for _, added, _ in bars], text.percent(found.pd_12m)],
        "textposition": "outside",
        "textfont": {"size": 11.5, "color": INK},
        "cliponaxis": False,
        "customdata": ["the model’s constant", *[parts for _, _, parts in bars], "sum of the bars above"],
        "hovertemplate": "<b>%{y}</b>  %{text}<br>%{customdata}<extra></extra>",
        "increasing": {"marker": {"color": VERMILLION}},
        "decreasing": {"marker": {"color": BLUE}},
        "totals": {"marker": {"color": MUTED}},
        "connector": {"line": {"color": MUTED, "width": 1}},
    }
    figure = {
        "data": [trace],
        "layout": layout(
            xaxis=axis(
                showgrid=True,
                range=[left, high + margin],
                tickvals=[_odds(p) for p in ticks],
                ticktext=[text.percent(p, 1 if p < 0.01 else 0) for p in ticks],
            ),
            yaxis=axis(autorange="reversed", type="category", ticksuffix="  "),
        ),
    }
    data = pl.DataFrame(
        {
            "feature": [name for name, _ in found.contributions],
            "adds_to_log_odds": [added for _, added in found.contributions],
            "value": [None if (v := found.values.get(n)) is None else str(v) for n, _ in found.contributions],
        },
        schema_overrides={"value": pl.String},
    )
    up = next((name for name, added, _ in bars if added > 0), None)
    note = f"From the average loan’s {text.percent(found.base_pd)} to {text.percent(found.pd_12m)}"
    note += f"; {up.lower()} raises it most." if up else "; nothing raises it."
    return Chart(figure, f"{note} Orange raises the risk, blue lowers it.", data)


def _shown(value: Any) -> str:
    if value is None:
        return text.NONE
    return f"{value:,.4g}" if isinstance(value, (int, float)) else text.label(value)


def _odds(probability: float) -> float:
    return math.log(probability / (1 - probability))


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")
