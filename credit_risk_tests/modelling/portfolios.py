"""A small simulated portfolio as a development sample, without Spark."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import polars as pl

from credit_risk_assets.credit.delinquency import defaulted_within_sql, in_default_sql
from credit_risk_assets.credit.expressions import to_polars
from credit_risk_assets.credit.features import add_features
from credit_risk_assets.modelling.sample import LABEL, OBSERVATION_DATE, observation_pairs
from credit_risk_assets.tape.simulate import simulate
from credit_risk_tests.credit.tapes import SCHEMA


def simulated_tapes(loans: int, folder: Path, seed: int = 11) -> dict[dt.date, pl.DataFrame]:
    """Three yearly tapes with features, by as-of date."""
    simulate(loans, folder, seed=seed, as_of=dt.date(2025, 12, 31), format="parquet", sample_loans=100)
    tapes: dict[dt.date, pl.DataFrame] = {}
    for path in sorted(path for path in folder.glob("*.parquet") if "sample" not in path.name):
        found = pl.read_parquet(path)
        columns = [
            (pl.col(name) if name in found.columns else pl.lit(None).alias(name)).cast(dtype)
            for name, dtype in SCHEMA.items()
        ]
        tape = add_features(found.select(columns))
        tapes[tape["as_of_date"][0]] = tape
    return tapes


def development(tapes: dict[dt.date, pl.DataFrame]) -> pl.DataFrame:
    """The development sample of the tapes."""
    performing = pl.col("loan_status").is_in(["current", "delinquent"]) & ~to_polars(in_default_sql())
    parts = []
    for start, end in observation_pairs(tapes):
        later = tapes[end].select("loan_id", to_polars(defaulted_within_sql()).cast(pl.Int32).alias(LABEL))
        observed = tapes[start].filter(performing).with_columns(pl.col("as_of_date").alias(OBSERVATION_DATE))
        parts.append(observed.join(later, on="loan_id"))
    return pl.concat(parts)
