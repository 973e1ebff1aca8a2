"""What the model validator looks at: metrics with their intervals and the ratings that the champion gave."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import polars as pl

from credit_risk_assets.config.tables import LOAN_SCORES, MODEL_DECISIONS, MODEL_PERFORMANCE, RISK_RATINGS
from credit_risk_assets.tape.contract import LOAN_STATUSES
from dash_app.data.filters import Filters
from dash_app.data.lake import Snapshot
from dash_app.data.rated import rated_segments

DATA_SETS = ("out_of_time", "test", "calibration", "validation", "train")


@dataclass(frozen=True)
class Performance:
    """The metrics of one model version: `data_set`, `metric`, `value`, `lower`, `upper`."""

    version: str
    computed_at: datetime | None
    metrics: pl.DataFrame

    @property
    def data_sets(self) -> tuple[str, ...]:
        """The data sets measured, the most honest first."""
        found = self.metrics["data_set"].unique().to_list()
        known = [name for name in DATA_SETS if name in found]
        return (*known, *sorted(set(found) - set(known)))

    def metric(self, data_set: str, name: str) -> tuple[float | None, float | None, float | None]:
        """Value, lower and upper bound; None where not measured."""
        row = self.metrics.filter(pl.col("data_set") == data_set, pl.col("metric") == name)
        return (row["value"][0], row["lower"][0], row["upper"][0]) if row.height else (None, None, None)


def champion_version(snapshot: Snapshot) -> str | None:
    """The version in force: what the last decision left as champion; None where none reigns."""
    taken = decisions(snapshot)
    return taken["champion_version"][-1] or None if taken.height else None


def decisions(snapshot: Snapshot) -> pl.DataFrame:
    """Every decision on a model version, in order of time; empty where none was taken."""
    return snapshot.frame(MODEL_DECISIONS).sort("decided_at") if snapshot.has(MODEL_DECISIONS) else pl.DataFrame()


def performance(snapshot: Snapshot, version: str | None = None) -> Performance | None:
    """The metrics of a version, by default the champion; None where no model was trained.

    Without a champion it is the version that scores the loans, else the one that was measured last.
    """
    if not snapshot.has(MODEL_PERFORMANCE):
        return None
    frame = snapshot.frame(MODEL_PERFORMANCE)
    if frame.height == 0:
        return None
    newest = frame.sort("computed_at")["model_version"][-1]
    if snapshot.has(LOAN_SCORES):
        used = snapshot.cached(
            "scoring version",
            lambda: _text(snapshot.scan(LOAN_SCORES).select("model_version").limit(1)),
            LOAN_SCORES,
        )
        newest = used if used in set(frame["model_version"]) else newest
    known = set(frame["model_version"])
    newest = next((v for v in (version, champion_version(snapshot)) if v in known), newest)
    chosen = frame.filter(pl.col("model_version") == newest)
    # the same version may have been measured more than once: the last measurement counts
    chosen = chosen.sort("computed_at").group_by("data_set", "metric", maintain_order=True).last()
    stamp = chosen["computed_at"].max()
    return Performance(str(newest), stamp if isinstance(stamp, datetime) else None, chosen)


def _text(frame: pl.LazyFrame) -> str:
    found = frame.collect()
    return str(found.item()) if found.height else ""


def ratings(snapshot: Snapshot) -> pl.DataFrame | None:
    """Loans, balance, mean PD and expected loss per rating of the champion, from Very Low to Very High.

    Every rating has a row, also one without loans. None where the loans are not scored.
    """
    rated = rated_segments(snapshot)
    if rated is None:
        return None
    sums = rated.by_rating(Filters().with_values("status", LOAN_STATUSES)).select(
        "risk_rating",
        "balance",
        loans="scored_loans",
        mean_pd=pl.col("pd_sum") / pl.col("scored_loans"),
        expected_loss="model_loss",
    )
    return (
        pl.DataFrame({"risk_rating": RISK_RATINGS})
        .join(sums, on="risk_rating", how="left", maintain_order="left")
        .with_columns(pl.col("loans", "balance", "expected_loss").fill_null(0))
    )


def top_reasons(snapshot: Snapshot, limit: int = 8) -> pl.DataFrame:
    """The main reasons of the loans rated High or Very High (`reason`, `loans`), the most frequent first."""
    if not snapshot.has(LOAN_SCORES):
        return pl.DataFrame(schema={"reason": pl.String, "loans": pl.UInt32})

    def count() -> pl.DataFrame:
        risky = snapshot.scan(LOAN_SCORES).filter(pl.col("risk_rating").is_in(RISK_RATINGS[3:]))
        reasons = risky.select(pl.col("reason_1").alias("reason")).drop_nulls().group_by("reason")
        return reasons.agg(loans=pl.len()).sort("loans", "reason", descending=[True, False]).collect()

    return snapshot.cached("top reasons", count, LOAN_SCORES).head(limit)


def missing_reason(tapes: int) -> str:
    """Why there is no model, in a sentence for people."""
    if tapes < 2:
        return (
            "A default model learns from what happened in the twelve months after a tape. This portfolio has "
            f"{'one tape' if tapes == 1 else 'no tape'}, so no outcome can be observed yet: land a tape from "
            "twelve months before or after it and refresh."
        )
    return (
        "No model has been trained on this portfolio yet. Run `credit-risk refresh`; where the outcomes are too "
        "few, the run says how many it found and how many it needs."
    )
