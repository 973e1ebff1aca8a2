"""The gate: what a model version must show before it may decide about loans.

Judged on rows that decided nothing. Where no champion reigns, only what makes a model unusable (a leak, an AUC outside
its range) keeps a version out, for loans without any score are worse served; with a champion in force, every criterion
decides.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from credit_risk_assets.config.settings import ModelSettings
from credit_risk_assets.modelling.evaluate import Metric
from credit_risk_assets.modelling.figures import Figure
from credit_risk_assets.modelling.metrics import ECE_BINS

NO_LEAK = "no_leak"
LEAK_CANARY = "leak_canary"
AUC_IN_RANGE = "auc_in_range"
NOT_WORSE = "not_worse_than_champion"
CALIBRATED = "calibrated"
MEAN_PD = "mean_pd_fits"
RATINGS_RISE = "observed_rates_rise"
STABLE = "score_stable"
FAIR = "fair"
NOT_OVERFITTED = "not_overfitted"
SCORE = "score_points"
INDISPENSABLE = frozenset({NO_LEAK, LEAK_CANARY, AUC_IN_RANGE})
"""Criteria that keep even a first version out."""
ADVISORY = frozenset({NOT_OVERFITTED})
"""Criteria that never keep a version out."""


@dataclass(frozen=True)
class Criterion:
    """One criterion as judged; `details` is a table of what was compared."""

    name: str
    passed: bool
    observed: str
    expected: str
    details: Sequence[dict[str, object]] = field(default=())


@dataclass(frozen=True)
class Evidence:
    """What is known of a version: its metrics by data set, and the figures of its validation."""

    version: str
    test_set: str
    metrics: dict[str, dict[str, Metric]]
    figures: Sequence[Figure]

    @property
    def tested(self) -> dict[str, Metric]:
        """The metrics on rows that decided nothing."""
        return self.metrics[self.test_set]

    def of(self, analysis: str, subject: str | None = None, metric: str | None = None) -> list[Figure]:
        """The figures of one analysis, subject and metric."""
        return [
            figure
            for figure in self.figures
            if figure.analysis == analysis and subject in (None, figure.subject) and metric in (None, figure.metric)
        ]

    @property
    def champion(self) -> str | None:
        """The champion that the version was compared with, None where none reigned."""
        found = self.of("champion")
        return found[0].subject if found else None


def judge(evidence: Evidence, settings: ModelSettings) -> list[Criterion]:
    """Every criterion of the gate, in the order in which a validator asks for them."""
    return [
        _no_leak(evidence, settings),
        _canary(evidence),
        _auc_in_range(evidence, settings),
        _not_worse(evidence),
        _calibrated(evidence, settings),
        _mean_pd(evidence, settings),
        _ratings_rise(evidence),
        _stable(evidence, settings),
        _fair(evidence, settings),
        _not_overfitted(evidence, settings),
    ]


def keeps_out(criterion: Criterion, *, champion_reigns: bool) -> bool:
    """Whether a failed criterion keeps the version from being promoted."""
    if criterion.passed or criterion.name in ADVISORY:
        return False
    return champion_reigns or criterion.name in INDISPENSABLE


def objections(criteria: Iterable[Criterion], *, champion_reigns: bool) -> list[str]:
    """What keeps the version from being promoted, one line each; empty where nothing does."""
    return [
        f"{c.name}: {c.observed}, expected {c.expected}"
        for c in criteria
        if keeps_out(c, champion_reigns=champion_reigns)
    ]


def _missing(name: str, what: str) -> Criterion:
    return Criterion(name, False, f"{what} was not measured", "a figure in gold/model_validation; train again")


def _no_leak(evidence: Evidence, settings: ModelSettings) -> Criterion:
    leaks = [figure.subject for figure in evidence.of("leak", metric="finding")]
    return Criterion(
        NO_LEAK,
        not leaks,
        "; ".join(leaks) or "none",
        f"no feature with an AUC above {settings.maximum_single_feature_auc:.2f} and no model that knows too much",
        [{"finding": leak} for leak in leaks],
    )


def _canary(evidence: Evidence) -> Criterion:
    verdicts = [f for f in evidence.of("canary") if f.metric in ("passed", "caught")]
    if {figure.subject for figure in verdicts} != {"permuted_labels", "planted_column"}:
        return _missing(LEAK_CANARY, "training on permuted outcomes, or a planted column")
    aucs = evidence.of("canary", "permuted_labels", "auc")
    bounds = {figure.item: figure.value for figure in evidence.of("canary", metric="auc_distance_bound")}
    planted = "" if all(f.value for f in verdicts if f.metric == "caught") else "; a planted leak was not found"
    return Criterion(
        LEAK_CANARY,
        all(figure.value for figure in verdicts),
        ", ".join(f"AUC {figure.value:.3f} {figure.item}" for figure in aucs) + " on permuted outcomes" + planted,
        ", ".join(f"0.5 ± {bounds.get(figure.item, 0):.3f}" for figure in aucs) + ", and every planted leak found",
    )


def _auc_in_range(evidence: Evidence, settings: ModelSettings) -> Criterion:
    auc = evidence.tested["auc"].value
    return Criterion(
        AUC_IN_RANGE,
        settings.minimum_auc <= auc <= settings.maximum_auc,
        f"AUC {auc:.4f} on {evidence.test_set}",
        f"{settings.minimum_auc:.2f} to {settings.maximum_auc:.2f}",
    )


def _not_worse(evidence: Evidence) -> Criterion:
    if evidence.champion is None:
        return Criterion(NOT_WORSE, True, "no champion to compare with", "not worse than the champion")
    found = evidence.of("champion", metric="auc_difference")
    if not found:
        return Criterion(
            NOT_WORSE,
            False,
            f"champion version {evidence.champion} reads columns that the sample no longer has",
            "a champion to compare with; promote by hand with `credit-risk model promote --override`",
        )
    difference = found[0]
    low, high = difference.lower or difference.value, difference.upper or difference.value
    return Criterion(
        NOT_WORSE,
        high >= 0,
        f"AUC {difference.value:+.4f} beside version {difference.subject} (95 % {low:+.4f} to {high:+.4f})",
        "an interval on the same rows that reaches 0",
        [{"figure": figure.metric, "value": figure.value} for figure in evidence.of("champion")],
    )


def _calibrated(evidence: Evidence, settings: ModelSettings) -> Criterion:
    ece, rows = evidence.tested["ece"].value, evidence.tested["n"].value
    observed = evidence.tested["observed_rate"].value
    # what equal-count bins show by chance alone: the mean of |N(0, s)| is s times the root of 2 / pi
    chance = (observed * (1 - observed) * ECE_BINS / rows * 2 / 3.141592653589793) ** 0.5
    limit = max(settings.maximum_ece, 2 * chance)
    return Criterion(CALIBRATED, ece <= limit, f"ECE {ece:.4f}", f"at most {limit:.4f}")


def _mean_pd(evidence: Evidence, settings: ModelSettings) -> Criterion:
    found = evidence.tested
    mean_pd, observed, rows = found["mean_pd"].value, found["observed_rate"].value, found["n"].value
    error = mean_pd / observed - 1
    chance = 1.96 * (observed * (1 - observed) / rows) ** 0.5 / observed
    limit = settings.maximum_pd_error + chance
    return Criterion(
        MEAN_PD,
        abs(error) <= limit,
        f"mean PD {mean_pd:.2%}, observed {observed:.2%} ({error:+.1%})",
        f"within {settings.maximum_pd_error:.0%} and chance ({chance:.1%} on {rows:,.0f} loans)",
    )


def _ratings_rise(evidence: Evidence) -> Criterion:
    rates = {figure.item: figure for figure in evidence.of("rating", metric="observed_rate")}
    if not rates:
        return _missing(RATINGS_RISE, "the observed default rate by rating")
    ordered = list(rates.values())
    # A rate may lie below the one before it where both intervals say that chance can do that.
    falls = [
        f"{better.item} {better.value:.2%} > {worse.item} {worse.value:.2%}"
        for better, worse in itertools.pairwise(ordered)
        if worse.value <= better.value and (worse.upper or worse.value) < better.value
    ]
    return Criterion(
        RATINGS_RISE,
        not falls,
        "; ".join(falls) or ", ".join(f"{name} {figure.value:.2%}" for name, figure in rates.items()),
        "an observed default rate that rises from rating to rating",
        [
            {"rating": name, "observed rate": figure.value, "lower": figure.lower, "upper": figure.upper}
            for name, figure in rates.items()
        ],
    )


def _stable(evidence: Evidence, settings: ModelSettings) -> Criterion:
    found = evidence.of("stability", SCORE, "psi")
    if not found:
        return _missing(STABLE, "the stability of the score")
    psi = found[0]
    critical = [figure.value for figure in evidence.of("stability", SCORE, "psi_critical")]
    limit = max(settings.maximum_score_psi, *critical)
    return Criterion(
        STABLE,
        psi.value <= limit,
        f"PSI of the score {psi.value:.4f} between development and test",
        f"at most {limit:.3f}",
        [
            {"feature": figure.subject, "psi": figure.value}
            for figure in sorted(evidence.of("stability", metric="psi"), key=lambda figure: -figure.value)[:10]
        ],
    )


def _fair(evidence: Evidence, settings: ModelSettings) -> Criterion:
    gaps = evidence.of("fairness", metric="equal_opportunity_difference")
    gaps = [figure for figure in gaps if figure.item]
    expected = (
        f"good loans of every group approved at most {settings.maximum_opportunity_gap:.0%} less often than those of "
        "the best group, and no impact ratio below four fifths that risk does not explain"
    )
    if not gaps:
        return Criterion(FAIR, True, "no protected group is large enough to judge", expected)
    # The upper bound: a group too small to tell keeps no model out.
    wide = [figure for figure in gaps if (figure.upper or figure.value) < -settings.maximum_opportunity_gap]
    unexplained = [figure for figure in evidence.of("fairness", metric="explained_by_risk") if not figure.value]
    worst = min(gaps, key=lambda figure: figure.value)
    found = [f"{figure.subject} {figure.item}: good loans approved {figure.value:+.1%}" for figure in wide]
    found += [f"{figure.subject} {figure.item}: impact ratio below four fifths" for figure in unexplained]
    shown = ("approval_rate", "adverse_impact_ratio", "base_rate_ratio", "equal_opportunity_difference")
    groups: dict[tuple[str, str], dict[str, object]] = {}
    for figure in evidence.of("fairness"):
        if figure.item and figure.metric in shown:
            row = groups.setdefault((figure.subject, figure.item), {"attribute": figure.subject, "group": figure.item})
            row[figure.metric.replace("_", " ")] = round(figure.value, 4)
    return Criterion(
        FAIR,
        not found,
        "; ".join(found) or f"widest gap {worst.value:+.1%} ({worst.subject} {worst.item})",
        expected,
        list(groups.values()),
    )


def _not_overfitted(evidence: Evidence, settings: ModelSettings) -> Criterion:
    drop = evidence.metrics["train"]["auc"].value - evidence.tested["auc"].value
    return Criterion(
        NOT_OVERFITTED,
        drop <= settings.maximum_auc_drop,
        f"AUC {drop:+.4f} above the test in training",
        f"at most {settings.maximum_auc_drop:.2f}",
    )
