"""Checks of vintage curves, roll rates and rating migration: they tie with silver and contradict nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from itertools import pairwise
from typing import Any

import polars as pl

from credit_risk_assets.checks.framework import Check, CheckedTable, Finding, Row, counted, error_of, layer_checks
from credit_risk_assets.checks.rules import aggregates
from credit_risk_assets.config.tables import (
    LOAN_HISTORY,
    LOANS,
    MIGRATION_STATES,
    RATING_MIGRATION,
    ROLL_BUCKETS,
    ROLL_RATES,
    VINTAGE_CURVES,
    Table,
)
from credit_risk_assets.credit.migration import tape_pairs
from credit_risk_assets.credit.portfolio import ON_BOOK_SQL
from credit_risk_assets.credit.profile import month_label, month_number_sql, observed_profile_sql
from credit_risk_assets.credit.roll_rates import months_with_tape, window
from credit_risk_assets.credit.vintage import COHORT, EVENTS
from credit_risk_assets.resources.lakehouse import Lakehouse
from credit_risk_assets.resources.platform import Platform

MONEY_TOLERANCE = 1e-9
RECOMPUTE = "Restore silver or gold, whichever was changed by hand, and refresh again: gold is computed from silver."

COHORTS_TIE = error_of(
    VINTAGE_CURVES, "cohorts_tie", "The cohorts of a quarter hold its loans of silver, and what was lent.", RECOMPUTE
)
AGES_ONCE = error_of(
    VINTAGE_CURVES, "ages_once", "Each cohort has each age from 0 to its last one exactly once.", RECOMPUTE
)
COUNTS_NESTED = error_of(
    VINTAGE_CURVES,
    "counts_nested",
    "90+ are among the 60+, these among the 30+, these among the loans observed, and these among the cohort's.",
    RECOMPUTE,
)
CURVES_RISE = error_of(
    VINTAGE_CURVES,
    "curves_never_fall",
    "From one age to the next a cumulative count falls by no more than the loans no longer observed.",
    RECOMPUTE,
)
MONTHS_TIE = error_of(
    ROLL_RATES, "months_tie", "Each month counts the loans of silver whose profile tells of it.", RECOMPUTE
)
BALANCES_TIE = error_of(
    ROLL_RATES,
    "balances_tie",
    "The balance of a full tape's month is that of the tape; other months have none.",
    RECOMPUTE,
)
MONTHS_CHAIN = error_of(
    ROLL_RATES, "months_chain", "No more loans leave a bucket in a month than ended the month before in it.", RECOMPUTE
)
BUCKETS_ONCE = error_of(
    ROLL_RATES,
    "buckets_once",
    "Buckets are known, each pair stands once a month and purpose, none is negative.",
    RECOMPUTE,
)
TAPES_TIE = error_of(
    RATING_MIGRATION,
    "tapes_tie",
    "Both sides of a pair of tapes sum to the loans on book and the balance of their tape.",
    RECOMPUTE,
)
PAIRS_ONCE = error_of(
    RATING_MIGRATION,
    "tapes_paired",
    "Every two consecutive full tapes are compared, states are known, each pair of states stands once.",
    RECOMPUTE,
)
VINTAGE_CHECKS: tuple[Check, ...] = (COHORTS_TIE, AGES_ONCE, COUNTS_NESTED, CURVES_RISE)
ROLL_CHECKS: tuple[Check, ...] = (MONTHS_TIE, BALANCES_TIE, MONTHS_CHAIN, BUCKETS_ONCE)
MIGRATION_CHECKS: tuple[Check, ...] = (TAPES_TIE, PAIRS_ONCE)

_KEYS_OF_CURVES = (*COHORT, "months_on_book")
_KEYS_OF_ROLLS = ("month", "loan_purpose", "from_bucket", "to_bucket")
_KEYS_OF_MOVES = ("from_date", "to_date", "loan_purpose", "from_state", "to_state")


def _small(lakehouse: Lakehouse, table: Table) -> pl.DataFrame:
    """A table that stays small whatever the portfolio's size."""
    return pl.DataFrame(lakehouse.read(table).toArrow())


def _agree(found: Any, expected: Any) -> bool:
    if found is None or expected is None:
        return found is expected
    return bool(abs(found - expected) <= MONEY_TOLERANCE * max(1.0, abs(expected)))


def _tied(check: Check, rows: Sequence[Row], what: str) -> Finding:
    """A finding over rows that hold pairs of columns `X` and `X in silver`."""
    untied = [
        row
        for row in rows
        if not all(
            _agree(row[name.removesuffix(" in silver")], row[name]) for name in row if name.endswith(" in silver")
        )
    ]
    return counted(check, len(untied), len(rows), what, examples=untied)


def _failing(check: Check, frame: pl.DataFrame, broken: pl.Expr, what: str, shown: Sequence[str]) -> Finding:
    failing = frame.filter(broken.fill_null(value=True))
    return counted(check, failing.height, frame.height, what, examples=failing.select(shown).head(5).to_dicts())


def vintage_findings(lakehouse: Lakehouse) -> list[Finding]:
    """The findings of the vintage curves, beside one pass over silver/loans."""
    curves = _small(lakehouse, VINTAGE_CURVES).sort(_KEYS_OF_CURVES)
    silver = aggregates(
        lakehouse.read(LOANS),
        {"amount": "coalesce(sum(cast(loan_amount as double)), 0D)"},
        by=["origination_quarter"],
    )
    lent = curves.filter(pl.col("months_on_book") == 0).group_by("origination_quarter")
    cohorts = silver.join(
        lent.agg(pl.col("loans").sum(), pl.col("loan_amount").sum()), "origination_quarter", how="full", coalesce=True
    ).select(
        "origination_quarter",
        "loans",
        pl.col("rows").alias("loans in silver"),
        "loan_amount",
        pl.col("amount").alias("loan_amount in silver"),
    )
    before = {name: pl.col(name).shift().over(COHORT) for name in ("months_on_book", "loans_observed", *EVENTS)}
    fell = pl.any_horizontal(
        [
            (pl.col(name) < before[name] - (before["loans_observed"] - pl.col("loans_observed"))).fill_null(value=False)
            for name in EVENTS
        ]
    )
    order = ("ever_90", "ever_60", "ever_30", "loans_observed", "loans")
    pairs = [*pairwise(order), ("loans_unseen", "loans")]
    nested = pl.all_horizontal([pl.col(low) <= pl.col(high) for low, high in pairs])
    return [
        _tied(COHORTS_TIE, cohorts.sort("origination_quarter").to_dicts(), "loans and amounts of silver by quarter"),
        _failing(
            AGES_ONCE,
            curves,
            pl.col("months_on_book") != before["months_on_book"].fill_null(-1) + 1,
            "one row for each age, without a gap",
            _KEYS_OF_CURVES,
        ),
        _failing(
            COUNTS_NESTED,
            curves,
            ~(nested & (pl.col("ever_90") >= 0)),
            " <= ".join(("0", *order)),
            [*_KEYS_OF_CURVES, *order],
        ),
        _failing(
            CURVES_RISE,
            curves,
            fell,
            "no fall beyond the loans no longer observed",
            [*_KEYS_OF_CURVES, "loans_observed", *EVENTS],
        ),
    ]


def _tapes(lakehouse: Lakehouse) -> tuple[list[date], dict[date, dict[str, Any]]]:
    """The full tapes' dates, and loans on book, their balance and the whole balance of each."""
    found = aggregates(
        lakehouse.read(LOAN_HISTORY),
        {
            "full": "count(case when tape_kind = 'full' then 1 end)",
            "on_book": f"count(case when {ON_BOOK_SQL} then 1 end)",
            "balance": f"coalesce(sum(case when {ON_BOOK_SQL} then cast(outstanding_balance as double) end), 0D)",
            "whole_balance": "coalesce(sum(cast(outstanding_balance as double)), 0D)",
        },
        by=["as_of_date"],
    )
    full = found.filter(pl.col("full") > 0)
    # A lake of change files alone is looked at as of its newest date.
    tapes = full if full.height else found.sort("as_of_date").tail(1)
    days = sorted(tapes["as_of_date"]) or [date(1900, 1, 1)]
    return days, {row["as_of_date"]: row for row in found.iter_rows(named=True)}


def _profile_months(lakehouse: Lakehouse) -> dict[int, int]:
    """Month number -> the loans of silver whose profile tells of it, by the profiles' lengths alone."""
    lengths = aggregates(
        lakehouse.read(LOANS).selectExpr(
            f"{month_number_sql()} as newest", f"length({observed_profile_sql()}) as months"
        ),
        {},
        by=["newest", "months"],
    )
    told: dict[int, int] = {}
    for newest, months, loans in lengths.select("newest", "months", "rows").iter_rows():
        for month in range(newest - months + 1, newest + 1):
            told[month] = told.get(month, 0) + loans
    return told


def roll_findings(lakehouse: Lakehouse) -> list[Finding]:
    """The findings of the roll rates, beside one pass over each table of silver."""
    rolls = _small(lakehouse, ROLL_RATES)
    days, tapes = _tapes(lakehouse)
    first, last = window(days)
    told = _profile_months(lakehouse)
    ends = months_with_tape(days)
    owed = {month_label(number): tapes[day]["whole_balance"] for number, day in ends.items() if day in tapes}
    summed = rolls.group_by("month").agg(
        pl.col("loans").sum(),
        pl.when(pl.col("balance").null_count() < pl.len()).then(pl.col("balance").sum()).alias("balance"),
    )
    found = {row["month"]: row for row in summed.iter_rows(named=True)}
    labels = {month_label(number): told.get(number, 0) for number in range(first, last + 1)}
    nothing: dict[str, Any] = {"loans": 0, "balance": None}
    counts, balances = [], []
    for label in sorted({*labels, *found}):
        row = found.get(label, nothing)
        counts.append({"month": label, "loans": row["loans"], "loans in silver": labels.get(label, 0)})
        balances.append({"month": label, "balance": row["balance"], "balance in silver": owed.get(label)})
    ended = rolls.group_by(pl.col("month").alias("before"), "loan_purpose", pl.col("to_bucket").alias("bucket")).agg(
        pl.col("loans").sum().alias("ended")
    )
    months = sorted(found)
    begun = (
        rolls.filter(pl.col("from_bucket") != ROLL_BUCKETS[-1], pl.col("month") > min(months, default=""))
        .group_by("month", "loan_purpose", pl.col("from_bucket").alias("bucket"))
        .agg(pl.col("loans").sum().alias("begun"))
        .with_columns(pl.col("month").replace(dict(zip(months[1:], months, strict=False))).alias("before"))
        .join(ended, ["before", "loan_purpose", "bucket"], how="left")
        .sort("month", "loan_purpose", "bucket")
    )
    known = pl.col("from_bucket").is_in(ROLL_BUCKETS) & pl.col("to_bucket").is_in(ROLL_BUCKETS)
    sound = known & (pl.col("loans") >= 0) & (pl.col("balance").fill_null(0.0) >= 0)
    return [
        _tied(MONTHS_TIE, counts, "the loans of silver whose profile reaches the month"),
        _tied(BALANCES_TIE, balances, "the balance of the month's full tape"),
        _failing(
            MONTHS_CHAIN,
            begun,
            pl.col("begun") > pl.col("ended").fill_null(0),
            "at most as many as ended the month before in the bucket",
            ["month", "loan_purpose", "bucket", "begun", "ended"],
        ),
        _failing(
            BUCKETS_ONCE,
            rolls,
            ~sound | pl.struct(_KEYS_OF_ROLLS).is_duplicated(),
            "known buckets, once each, 0 or more",
            [*_KEYS_OF_ROLLS, "loans"],
        ),
    ]


def migration_findings(lakehouse: Lakehouse) -> list[Finding]:
    """The findings of the rating migration, beside one pass over silver/loan_history."""
    moves = _small(lakehouse, RATING_MIGRATION)
    days, tapes = _tapes(lakehouse)
    pairs = tape_pairs(days)
    rows: list[Row] = []
    for start, end in pairs:
        pair = moves.filter(pl.col("from_date") == start, pl.col("to_date") == end)
        for side, day in (("from", start), ("to", end)):
            booked = pair.filter(pl.col(f"{side}_state").is_in([*MIGRATION_STATES[:4], "Default"]))
            rows.append(
                {
                    "tapes": f"{start} to {end}",
                    "side": f"{side} {day}",
                    "loans": int(booked["loans"].sum()),
                    "loans in silver": tapes[day]["on_book"],
                    "balance": float(pair[f"{side}_balance"].sum()),
                    "balance in silver": tapes[day]["balance"],
                }
            )
    known = pl.col("from_state").is_in(MIGRATION_STATES) & pl.col("to_state").is_in(MIGRATION_STATES)
    due = pl.DataFrame(pairs, schema={"from_date": pl.Date, "to_date": pl.Date}, orient="row")
    missing = due.join(moves, ["from_date", "to_date"], how="anti")
    other = moves.join(due, ["from_date", "to_date"], how="anti")
    broken = _failing(
        PAIRS_ONCE,
        moves,
        ~known | (pl.col("loans") <= 0) | pl.struct(_KEYS_OF_MOVES).is_duplicated(),
        "consecutive full tapes, known states, once each",
        [*_KEYS_OF_MOVES, "loans"],
    )
    if not missing.is_empty() or not other.is_empty():
        unpaired = [*missing.to_dicts(), *other.select("from_date", "to_date").unique().to_dicts()]
        broken = counted(PAIRS_ONCE, len(unpaired), len(pairs), broken.expected, examples=unpaired)
    return [_tied(TAPES_TIE, rows, "loans on book and balance of each tape"), broken]


def _measure_vintage(platform: Platform) -> list[Finding]:
    return vintage_findings(platform.lakehouse)


def _measure_rolls(platform: Platform) -> list[Finding]:
    return roll_findings(platform.lakehouse)


def _measure_moves(platform: Platform) -> list[Finding]:
    return migration_findings(platform.lakehouse)


DELINQUENCY_TABLES = (
    CheckedTable(VINTAGE_CURVES.path, VINTAGE_CHECKS, _measure_vintage),
    CheckedTable(ROLL_RATES.path, ROLL_CHECKS, _measure_rolls),
    CheckedTable(RATING_MIGRATION.path, MIGRATION_CHECKS, _measure_moves),
)
delinquency_checks = layer_checks("delinquency_checks", DELINQUENCY_TABLES)
