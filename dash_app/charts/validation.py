"""The charts of a version's validation and of what was observed since."""

from __future__ import annotations

from datetime import date
from typing import Any

import polars as pl

from dash_app.charts.style import BLUE, GREY, INK, MUTED, ORANGE, SKY, VERMILLION, Chart, axis, blank, layout
from dash_app.components import text
from dash_app.data.validation import curve

NOT_MEASURED = "This version was not validated."


def _title(words: str) -> dict[str, Any]:
    return {"text": words, "font": {"size": 12, "color": MUTED}, "standoff": 6}


def _line(
    x: list[float], y: list[float], name: str, colour: str, dash: str = "solid", hover: str = ""
) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": x,
        "y": y,
        "name": name,
        "line": {"color": colour, "width": 2.5 if dash == "solid" else 1.5, "dash": dash},
        "hovertemplate": hover,
        "hoverinfo": "skip" if not hover else None,
    }


def roc(figures: pl.DataFrame, auc: float | None) -> Chart:
    """Share of the defaults found against the share of the good loans wrongly flagged."""
    points = curve(figures, "roc", "true_positive_rate")
    if points.height == 0:
        return Chart(blank(NOT_MEASURED), NOT_MEASURED)
    hover = "%{x:.1%} of the good loans flagged<br>finds %{y:.1%} of the defaults<extra></extra>"
    figure = {
        "data": [
            _line([0, 1], [0, 1], "chance", GREY, "dash"),
            _line(points["position"].to_list(), points["value"].to_list(), "ROC", BLUE, hover=hover),
        ],
        "layout": layout(
            xaxis=axis(title=_title("Good loans flagged"), tickformat=".0%", range=[0, 1], nticks=6),
            yaxis=axis(title=_title("Defaults found"), showgrid=True, tickformat=".0%", range=[0, 1.02], nticks=6),
        ),
    }
    return Chart(
        figure, f"Area {auc:.3f}; the dashed line is chance, 0.5." if auc is not None else "Dashed: chance.", points
    )


def ks(figures: pl.DataFrame, value: float | None) -> Chart:
    """How the scores of bad and of good loans are spread."""
    bad, good = (curve(figures, "ks", "cumulative_share", item) for item in ("bad", "good"))
    if bad.height == 0:
        return Chart(blank(NOT_MEASURED), NOT_MEASURED)
    hover = "%{y:.1%} of the NAME loans<br>score %{x:.0f} points or less<extra></extra>"
    gap = bad.join_asof(good.rename({"value": "good"}), on="position").with_columns(
        gap=(pl.col("value") - pl.col("good")).abs()
    )
    widest = gap.sort("gap", descending=True).row(0, named=True)
    figure = {
        "data": [
            _line(bad["position"].to_list(), bad["value"].to_list(), "Defaulted", VERMILLION,
                  hover=hover.replace("NAME", "defaulted")),
            _line(good["position"].to_list(), good["value"].to_list(), "Did not", BLUE,
                  hover=hover.replace("NAME", "other")),
        ],
        "layout": layout(
            showlegend=True,
            shapes=[
                {
                    "type": "line", "x0": widest["position"], "x1": widest["position"], "y0": widest["good"],
                    "y1": widest["value"], "line": {"color": MUTED, "width": 1.5, "dash": "dot"},
                }
            ],
            xaxis=axis(title=_title("Score, points"), nticks=6),
            yaxis=axis(showgrid=True, tickformat=".0%", range=[0, 1.02], nticks=6),
        ),
    }  # fmt: skip
    words = f"KS {value:.3f}: t" if value is not None else "T"
    return Chart(
        figure,
        f"{words}he widest gap between the cumulative shares, near {widest['position']:,.0f} points.",
        curve(figures, "ks", "cumulative_share"),
    )


def calibration(figures: pl.DataFrame, ece: float | None) -> Chart:
    """Observed default rate with its interval against the predicted one, in groups of equal size."""
    points = curve(figures, "calibration", "observed_rate")
    if points.height == 0:
        return Chart(blank(NOT_MEASURED), NOT_MEASURED)
    counts = dict(curve(figures, "calibration", "n").select("item", "value").iter_rows())
    x, y = points["position"].to_list(), points["value"].to_list()
    low = [min(v for v in (value, lower) if v is not None) for value, lower in points.select("value", "lower").rows()]
    high = [max(v for v in (value, upper) if v is not None) for value, upper in points.select("value", "upper").rows()]
    end = max([*x, *high]) * 1.05
    dots = {
        "type": "scatter",
        "mode": "markers",
        "x": x,
        "y": y,
        "marker": {"size": 8, "color": BLUE},
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": [b - v for b, v in zip(high, y, strict=True)],
            "arrayminus": [v - a for a, v in zip(low, y, strict=True)],
            "color": SKY,
            "thickness": 1.5,
            "width": 3,
        },
        "customdata": [text.count(counts.get(item)) for item in points["item"]],
        "hovertemplate": "predicted %{x:.2%}, observed %{y:.2%}<br>%{customdata} loans<extra></extra>",
    }
    figure = {
        "data": [_line([0, end], [0, end], "right", GREY, "dash"), dots],
        "layout": layout(
            xaxis=axis(title=_title("Predicted PD"), tickformat=".0%", range=[-0.01, end], nticks=6),
            yaxis=axis(title=_title("Observed"), showgrid=True, tickformat=".0%", range=[-0.01, end], nticks=6),
        ),
    }
    words = f"Mean gap {text.percent(ece, 2)}. " if ece is not None else ""
    return Chart(figure, f"{words}On the dashed line predictions come true; bars are 95 % intervals.", points)


def lift(figures: pl.DataFrame) -> Chart:
    """How many times the average default rate the riskiest part has, and which share of the defaults it holds."""
    points, gains = curve(figures, "lift", "lift"), curve(figures, "gain", "capture")
    if points.height == 0:
        return Chart(blank(NOT_MEASURED), NOT_MEASURED)
    captured = dict(gains.select(pl.col("position").round(3), "value").iter_rows())
    shares = [round(value, 3) for value in points["position"]]
    values = points["value"].to_list()
    bars = {
        "type": "bar",
        "x": [f"{share:.0%}" for share in shares],
        "y": values,
        "marker": {"color": BLUE},
        "text": [f"{value:.1f}" for value in values],
        "textposition": "outside",
        "textfont": {"size": 11.5, "color": INK},
        "cliponaxis": False,
        "customdata": [text.percent(captured.get(share)) for share in shares],
        "hovertemplate": "<b>Riskiest %{x}</b><br>%{y:.2f} times the average rate<br>"
        "%{customdata} of all defaults<extra></extra>",
    }
    figure = {
        "data": [bars],
        "layout": layout(
            bargap=0.25,
            shapes=[{"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": 1, "y1": 1,
                     "line": {"color": MUTED, "width": 1.5, "dash": "dash"}}],
            xaxis=axis(type="category", title=_title("Riskiest part of the loans")),
            yaxis=axis(showgrid=True, nticks=5, range=[0, max(values) * 1.18]),
        ),
    }  # fmt: skip
    tenth = captured.get(shares[0])
    words = f"The riskiest {shares[0]:.0%} default {values[0]:.1f} times as often as all loans"
    return Chart(
        figure, f"{words} and hold {text.percent(tenth)} of the defaults." if tenth is not None else f"{words}.", points
    )


def realised(frame: pl.DataFrame) -> Chart:
    """Predicted beside realised default rates by observation date; open dates are still to come."""
    if frame.height == 0:
        words = "Not followed: monitoring measures the champion and a challenger that waits for a decision."
        return Chart(blank("Not followed."), words)
    days = [text.day(day) for day in frame["observation_date"]]
    known = frame.filter(pl.col("observed_rate").is_not_null())
    observed = {
        "type": "scatter",
        "mode": "markers",
        "name": "Realised",
        "x": [text.day(day) for day in known["observation_date"]],
        "y": known["observed_rate"].to_list(),
        "marker": {"size": 11, "color": ORANGE, "symbol": "diamond"},
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": (known["upper"] - known["observed_rate"]).to_list(),
            "arrayminus": (known["observed_rate"] - known["lower"]).to_list(),
            "color": ORANGE,
            "thickness": 1.5,
            "width": 5,
        },
        "customdata": [
            [text.count(defaults), text.count(loans), " (trained on)" if trained else ""]
            for defaults, loans, trained in known.select("defaults", "loans", "in_training").iter_rows()
        ],
        "hovertemplate": "<b>%{x}</b>%{customdata[2]}<br>realised %{y:.2%}: %{customdata[0]} of %{customdata[1]}"
        "<extra></extra>",
    }
    predicted = {
        "type": "scatter",
        "mode": "lines+markers",
        "name": "Predicted",
        "x": days,
        "y": frame["mean_pd"].to_list(),
        "line": {"color": BLUE, "width": 2},
        "marker": {"size": 8, "color": BLUE},
        "hovertemplate": "<b>%{x}</b><br>predicted %{y:.2%}<extra></extra>",
    }
    highest = max(*frame["mean_pd"].drop_nulls().to_list(), *known["upper"].drop_nulls().to_list(), 0.001)
    figure = {
        "data": [predicted, observed],
        "layout": layout(
            showlegend=True,
            xaxis=axis(type="category", range=[-0.4, len(days) - 0.6]),
            yaxis=axis(showgrid=True, tickformat=".1~%", nticks=5, range=[0, highest * 1.25]),
        ),
    }
    if known.height == 0:
        return Chart(figure, "No outcome is known yet: twelve months must pass after the observation date.")
    last = known.row(-1, named=True)
    ratio = last["pd_to_observed"]
    words = f"At {text.day(last['observation_date'])}: predicted {text.percent(last['mean_pd'], 2)}, realised "
    words += f"{text.percent(last['observed_rate'], 2)}" + (f" (ratio {ratio:.2f})." if ratio is not None else ".")
    trained = [text.day(day) for day in known.filter(pl.col("in_training"))["observation_date"]]
    return Chart(figure, words + (f" Loans of {', '.join(trained)} trained it." if trained else ""), frame)


def drift(period: date | None, frame: pl.DataFrame, maximum: float) -> Chart:
    """Index over critical value, the score first; beyond 1 chance alone is unlikely."""
    if period is None or frame.height == 0:
        words = "Drift is measured for the champion, by the monitoring job."
        return Chart(blank("Not measured."), words)
    names = [
        "Score (PD)" if kind == "score" else text.label(name) for kind, name in frame.select("kind", "feature").rows()
    ]
    ratios = [psi / critical if critical else 0.0 for psi, critical in frame.select("psi", "critical").rows()]
    bars = {
        "type": "bar",
        "orientation": "h",
        "y": names,
        "x": frame["psi"].to_list(),
        "marker": {
            "color": [
                VERMILLION if d else BLUE if kind == "score" else SKY
                for d, kind in frame.select("drifted", "kind").rows()
            ]
        },
        "text": [f"{psi:.4f}" for psi in frame["psi"]],
        "textposition": "outside",
        "textfont": {"size": 11.5, "color": INK},
        "cliponaxis": False,
        "customdata": [
            [f"{critical:.4f}", f"{ratio:.1f}"] for critical, ratio in zip(frame["critical"], ratios, strict=True)
        ],
        "hovertemplate": "<b>%{y}</b><br>PSI %{x:.4f}, %{customdata[1]} times what chance reaches once in twenty "
        "(%{customdata[0]})<extra></extra>",
    }
    ticks = {
        "type": "scatter",
        "mode": "markers",
        "y": names,
        "x": frame["critical"].to_list(),
        "name": "critical value",
        "marker": {"symbol": "line-ns-open", "size": 12, "color": MUTED, "line": {"width": 2}},
        "hovertemplate": "critical value of %{y}: %{x:.4f}<extra></extra>",
    }
    widest = max(*frame["psi"].to_list(), *frame["critical"].drop_nulls().to_list(), 1e-6)
    figure = {
        "data": [bars, ticks],
        "layout": layout(
            bargap=0.3,
            xaxis=axis(showticklabels=False, range=[0, widest * 1.3]),
            yaxis=axis(autorange="reversed", type="category", ticksuffix="  "),
        ),
    }
    moved = int(frame["drifted"].sum())
    count = "Nothing has" if not moved else f"{moved} of those shown {'has' if moved == 1 else 'have'}"
    return Chart(
        figure,
        f"PSI of {text.day(period)} against the training loans. {count} drifted: beyond the critical value (the small "
        f"line) and {maximum:g}.",
        frame,
    )
