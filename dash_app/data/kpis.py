"""The portfolio's key figures from the cube, with their history and what counts as better."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Literal

import polars as pl

from dash_app.data.cube import Cube
from dash_app.data.filters import Filters

Unit = Literal["money", "count", "share", "days"]
Better = Literal["up", "down"]


@dataclass(frozen=True)
class Definition:
    """How one key figure comes from the sums of a tape."""

    key: str
    label: str
    unit: Unit
    better: Better
    meaning: str
    formula: pl.Expr
    words: tuple[str, str] = ("better", "worse")


def _ratio(part: str, whole: str) -> pl.Expr:
    return pl.when(pl.col(whole) > 0).then(pl.col(part) / pl.col(whole))


DEFINITIONS: tuple[Definition, ...] = (
    Definition(
        "portfolio_value",
        "Portfolio value",
        "money",
        "up",
        "Outstanding balance on book.",
        pl.col("balance"),
        ("growth", "decline"),
    ),
    Definition(
        "active_loans",
        "Active loans",
        "count",
        "up",
        "Loans on book.",
        pl.col("loans"),
        ("growth", "decline"),
    ),
    Definition(
        "default_rate",
        "Default rate, 12 months",
        "share",
        "down",
        "Loans that reached 90+ days past due or charge-off within the last 12 months, "
        "over those that were on book and below 90 days at their start.",
        _ratio("observed_defaults", "observed_start_loans"),
    ),
    Definition(
        "average_dpd",
        "Average days past due",
        "days",
        "down",
        "Mean over the loans on book.",
        _ratio("dpd_days", "loans"),
    ),
    Definition(
        "high_risk_loans",
        "High-risk loans",
        "count",
        "down",
        "Loans on book whose risk category is High or Very High.",
        pl.col("high_risk_loans"),
    ),
    Definition(
        "expected_loss",
        "Expected loss",
        "money",
        "down",
        "Probability of default × loss given default × exposure, summed over the loans on book.",
        pl.col("expected_loss"),
    ),
    Definition(
        "delinquent_30_share",
        "30+ days past due",
        "share",
        "down",
        "Share of the loans on book that are 30 days or more past due.",
        _ratio("loans_30", "loans"),
    ),
    Definition(
        "delinquent_90_share",
        "90+ days past due",
        "share",
        "down",
        "Share of the loans on book that are 90 days or more past due.",
        _ratio("loans_90", "loans"),
    ),
)


@dataclass(frozen=True)
class Kpi:
    """One key figure at the chosen tape, the tape before and every tape up to it.

    Shares are fractions, money is in the tape's currency; None means that it is not available, and `note`
    says why.
    """

    definition: Definition
    value: float | None
    previous: float | None
    previous_as_of: date | None
    history: tuple[tuple[date, float | None], ...]
    note: str = ""

    @property
    def change(self) -> float | None:
        """The difference to the tape before."""
        return None if self.value is None or self.previous is None else self.value - self.previous

    @property
    def verdict(self) -> Literal["better", "worse", "same"] | None:
        """Whether the change is good news."""
        if self.change is None:
            return None
        if self.change == 0:
            return "same"
        return "better" if (self.change > 0) == (self.definition.better == "up") else "worse"


def portfolio_kpis(cube: Cube, filters: Filters) -> dict[str, Kpi]:
    """Every key figure of the filtered portfolio, by key."""
    sums = cube.series(filters).with_columns(**{d.key: d.formula for d in DEFINITIONS})
    rated = bool(filters.values("rating"))
    # a rating describes the newest tape: nothing can be said of the ones before
    before = None if rated else cube.before(cube.tape(filters.as_of))
    shown = len(cube.shown(filters))
    kpis = {}
    for definition in DEFINITIONS:
        values: list[float | None] = sums[definition.key].to_list()
        note = "Ratings describe the newest tape only." if rated else ""
        if definition.key == "default_rate":
            if filters.values("status") or filters.values("dpd"):
                values = [None] * len(values)
                note = "Not shown with a status or days-past-due filter: they are the outcome it measures."
            elif rated:
                values = [None] * len(values)
                note = "Not shown with a rating filter: ratings are given after the outcome."
            elif values[-1] is None:
                note = "Needs a tape from 12 months before."
        kpis[definition.key] = Kpi(
            definition,
            values[-1],
            values[-2] if before else None,
            before.as_of if before else None,
            tuple(zip(sums["as_of_date"].to_list(), values, strict=True))[-shown:],
            note,
        )
    return kpis
