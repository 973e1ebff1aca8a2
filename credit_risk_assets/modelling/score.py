"""Scores loans: applications in process, and the portfolio on Spark."""

from __future__ import annotations

import datetime as dt
import pickle
from collections.abc import Callable, Iterator, Mapping
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
from credit_risk_assets.credit.scalar import to_python
from credit_risk_assets.modelling.applications import few_loans
from credit_risk_assets.modelling.encode import Encoders
from credit_risk_assets.modelling.explain import MAX_REASONS, reasons
from credit_risk_assets.modelling.model import DefaultModel
from credit_risk_assets.modelling.prepare import REASON, check_columns, prepare

EXPLAINED_RATINGS = ("High", "Very High")
"""Ratings whose loans carry reason codes."""
EXACT_REASONS_UP_TO = 100
"""Up to this many rows scored in process have exact reasons; more have the approximate ones of the portfolio."""
BLOCK_ROWS = 8_192
"""Rows the portfolio's scorer handles at once: their matrix stays in the processor's cache."""
REASON_COLUMNS = tuple(f"reason_{place}" for place in range(1, MAX_REASONS + 1))
SCORE_SCHEMA = (
    "loan_id string, as_of_date date, pd_12m double, risk_rating string, score_points double, "
    + ", ".join(f"{name} string" for name in REASON_COLUMNS)
    + ", model_version string, scored_at timestamp"
)
"""Schema of gold/loan_scores, for DataFrame.mapInArrow."""
SCORE_ARROW_SCHEMA = pa.schema(
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
    reasons: NDArray[np.object_]


@dataclass(frozen=True)
class _Loans:
    """Loans ready for the model: encoded, with what the encoding does not tell; row for row."""

    matrix: NDArray[np.float32]
    in_default: NDArray[np.bool_]
    words: Mapping[str, Any]
    complaints: NDArray[np.object_] | None = None


def _of_table(rows: pl.DataFrame, encoders: Encoders) -> _Loans:
    """Typed rows with features, as silver and `prepare` make them."""
    defaulted = rows.select_seq(to_polars(in_default_sql()).fill_null(value=False)).to_series().to_numpy()
    words = {name: rows[name] for name in encoders.categories}
    complaints = rows[REASON].to_numpy().astype(object) if REASON in rows.columns else None
    return _Loans(encoders.transform(rows), defaulted.astype(bool), words, complaints)


def _of_few(loans: list[dict[str, Any]], encoders: Encoders) -> _Loans:
    in_default = to_python(in_default_sql())
    return _Loans(
        matrix=encoders.transform_loans(loans),
        in_default=np.array([bool(in_default(loan)) for loan in loans], dtype=bool),
        words={name: np.array([loan[name] for loan in loans], dtype=object) for name in encoders.categories},
        complaints=np.array([loan[REASON] for loan in loans], dtype=object),
    )


def _score(loans: _Loans, model: DefaultModel, *, explain: bool, exact: bool) -> _Scored:
    pds = np.where(loans.in_default, 1.0, model.probability(loans.matrix))
    ratings = risk_rating(pds, model.rating_bounds)
    found = np.full((len(pds), MAX_REASONS), None)
    if explain:
        chosen = np.flatnonzero(np.isin(ratings, EXPLAINED_RATINGS) & ~loans.in_default)
        words = {name: column[chosen] for name, column in loans.words.items()}
        found[chosen] = reasons(model, loans.matrix[chosen], words, exact=exact)
        found[loans.in_default, 0] = "The loan is in default"
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
    check_columns(df.columns)
    few = few_loans(df, model.columns)
    loans = _of_few(few, encoders) if few is not None else _of_table(prepare(df, model.columns), encoders)
    scored, usable = _judge(loans, model, explain=explain, exact=len(df) <= EXACT_REASONS_UP_TO)
    columns: dict[str, Any] = {"loan_id": df["loan_id"].to_numpy()} if "loan_id" in df.columns else {}
    flags = (scored.pd_12m >= model.threshold).astype("int64")
    columns["default_prediction"] = pd.arrays.IntegerArray(flags, ~usable)
    columns["default_probability"] = scored.pd_12m
    columns["risk_rating"] = scored.rating
    columns["reason"] = loans.complaints
    if explain:
        columns |= dict(zip(REASON_COLUMNS, scored.reasons.T, strict=True))
    return pd.DataFrame(columns, index=df.index)


def score_texts(
    texts: pl.DataFrame, model: DefaultModel, encoders: Encoders, *, exact: bool, unreadable: Mapping[int, str]
) -> pl.DataFrame:
    """A block of a file (text values, as `tape.readers` gives them) in the columns of `score_new_loans`, explained.

    `unreadable` gives by place the rows that the reader has a complaint about. Every row carries the model's version.
    """
    rows = prepare(texts, model.columns)
    if unreadable:
        rows = rows.with_columns(rows[REASON].scatter(list(unreadable), list(unreadable.values())))
    loans = _of_table(rows, encoders)
    scored, usable = _judge(loans, model, explain=True, exact=exact)
    columns = {"loan_id": texts["loan_id"]} if "loan_id" in texts.columns else {}
    flags = pl.Series((scored.pd_12m >= model.threshold).astype("int64"))
    frame = pl.DataFrame({**columns, "default_prediction": flags, "default_probability": scored.pd_12m})
    known = pl.Series(usable)
    return frame.with_columns(
        pl.when(known).then("default_prediction").alias("default_prediction"),
        pl.when(known).then("default_probability").alias("default_probability"),
        pl.Series("risk_rating", scored.rating.tolist(), dtype=pl.String),
        rows[REASON].alias("reason"),
        *(
            pl.Series(name, scored.reasons[:, place].tolist(), dtype=pl.String)
            for place, name in enumerate(REASON_COLUMNS)
        ),
        pl.lit(model.version, pl.String).alias("model_version"),
    )


def _judge(loans: _Loans, model: DefaultModel, *, explain: bool, exact: bool) -> tuple[_Scored, NDArray[np.bool_]]:
    """The scores, with nothing said of rows that have a complaint, and which rows have none."""
    assert loans.complaints is not None
    usable = np.array([complaint is None for complaint in loans.complaints], dtype=bool)
    scored = _score(loans, model, explain=explain, exact=exact)
    scored.pd_12m[~usable] = np.nan
    scored.rating[~usable] = None
    scored.reasons[~usable] = None
    return scored, usable


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
        for rows in _blocks(batches):
            yield _score_block(rows, model, encoders, stamp, explain=explain)

    return scorer


def _blocks(batches: Iterator[pa.RecordBatch]) -> Iterator[pl.DataFrame]:
    """The rows in blocks worth their fixed cost: a table of many small files comes in many small batches."""
    waiting: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        waiting.append(batch)
        rows += batch.num_rows
        if rows >= BLOCK_ROWS:
            yield pl.DataFrame(pl.from_arrow(pa.Table.from_batches(waiting)))
            waiting, rows = [], 0
    if rows:
        yield pl.DataFrame(pl.from_arrow(pa.Table.from_batches(waiting)))


def _score_block(
    rows: pl.DataFrame, model: DefaultModel, encoders: Encoders, stamp: dt.datetime, *, explain: bool
) -> pa.RecordBatch:
    scored = _score(_of_table(rows, encoders), model, explain=explain, exact=False)
    columns: dict[str, Any] = {
        "loan_id": rows["loan_id"].to_arrow().cast(pa.string()),
        "as_of_date": rows["as_of_date"].to_arrow().cast(pa.date32()),
        "pd_12m": scored.pd_12m,
        "risk_rating": scored.rating,
        "score_points": score_points(scored.pd_12m),
        **dict(zip(REASON_COLUMNS, scored.reasons.T, strict=True)),
        "model_version": pa.repeat(model.version, len(rows)),
        "scored_at": pa.repeat(pa.scalar(stamp, SCORE_ARROW_SCHEMA.field("scored_at").type), len(rows)),
    }
    arrays = [
        pa.array(columns[entry.name], type=entry.type)
        if not isinstance(columns[entry.name], pa.Array)
        else columns[entry.name]
        for entry in SCORE_ARROW_SCHEMA
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=SCORE_ARROW_SCHEMA)
