"""What simpler models reach on the same rows, and what the model's own restrictions cost.

Benchmarks (logistic regression, scorecard) are set against the champion itself. Variants of the model (without
monotone constraints, with the protected attributes) are set against the model trained as they are: one member, whose
single difference from the variant is the restriction that is measured.
"""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from credit_risk_assets.credit.feature import Feature
from credit_risk_assets.credit.features import BY_NAME, model_features
from credit_risk_assets.modelling.evaluate import delong_difference, delong_interval
from credit_risk_assets.modelling.figures import Figure
from credit_risk_assets.modelling.frames import numbers
from credit_risk_assets.modelling.metrics import measure, ranked
from credit_risk_assets.modelling.scorecard import SCORECARD, SCORECARD_FEATURES, fit_scorecard
from credit_risk_assets.modelling.train import BLOCK_ROWS, business_directions, fit

if TYPE_CHECKING:
    from credit_risk_assets.config.settings import ModelSettings
    from credit_risk_assets.modelling.train import Divided, TrainingResult

BENCHMARK = "benchmark"
CHAMPION = "champion"
SINGLE = "champion_single_member"
LOGISTIC, UNCONSTRAINED, PROTECTED = "logistic_regression", "unconstrained", "protected"
COMPARED_ROWS = 100_000
"""Benchmarks and variants train on this many development rows at most, chosen by chance."""

KIND_ROWS = 20
"""The logistic regression has an indicator for each word that so many development rows hold."""
_CONSTANT = 1e-12

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Compared:
    """What the comparisons train on and are judged by; nothing of the model, so that they can train beside it."""

    columns: tuple[str, ...]
    development: pl.DataFrame
    label: NDArray[np.int64]
    tested: pl.DataFrame


@dataclass(frozen=True)
class Rival:
    """PD of the test rows by a benchmark or a variant, and how many features it reads."""

    predicted: Floats
    features: int


@dataclass(frozen=True)
class Rivals:
    """Every benchmark and variant by name, and the scorecard's points."""

    trained: dict[str, Rival]
    points: list[Figure]


def compared_rows(sample: Divided | TrainingResult, settings: ModelSettings) -> Compared:
    """The part of a development sample that the comparisons need."""
    development, label = sample.development, sample.development_label
    if len(label) > COMPARED_ROWS:
        chosen = np.sort(np.random.default_rng(settings.seed).choice(len(label), COMPARED_ROWS, replace=False))
        development, label = development[chosen.tolist()], label[chosen]
    return Compared(sample.columns, development, label, sample.tested)


def train_rivals(rows: Compared, settings: ModelSettings) -> Rivals:
    """Train what `settings.benchmarks` names: `logistic_regression`, `scorecard`, `unconstrained`, `protected`.

    The scorecard is made of the features from which one member of the model gains most. Outcomes of the test rows are
    not known here.
    """
    from threadpoolctl import threadpool_limits

    chosen = [BY_NAME[name] for name in rows.columns if name in BY_NAME]
    variants = _variants(rows, settings)
    if variants or SCORECARD in settings.benchmarks:
        variants = {SINGLE: (chosen, settings), **variants}
    # Each variant trains on one thread beside the benchmarks: threads that share a small table wait for each other
    # longer than they compute. What the trainings set for the process (BLAS threads, warnings) is set here as a whole,
    # because they would put it back in any order.
    with (
        warnings.catch_warnings(),
        threadpool_limits(limits=1, user_api="blas"),
        ThreadPoolExecutor(settings.threads) as pool,
    ):
        warnings.simplefilter("ignore")  # whichever training puts its own filters back, these stay
        pending = {name: pool.submit(_single, rows, *variant) for name, variant in variants.items()}
        trained: dict[str, Rival] = {}
        points: list[Figure] = []
        if LOGISTIC in settings.benchmarks:
            trained[LOGISTIC] = Rival(_logistic(rows), len(rows.columns))
        if SCORECARD in settings.benchmarks:
            _, strongest = pending[SINGLE].result()
            card = fit_scorecard(
                rows.development,
                rows.label,
                rows.tested,
                _scorecard_columns(rows, strongest),
                text=_text(model_features()),
                directions=business_directions(rows.columns),
                seed=settings.seed,
            )
            trained[SCORECARD] = Rival(card.predicted, card.features)
            points = card.points
        for name, (features, _) in variants.items():
            trained[name] = Rival(pending[name].result()[0], len(features))
    if len(variants) < 2:  # the scorecard alone had need of it
        trained.pop(SINGLE, None)
    return Rivals(trained, points)


def benchmark_figures(result: TrainingResult, rivals: Rivals, settings: ModelSettings) -> list[Figure]:
    """AUC (DeLong), KS, Brier, ECE and expected cost of the model, of each benchmark and of each variant.

    `auc_change` (DeLong's paired interval), `ece_change` and `expected_cost_change` are this model's figure minus its
    reference's: the champion for `logistic_regression` and `scorecard`, `champion_single_member` for `unconstrained`
    and `protected`. So the `auc_change` of `unconstrained` is the price of the constraints and that of `protected` the
    price of leaving the protected attributes out; that variant is measured and never kept. `expected_cost` is per
    loan, as a share of the amount, where loans are declined from the PD cost_margin / (cost_margin + cost_lgd) on,
    which costs least where probabilities are right (Elkan 2001).
    """
    models = {CHAMPION: Rival(result.predicted, len(result.columns)), **rivals.trained}
    judged = {name: _numbers(result.label, model.predicted, settings) for name, model in models.items()}
    references = {LOGISTIC: CHAMPION, SCORECARD: CHAMPION, UNCONSTRAINED: SINGLE, PROTECTED: SINGLE}
    figures = []
    for name, model in models.items():
        auc = delong_interval(result.label, model.predicted)
        figures += [
            Figure(BENCHMARK, name, "", "auc", auc.value, auc.lower, auc.upper),
            *(Figure(BENCHMARK, name, "", metric, value) for metric, value in judged[name].items()),
            Figure(BENCHMARK, name, "", "features", float(model.features)),
        ]
        if name in references:
            other = references[name]
            auc = delong_difference(result.label, model.predicted, models[other].predicted)
            figures.append(Figure(BENCHMARK, name, "", "auc_change", auc.value, auc.lower, auc.upper))
            for metric in ("ece", "expected_cost"):
                change = judged[name][metric] - judged[other][metric]
                figures.append(Figure(BENCHMARK, name, "", f"{metric}_change", change))
    return figures + rivals.points


def _text(features: tuple[Feature, ...] | list[Feature]) -> list[str]:
    return [feature.name for feature in features if feature.type == "string"]


def _variants(rows: Compared, settings: ModelSettings) -> dict[str, tuple[list[Feature], ModelSettings]]:
    """Features and settings of each variant asked for, where it differs from the model and can be trained."""
    used = [BY_NAME[name] for name in rows.columns if name in BY_NAME]
    found: dict[str, tuple[list[Feature], ModelSettings]] = {}
    if UNCONSTRAINED in settings.benchmarks and settings.monotone != "none":
        found[UNCONSTRAINED] = (used, settings.model_copy(update={"monotone": "none"}))
    names = {feature.name for feature in used}
    added = [
        feature
        for feature in model_features(protected=True)
        if feature.protected and feature.name not in names and feature.name in rows.development.columns
    ]
    if PROTECTED in settings.benchmarks and added:
        found[PROTECTED] = ([*used, *added], settings)
    return found


def _single(rows: Compared, features: list[Feature], settings: ModelSettings) -> tuple[Floats, list[str]]:
    """PD of the test rows by the platform's training of one member on these features, and these by gain."""
    names = [feature.name for feature in features]
    trained = fit(
        rows.development,
        rows.label,
        names,
        settings.model_copy(update={"threads": 1}),
        groups=rows.development["customer_id"].to_numpy(),
        text=_text(features),
        directions=business_directions(names) if settings.monotone == "business" else None,
        members=1,
    )
    return trained.model.probability(trained.encoders.transform(rows.tested)), list(trained.model.importance())


def _scorecard_columns(rows: Compared, strongest: list[str]) -> list[str]:
    """The features that the trees gain most from, of those that have values."""
    known = [n for n in dict.fromkeys([*strongest, *rows.columns]) if rows.development[n].n_unique() > 1]
    return known[:SCORECARD_FEATURES]


def _logistic(rows: Compared) -> Floats:
    """A plain logistic regression: gaps to the median and marked, numbers scaled, words as indicators."""
    from sklearn.linear_model import LogisticRegression

    text = [name for name in rows.columns if name in _text(model_features())]
    numeric = [name for name in rows.columns if name not in text and not rows.development[name].is_null().all()]
    kinds = {name: _kinds(rows.development[name]) for name in text}

    def table(frame: pl.DataFrame) -> Floats:
        values = np.column_stack([numbers(frame[name]) for name in numeric]).astype(float)
        marked = [(frame[name].cast(pl.String) == kind).fill_null(False) for name in text for kind in kinds[name]]
        return np.column_stack((values, *(column.to_numpy() for column in marked)))

    matrix, size = table(rows.development), len(numeric)
    usual = np.nanmedian(matrix[:, :size], axis=0)
    holed = np.flatnonzero(np.isnan(matrix[:, :size]).any(axis=0))

    def filled(matrix: Floats) -> Floats:
        gaps = np.isnan(matrix[:, :size])
        matrix[:, :size] = np.where(gaps, usual, matrix[:, :size])
        return np.column_stack((matrix, gaps[:, holed]))

    matrix = filled(matrix)
    mean, spread = matrix.mean(axis=0), matrix.std(axis=0)
    spread[spread < _CONSTANT] = 1.0
    line = LogisticRegression(max_iter=500, solver="newton-cholesky").fit((matrix - mean) / spread, rows.label)
    blocks = (rows.tested[place : place + BLOCK_ROWS] for place in range(0, len(rows.tested), BLOCK_ROWS))
    return np.concatenate([line.predict_proba((filled(table(block)) - mean) / spread)[:, 1] for block in blocks])


def _kinds(column: pl.Series) -> list[str]:
    """The words that have an indicator of their own; the others have none."""
    counts = column.cast(pl.String).drop_nulls().value_counts()
    return sorted(counts.filter(pl.col("count") >= KIND_ROWS)[column.name].to_list())


def _numbers(outcome: NDArray[np.int64], predicted: Floats, settings: ModelSettings) -> dict[str, float]:
    threshold = settings.cost_margin / (settings.cost_margin + settings.cost_lgd)
    found = measure(ranked(outcome, predicted), threshold, costs=(settings.cost_lgd, settings.cost_margin))
    return {metric: found[metric] for metric in ("ks", "brier", "ece", "expected_cost")}
