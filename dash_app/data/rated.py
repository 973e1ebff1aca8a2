"""The newest state of the portfolio per segment and model rating, summed over the loan index."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from credit_risk_assets.config.tables import LOAN_SCORES, LOANS, RISK_CATEGORIES
from credit_risk_assets.resources.lake_store import LakeStore
from dash_app.data.codes import Codes
from dash_app.data.filters import ORIGINATION, Filters
from dash_app.data.index import INDEXED, MODEL_LOSS, file_name, index_tables, is_large, loan_index, locked
from dash_app.data.lake import Lake, LakeError, Snapshot

KEYS = ("risk_category", "loan_purpose", "loan_status", "score_band", "dpd_bucket", ORIGINATION, "region")
STOCK = (
    "loans",
    "balance",
    "loan_amount",
    "dpd_days",
    "expected_loss",
    "interest_balance",
    "high_risk_loans",
    "default_balance",
)
FLOW = ("observed_start_loans", "observed_defaults")
RATING = "risk_rating"
LOSSES = (MODEL_LOSS, "ecl")


@dataclass(frozen=True)
class Rated:
    """Coded segments with their rating ('unknown': not scored), the cube's sums, and sums over the scored loans.

    The observed default rate has no sums here: a rating is given after the outcome.
    """

    frame: pl.DataFrame
    codes: Codes

    def by_rating(self, filters: Filters) -> pl.DataFrame:
        """Sums over the scored loans of a view: `risk_rating`, `scored_loans`, `balance`, `pd_sum`, `model_loss`.

        And `ecl`, the loss allowance, where the lake has it.
        """
        measures = [name for name in ("balance", "scored_loans", "pd_sum", *LOSSES) if name in self.frame.columns]
        scored = self.frame.lazy().filter(self.codes.predicate(filters), pl.col("scored_loans") > 0)
        sums = scored.group_by(RATING).agg(pl.col(measures).sum()).with_columns(self.codes.decoded(RATING))
        return sums.collect()


def rated_segments(snapshot: Snapshot) -> Rated | None:
    """The segments of silver/loans with their scores; None where there are none, kept while the versions stand.

    Of a large portfolio they are kept in a file beside its index, and both are made by a process of their own, so
    that no worker ever holds all columns.
    """
    if not (snapshot.has(LOANS) and snapshot.has(LOAN_SCORES)):
        return None

    def load() -> Rated:
        folder = snapshot.lake.cache_folder
        if folder is None or not is_large(snapshot):
            return _summed(snapshot)
        file = folder / f"{file_name(snapshot, index_tables())}.parquet"
        if not file.exists():
            _make_apart(snapshot, folder)
        return Rated(pl.read_parquet(file), loan_index(snapshot).codes)

    return snapshot.cached("rated segments", load, *index_tables(), reads=INDEXED)


def prepare(snapshot: Snapshot) -> None:
    """Compute what pages need from new table versions. Raises `LakeError` where a table cannot be read."""
    if rated_segments(snapshot) is None and snapshot.has(LOANS):
        loan_index(snapshot)


def _make_apart(snapshot: Snapshot, folder: Path) -> None:
    store = snapshot.lake.store
    # By its input: arguments are seen by others on the machine, and the options hold keys.
    told = json.dumps([store.root, str(store.scratch), store.stated(), str(folder), dict(snapshot.versions)])
    command = [sys.executable, "-m", "dash_app.data.rated"]
    done = subprocess.run(command, input=told, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise LakeError(f"{LOANS.path}: its index cannot be made ({lines[-1][:200] if lines else 'no output'})")


def make_files(place: LakeStore | Path, folder: Path, versions: dict[str, int]) -> None:
    """Write the index and the rated segments of a large portfolio to the cache."""
    snapshot = Snapshot(Lake(place, folder), versions)
    file = folder / f"{file_name(snapshot, index_tables())}.parquet"
    with locked(file.with_suffix(".segments")):
        if not file.exists():
            partial = file.with_suffix(".partial")
            _summed(snapshot).frame.write_parquet(partial)
            partial.rename(file)


def _summed(snapshot: Snapshot) -> Rated:
    index = loan_index(snapshot)
    words = index.codes.words
    keys = [name for name in (*KEYS, RATING) if name in words]
    # one number for all keys is grouped faster than eight columns
    packed, factor = pl.lit(0, pl.UInt64), 1
    for name in keys:
        packed = packed + pl.col(name).cast(pl.UInt64) * factor
        factor *= max(len(words[name]), 1)
    balance = pl.col("outstanding_balance")
    sums = (
        index.frame.lazy()
        .group_by(packed.alias("_key"))
        .agg(
            *[pl.col(name).first() for name in keys],
            loans=pl.len().cast(pl.Int64),
            balance=balance.sum(),
            loan_amount=pl.col("loan_amount").sum(),
            dpd_days=pl.col("current_dpd").sum().cast(pl.Float64),
            expected_loss=pl.col("expected_loss_proxy").sum(),
            interest_balance=(pl.col("interest_rate") * balance).sum(),
            high_risk_loans=index.codes.is_in("risk_category", RISK_CATEGORIES[2:]).sum().cast(pl.Int64),
            default_balance=balance.filter(pl.col("current_dpd") >= 90).sum(),
            scored_loans=pl.col("pd_12m").is_not_null().sum().cast(pl.Int64),
            pd_sum=pl.col("pd_12m").sum(),
            **{name: pl.col(name).sum() for name in LOSSES if name in index.frame.columns},
        )
        .drop("_key")
        .with_columns([pl.lit(0, pl.Int64).alias(name) for name in FLOW])
    )
    return Rated(sums.collect(), index.codes)


if __name__ == "__main__":
    root, scratch, options, folder, versions = json.load(sys.stdin)
    make_files(LakeStore(root, Path(scratch), options), Path(folder), versions)
