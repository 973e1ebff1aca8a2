"""Canaries that die where outcomes leak: the training must learn nothing from labels without meaning."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import polars as pl
from numpy.typing import NDArray
from scipy import stats

from credit_risk_assets.credit.features import BY_NAME
from credit_risk_assets.modelling.boosting import held_out_margins
from credit_risk_assets.modelling.encode import fit_encoders
from credit_risk_assets.modelling.evaluate import delong_interval, leak_findings
from credit_risk_assets.modelling.figures import Figure
from credit_risk_assets.modelling.groups import group_names, parted
from credit_risk_assets.modelling.sample import LABEL, OBSERVATION_DATE
from credit_risk_assets.modelling.train import train_default_model

if TYPE_CHECKING:
    from credit_risk_assets.config.settings import ModelSettings
    from credit_risk_assets.modelling.train import TrainingResult

CANARY = "canary"
PERMUTED = "permuted_labels"
PLANTED = "planted_column"
_Z = float(stats.norm.ppf(0.975))
PERMUTATIONS = 3
CANARY_ROWS = 6_000
CANARY_TREES = 10
CANARY_DEPTH = 3
FALSE_ALARM = 0.001
"""How often an honest training is suspected, at each of the two places that are looked at."""


def canary_figures(result: TrainingResult, settings: ModelSettings) -> list[Figure]:
    """Both canaries on the rows of a training (see `permuted_labels` and `planted_column`)."""
    return permuted_labels(result, settings) + planted_column(
        result.encoders.transform(result.tested), result.label, settings
    )


def canary_findings(figures: Iterable[Figure]) -> list[str]:
    """What the canaries among the figures found, one line each; empty where all is well."""
    found = {(f.subject, f.item, f.metric): f.value for f in figures if f.analysis == CANARY}
    findings = []
    for (subject, item, metric), value in found.items():
        if metric == "passed" and not value:
            auc, bound = found[subject, item, "auc"], found[subject, item, "auc_distance_bound"]
            findings.append(
                f"training: AUC {auc:.3f} on permuted labels ({item}), {0.5 - bound:.3f} to {0.5 + bound:.3f} "
                "expected: an outcome reaches its own prediction; look at the folds, the encoding and the split"
            )
        if metric == "caught" and not value:
            findings.append(
                "leak guard: it does not find a planted column that restates the outcome; no model may be trusted"
            )
    return findings


def permute_by_customer(
    label: NDArray[np.int64], customers: NDArray[np.object_], rng: np.random.Generator
) -> NDArray[np.int64]:
    """The labels dealt out anew: a customer gets all those of another customer with as many rows.

    So the share of bad rows and what one customer's rows have in common stay; what they have to do with the
    features goes.
    """
    _, codes = np.unique(customers.astype(str), return_inverse=True)
    counts = np.bincount(codes)
    order = np.argsort(codes, kind="stable")
    starts = np.cumsum(counts) - counts
    dealt = np.empty_like(label)
    for size in np.unique(counts):
        owners = np.flatnonzero(counts == size)
        rows = order[starts[owners][:, np.newaxis] + np.arange(size)]
        dealt[rows] = label[rows[rng.permutation(len(owners))]]
    return dealt


def permuted_labels(result: TrainingResult, settings: ModelSettings) -> list[Figure]:
    """Train on labels without meaning and judge by them: an AUC beside 0.5 is a leak.

    The platform's own training on the result's sample, small: one member, few shallow trees, about `CANARY_ROWS`
    rows, averaged over `PERMUTATIONS`. Labels move between customers within an observation date. Looked at are the test
    rows (did they reach the training?) and the trees' margins of the rows left to calibration (did a row's own outcome
    reach its features, or another row of its customer the training?). Where neither did, the AUC stays within
    z * sqrt(d (m + n + 1) / (12 m n) / permutations) of 0.5: the variance of the Mann-Whitney statistic under no
    relation, with m bad and n good rows, d being how many rows of one customer a row is among, because those are not
    independent.
    """
    rng = np.random.default_rng(settings.seed)
    sample = _sampled(pl.concat([result.development, result.tested]), rng)
    features = [BY_NAME[name] for name in result.model.columns]
    small = settings.model_copy(
        update={
            "n_estimators": CANARY_TREES,
            "max_depth": CANARY_DEPTH,
            "minimum_sample_loans": 100,
            "minimum_defaults": 10,
            "threads": 1,
        }
    )
    places: dict[str, list[_Chance]] = {}
    for _ in range(PERMUTATIONS):
        permuted = sample.with_columns(pl.Series(LABEL, _permuted(sample, rng)))
        trained = train_default_model(permuted, small, features=features, members=1)
        found = {
            trained.test_set: _chance(trained.label, trained.predicted, trained.tested["customer_id"]),
            "held_out": _held_out(trained),
        }
        for place, chance in found.items():
            places.setdefault(place, []).append(chance)
    figures = []
    for place, chances in places.items():
        auc = float(np.mean([chance.auc for chance in chances]))
        spread = math.sqrt(sum(chance.variance for chance in chances)) / len(chances)
        bound = float(stats.norm.isf(FALSE_ALARM / 2)) * spread
        figures += [
            Figure(CANARY, PERMUTED, place, "auc", auc, auc - _Z * spread, auc + _Z * spread),
            Figure(CANARY, PERMUTED, place, "auc_distance_bound", bound),
            Figure(CANARY, PERMUTED, place, "passed", float(abs(auc - 0.5) <= bound)),
        ]
    return [*figures, Figure(CANARY, PERMUTED, "", "n", float(sample.height))]


@dataclass(frozen=True)
class _Chance:
    """An AUC and its variance where predictions know nothing of outcomes."""

    auc: float
    variance: float


def _chance(label: NDArray[np.int64], predicted: NDArray[np.floating], customers: pl.Series) -> _Chance:
    bad = int(label.sum())
    good = len(label) - bad
    counts = customers.value_counts()["count"].to_numpy().astype(float)
    clustering = float((counts**2).sum() / counts.sum())
    return _Chance(delong_interval(label, predicted).value, clustering * (bad + good + 1) / (12 * bad * good))


def _held_out(trained: TrainingResult) -> _Chance:
    """The trees' margins alone: the calibrator has seen these rows."""
    fitted, label = trained.trained, trained.development_label
    text = list(trained.encoders.categories)
    _, matrix = fit_encoders(trained.development, trained.model.columns, label, fitted.folds, text)
    rows = fitted.folds == fitted.members[0].calibration_fold
    margins = held_out_margins(fitted.members, matrix, fitted.folds)[rows, 0]
    return _chance(label[rows], margins, trained.development["customer_id"].filter(pl.Series(rows)))


def _sampled(sample: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    """Whole customers, until there are rows enough."""
    codes, names = pd.factorize(sample["customer_id"].cast(pl.String).to_numpy())
    share = min(1.0, CANARY_ROWS / sample.height)
    return sample.filter(pl.Series(rng.permutation(len(names))[codes] < len(names) * share))


def _permuted(sample: pl.DataFrame, rng: np.random.Generator) -> NDArray[np.int64]:
    label = sample[LABEL].to_numpy().astype(np.int64)
    customers = sample["customer_id"].cast(pl.String).to_numpy().astype(object)
    found = np.empty_like(label)
    for _, rows in parted(group_names(sample[OBSERVATION_DATE])):
        found[rows] = permute_by_customer(label[rows], customers[rows], rng)
    return found


def plant_canary(label: NDArray[np.int64], settings: ModelSettings) -> NDArray[np.float32]:
    """A column that restates the outcome under some noise, as a leak would: its AUC alone is beyond the maximum."""
    rng = np.random.default_rng(settings.seed)
    # AUC of a normal shift by s is N(s / sqrt 2)
    shift = math.sqrt(2) * float(stats.norm.ppf(min(0.995, (1 + settings.maximum_single_feature_auc) / 2)))
    return (label * shift + rng.normal(size=len(label))).astype(np.float32)


def planted_column(matrix: NDArray[np.float32], label: NDArray[np.int64], settings: ModelSettings) -> list[Figure]:
    """Whether the leak guard finds a column that restates the outcome; a guard that does not is broken."""
    planted = np.column_stack((matrix[:, :1], plant_canary(label, settings)))
    findings = leak_findings(planted, ["first", "canary"], label, 0.5, settings)
    caught = any(finding.startswith("feature canary:") for finding in findings)
    return [Figure(CANARY, PLANTED, "", "caught", float(caught))]
