"""Predicted against realised default rates, by observation date and segment, and who the loans are."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray
from scipy import stats

from credit_risk_assets.config.tables import RISK_RATINGS
from credit_risk_assets.credit.rating import risk_rating
from credit_risk_assets.modelling.evaluate import calibration_fit, delong_interval
from credit_risk_assets.modelling.intervals import jeffreys_interval
from credit_risk_assets.modelling.metrics import ECE_BINS, measure, ranked
from credit_risk_assets.modelling.sample import LABEL
from credit_risk_assets.modelling.score import load_model

PERIOD = "observation_date"
RATING = "risk_rating"
SILVER_DIMENSIONS = ("loan_purpose", "score_band", "risk_category")
DIMENSIONS = (RATING, *SILVER_DIMENSIONS)
ALL = "all"
UNKNOWN = "unknown"
_Z = float(stats.norm.ppf(0.975))


@dataclass(frozen=True)
class Followed:
    """A model version that is followed: its alias, the bounds of its ratings and the dates that trained it."""

    version: str
    alias: str
    rating_bounds: tuple[float, ...]
    training_dates: tuple[dt.date, ...]

    @property
    def column(self) -> str:
        """The column of its probabilities among the scored loans."""
        return f"pd_{self.alias}"


def scored_schema(aliases: Sequence[str]) -> str:
    """Schema of `make_watcher`'s rows, for DataFrame.mapInArrow."""
    words = ", ".join(f"{name} string" for name in SILVER_DIMENSIONS)
    return f"{PERIOD} date, {LABEL} int, {words}, " + ", ".join(f"pd_{alias} double" for alias in aliases)


def make_watcher(
    contents: dict[str, bytes],
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """A function for DataFrame.mapInArrow: dates, outcomes, segments, and a PD by each model (alias -> `dump_model`).

    It needs the columns of `scored_schema` but the PDs, and those of the models.
    """
    kept = {PERIOD: pa.date32(), LABEL: pa.int32(), **dict.fromkeys(SILVER_DIMENSIONS, pa.string())}

    def watch(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        models = {alias: load_model(content) for alias, content in contents.items()}
        for batch in batches:
            if not batch.num_rows:
                continue
            rows = pl.DataFrame(pl.from_arrow(batch))
            columns = [rows[name].to_arrow().cast(kind) for name, kind in kept.items()]
            pds = [pa.array(model.probability(encoders.transform(rows))) for model, encoders in models.values()]
            yield pa.RecordBatch.from_arrays([*columns, *pds], names=[*kept, *[f"pd_{alias}" for alias in models]])

    return watch


def with_ratings(scored: pl.DataFrame, model: Followed) -> pl.DataFrame:
    """The loans with `pd` and rating by one model, in an order that does not depend on how they arrived."""
    pds = scored[model.column]
    ratings = risk_rating(pds.to_numpy(), model.rating_bounds)
    return (
        scored.select(PERIOD, LABEL, *[pl.col(name).fill_null(UNKNOWN) for name in SILVER_DIMENSIONS])
        .with_columns(pds.alias("pd"), pl.Series(RATING, ratings.tolist(), dtype=pl.String))
        .sort(PERIOD, "pd", LABEL)
    )


def realised_rows(rated: pl.DataFrame, model: Followed) -> list[dict[str, Any]]:
    """One row per observation date, dimension and segment, from loans of `with_ratings`.

    `defaults` and what follows from it are None where no outcome is known yet; AUC, ECE and calibration line stand
    with dimension `all` alone. Shares are of the date's loans, `reference_share` of those that trained the model.
    """
    training = rated.filter(pl.col(PERIOD).is_in(list(model.training_dates)))
    rows: list[dict[str, Any]] = []
    whole = rated.with_columns(pl.lit(ALL).alias(ALL))
    for dimension in (ALL, *DIMENSIONS):
        reference = dict(
            training.with_columns(pl.lit(ALL).alias(ALL))[dimension].value_counts(normalize=True).iter_rows()
        )
        found = whole.group_by(PERIOD, dimension).agg(
            pl.len().alias("loans"),
            pl.col("pd").mean().alias("mean_pd"),
            pl.col(LABEL).count().alias("known"),
            pl.col(LABEL).sum().alias("defaults"),
        )
        sizes = dict(whole.group_by(PERIOD).agg(pl.len()).iter_rows())
        for row in found.sort(PERIOD, dimension).iter_rows(named=True):
            date = row[PERIOD]
            rows.append(
                {
                    "model_version": model.version,
                    "alias": model.alias,
                    PERIOD: date,
                    "in_training": date in model.training_dates,
                    "matured": row["known"] > 0,
                    "dimension": dimension,
                    "segment": row[dimension],
                    "loans": row["loans"],
                    "share": row["loans"] / sizes[date],
                    "reference_share": reference.get(row[dimension], 0.0) if reference else None,
                    "mean_pd": row["mean_pd"],
                    **(_outcome(row["loans"], row["defaults"], row["mean_pd"]) if row["known"] else {}),
                }
            )
    for row in rows:
        if row["dimension"] == ALL and row["matured"] and 0 < row["defaults"] < row["loans"]:
            mine = rated.filter(pl.col(PERIOD) == row[PERIOD])
            row |= quality(mine[LABEL].to_numpy().astype(np.int64), mine["pd"].to_numpy())
    return rows


def _outcome(loans: int, defaults: int, mean_pd: float) -> dict[str, Any]:
    """Realised rate with its Jeffreys interval, and what was predicted over it."""
    lower, upper = jeffreys_interval(defaults, loans)
    rate = defaults / loans
    return {
        "defaults": defaults,
        "observed_rate": rate,
        "lower": lower,
        "upper": upper,
        "pd_to_observed": mean_pd / rate if defaults else None,
    }


def quality(label: NDArray[np.int64], pds: NDArray[np.float64]) -> dict[str, float]:
    """How well probabilities rank and are calibrated: AUC, ECE and slope, each with what chance alone would show."""
    auc = delong_interval(label, pds)
    line = calibration_fit(label, pds)
    return {
        "auc": auc.value,
        "auc_lower": float(auc.lower or 0),
        "auc_upper": float(auc.upper or 1),
        "ece": measure(ranked(label, pds), 0.5)["ece"],
        "ece_critical": ece_critical_value(pds),
        "calibration_slope": line.slope,
        "slope_lower": line.slope - _Z * line.slope_error,
        "slope_upper": line.slope + _Z * line.slope_error,
        "calibration_intercept": line.intercept,
    }


def ece_critical_value(pds: NDArray[np.float64], level: float = 0.95) -> float:
    """What the ECE of perfectly calibrated probabilities passes in one case of twenty.

    A bin's gap is then normal with variance sum p (1 - p) / n^2; its absolute value has mean s sqrt(2 / pi) and
    variance s^2 (1 - 2 / pi), and the weighted sum over the bins is taken as normal.
    """
    mean = variance = 0.0
    for rows in np.array_split(np.sort(pds), ECE_BINS):
        if len(rows):
            weight, spread = len(rows) / len(pds), math.sqrt(float(np.sum(rows * (1 - rows)))) / len(rows)
            mean += weight * spread * math.sqrt(2 / math.pi)
            variance += (weight * spread) ** 2 * (1 - 2 / math.pi)
    return mean + float(stats.norm.ppf(level)) * math.sqrt(variance)


def rating_counts(ratings: pl.Series) -> list[int]:
    """Loans of each rating, best first."""
    counts = dict(ratings.value_counts().iter_rows())
    return [int(counts.get(name, 0)) for name in RISK_RATINGS]
