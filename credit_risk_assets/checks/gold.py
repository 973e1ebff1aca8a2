"""Checks of the key figures and the cube: they tie with silver, with each other, and are up to date."""

from __future__ import annotations

from typing import Any

from pyspark.sql import functions as F

from credit_risk_assets.checks import scoring
from credit_risk_assets.checks.framework import (
    Check,
    CheckedTable,
    Finding,
    counted,
    error_of,
    layer_checks,
    tied,
    warn_of,
)
from credit_risk_assets.checks.rules import RowRule, aggregates, rule_counts, rule_findings
from credit_risk_assets.config.tables import LOANS, PORTFOLIO_CUBE, PORTFOLIO_KPIS
from credit_risk_assets.credit.portfolio import MEASURES, ON_BOOK_SQL, SEGMENTS
from credit_risk_assets.resources.lakehouse import Lakehouse
from credit_risk_assets.resources.platform import Platform

MONEY_TOLERANCE = 1e-9
RECOMPUTE = "Restore silver or gold, whichever was changed by hand, and refresh again: gold is computed from silver."

KPI_LOANS = error_of(
    PORTFOLIO_KPIS, "active_loans_tie", "The newest key figures count the loans on book of silver.", RECOMPUTE
)
KPI_BALANCE = error_of(
    PORTFOLIO_KPIS, "portfolio_value_ties", "The newest portfolio value is silver's balance.", RECOMPUTE
)
EXPECTED_LOSS = error_of(
    PORTFOLIO_KPIS, "expected_loss_ties", "The newest expected loss is the sum over silver's loans on book.", RECOMPUTE
)
KPIS_CURRENT = error_of(
    PORTFOLIO_KPIS,
    "figures_current",
    "The newest key figures stand at silver's newest as-of date, and no date stands twice.",
    RECOMPUTE,
)
KPI_RANGES = error_of(
    PORTFOLIO_KPIS, "figures_in_range", "Shares lie between 0 and 1, sums are not negative.", RECOMPUTE
)
DEFAULT_RATE = warn_of(
    PORTFOLIO_KPIS,
    "default_rate_plausible",
    "Every observed default rate lies between 0.1 % and 40 %.",
    "The rate is shown as it is: ask whether the tapes' profiles are filled and the portfolio is the right one.",
)
CUBE_LOANS = error_of(
    PORTFOLIO_CUBE, "loans_tie", "The cube's newest month counts the loans on book of silver.", RECOMPUTE
)
CUBE_BALANCE = error_of(PORTFOLIO_CUBE, "balance_ties", "The cube's newest month sums to silver's balance.", RECOMPUTE)
CUBE_TIES_WITH_KPIS = error_of(
    PORTFOLIO_CUBE, "months_tie_with_figures", "Every month of the cube sums to the key figures of its date.", RECOMPUTE
)
CUBE_SEGMENTS = error_of(PORTFOLIO_CUBE, "segments_once", "Each segment stands once a month.", RECOMPUTE)
CUBE_MEASURES = error_of(
    PORTFOLIO_CUBE, "measures_not_negative", "No count or sum of a segment is missing or below 0.", RECOMPUTE
)

KPI_CHECKS: tuple[Check, ...] = (KPI_LOANS, KPI_BALANCE, EXPECTED_LOSS, KPIS_CURRENT, KPI_RANGES, DEFAULT_RATE)
CUBE_CHECKS: tuple[Check, ...] = (CUBE_LOANS, CUBE_BALANCE, CUBE_TIES_WITH_KPIS, CUBE_SEGMENTS, CUBE_MEASURES)

_SHARES = ("default_rate", "npl_ratio", "delinquent_30_share", "delinquent_90_share")
_SUMS = ("loans", "active_loans", "portfolio_value", "average_dpd", "high_risk_loans", "expected_loss")
_LOWEST_RATE, _HIGHEST_RATE = 0.001, 0.40
CUBE_RULES = [RowRule(CUBE_MEASURES, (name,), f"not coalesce({name} >= 0, false)", "0 or more") for name in MEASURES]


def _on_book(lakehouse: Lakehouse) -> dict[str, Any]:
    """Count, balance and expected loss of silver's loans on book, and the newest as-of date of them all."""

    def on_book(column: str) -> str:
        return f"coalesce(sum(case when {ON_BOOK_SQL} then cast({column} as double) end), 0D)"

    figures = {
        "loans": f"count(case when {ON_BOOK_SQL} then 1 end)",
        "balance": on_book("outstanding_balance"),
        "expected_loss": on_book("expected_loss_proxy"),
        "newest": "max(as_of_date)",
    }
    return aggregates(lakehouse.read(LOANS), figures).row(0, named=True)


def _kpi_rows(lakehouse: Lakehouse) -> list[dict[str, Any]]:
    names = [name for name, _ in lakehouse.column_types(PORTFOLIO_KPIS)]
    return sorted(lakehouse.rows(PORTFOLIO_KPIS, names), key=lambda row: row["as_of_date"])


def kpi_findings(lakehouse: Lakehouse) -> list[Finding]:
    """The findings of the key figures, beside one pass over silver/loans."""
    book, kpis = _on_book(lakehouse), _kpi_rows(lakehouse)
    empty: dict[str, Any] = {"active_loans": 0, "portfolio_value": 0.0, "expected_loss": 0.0, "as_of_date": None}
    newest = kpis[-1] if kpis else empty
    twice = len(kpis) - len({row["as_of_date"] for row in kpis})
    outside = [
        {"as_of_date": row["as_of_date"], "figure": name, "found": row[name]}
        for row in kpis
        for name in (*_SHARES, *_SUMS)
        if row[name] is not None and not (row[name] >= 0 and (name in _SUMS or row[name] <= 1))
    ]
    rates = [row for row in kpis if row["default_rate"] is not None]
    odd = [row for row in rates if not _LOWEST_RATE <= row["default_rate"] <= _HIGHEST_RATE]
    current = newest["as_of_date"] == book["newest"]
    money = MONEY_TOLERANCE
    return [
        tied(KPI_LOANS, newest["active_loans"], book["loans"], "loans on book in silver"),
        tied(KPI_BALANCE, newest["portfolio_value"], book["balance"], "balance on book", tolerance=money),
        tied(EXPECTED_LOSS, newest["expected_loss"], book["expected_loss"], "silver's expected loss", tolerance=money),
        Finding(
            KPIS_CURRENT,
            current and not twice,
            f"newest date {newest['as_of_date']}, {twice} dates twice",
            f"{book['newest']}, each date once",
            twice + (not current),
            len(kpis),
        ),
        counted(
            KPI_RANGES,
            len({row["as_of_date"] for row in outside}),
            len(kpis),
            "shares from 0 to 1, sums from 0 up",
            examples=outside,
        ),
        Finding(
            DEFAULT_RATE,
            not odd,
            ", ".join(f"{row['default_rate']:.2%}" for row in rates) or "none observed yet",
            f"{_LOWEST_RATE:.1%} to {_HIGHEST_RATE:.0%}",
            len(odd),
            len(rates),
            details=[{"as_of_date": row["as_of_date"], "default rate": row["default_rate"]} for row in rates],
        ),
    ]


def cube_findings(lakehouse: Lakehouse) -> list[Finding]:
    """The findings of the cube: one pass over it, one shuffle of its segments, one pass over silver/loans."""
    book, cube = _on_book(lakehouse), lakehouse.read(PORTFOLIO_CUBE)
    on_book = {name: f"coalesce(sum(case when {ON_BOOK_SQL} then {name} end), 0)" for name in ("loans", "balance")}
    months = aggregates(cube, {**on_book, **rule_counts(CUBE_RULES)}, by=["as_of_month", "as_of_date"])
    months = months.sort("as_of_month", "as_of_date")
    top = months.row(-1, named=True) if len(months) else {"loans": 0, "balance": 0.0}
    repeated = cube.groupBy("as_of_month", *SEGMENTS).agg(F.count(F.lit(1)).alias("times")).where("times > 1").count()
    kpis = {row["as_of_date"]: row for row in _kpi_rows(lakehouse)}
    untied = []
    for month in months.iter_rows(named=True):
        kpi = kpis.get(month["as_of_date"], {"active_loans": None, "portfolio_value": None})
        balance = kpi["portfolio_value"]
        near = balance is not None and abs(month["balance"] - balance) <= MONEY_TOLERANCE * max(1.0, abs(balance))
        if month["loans"] != kpi["active_loans"] or not near:
            untied.append(
                {
                    "as_of_date": month["as_of_date"],
                    "loans in cube": month["loans"],
                    "loans in figures": kpi["active_loans"],
                    "balance in cube": month["balance"],
                    "balance in figures": balance,
                }
            )
    return [
        tied(CUBE_LOANS, int(top["loans"]), book["loans"], "loans on book in silver"),
        tied(CUBE_BALANCE, float(top["balance"]), book["balance"], "balance on book", tolerance=MONEY_TOLERANCE),
        counted(CUBE_TIES_WITH_KPIS, len(untied), len(months), "loans and balance of the key figures", examples=untied),
        counted(CUBE_SEGMENTS, repeated, lakehouse.row_count(PORTFOLIO_CUBE), "one row per segment and month"),
        *_measured(lakehouse, cube, months),
    ]


def _measured(lakehouse: Lakehouse, cube: Any, months: Any) -> list[Finding]:
    # Segments have no loan id to name: the examples are their keys.
    return rule_findings(lakehouse, cube, CUBE_RULES, months, keys=("as_of_month", *SEGMENTS))


def _measure_kpis(platform: Platform) -> list[Finding]:
    return kpi_findings(platform.lakehouse)


def _measure_cube(platform: Platform) -> list[Finding]:
    return cube_findings(platform.lakehouse)


PORTFOLIO_TABLES = (
    CheckedTable(PORTFOLIO_KPIS.path, KPI_CHECKS, _measure_kpis),
    CheckedTable(PORTFOLIO_CUBE.path, CUBE_CHECKS, _measure_cube),
)
portfolio_checks = layer_checks("portfolio_checks", PORTFOLIO_TABLES)
sample_checks = layer_checks("sample_checks", (scoring.SAMPLE_TABLE,))
score_checks = layer_checks("score_checks", (scoring.SCORES_TABLE, scoring.SHADOW_TABLE))
