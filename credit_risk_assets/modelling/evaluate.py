"""Judges a default model: metrics with intervals, calibration tests, rating grades, and guards against leaks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from credit_risk_assets.config.settings import ModelSettings
from credit_risk_assets.config.tables import RISK_RATINGS
from credit_risk_assets.credit.rating import risk_rating
from credit_risk_assets.modelling.errors import ModelDataError
from credit_risk_assets.modelling.metrics import Ranked, cells, measure, ranked

Floats = NDArray[np.float64]
BOOTSTRAP_REPLICATES = 200
_SLOPE_PENALTY, _NEWTON_STEPS, _STEP_ENDS, _TINY = 1e-6, 50, 1e-9, 1e-12
GUARD_ROWS = 100_000
"""Leak guards look at this many rows at most: an AUC of 0.95 shows in far fewer."""


@dataclass(frozen=True)
class Metric:
    """One figure with its 95 % interval; the bounds are None where none is defined."""

    value: float
    lower: float | None = None
    upper: float | None = None


@dataclass(frozen=True)
class GradeTest:
    """One rating grade: predicted against observed, with the Jeffreys interval of the observed rate."""

    rating: str
    loans: int
    defaults: int
    mean_pd: float
    observed_rate: float
    lower: float
    upper: float

    @property
    def holds(self) -> bool:
        """Whether the mean PD lies inside the interval."""
        return self.lower <= self.mean_pd <= self.upper


def _checked(label: Any, pd_12m: Any) -> tuple[NDArray[np.int64], Floats]:
    outcomes, pds = np.asarray(label, dtype=np.int64), np.asarray(pd_12m, dtype=float)
    if len(outcomes) != len(pds):
        raise ModelDataError(f"evaluation: {len(outcomes)} outcomes but {len(pds)} probabilities")
    if not 0 < outcomes.sum() < len(outcomes):
        raise ModelDataError(f"evaluation: {len(outcomes)} rows hold only one outcome; both are needed")
    if np.isnan(pds).any():
        raise ModelDataError(f"evaluation: {int(np.isnan(pds).sum())} probabilities are missing")
    return outcomes, pds


def _placements(outcomes: NDArray[np.int64], pds: Floats) -> tuple[Floats, Floats]:
    """For each bad row the share of good ones that it passes, for each good row the share of bad ones that pass it.

    In the order of the rows; of equal probabilities half count.
    """
    order = np.argsort(pds, kind="stable")  # rows that come sorted cost one look
    last = np.flatnonzero(np.append(np.diff(pds[order]) != 0, True))
    bads = np.cumsum(outcomes[order])[last]
    goods = last + 1 - bads
    sizes = np.diff(last, prepend=-1)
    passed = (goods + np.concatenate(([0], goods[:-1]))) / (2 * goods[-1])
    passing = 1 - (bads + np.concatenate(([0], bads[:-1]))) / (2 * bads[-1])
    placed = np.empty(len(pds))
    placed[order] = np.where(outcomes[order] == 1, np.repeat(passed, sizes), np.repeat(passing, sizes))
    return placed[outcomes == 1], placed[outcomes == 0]


def delong_interval(label: Any, pd_12m: Any, level: float = 0.95) -> Metric:
    """AUC with DeLong's interval (DeLong, DeLong and Clarke-Pearson 1988, by mid-ranks)."""
    outcomes, pds = _checked(label, pd_12m)
    bad, good = _placements(outcomes, pds)
    auc = float(bad.mean())
    variance = sum(float(placed.var(ddof=1)) / len(placed) for placed in (bad, good) if len(placed) > 1)
    if min(len(bad), len(good)) < 2:
        variance = 0.0
    reach = float(stats.norm.ppf(0.5 + level / 2)) * math.sqrt(variance)
    return Metric(auc, max(0.0, auc - reach), min(1.0, auc + reach))


def _bootstrap(
    rows: Ranked, threshold: float, costs: tuple[float, float] | None, replicates: int, seed: int
) -> dict[str, tuple[float, float]]:
    """The 95 % interval of each metric.

    A replicate draws as many rows as there are, with replacement: how many of each cell, not which ones (see
    `metrics.cells`), so that its cost does not grow with the table. What a cell's width does to a metric itself is
    taken out of the interval.
    """
    rng = np.random.default_rng(seed)
    parts, counts = cells(rows, threshold)
    whole, centre = measure(rows, threshold, costs=costs), measure(parts, threshold, counts.astype(float), costs=costs)
    found: dict[str, list[float]] = {}
    for weights in rng.multinomial(len(rows.pd), counts / counts.sum(), size=replicates).astype(float):
        if not 0 < float(np.dot(weights, parts.bad)) < weights.sum():
            continue
        for name, value in measure(parts, threshold, weights, costs=costs).items():
            found.setdefault(name, []).append(value)
    intervals = {}
    for name, values in found.items():
        low, high = np.quantile(values, (0.025, 0.975)) + (whole[name] - centre[name])
        intervals[name] = (float(low), float(high))
    return intervals


def evaluate(
    label: Any,
    pd_12m: Any,
    threshold: float,
    *,
    replicates: int = 0,
    seed: int = 0,
    bounds: Sequence[float],
    costs: tuple[float, float] | None = None,
) -> dict[str, Metric]:
    """Every metric of the predictions, by name (see `metrics.measure`), and the tests of their calibration.

    AUC and Gini carry DeLong's interval; with `replicates` > 0 the others carry a bootstrap interval. Beside
    them: `hosmer_lemeshow` and `spiegelhalter_z` with their p-values, `calibration_slope` and
    `calibration_intercept` (1 and 0 are perfect), `grades_outside` (rating grades whose mean PD lies outside the
    Jeffreys interval), `n`. Raises `ModelDataError` where only one outcome occurs.
    """
    outcomes, pds = _checked(label, pd_12m)
    rows = ranked(outcomes, pds)
    intervals = _bootstrap(rows, threshold, costs, replicates, seed) if replicates else {}
    found = {
        name: Metric(value, *intervals.get(name, (None, None)))
        for name, value in measure(rows, threshold, costs=costs).items()
    }
    auc = delong_interval(outcomes, pds)
    found["auc"] = auc
    found["gini"] = Metric(2 * auc.value - 1, 2 * (auc.lower or 0) - 1, 2 * (auc.upper or 0) - 1)
    statistic, p_value = hosmer_lemeshow(outcomes, pds)
    found["hosmer_lemeshow"], found["hosmer_lemeshow_p"] = Metric(statistic), Metric(p_value)
    z, p_value = spiegelhalter(outcomes, pds)
    found["spiegelhalter_z"], found["spiegelhalter_p"] = Metric(z), Metric(p_value)
    slope, intercept = calibration_line(outcomes, pds)
    found["calibration_slope"], found["calibration_intercept"] = Metric(slope), Metric(intercept)
    grades = grade_tests(outcomes, pds, bounds)
    found["grades_outside"] = Metric(float(sum(not grade.holds for grade in grades)))
    found["threshold"] = Metric(threshold)
    found["n"] = Metric(float(len(outcomes)))
    return found


def hosmer_lemeshow(label: Any, pd_12m: Any, groups: int = 10) -> tuple[float, float]:
    """Statistic and p-value over equal-count groups, with as many degrees of freedom as groups.

    Out of sample nothing was fitted, so none is lost; reject calibration at a small p-value.
    """
    outcomes, pds = _checked(label, pd_12m)
    statistic, used = 0.0, 0
    for rows in np.array_split(np.argsort(pds, kind="stable"), groups):
        if not len(rows):
            continue
        expected = pds[rows].sum()
        variance = expected * (1 - expected / len(rows))
        if variance > 0:
            statistic += float((outcomes[rows].sum() - expected) ** 2 / variance)
            used += 1
    return statistic, float(stats.chi2.sf(statistic, max(used, 1)))


def spiegelhalter(label: Any, pd_12m: Any) -> tuple[float, float]:
    """Spiegelhalter's z of the Brier score (1986) and its two-sided p-value."""
    outcomes, pds = _checked(label, pd_12m)
    spread = float(np.sum((1 - 2 * pds) ** 2 * pds * (1 - pds)))
    if spread <= 0:
        return 0.0, 1.0
    z = float(np.sum((outcomes - pds) * (1 - 2 * pds))) / math.sqrt(spread)
    return z, float(2 * stats.norm.sf(abs(z)))


@dataclass(frozen=True)
class CalibrationLine:
    """The outcome's log-odds as a line of the predicted ones, with the standard error of its slope."""

    slope: float
    intercept: float
    slope_error: float


def calibration_fit(label: Any, pd_12m: Any) -> CalibrationLine:
    """The line by maximum likelihood, with its standard error from the information matrix (Newton's method).

    A penalty too small to matter keeps the slope finite where the predictions part the outcomes without fault.
    """
    outcomes, pds = _checked(label, pd_12m)
    clipped = np.clip(pds, 1e-6, 1 - 1e-6)
    odds = np.log(clipped / (1 - clipped))
    design = np.column_stack((odds, np.ones_like(odds)))
    penalty = np.array([_SLOPE_PENALTY, 0.0])

    def loss(line: Floats) -> float:
        margin = design @ line
        return float(np.logaddexp(0, margin).sum() - outcomes @ margin + penalty @ line**2 / 2)

    line = np.array([1.0, 0.0])
    information = np.eye(2)
    for _ in range(_NEWTON_STEPS):
        fitted = 1 / (1 + np.exp(-np.clip(design @ line, -50, 50)))
        information = (design * (fitted * (1 - fitted))[:, None]).T @ design + np.diag(penalty + _TINY)
        step = np.linalg.solve(information, design.T @ (fitted - outcomes) + penalty * line)
        before, size = loss(line), 1.0
        while loss(line - size * step) > before and size > _TINY:
            size /= 2
        line = line - size * step
        if float(np.abs(size * step).max()) < _STEP_ENDS:
            break
    return CalibrationLine(float(line[0]), float(line[1]), math.sqrt(float(np.linalg.inv(information)[0, 0])))


def calibration_line(label: Any, pd_12m: Any) -> tuple[float, float]:
    """Slope and intercept of the outcome's log-odds on the predicted ones: 1 and 0 are perfect."""
    fitted = calibration_fit(label, pd_12m)
    return fitted.slope, fitted.intercept


def grade_tests(label: Any, pd_12m: Any, bounds: Sequence[float]) -> list[GradeTest]:
    """Each rating grade that holds loans, best first, with the Jeffreys interval Beta(d + 1/2, n - d + 1/2)."""
    outcomes, pds = np.asarray(label, dtype=np.int64), np.asarray(pd_12m, dtype=float)
    ratings = risk_rating(pds, bounds)
    tests = []
    for rating in RISK_RATINGS:
        inside = ratings == rating
        loans, defaults = int(inside.sum()), int(outcomes[inside].sum())
        if loans:
            low, high = stats.beta.ppf((0.025, 0.975), defaults + 0.5, loans - defaults + 0.5)
            tests.append(GradeTest(rating, loans, defaults, float(pds[inside].mean()), defaults / loans, low, high))
    return tests


def choose_threshold(label: Any, pd_12m: Any) -> float:
    """The probability from which on a default is predicted: the one with the best F1 on these rows.

    Choose it on calibration rows; the test rows decide nothing.
    """
    outcomes, pds = _checked(label, pd_12m)
    rows = ranked(outcomes, pds)
    bads = np.cumsum(rows.bad)[rows.ends]
    f1 = 2 * bads / (rows.ends + 1 + bads[-1])
    return float(rows.pd[rows.ends[int(np.argmax(f1))]])


def choose_threshold_by_cost(label: Any, pd_12m: Any, lgd: float, margin: float) -> float:
    """The probability from which on declining costs least on these rows.

    A granted loan that defaults costs `lgd`, a declined one that would have paid costs `margin`, both as shares of
    the amount. Where the probabilities are calibrated the threshold lies near margin / (margin + lgd) (Elkan 2001).
    """
    outcomes, pds = _checked(label, pd_12m)
    rows = ranked(outcomes, pds)
    bads = np.cumsum(rows.bad)[rows.ends]
    goods = rows.ends + 1 - bads
    cost = (bads[-1] - bads) * lgd + goods * margin
    best = int(np.argmin(cost))
    if cost[best] >= bads[-1] * lgd:  # granting every loan costs no more than the best decline
        return 1.0
    return float(rows.pd[rows.ends[best]])


def delong_difference(label: Any, pd_12m: Any, other_pd_12m: Any, level: float = 0.95) -> Metric:
    """AUC of the first model minus that of the second on the same rows, with DeLong's paired interval."""
    outcomes, first = _checked(label, pd_12m)
    _, second = _checked(label, other_pd_12m)
    places = [_placements(outcomes, pds) for pds in (first, second)]
    difference = float(places[0][0].mean() - places[1][0].mean())
    spread = [first_part - second_part for first_part, second_part in zip(*places, strict=True)]
    variance = sum(float(part.var(ddof=1)) / len(part) for part in spread if len(part) > 1)
    reach = float(stats.norm.ppf(0.5 + level / 2)) * math.sqrt(variance)
    return Metric(difference, difference - reach, difference + reach)


def _single_auc(values: NDArray[np.floating], outcomes: NDArray[np.int64]) -> float:
    ranks = stats.rankdata(values)
    bad = int(outcomes.sum())
    good = len(outcomes) - bad
    auc = (ranks[outcomes == 1].sum() - bad * (bad + 1) / 2) / (bad * good)
    return float(max(auc, 1 - auc))


def leak_findings(
    matrix: NDArray[np.floating],
    names: Sequence[str],
    label: Any,
    model_auc: float,
    settings: ModelSettings,
    ceiling_auc: float | None = None,
) -> list[str]:
    """What looks like the outcome among the features, one line each; empty where nothing does.

    A single feature whose AUC (either way round, gaps counted as a value of their own) passes
    `maximum_single_feature_auc`; a model above `maximum_auc`, or above `ceiling_auc`, the AUC of the true PD
    where the data are simulated.
    """
    outcomes = np.asarray(label, dtype=np.int64)
    findings = []
    if len(outcomes) > GUARD_ROWS:
        chosen = np.random.default_rng(settings.seed).choice(len(outcomes), GUARD_ROWS, replace=False)
        matrix, outcomes = matrix[chosen], outcomes[chosen]
    for place, name in enumerate(names):
        column = matrix[:, place]
        auc = _single_auc(np.nan_to_num(column, nan=-3e38), outcomes)
        if auc > settings.maximum_single_feature_auc:
            findings.append(
                f"feature {name}: alone it has AUC {auc:.3f}, above {settings.maximum_single_feature_auc}: "
                "it restates the outcome; take it out"
            )
    if model_auc > settings.maximum_auc:
        findings.append(
            f"model: AUC {model_auc:.3f} is above {settings.maximum_auc}: a feature knows the outcome; find it"
        )
    if ceiling_auc is not None and model_auc > ceiling_auc:
        findings.append(
            f"model: AUC {model_auc:.3f} is above {ceiling_auc:.3f}, that of the true PD: a feature knows more "
            "than could be known"
        )
    return findings
