"""The charts of the delinquency page."""

from __future__ import annotations

from datetime import date
from typing import Any

import polars as pl

from credit_risk_assets.config.tables import MIGRATION_STATES
from credit_risk_assets.tape.contract import LOAN_STATUSES
from dash_app.charts.style import (
    GREEN,
    GREY,
    HEAT,
    INK,
    MUTED,
    ORANGE,
    PURPLE,
    RISK_COLOURS,
    SKY,
    VERMILLION,
    YELLOW,
    Chart,
    axis,
    blank,
    drill,
    layout,
)
from dash_app.components import text
from dash_app.data.delinquency import ON_BOOK_BUCKETS, RollMatrix

BUCKET_COLOURS = dict(zip(ON_BOOK_BUCKETS[1:], (SKY, YELLOW, ORANGE, "#E07B00", VERMILLION, "#9C3F00"), strict=True))
STATE_COLOURS = {
    **RISK_COLOURS,
    "Default": PURPLE,
    "Charged off": "#7A4A6B",
    "Paid off": GREEN,
    "New": GREY,
    "Lost": MUTED,
}
MEASURE_WORDS = {
    "ever_90": "90 or more days past due",
    "ever_60": "60 or more days past due",
    "ever_30": "30 or more days past due",
    "ever_90_amount": "90 or more days past due, by amount lent",
}
NEWEST, OLDEST = (0, 104, 168), (126, 192, 232)
IMMATURE = "#A9B3BF"
NO_HISTORY = "No history yet: run `credit-risk refresh`."


def vintage_curves(frame: pl.DataFrame, measure: str) -> Chart:
    """One line per cohort; what rests on part of a cohort is grey and dotted."""
    if frame.height == 0:
        return Chart(blank(NO_HISTORY), NO_HISTORY)
    cohorts = frame["cohort"].unique(maintain_order=True).to_list()
    traces: list[dict[str, Any]] = []
    for place, cohort in enumerate(cohorts):
        rows = frame.filter(pl.col("cohort") == cohort)
        colour = _shade(place, len(cohorts))
        solid = rows.filter(pl.col("mature"))
        # the grey part begins where the coloured one ends, so that the line does not break
        rest = pl.concat([solid.tail(1), rows.filter(~pl.col("mature"))])
        incomplete = "" if rows["complete"].all() else "<br>survivors only: earlier closures were never on a tape"
        if rest.height > solid.tail(1).height:
            traces.append(_curve(cohort, rest, IMMATURE, "dot", f"{incomplete}<br>immature: part of the cohort"))
        if solid.height:
            traces.append(_curve(cohort, solid, colour, "solid" if not incomplete else "dash", incomplete))
    top = float(frame["rate"].max() or 0.0)  # type: ignore[arg-type]
    figure = {
        "data": traces,
        "layout": layout(
            hovermode="closest",
            xaxis=axis(showgrid=False, title=_title("Months on book"), rangemode="tozero", nticks=12),
            yaxis=axis(showgrid=True, tickformat=".1~%", range=[0, top * 1.08 or 1], nticks=6),
            annotations=_ends(frame, cohorts),
            margin={"l": 8, "r": 66, "t": 8, "b": 8},
        ),
    }
    words = f"Share of each cohort ever {MEASURE_WORDS[measure]} by its age."
    words += " Darker is newer; grey dots are immature, dashes cohorts of which earlier closures are not known."
    return Chart(figure, words, frame)


def _curve(cohort: str, rows: pl.DataFrame, colour: str, dash: str, remark: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines" if rows.height > 1 else "markers",
        "x": rows["months_on_book"].to_list(),
        "y": rows["rate"].to_list(),
        "name": _cohort(cohort),
        "line": {"color": colour, "width": 2 if dash != "dot" else 1.5, "dash": dash},
        "marker": {"color": colour, "size": 5},
        "customdata": [
            [text.count(late), text.count(n), _originated(cohort)]
            for late, n in rows.select("late", "observed").iter_rows()
        ],
        "hovertemplate": f"<b>{_cohort(cohort)}</b>, month %{{x}}<br>%{{y:.2%}}: %{{customdata[0]}} of "
        f"%{{customdata[1]}}{remark}<extra></extra>",
    }


def _ends(frame: pl.DataFrame, cohorts: list[str]) -> list[dict[str, Any]]:
    """The cohorts' names at the ends of their lines, as far as they do not lie on one another."""
    last = frame.group_by("cohort", maintain_order=True).last()
    top = float(frame["rate"].max() or 1.0)  # type: ignore[arg-type]
    reach = float(frame["months_on_book"].max() or 1)  # type: ignore[arg-type]
    placed: list[tuple[float, float]] = []
    notes = []
    for cohort, month, rate in reversed(last.select("cohort", "months_on_book", "rate").rows()):
        spot = (month / reach, rate / top)
        if spot[1] < 0.05 or any(abs(spot[0] - x) < 0.14 and abs(spot[1] - y) < 0.09 for x, y in placed):
            continue  # on the axis or on another name
        placed.append(spot)
        notes.append(
            {
                "x": month, "y": rate, "text": _cohort(cohort), "xanchor": "left", "showarrow": False, "xshift": 4,
                "font": {"size": 11, "color": MUTED},
            }
        )  # fmt: skip
    return notes if len(cohorts) > 1 else notes[:1]


def _originated(cohort: str) -> str:
    """The loans of a cohort as a view of the loan list; every status, because a cohort keeps what has closed."""
    first, last = (f"{cohort}-Q1", f"{cohort}-Q4") if len(cohort) == 4 else (cohort, cohort)
    return drill({"status": LOAN_STATUSES, "from": first, "to": last})


NOW_IN: dict[str, str] = {
    "current": drill({"dpd": ("0", "1-29")}),
    **{bucket: drill({"dpd": bucket}) for bucket in ("30-59", "60-89", "90-119", "180+")},
    **{bucket: drill({"dpd": "120-179"}) for bucket in ("120-149", "150-179")},
    "collections or charge-off": drill({"status": "charged_off"}),
    "closed": drill({"status": "paid_off"}),
}
"""The loans that the newest tape has in a bucket, as a view of the loan list."""


def _now_in(bucket: str) -> str:
    return NOW_IN.get(bucket, "")


def _cohort(name: str) -> str:
    return name.replace("-", " ")


def _shade(place: int, of: int) -> str:
    part = place / max(of - 1, 1)
    mixed = (round(old + (new - old) * part) for old, new in zip(OLDEST, NEWEST, strict=True))
    return "#" + "".join(f"{value:02x}" for value in mixed)


def _title(words: str) -> dict[str, Any]:
    return {"text": words, "font": {"size": 12, "color": MUTED}, "standoff": 6}


def roll_matrix(matrix: RollMatrix | None) -> Chart:
    """A heat map of rates; every row sums to 100 %."""
    if matrix is None:
        return Chart(blank(NO_HISTORY), NO_HISTORY)
    rates = matrix.rates
    names = [_bucket(name) for name in matrix.columns]
    heat = {
        "type": "heatmap",
        "x": names,
        "y": [_bucket(name) for name in matrix.rows],
        "z": rates,
        "text": [[_rate(value) for value in row] for row in rates],
        "texttemplate": "%{text}",
        "textfont": {"size": 11.5, "color": INK},
        "customdata": [
            [[text.count(n), _now_in(name)] for name, n in zip(matrix.columns, row, strict=True)]
            for row in matrix.counts
        ],
        "hovertemplate": "<b>%{y}</b> to <b>%{x}</b><br>%{text} of the row, %{customdata[0]} loans<extra></extra>",
        "hoverongaps": False,
        "colorscale": HEAT,
        "zmin": 0,
        "zmax": 1,
        "showscale": False,
        "xgap": 2,
        "ygap": 2,
    }
    figure = {
        "data": [heat],
        "layout": layout(
            xaxis=axis(type="category", side="top", tickangle=0),
            yaxis=axis(type="category", autorange="reversed", ticksuffix="  "),
        ),
    }
    first, last = matrix.months[0], matrix.months[-1]
    span = _month(last) if first == last else f"{_month(first)} to {_month(last)}"
    begun = dict(zip(matrix.columns, matrix.counts[0], strict=True))
    worse = sum(n for name, n in begun.items() if name not in ("current", "closed", "not observed"))
    note = f"From the bucket at a month’s start (rows) to that at its end, {span}; each row sums to 100 %."
    data = pl.DataFrame(
        [
            {"from": a, "to": b, "loans": n, "share": share}
            for a, counts, shares in zip(matrix.rows, matrix.counts, rates, strict=True)
            for b, n, share in zip(matrix.columns, counts, shares, strict=True)
        ]
    )
    share = text.percent(worse / max(sum(begun.values()), 1), 2)
    return Chart(figure, f"{note} {share} of the first row fall into arrears in a month.", data)


def _rate(value: float | None) -> str:
    if value is None:
        return text.NONE
    return "" if value == 0 else text.percent(value) if value >= 0.0005 else "< 0.1 %"


def _bucket(name: str) -> str:
    return {"collections or charge-off": "Collections,<br>charge-off", "not observed": "Not seen"}.get(
        name, name.capitalize() if name[:1].isalpha() else name.replace("-", "–")
    )


def _month(name: str) -> str:
    return f"{date.fromisoformat(f'{name}-01'):%b %Y}"


def delinquency_over_time(frame: pl.DataFrame) -> Chart:
    """Share of the loans in each bucket of arrears at the end of each month."""
    if frame.height == 0:
        return Chart(blank(NO_HISTORY), NO_HISTORY)
    months = frame["month"].unique(maintain_order=True).to_list()
    traces = []
    for bucket in ON_BOOK_BUCKETS[1:]:
        rows = frame.filter(pl.col("bucket") == bucket)
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "stackgroup": "one",
                "x": [f"{month}-01" for month in months],
                "y": rows["share"].to_list(),
                "name": _bucket(bucket),
                "line": {"width": 0.6, "color": BUCKET_COLOURS[bucket]},
                "fillcolor": BUCKET_COLOURS[bucket],
                "customdata": [[text.count(n), _now_in(bucket)] for n in rows["loans"]],
                "hovertemplate": f"{_bucket(bucket)}: %{{y:.2%}}, %{{customdata[0]}} loans<extra></extra>",
            }
        )
    late = (
        frame.filter(pl.col("bucket") != ON_BOOK_BUCKETS[0])
        .group_by("month", maintain_order=True)
        .agg(pl.col("share").sum())
    )
    figure = {
        "data": traces,
        "layout": layout(
            hovermode="x unified",
            showlegend=True,
            xaxis=axis(type="date", tickformat="%b %Y", nticks=4, tickangle=0, hoverformat="%b %Y"),
            yaxis=axis(
                showgrid=True,
                tickformat=".1~%",
                nticks=5,
                range=[0, float(late["share"].max() or 1) * 1.1],  # type: ignore[arg-type]
            ),
        ),
    }
    now, then = float(late["share"][-1]), float(late["share"][0])
    note = f"{text.percent(now)} of the loans were 30 or more days past due at the end of {_month(months[-1])}"
    return Chart(
        figure, f"{note}, {text.percent(then)} at the end of {_month(months[0])}. Charge-offs are left out.", frame
    )


def migration_sankey(frame: pl.DataFrame, pair: tuple[date, date] | None) -> Chart:
    """Loans from their state on one tape to that on the next."""
    if pair is None or frame.height == 0:
        words = "Migration needs two full tapes with loans in common."
        return Chart(blank(words), words)
    left = [s for s in MIGRATION_STATES if s in set(frame["from_state"])]
    right = [s for s in MIGRATION_STATES if s in set(frame["to_state"])]
    whole = int(frame["loans"].sum())
    begun = dict(frame.group_by("from_state").agg(pl.col("loans").sum()).rows())
    ended = dict(frame.group_by("to_state").agg(pl.col("loans").sum()).rows())
    sankey = {
        "type": "sankey",
        "arrangement": "fixed",
        "node": {
            "label": [f"{s}  {text.count(begun[s])}" for s in left] + [f"{s}  {text.count(ended[s])}" for s in right],
            "color": [STATE_COLOURS[s] for s in (*left, *right)],
            "x": [0.001] * len(left) + [0.999] * len(right),
            "y": [*_places([begun[s] for s in left], whole), *_places([ended[s] for s in right], whole)],
            "pad": 12,
            "thickness": 14,
            "line": {"width": 0},
            "hovertemplate": "<b>%{label}</b> loans<extra></extra>",
        },
        "link": {
            "source": [left.index(s) for s in frame["from_state"]],
            "target": [len(left) + right.index(s) for s in frame["to_state"]],
            "value": frame["loans"].to_list(),
            "color": [_soft(STATE_COLOURS[s]) for s in frame["from_state"]],
            "customdata": [
                [a, b, text.percent(n / begun[a])] for a, b, n in frame.select("from_state", "to_state", "loans").rows()
            ],
            "hovertemplate": "<b>%{customdata[0]}</b> to <b>%{customdata[1]}</b><br>%{value:,} loans, "
            "%{customdata[2]} of them<extra></extra>",
        },
        "textfont": {"size": 11.5, "color": INK},
    }
    figure = {"data": [sankey], "layout": layout(margin={"l": 4, "r": 4, "t": 10, "b": 14})}
    old = frame.filter(~pl.col("from_state").is_in(["New", "Default"]))
    lost = int(old.filter(pl.col("to_state").is_in(["Default", "Charged off"]))["loans"].sum())
    share = text.percent(lost / max(int(old["loans"].sum()), 1))
    note = f"From {text.day(pair[0])} (left) to {text.day(pair[1])} (right), in loans."
    return Chart(figure, f"{note} {share} of those not in default have since defaulted or been charged off.", frame)


def _places(sizes: list[int], whole: int) -> list[float]:
    """The middles of nodes stacked from the top, with a little room between."""
    room = 0.03
    scale = 1 - room * max(len(sizes) - 1, 0)
    middles, at = [], 0.0
    for size in sizes:
        height = max(size / max(whole, 1) * scale, 0.004)
        middles.append(min(max(at + height / 2, 0.001), 0.999))
        at += height + room
    return middles


def _soft(colour: str) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.32)"
