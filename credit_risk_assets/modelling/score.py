"""Scores loans: applications in process, and the portfolio on Spark."""

from __future__ import annotations

import datetime as dt
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from credit_risk_assets.credit.delinquency import in_default_sql
from credit_risk_assets.credit.expressions import columns_of, to_polars
from credit_risk_assets.credit.rating import risk_rating, score_points
from credit_risk_assets.modelling.encode import Encoders
from credit_risk_assets.modelling.explain import MAX_REASONS, reasons
from credit_risk_assets.modelling.model import DefaultModel
from credit_risk_assets.modelling.prepare import REASON, prepare

EXPLAINED_RATINGS = ("High", "Very High")
"""Ratings whose loans carry reason codes."""
EXACT_REASONS_UP_TO = 100
"""Up to this many rows scored in process have exact reasons; more have the approximate ones of the portfolio."""
REASON_COLUMNS = tuple(f"reason_{place}" for place in range(1, MAX_REASONS + 1))
SCORE_SCHEMA = (
    "loan_id string, as_of_date date, pd_12m double, risk_rating string, score_points double, "
    + ", ".join(f"{name} string" for name in REASON_COLUMNS)
    + ", model_version string, scored_at timestamp"
)
"""Schema of gold/loan_scores, for DataFrame.mapInArrow."""
_ARROW_SCHEMA = pa.schema(
    [
        ("loan_id", pa.string()),
        ("as_of_date", pa.date32()),
        ("pd_12m", pa.float64()),
        ("risk_rating", pa.string()),
        ("score_points", pa.float64()),
        *[(name, pa.string()) for name in REASON_COLUMNS],
        ("model_version", pa.string()),
        ("scored_at", pa.timestamp("us", tz="UTC")),
    ]
)


@dataclass(frozen=True)
class _Scored:
    """PD, rating and reasons of typed rows with features."""

    pd_12m: NDArray[np.float64]
    rating: NDArray[np.object_]
    reasons: list[list[str]]


def _in_default(rows: pl.DataFrame) -> NDArray[np.bool_]:
    found = rows.select_seq(to_polars(in_default_sql()).fill_null(value=False)).to_series().to_numpy()
    return found.astype(bool)


def _score(rows: pl.DataFrame, model: DefaultModel, encoders: Encoders, *, explain: bool, exact: bool) -> _Scored:
    matrix = encoders.transform(rows)
    pds = model.probability(matrix)
    defaulted = _in_default(rows)
    pds = np.where(defaulted, 1.0, pds)
    ratings = risk_rating(pds, model.rating_bounds)
    found: list[list[str]] = [[] for _ in range(len(rows))]
    if explain:
        chosen = np.flatnonzero(np.isin(ratings, EXPLAINED_RATINGS) & ~defaulted)
        told = reasons(model, matrix[chosen], rows[chosen.tolist()], exact=exact)
        for place, texts in zip(chosen, told, strict=True):
            found[place] = texts
        for place in np.flatnonzero(defaulted):
            found[place] = ["The loan is in default"]
    return _Scored(pds, ratings, found)


def score_new_loans(
    df: pd.DataFrame, model: DefaultModel, encoders: Encoders, *, explain: bool = False
) -> pd.DataFrame:
    """Score applications or loans: one row out for each row in, with the same index.

    `df` has tape columns (see `tape.contract`); only purpose, amount, rate and term are needed, a payment
    history is not. Columns returned: `loan_id` where given, `default_prediction` (1 where the probability reaches
    the model's threshold), `default_probability` (within twelve months), `risk_rating` (Very Low to Very High)
    and `reason`: why a row could not be scored; its probability is then NaN and its prediction and rating are
    missing. With `explain`, `reason_1` to `reason_4` say why a High or Very High rating is so. A loan already in
    default has probability 1. Raises `ModelDataError` where a needed column is missing altogether.
    """
    loans = df.reset_index(drop=True)
    rows = prepare(loans, model.columns)
    unusable = rows[REASON].is_not_null().to_numpy()
    scored = _score(rows, model, encoders, explain=explain, exact=len(rows) <= EXACT_REASONS_UP_TO)
    pds = np.where(unusable, np.nan, scored.pd_12m)
    columns: dict[str, Any] = {"loan_id": loans["loan_id"].to_numpy()} if "loan_id" in loans else {}
    columns["default_prediction"] = pd.arrays.IntegerArray((pds >= model.threshold).astype("int64"), unusable.copy())
    columns["default_probability"] = pds
    scored.rating[unusable] = None
    columns["risk_rating"] = scored.rating
    columns["reason"] = rows[REASON].to_numpy().astype(object)
    if explain:
        for place, name in enumerate(REASON_COLUMNS):
            columns[name] = [
                texts[place] if place < len(texts) and not bad else None
                for texts, bad in zip(scored.reasons, unusable, strict=True)
            ]
    return pd.DataFrame(columns, index=df.index)


def dump_model(model: DefaultModel, encoders: Encoders) -> bytes:
    """Model and encoders as bytes, for workers and for storage."""
    return pickle.dumps((model, encoders), protocol=5)


def load_model(content: bytes) -> tuple[DefaultModel, Encoders]:
    """Model and encoders from `dump_model`; unpickle only what this platform wrote."""
    model, encoders = pickle.loads(content)
    return model, encoders


def scorer_columns(model: DefaultModel) -> list[str]:
    """The silver columns that the batch scorer reads; select these before mapInArrow."""
    needed = {"loan_id", "as_of_date", *columns_of(in_default_sql()), *model.columns}
    return sorted(needed)


def make_scorer(
    content: bytes, scored_at: dt.datetime, *, explain: bool = True
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """A function for DataFrame.mapInArrow(scorer, SCORE_SCHEMA) over silver rows of loans on book.

    It needs `scorer_columns`; each worker unpacks the model once. Loans in default get PD 1 and rating Very High;
    reasons are approximate and given for ratings High and Very High only. `scored_at` (UTC) is the same for
    every row.
    """
    stamp = scored_at if scored_at.tzinfo else scored_at.replace(tzinfo=dt.UTC)

    def scorer(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        model, encoders = load_model(content)
        for batch in batches:
            if batch.num_rows:
                yield _score_batch(batch, model, encoders, stamp, explain=explain)

    return scorer


def _score_batch(
    batch: pa.RecordBatch, model: DefaultModel, encoders: Encoders, stamp: dt.datetime, *, explain: bool
) -> pa.RecordBatch:
    rows = pl.DataFrame(pl.from_arrow(batch))
    scored = _score(rows, model, encoders, explain=explain, exact=False)
    told = [texts + [None] * (MAX_REASONS - len(texts)) for texts in scored.reasons]
    columns: dict[str, Any] = {
        "loan_id": rows["loan_id"].to_arrow().cast(pa.string()),
        "as_of_date": rows["as_of_date"].to_arrow().cast(pa.date32()),
        "pd_12m": scored.pd_12m,
        "risk_rating": scored.rating,
        "score_points": score_points(scored.pd_12m),
        **{name: [texts[place] for texts in told] for place, name in enumerate(REASON_COLUMNS)},
        "model_version": [model.version] * len(rows),
        "scored_at": [stamp] * len(rows),
    }
    arrays = [
        pa.array(columns[entry.name], type=entry.type)
        if not isinstance(columns[entry.name], pa.Array)
        else columns[entry.name]
        for entry in _ARROW_SCHEMA
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=_ARROW_SCHEMA)
