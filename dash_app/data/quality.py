"""What the data steward looks at: check results, refused rows, ingested files, and whether the layers tie."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime

import polars as pl

from credit_risk_assets.config.settings import ScheduleSettings
from credit_risk_assets.config.tables import (
    INGESTION_LOG,
    LOAN_HISTORY,
    LOAN_SCORES,
    LOAN_TAPE,
    LOANS,
    PORTFOLIO_CUBE,
    PORTFOLIO_KPIS,
    QUALITY_RESULTS,
    REJECTED_RECORDS,
    TABLES,
    Table,
)
from credit_risk_assets.tape.contract import ON_BOOK_STATUSES
from dash_app.data.lake import Snapshot

HISTORY = 12
DISTINCT_ROWS = 5_000_000
"""Beyond this many rows the distinct loans of bronze are not counted while a page waits."""


def checks(snapshot: Snapshot) -> pl.DataFrame:
    """One row per check with its newest result; `history` holds its last outcomes, oldest first.

    Failed checks come first, errors before warnings.
    """
    results = snapshot.frame(QUALITY_RESULTS).sort("evaluated_at")
    newest = results.group_by("asset", "check_name").agg(
        pl.all().exclude("passed").last(), pl.col("passed").last(), history=pl.col("passed").tail(HISTORY)
    )
    return newest.sort(["passed", "severity", "asset", "check_name"])


def rejected_reasons(snapshot: Snapshot, limit: int = 12) -> pl.DataFrame:
    """Refused rows by reason (`reason`, `rows`), the most frequent first; a row may have several reasons."""
    if not snapshot.has(REJECTED_RECORDS):
        return pl.DataFrame(schema={"reason": pl.String, "rows": pl.UInt32})

    def count() -> pl.DataFrame:
        reasons = snapshot.scan(REJECTED_RECORDS).select(pl.col("reasons").alias("reason")).explode("reason")
        return reasons.group_by("reason").agg(rows=pl.len()).sort("rows", "reason", descending=[True, False]).collect()

    return snapshot.cached("rejected reasons", count, REJECTED_RECORDS).head(limit)


def ingested_files(snapshot: Snapshot) -> pl.DataFrame:
    """The ingestion log, the newest file first; `ties` says whether rows read = accepted + rejected."""
    if not snapshot.has(INGESTION_LOG):
        return pl.DataFrame()
    tie = pl.col("rows_read") == pl.col("rows_accepted") + pl.col("rows_rejected")
    return snapshot.frame(INGESTION_LOG).with_columns(ties=tie).sort("started_at", descending=True)


@dataclass(frozen=True)
class Tie:
    """Two numbers that must be equal."""

    name: str
    left: str
    left_value: float
    right: str
    right_value: float

    @property
    def holds(self) -> bool:
        """Whether they are, to a cent in a hundred million."""
        return abs(self.left_value - self.right_value) <= 1e-9 * max(abs(self.left_value), 1)


def reconciliation(snapshot: Snapshot) -> list[Tie]:
    """The ties from the files read to the gold tables, as far as the tables exist."""
    ties: list[Tie] = []
    if snapshot.has(INGESTION_LOG):
        log = snapshot.frame(INGESTION_LOG)
        read, accepted, rejected = (float(log[n].sum() or 0) for n in ("rows_read", "rows_accepted", "rows_rejected"))
        ties.append(Tie("Files", "rows read", read, "accepted + rejected", accepted + rejected))
        if snapshot.has(LOAN_TAPE):
            ties.append(Tie("Bronze", "rows accepted", accepted, "bronze/loan_tape", snapshot.rows(LOAN_TAPE)))
        if snapshot.has(REJECTED_RECORDS):
            refused = snapshot.rows(REJECTED_RECORDS)
            ties.append(Tie("Refused rows", "rows rejected", rejected, "bronze/rejected_records", refused))
    if snapshot.has(LOAN_TAPE) and snapshot.rows(LOAN_TAPE) <= DISTINCT_ROWS:
        loans, states = snapshot.cached("distinct loans", lambda: _distinct(snapshot), LOAN_TAPE)
        if snapshot.has(LOANS):
            ties.append(Tie("Silver", "distinct loans in bronze", loans, "silver/loans", snapshot.rows(LOANS)))
        if snapshot.has(LOAN_HISTORY):
            rows = snapshot.rows(LOAN_HISTORY)
            ties.append(Tie("History", "distinct loan states", states, "silver/loan_history", rows))
    return ties + _gold_ties(snapshot)


def _distinct(snapshot: Snapshot) -> tuple[int, int]:
    tape = snapshot.scan(LOAN_TAPE)
    counts = tape.select(
        loans=pl.col("loan_id").n_unique(), states=pl.struct("loan_id", "as_of_date").n_unique()
    ).collect()
    return int(counts["loans"][0]), int(counts["states"][0])


def on_book(snapshot: Snapshot) -> tuple[int, float]:
    """Loans on book and their balance, from silver/loans."""

    def count() -> tuple[int, float]:
        sums = (
            snapshot.scan(LOANS)
            .filter(pl.col("loan_status").is_in(ON_BOOK_STATUSES))
            .select(n=pl.len(), balance=pl.col("outstanding_balance").sum())
            .collect()
        )
        return int(sums["n"][0]), float(sums["balance"][0] or 0)

    return snapshot.cached("on book", count, LOANS)


def _gold_ties(snapshot: Snapshot) -> list[Tie]:
    if not (snapshot.has(LOANS) and snapshot.has(PORTFOLIO_CUBE) and snapshot.has(PORTFOLIO_KPIS)):
        return []
    loans, balance = on_book(snapshot)
    cube = snapshot.frame(PORTFOLIO_CUBE)
    newest = cube.filter(
        pl.col("as_of_month") == pl.col("as_of_month").max(), pl.col("loan_status").is_in(ON_BOOK_STATUSES)
    )
    kpis = snapshot.frame(PORTFOLIO_KPIS).sort("as_of_date", "is_current_state").tail(1)
    ties = [
        Tie("Loans on book", "silver/loans", loans, "portfolio_cube", float(newest["loans"].sum())),
        Tie("Loans on book", "silver/loans", loans, "portfolio_kpis", float(kpis["active_loans"][0])),
        Tie("Balance", "silver/loans", balance, "portfolio_cube", float(newest["balance"].sum())),
        Tie("Balance", "silver/loans", balance, "portfolio_kpis", float(kpis["portfolio_value"][0])),
    ]
    if snapshot.has(LOAN_SCORES):
        ties.append(Tie("Scores", "loans on book", loans, "gold/loan_scores", snapshot.rows(LOAN_SCORES)))
    return ties


@dataclass(frozen=True)
class Freshness:
    """When a table was last written and last checked (UTC), and how many hours may pass until the next time."""

    table: Table
    written: datetime | None
    checked: datetime | None
    hours: float | None
    allowed: float

    @property
    def late(self) -> bool:
        """Whether more time has passed than the schedule allows."""
        return self.hours is None or self.hours > self.allowed

    @property
    def failing(self) -> bool:
        """Whether twice as much has passed, as Dagster's freshness policies judge it."""
        return self.hours is None or self.hours > 2 * self.allowed


def freshness(snapshot: Snapshot, schedules: ScheduleSettings, now: datetime | None = None) -> list[Freshness]:
    """Every table of the lake against its schedule, the latest first.

    A refresh that finds a table unchanged writes nothing, but checks it: the later of both counts.
    """
    moment = now or datetime.now(UTC)
    allowed = {
        "lake": schedules.lake_fresh_hours,
        "gold": schedules.gold_fresh_hours,
        "model": schedules.model_fresh_hours,
    }
    checked: dict[str, datetime] = {}
    if snapshot.has(QUALITY_RESULTS):
        newest = snapshot.frame(QUALITY_RESULTS).group_by("asset").agg(pl.col("evaluated_at").max())
        checked = {asset: _utc(at) for asset, at in newest.iter_rows() if at is not None}
    found = []
    for table in TABLES:
        if snapshot.has(table):
            written, seen = snapshot.committed_at(table), checked.get(table.path)
            last = max((at for at in (written, seen) if at), default=None)
            hours = (moment - last).total_seconds() / 3600 if last else None
            found.append(Freshness(table, written, seen, hours, allowed[table.cadence]))
    return sorted(found, key=lambda f: -((f.hours or 1e9) / f.allowed))


def _utc(at: datetime) -> datetime:
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def newest_as_of(snapshot: Snapshot) -> date | None:
    """The day the newest tape describes, from the key figures."""
    if not snapshot.has(PORTFOLIO_KPIS):
        return None
    newest = snapshot.frame(PORTFOLIO_KPIS)["as_of_date"].max()
    return newest if isinstance(newest, date) else None
