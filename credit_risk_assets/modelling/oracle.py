"""How far the model is from the truth of a simulated portfolio: what it could know, and what is so.

For simulated data alone. The simulator keeps two true PDs of each loan: `pd_12m` by everything that drives the loan,
and `pd_12m_observable` by everything that anyone could have observed, the ceiling of any honest model. No part of the
pipeline reads them: a command of its own does, after the model is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from credit_risk_assets.config.tables import RISK_RATINGS
from credit_risk_assets.credit.rating import risk_rating
from credit_risk_assets.modelling.errors import ModelDataError
from credit_risk_assets.modelling.evaluate import Metric, delong_difference, delong_interval
from credit_risk_assets.modelling.groups import group_names, parted
from credit_risk_assets.modelling.metrics import measure, ranked
from credit_risk_assets.modelling.sample import LABEL, OBSERVATION_DATE

TRUE_PD, OBSERVABLE_PD = "pd_12m", "pd_12m_observable"
MINIMUM_KNOWN_SHARE = 0.99
"""Where fewer loans have a truth, it is the truth of other tapes."""
SEGMENTS = ("loan_purpose", "score_band", "risk_rating")
WAYS = ("model", "observable", "oracle")

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class SegmentError:
    """The model's PD against the observable one in one segment; errors are model minus truth."""

    dimension: str
    segment: str
    n: int
    mean_pd: float
    mean_observable_pd: float
    mean_error: float
    rmse: float


@dataclass(frozen=True)
class OracleReport:
    """The model beside the observable ceiling and the oracle, on the same loans and outcomes.

    `auc` by way (model, observable, oracle); `gap_to_observable` and `gap_to_oracle` are their AUC minus the
    model's. `at_threshold` and `at_recall_70` hold accuracy, precision and recall by way: at the model's own
    threshold, and where the riskiest loans with 70 % of the defaults are declined. `pd_errors` by truth: mean
    error, root mean square error and ratio of the means.
    """

    n: int
    observation_date: str
    default_rate: float
    threshold: float
    auc: dict[str, Metric]
    gap_to_observable: Metric
    gap_to_oracle: Metric
    ece: dict[str, float]
    pd_errors: dict[str, dict[str, float]]
    at_threshold: dict[str, dict[str, float]]
    at_recall_70: dict[str, dict[str, float]]
    segments: tuple[SegmentError, ...]
    unknown: int

    @property
    def leaks(self) -> bool:
        """Whether the model ranks better than anything observable could, beyond chance: it knows the future."""
        return self.gap_to_observable.upper is not None and self.gap_to_observable.upper < 0

    def to_json(self) -> dict[str, Any]:
        """Everything, as plain values."""
        return {**asdict(self), "leaks": self.leaks}

    def lines(self) -> list[str]:
        """The report as people read it."""
        gap, far = self.gap_to_observable, self.gap_to_oracle
        lines = [
            f"{self.n:,} loans observed on {self.observation_date}, {self.default_rate:.2%} default within a year",
            f"{'':24}{'model':>10}{'ceiling':>10}{'oracle':>10}",
        ]

        def row(name: str, values: Sequence[float]) -> str:
            return f"{name:24}" + "".join(f"{value:>10.4f}" for value in values)

        lines.append(row("AUC", [self.auc[way].value for way in WAYS]))
        lines.append(row("ECE", [self.ece[way] for way in WAYS]))
        for title, places in (
            (f"at PD {self.threshold:.4f}", self.at_threshold),
            ("at recall 0.70", self.at_recall_70),
        ):
            for metric in ("accuracy", "precision", "recall"):
                lines.append(row(f"{metric} {title}", [places[way][metric] for way in WAYS]))
        lines.append(
            f"gap to the observable ceiling {gap.value:.4f} (95 % {gap.lower:.4f} to {gap.upper:.4f}), "
            f"to the oracle {far.value:.4f}"
        )
        for truth, errors in self.pd_errors.items():
            lines.append(
                f"PD against the {truth} one: mean error {errors['mean_error']:+.4f}, RMSE {errors['rmse']:.4f}, "
                f"mean PD {errors['ratio']:.3f} of it"
            )
        lines.append(f"{'segment':34}{'loans':>8}{'mean PD':>9}{'ceiling':>9}{'error':>9}{'RMSE':>8}")
        for found in self.segments:
            lines.append(
                f"{found.dimension + ': ' + found.segment:34}{found.n:>8,}{found.mean_pd:>9.4f}"
                f"{found.mean_observable_pd:>9.4f}{found.mean_error:>+9.4f}{found.rmse:>8.4f}"
            )
        if self.unknown:
            lines.append(f"{self.unknown:,} loans have no truth and are left out")
        if self.leaks:
            lines.append("LEAK: the model ranks better than anything observable could; a feature knows the outcome")
        return lines


def read_truth(folder: Path) -> pl.DataFrame:
    """The truth of every tape in a folder that `credit-risk simulate --truth` wrote."""
    wanted = ["loan_id", "as_of_date", TRUE_PD, OBSERVABLE_PD]
    parts = []
    for file in sorted(path for path in folder.glob("*") if path.suffix in (".csv", ".parquet")):
        found = pl.read_csv(file, try_parse_dates=True) if file.suffix == ".csv" else pl.read_parquet(file)
        if set(wanted) <= set(found.columns):
            parts.append(
                found.select(pl.col("loan_id").cast(pl.String), pl.col("as_of_date").cast(pl.Date), *wanted[2:])
            )
    if not parts:
        raise ModelDataError(
            f"{folder}: no file with the columns {', '.join(wanted)}; write one with `credit-risk simulate --truth`"
        )
    return pl.concat(parts).unique(["loan_id", "as_of_date"])


def compare_with_truth(
    tested: pl.DataFrame,
    predicted: Floats,
    truth: pl.DataFrame,
    *,
    threshold: float,
    bounds: Sequence[float],
) -> OracleReport:
    """Set predictions against the truth of the same loans at the same date.

    `tested` holds loans of one observation date that decided nothing (`loan_id`, `observation_date`, `default_12m`
    and what the segments group by), row for row with `predicted`; `truth` as `read_truth` gives it. Raises
    `ModelDataError` where the truth is that of other loans.
    """
    joined = tested.with_columns(
        pl.Series("_predicted", predicted),
        pl.Series("_rating", risk_rating(predicted, bounds), dtype=pl.String),
        pl.col("loan_id").cast(pl.String),
        pl.col(OBSERVATION_DATE).cast(pl.Date),
    ).join(truth, left_on=["loan_id", OBSERVATION_DATE], right_on=["loan_id", "as_of_date"], how="left", suffix="_true")
    known = joined.filter(pl.col(OBSERVABLE_PD).is_not_null()).sort("loan_id")
    if known.height < MINIMUM_KNOWN_SHARE * joined.height:
        raise ModelDataError(
            f"truth: it knows {known.height:,} of the {joined.height:,} loans tested on "
            f"{joined[OBSERVATION_DATE].max()!s}; it belongs to other tapes"
        )
    label = known[LABEL].to_numpy().astype(np.int64)
    pds = {
        "model": known["_predicted"].to_numpy(),
        "observable": known[OBSERVABLE_PD].to_numpy(),
        "oracle": known[TRUE_PD].to_numpy(),
    }
    measured = {way: measure(ranked(label, found), threshold) for way, found in pds.items()}
    return OracleReport(
        n=len(label),
        observation_date=str(known[OBSERVATION_DATE].max()),
        default_rate=float(label.mean()),
        threshold=threshold,
        auc={way: delong_interval(label, found) for way, found in pds.items()},
        gap_to_observable=delong_difference(label, pds["observable"], pds["model"]),
        gap_to_oracle=delong_difference(label, pds["oracle"], pds["model"]),
        ece={way: found["ece"] for way, found in measured.items()},
        pd_errors={way: _errors(pds["model"], pds[way]) for way in ("observable", "oracle")},
        at_threshold={
            way: {metric: found[metric] for metric in ("accuracy", "precision", "recall")}
            for way, found in measured.items()
        },
        at_recall_70={
            way: {
                "accuracy": found["accuracy_at_recall_70"],
                "precision": found["precision_at_recall_70"],
                "recall": _recall(label, pds[way], found["threshold_at_recall_70"]),
            }
            for way, found in measured.items()
        },
        segments=_segments(known, pds["model"], pds["observable"]),
        unknown=joined.height - known.height,
    )


def _errors(predicted: Floats, true: Floats) -> dict[str, float]:
    return {
        "mean_error": float(np.mean(predicted - true)),
        "rmse": float(np.sqrt(np.mean((predicted - true) ** 2))),
        "ratio": float(predicted.mean() / true.mean()),
    }


def _recall(label: NDArray[np.int64], pds: Floats, threshold: float) -> float:
    return float(label[pds >= threshold].sum() / label.sum())


def _segments(known: pl.DataFrame, predicted: Floats, observable: Floats) -> tuple[SegmentError, ...]:
    found = []
    for dimension in SEGMENTS:
        column = "_rating" if dimension == "risk_rating" else dimension
        if column not in known.columns:
            continue
        order = RISK_RATINGS if dimension == "risk_rating" else ()
        for segment, inside in parted(group_names(known[column]), order):
            errors = _errors(predicted[inside], observable[inside])
            found.append(
                SegmentError(
                    dimension,
                    segment,
                    int(inside.sum()),
                    float(predicted[inside].mean()),
                    float(observable[inside].mean()),
                    errors["mean_error"],
                    errors["rmse"],
                )
            )
    return tuple(found)
