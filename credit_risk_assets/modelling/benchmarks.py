"""What simpler models reach on the same rows, and what the model's own restrictions cost.

Benchmarks (logistic regression, scorecard) are set against the champion itself. Variants of the model (without
monotone constraints, with the protected attributes) are set against the model trained as they are: one member, whose
single difference from the variant is the restriction that is measured.
"""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from credit_risk_assets.credit.feature import Feature
from credit_risk_assets.credit.features import BY_NAME, model_features
from credit_risk_assets.modelling.evaluate import delong_difference, delong_interval
from credit_risk_assets.modelling.figures import Figure
from credit_risk_assets.modelling.metrics import measure, ranked
from credit_risk_assets.modelling.scorecard import SCORECARD, SCORECARD_FEATURES, fit_scorecard
from credit_risk_assets.modelling.train import business_directions, fit

if TYPE_CHECKING:
    import polars as pl

    from credit_risk_assets.config.settings import ModelSettings
    from credit_risk_assets.modelling.train import TrainingResult

BENCHMARK = "benchmark"
CHAMPION = "champion"
SINGLE = "champion_single_member"
LOGISTIC, UNCONSTRAINED, PROTECTED = "logistic_regression", "unconstrained", "protected"
COMPARED_ROWS = 100_000
"""Benchmarks and variants train on this many development rows at most, chosen by chance."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Compared:
    """What the comparisons train on and are judged by: the model, its features by gain, and rows."""

    columns: tuple[str, ...]
    strongest: tuple[str, ...]
    development: pl.DataFrame
    label: NDArray[np.int64]
    tested: pl.DataFrame
    outcome: NDArray[np.int64]
    predicted: Floats


def benchmark_figures(rows: Compared, settings: ModelSettings) -> list[Figure]:
    """AUC (DeLong), KS, Brier, ECE and expected cost of the model, of each benchmark and of each variant.

    `auc_change` (DeLong's paired interval), `ece_change` and `expected_cost_change` are this model's figure minus its
    reference's: the champion for `logistic_regression` and `scorecard`, `champion_single_member` for `unconstrained`
    and `protected`. So the `auc_change` of `unconstrained` is the price of the constraints and that of `protected` the
    price of leaving the protected attributes out; that variant is measured and never kept. `expected_cost` is per
    loan, as a share of the amount, where loans are declined from the PD cost_margin / (cost_margin + cost_lgd) on,
    which costs least where probabilities are right (Elkan 2001). `settings.benchmarks` chooses what is compared.
    """
    from threadpoolctl import threadpool_limits

    chosen = [BY_NAME[name] for name in rows.columns if name in BY_NAME]
    variants = _variants(rows, settings)
    # Each variant trains on one thread beside the benchmarks: threads that share a small table wait for each other
    # longer than they compute. What the trainings set for the process (BLAS threads, warnings) is set here as a whole,
    # because they would put it back in any order.
    with (
        warnings.catch_warnings(),
        threadpool_limits(limits=1, user_api="blas"),
        ThreadPoolExecutor(settings.threads) as pool,
    ):
        trained = {name: pool.submit(_single, rows, *variant) for name, variant in variants.items()}
        single = pool.submit(_single, rows, chosen, settings) if variants else None
        simpler = _benchmarks(rows, settings)
    figures = [
        *_measured(CHAMPION, rows.outcome, rows.predicted, settings, len(chosen)),
        *simpler,
    ]
    if single is not None:
        reference = single.result()
        figures += _measured(SINGLE, rows.outcome, reference, settings, len(chosen))
        for name, (features, _) in variants.items():
            figures += _compared(name, rows.outcome, trained[name].result(), reference, settings, len(features))
    return figures


def _benchmarks(rows: Compared, settings: ModelSettings) -> list[Figure]:
    columns = rows.columns
    figures = []
    if LOGISTIC in settings.benchmarks:
        predicted = _logistic(rows, columns)
        figures += _compared(LOGISTIC, rows.outcome, predicted, rows.predicted, settings, len(columns))
    if SCORECARD in settings.benchmarks:
        card = fit_scorecard(
            rows.development,
            rows.label,
            rows.tested,
            _scorecard_columns(rows),
            text=_text(model_features()),
            directions=business_directions(columns),
            seed=settings.seed,
        )
        figures += _compared(SCORECARD, rows.outcome, card.predicted, rows.predicted, settings, card.features)
        figures += card.points
    return figures


def compared_rows(result: TrainingResult, settings: ModelSettings) -> Compared:
    """The part of a training that its benchmarks need."""
    development, label = result.development, result.development_label
    if len(label) > COMPARED_ROWS:
        chosen = np.sort(np.random.default_rng(settings.seed).choice(len(label), COMPARED_ROWS, replace=False))
        development, label = development[chosen.tolist()], label[chosen]
    columns = tuple(result.model.columns)
    strongest = tuple(result.model.importance())
    return Compared(columns, strongest, development, label, result.tested, result.label, result.predicted)


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


def _single(rows: Compared, features: list[Feature], settings: ModelSettings) -> Floats:
    """PD of the test rows by the platform's training of one member on these features."""
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
    return trained.model.probability(trained.encoders.transform(rows.tested))


def _scorecard_columns(rows: Compared) -> list[str]:
    """The features that the trees gain most from, of those that have values."""
    known = [n for n in dict.fromkeys([*rows.strongest, *rows.columns]) if rows.development[n].n_unique() > 1]
    return known[:SCORECARD_FEATURES]


def _logistic(rows: Compared, columns: tuple[str, ...]) -> Floats:
    """A plain logistic regression: gaps to the median and marked, numbers scaled, words as indicators."""
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    words = [name for name in columns if name in _text(model_features())]
    numeric = [name for name in columns if name not in words and not rows.development[name].is_null().all()]
    line: Any = make_pipeline(
        make_column_transformer(
            (make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler()), numeric),
            (OneHotEncoder(handle_unknown="ignore", min_frequency=20), words),
        ),
        LogisticRegression(max_iter=500, solver="newton-cholesky"),
    )

    def table(frame: pl.DataFrame) -> Any:
        return frame.select(*numeric, *words).to_pandas()

    line.fit(table(rows.development), rows.label)
    found: Floats = line.predict_proba(table(rows.tested))[:, 1]
    return found


def _measured(
    name: str, outcome: NDArray[np.int64], predicted: Floats, settings: ModelSettings, features: int
) -> list[Figure]:
    auc = delong_interval(outcome, predicted)
    found = _numbers(outcome, predicted, settings)
    return [
        Figure(BENCHMARK, name, "", "auc", auc.value, auc.lower, auc.upper),
        *(Figure(BENCHMARK, name, "", metric, value) for metric, value in found.items()),
        Figure(BENCHMARK, name, "", "features", float(features)),
    ]


def _numbers(outcome: NDArray[np.int64], predicted: Floats, settings: ModelSettings) -> dict[str, float]:
    threshold = settings.cost_margin / (settings.cost_margin + settings.cost_lgd)
    found = measure(ranked(outcome, predicted), threshold, costs=(settings.cost_lgd, settings.cost_margin))
    return {metric: found[metric] for metric in ("ks", "brier", "ece", "expected_cost")}


def _compared(
    name: str,
    outcome: NDArray[np.int64],
    predicted: Floats,
    reference: Floats,
    settings: ModelSettings,
    features: int,
) -> list[Figure]:
    auc = delong_difference(outcome, predicted, reference)
    now, before = _numbers(outcome, predicted, settings), _numbers(outcome, reference, settings)
    changes = {f"{metric}_change": now[metric] - before[metric] for metric in ("ece", "expected_cost")}
    return [
        *_measured(name, outcome, predicted, settings, features),
        Figure(BENCHMARK, name, "", "auc_change", auc.value, auc.lower, auc.upper),
        *(Figure(BENCHMARK, name, "", metric, value) for metric, value in changes.items()),
    ]
