"""Trains the default model: the same code for the platform's sample and for any labelled table."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from credit_risk_assets.config.settings import ModelSettings
from credit_risk_assets.credit.feature import Feature
from credit_risk_assets.credit.features import BY_NAME, model_features
from credit_risk_assets.modelling.boosting import (
    FOLDS,
    Member,
    fit_members,
    held_out_margins,
    merge,
)
from credit_risk_assets.modelling.calibrate import fit_calibrator
from credit_risk_assets.modelling.encode import Encoders, fit_encoders
from credit_risk_assets.modelling.errors import ModelDataError
from credit_risk_assets.modelling.evaluate import Metric, choose_threshold_by_cost, evaluate, leak_findings
from credit_risk_assets.modelling.frames import Frame, as_frame
from credit_risk_assets.modelling.linear import mean_of
from credit_risk_assets.modelling.model import DefaultModel, monotone_directions
from credit_risk_assets.modelling.sample import LABEL, OBSERVATION_DATE

BLOCK_ROWS = 100_000
TEST_BUCKETS = 5
"""Without a second observation date one customer in this many is kept for the test."""
ANALYSED = ("score_band", "dpd_bucket", "risk_category", "origination_quarter", "lgd_estimate")
"""Columns that no model reads and that its validation groups by, beside the protected ones."""


@dataclass(frozen=True)
class Fit:
    """A trained model with the rows each part of the training used.

    `folds` numbers each row's fold; member m stops early on fold m, leaves fold m + 1 to calibration and trains
    on the other three. `held_out` is each row's probability from the member that left it to calibration, NaN
    where there is none.
    """

    model: DefaultModel
    encoders: Encoders
    members: list[Member]
    folds: NDArray[np.int64]
    held_out: NDArray[np.float64]

    def parts(self, member: int = 0) -> dict[str, NDArray[np.bool_]]:
        """Which rows a member used for what: three disjoint parts."""
        early = self.folds == member
        calibration = self.folds == self.members[member].calibration_fold
        return {"train": ~early & ~calibration, "early_stopping": early, "calibration": calibration}


@dataclass(frozen=True)
class Divided:
    """A development sample in the model's order, divided into the rows that train and those that decide nothing.

    `development` and `tested` hold the keys, the model's features and, where the sample has them, what the validation
    groups by; `development_label` and `label` are their outcomes.
    """

    features: tuple[Feature, ...]
    test_set: str
    test_date: dt.date
    development: pl.DataFrame
    development_label: NDArray[np.int64]
    tested: pl.DataFrame
    label: NDArray[np.int64]

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the model's features."""
        return tuple(feature.name for feature in self.features)


@dataclass(frozen=True)
class TrainingResult:
    """The default model of the platform with everything its validation and registration need.

    `metrics` are keyed by data set: `out_of_time` (or `out_of_sample` where the sample has one observation
    date), `calibration` (rows as predicted by the member that had left them out) and `train`. `development` and
    `tested` are the sample's rows with their keys, the model's features and, where the sample has them, what the
    validation groups by; `label` and `predicted` belong to `tested`.
    """

    model: DefaultModel
    encoders: Encoders
    parts: dict[str, int]
    metrics: dict[str, dict[str, Metric]]
    test_set: str
    test_date: dt.date
    leaks: list[str]
    label: NDArray[np.int64]
    predicted: NDArray[np.float64]
    trained: Fit
    development: pl.DataFrame
    development_label: NDArray[np.int64]
    tested: pl.DataFrame

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the model's features."""
        return self.model.columns

    @property
    def test_metrics(self) -> dict[str, Metric]:
        """The metrics on rows that decided nothing."""
        return self.metrics[self.test_set]


def _hash(groups: Any) -> NDArray[np.uint64]:
    """A number for each group, the same on every machine; in blocks, because text takes ten times its numbers."""
    blocks = range(0, max(len(groups), 1), BLOCK_ROWS)
    return np.concatenate(
        [pd.util.hash_array(np.asarray(groups[i : i + BLOCK_ROWS], dtype=str).astype(object)) for i in blocks]
    )


def assign_folds(label: NDArray[np.int64], groups: Any, seed: int) -> NDArray[np.int64]:
    """The fold (0 to 4) of each row: by hash of its group, else stratified by outcome.

    A group's rows stay together, and where they go depends on nothing but the group and the seed. Raises
    `ModelDataError` where a fold lacks one of the outcomes.
    """
    if groups is not None:
        hashed = _hash(groups)
        folds = ((hashed ^ np.uint64(seed)) * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(33)) % np.uint64(FOLDS)
        found = folds.astype(np.int64)
    else:
        found = np.empty(len(label), dtype=np.int64)
        rng = np.random.default_rng(seed)
        for outcome in (0, 1):
            rows = np.flatnonzero(label == outcome)
            found[rng.permutation(rows)] = np.arange(len(rows)) % FOLDS
    for fold in range(FOLDS):
        bad, size = int(label[found == fold].sum()), int((found == fold).sum())
        if not 0 < bad < size:
            raise ModelDataError(
                f"training: {len(label)} rows with {int(label.sum())} defaults are too few for {FOLDS} parts; "
                f"part {fold + 1} has {bad} defaults among {size} rows"
            )
    return found


def fit(
    frame: Frame,
    label: NDArray[np.int64],
    columns: Sequence[str],
    settings: ModelSettings,
    *,
    groups: Any = None,
    text: Sequence[str] | None = None,
    directions: dict[str, int] | None = None,
    members: int | None = None,
) -> Fit:
    """Train, stop early and calibrate on one table; every part is disjoint from the others in each member.

    `groups` keeps rows of one customer in one fold; `text` names categorical columns, by default those that
    hold words; `directions` (column -> +1 or -1) makes the trees monotone there; `members` is how many are trained
    and merged, by default as many as the size of the table asks for.
    """
    folds = assign_folds(label, groups, settings.seed)
    encoders, matrix = fit_encoders(frame, columns, label, folds, text)
    monotone = monotone_directions(columns, directions) if directions else None
    fitted = fit_members(matrix, label, folds, settings, monotone, members)
    margins = held_out_margins(fitted, matrix, folds)
    known = ~np.isnan(margins[:, 0])
    calibrator = fit_calibrator(settings.calibration, margins[known, 0], margins[known, 1], label[known])
    held_out = np.full(len(label), np.nan)
    held_out[known] = calibrator.probability(margins[known, 0], margins[known, 1])
    model = DefaultModel(
        booster=merge(fitted),
        line=mean_of([member.line for member in fitted]),
        calibrator=calibrator,
        columns=tuple(columns),
        usual=_medians(matrix),
        threshold=choose_threshold_by_cost(label[known], held_out[known], settings.cost_lgd, settings.cost_margin),
        rating_bounds=settings.rating_pd_bounds,
    )
    return Fit(model, encoders, fitted, folds, held_out)


def _medians(matrix: NDArray[np.float32]) -> NDArray[np.float64]:
    medians = np.full(matrix.shape[1], np.nan)
    for place in range(matrix.shape[1]):
        known = matrix[~np.isnan(matrix[:, place]), place]
        if len(known):
            medians[place] = np.median(known)
    return medians


def divide_sample(
    sample: pd.DataFrame | pl.DataFrame | pa.Table,
    settings: ModelSettings,
    features: Sequence[Feature] | None = None,
) -> Divided:
    """The older observation dates to train on and the newest to test on; of a single date a fifth of the customers.

    `sample` is gold/development_sample: `loan_id`, `customer_id`, `observation_date`, `default_12m` and the
    features. Rows are put in order of (observation_date, loan_id), so that nothing depends on how they arrive. Raises
    `ModelDataError` where the sample is too small or lacks a column.
    """
    chosen = tuple(features) if features is not None else model_features()
    names = [feature.name for feature in chosen]
    frame = as_frame(sample)
    table = frame if isinstance(frame, pl.DataFrame) else pl.from_pandas(frame, nan_to_null=True)
    del sample, frame  # millions of rows, unless the caller keeps them
    keys = ["loan_id", "customer_id", OBSERVATION_DATE, LABEL]
    missing = [name for name in (*keys, *names) if name not in table.columns]
    if missing:
        raise ModelDataError(f"development sample: the columns {', '.join(missing)} are missing")
    grouped = [name for name in analysed_columns() if name in table.columns and name not in names]
    # the model reads single precision: a table in it takes half the memory
    read = [pl.col(name).cast(pl.Float32) if table.schema[name] == pl.Float64 else pl.col(name) for name in names]
    table = table.select(*keys, *read, *grouped).sort(OBSERVATION_DATE, "loan_id")
    label = table[LABEL].to_numpy().astype(np.int64)
    _check_size(label, settings)

    dates = table[OBSERVATION_DATE].cast(pl.Date)
    newest: Any = dates.max()
    if dates.n_unique() > 1:
        test = (dates == newest).to_numpy()
        size = int(test.sum())  # the newest rows are the last ones: both parts are views
        return Divided(chosen, "out_of_time", newest, table.head(-size), label[:-size], table.tail(size), label[-size:])
    test = _hash(table["customer_id"].cast(pl.String)) % np.uint64(TEST_BUCKETS) == 0
    return Divided(chosen, "out_of_sample", newest, table.filter(~test), label[~test], table.filter(test), label[test])


def train_default_model(
    sample: pd.DataFrame | pl.DataFrame | pa.Table | Divided,
    settings: ModelSettings,
    *,
    features: Sequence[Feature] | None = None,
    replicates: int = 0,
    members: int | None = None,
) -> TrainingResult:
    """Train on the older observation dates and test on the newest, which decides nothing (see `divide_sample`).

    `features` are by default those of the model, or those that a divided sample has; `replicates` > 0 adds bootstrap
    intervals; `members` as in `fit`. Raises `ModelDataError` where the sample is too small or lacks a column.
    """
    sample = sample if isinstance(sample, Divided) else divide_sample(sample, settings, features)
    names = list(sample.columns)
    trained = fit(
        sample.development,
        sample.development_label,
        names,
        settings,
        groups=sample.development["customer_id"],
        text=[feature.name for feature in sample.features if feature.type == "string"],
        directions=business_directions(names) if settings.monotone == "business" else None,
        members=members,
    )
    matrix = trained.encoders.transform(sample.tested)
    predicted = trained.model.probability(matrix)
    metrics = _metrics(trained, sample, predicted, settings, replicates)
    parts = {name: int(mask.sum()) for name, mask in trained.parts().items()}
    return TrainingResult(
        model=trained.model,
        encoders=trained.encoders,
        parts=parts | {sample.test_set: len(sample.label)},
        metrics=metrics,
        test_set=sample.test_set,
        test_date=sample.test_date,
        leaks=leak_findings(matrix, names, sample.label, metrics[sample.test_set]["auc"].value, settings),
        label=sample.label,
        predicted=predicted,
        trained=trained,
        development=sample.development,
        development_label=sample.development_label,
        tested=sample.tested,
    )


def _check_size(label: NDArray[np.int64], settings: ModelSettings) -> None:
    if len(label) < settings.minimum_sample_loans:
        raise ModelDataError(
            f"development sample: {len(label)} loans, at least {settings.minimum_sample_loans} are needed "
            "(setting model.minimum_sample_loans); land full tapes that are twelve months apart"
        )
    bad = int(label.sum())
    if bad < settings.minimum_defaults or bad == len(label):
        raise ModelDataError(
            f"development sample: {bad} defaults among {len(label)} loans, at least "
            f"{settings.minimum_defaults} of both outcomes are needed (setting model.minimum_defaults)"
        )


def _metrics(
    trained: Fit, sample: Divided, predicted: NDArray[np.float64], settings: ModelSettings, replicates: int
) -> dict[str, dict[str, Metric]]:
    model, development = trained.model, sample.development
    known = ~np.isnan(trained.held_out)
    fitted = np.concatenate(
        [
            model.probability(trained.encoders.transform(development[place : place + BLOCK_ROWS]))
            for place in range(0, len(development), BLOCK_ROWS)
        ]
    )

    def judge(label: NDArray[np.int64], pds: NDArray[np.float64], replicates: int = 0) -> dict[str, Metric]:
        return evaluate(
            label,
            pds,
            model.threshold,
            replicates=replicates,
            seed=settings.seed,
            bounds=settings.rating_pd_bounds,
            costs=(settings.cost_lgd, settings.cost_margin),
        )

    return {
        sample.test_set: judge(sample.label, predicted, replicates),
        "calibration": judge(sample.development_label[known], trained.held_out[known]),
        "train": judge(sample.development_label, fitted),
    }


def analysed_columns() -> tuple[str, ...]:
    """What the validation reads beside the model's features: the protected ones and the groups."""
    used = {feature.name for feature in model_features()}
    protected = [feature.name for feature in model_features(protected=True) if feature.name not in used]
    return (*protected, *ANALYSED)


def business_directions(columns: Sequence[str]) -> dict[str, int]:
    """The direction that the business expects of each feature, where it expects one."""
    return {name: BY_NAME[name].direction for name in columns if name in BY_NAME and BY_NAME[name].direction}
