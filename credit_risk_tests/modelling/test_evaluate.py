"""Metrics against independent implementations and known answers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as reference

from credit_risk_assets.config.settings import ModelSettings, read_settings
from credit_risk_assets.modelling.errors import ModelDataError
from credit_risk_assets.modelling.evaluate import (
    choose_threshold,
    choose_threshold_by_cost,
    delong_difference,
    delong_interval,
    evaluate,
    grade_tests,
    hosmer_lemeshow,
    spiegelhalter,
)
from credit_risk_assets.modelling.metrics import measure, ranked

BOUNDS = (0.02, 0.05, 0.12, 0.30)


def drawn(size: int = 4_000, seed: int = 0, digits: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    pds = np.round(rng.beta(1, 8, size), digits)
    return (rng.random(size) < pds).astype(np.int64), pds


def test_metrics_agree_with_scikit_learn_ties_and_all() -> None:
    label, pds = drawn(digits=2)
    found = measure(ranked(label, pds), 0.2)
    false, true, _ = reference.roc_curve(label, pds, drop_intermediate=False)
    expected = {
        "auc": reference.roc_auc_score(label, pds),
        "pr_auc": reference.average_precision_score(label, pds),
        "brier": reference.brier_score_loss(label, pds),
        "log_loss": reference.log_loss(label, np.clip(pds, 1e-15, 1 - 1e-15)),
        "ks": np.max(np.abs(true - false)),
        "accuracy": reference.accuracy_score(label, pds >= 0.2),
        "precision": reference.precision_score(label, pds >= 0.2),
        "recall": reference.recall_score(label, pds >= 0.2),
        "f1": reference.f1_score(label, pds >= 0.2),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert found["gini"] == pytest.approx(2 * found["auc"] - 1)


def test_counts_and_costs_of_six_loans_are_those_computed_by_hand() -> None:
    label = np.array([1, 1, 0, 0, 0, 1])
    pds = np.array([0.9, 0.4, 0.4, 0.3, 0.1, 0.1])
    found = measure(ranked(label, pds), 0.4, costs=(0.5, 0.1))
    counts = ("true_positives", "false_positives", "true_negatives", "false_negatives")
    assert [found[name] for name in counts] == [2, 1, 2, 1]
    assert found["expected_cost"] == pytest.approx((1 * 0.5 + 1 * 0.1) / 6)
    assert found["expected_cost_grant_all"] == pytest.approx(3 * 0.5 / 6)
    # 70 % of three defaults are reached with the third, and the good loan of the same PD is declined with it
    assert found["threshold_at_recall_70"] == 0.1
    assert found["precision_at_recall_70"] == pytest.approx(3 / 6)
    assert "expected_cost" not in measure(ranked(label, pds), 0.4)
    assert sum(found[name] for name in counts) == 6


def test_ece_is_the_gap_over_ten_equal_count_bins() -> None:
    label, pds = drawn(5_000, digits=9)
    order = np.argsort(-pds)
    gaps = [abs(label[rows].mean() - pds[rows].mean()) * len(rows) for rows in np.array_split(order, 10)]
    assert measure(ranked(label, pds), 0.2)["ece"] == pytest.approx(sum(gaps) / 5_000, abs=1e-9)
    assert measure(ranked(label, np.clip(pds * 2, 0, 1)), 0.2)["ece"] > 0.05


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=20, max_size=60), st.integers(0, 10**6))
def test_a_weight_counts_as_that_many_rows(counts: list[int], seed: int) -> None:
    label, pds = drawn(len(counts), seed, digits=2)
    repeated = np.repeat(np.arange(len(counts)), counts)
    if not 0 < label[repeated].sum() < len(repeated):
        return
    rows = ranked(label, pds)
    order = np.argsort(-pds, kind="stable")
    weighted = measure(rows, 0.1, np.asarray(counts, dtype=float)[order])
    plain = measure(ranked(label[repeated], pds[repeated]), 0.1)
    for name in ("auc", "ks", "brier", "log_loss", "pr_auc", "accuracy", "precision", "recall", "f1", "mean_pd"):
        assert weighted[name] == pytest.approx(plain[name]), name


def test_delong_agrees_with_the_bootstrap() -> None:
    label, pds = drawn(3_000)
    interval = delong_interval(label, pds)
    assert interval.value == pytest.approx(reference.roc_auc_score(label, pds))
    found = evaluate(label, pds, 0.2, replicates=200, bounds=BOUNDS)
    assert found["auc"] == interval
    rng = np.random.default_rng(0)
    draws = [rng.integers(0, 3_000, 3_000) for _ in range(300)]
    aucs = [reference.roc_auc_score(label[rows], pds[rows]) for rows in draws]
    assert interval.lower == pytest.approx(np.quantile(aucs, 0.025), abs=0.006)
    assert interval.upper == pytest.approx(np.quantile(aucs, 0.975), abs=0.006)
    for name in ("ks", "brier", "ece", "f1", "capture_10"):
        metric = found[name]
        assert metric.lower is not None
        assert metric.upper is not None
        assert metric.lower < metric.upper


def test_there_are_25_metrics() -> None:
    label, pds = drawn()
    assert len(evaluate(label, pds, 0.2, bounds=BOUNDS)) >= 25


def test_calibration_tests_pass_the_truth_and_fail_a_doubled_pd() -> None:
    label, pds = drawn(20_000, 3, digits=9)
    assert hosmer_lemeshow(label, pds)[1] > 0.01
    assert spiegelhalter(label, pds)[1] > 0.01
    assert all(grade.holds for grade in grade_tests(label, pds, BOUNDS))
    doubled = np.clip(2 * pds, 0, 0.99)
    assert hosmer_lemeshow(label, doubled)[1] < 1e-6
    assert spiegelhalter(label, doubled)[1] < 1e-6
    assert not all(grade.holds for grade in grade_tests(label, doubled, BOUNDS))


def test_jeffreys_interval_is_that_of_the_beta_distribution() -> None:
    label = np.array([1] * 3 + [0] * 97)
    (grade,) = grade_tests(label, np.full(100, 0.03), BOUNDS)
    assert (grade.rating, grade.loans, grade.defaults) == ("Low", 100, 3)
    assert (grade.lower, grade.upper) == pytest.approx(tuple(stats.beta.ppf([0.025, 0.975], 3.5, 97.5)))


def test_the_threshold_has_the_best_f1() -> None:
    label, pds = drawn(2_000, digits=2)
    chosen = choose_threshold(label, pds)
    best = max(reference.f1_score(label, pds >= cut) for cut in np.unique(pds))
    assert reference.f1_score(label, pds >= chosen) == pytest.approx(best)


@pytest.mark.parametrize(
    ("label", "pds", "message"),
    [([1, 1], [0.2, 0.3], "only one outcome"), ([0, 1], [0.2], "1 probabilities"), ([0, 1], [0.2, np.nan], "missing")],
)
def test_what_cannot_be_judged_is_refused(label: list[int], pds: list[float], message: str) -> None:
    with pytest.raises(ModelDataError, match=message):
        evaluate(label, pds, 0.5, bounds=BOUNDS)


def test_default_bounds_are_those_used_here() -> None:
    model: ModelSettings = read_settings().model
    assert model.rating_pd_bounds == BOUNDS


def test_the_threshold_costs_least_and_lies_near_margin_over_margin_plus_lgd() -> None:
    rng = np.random.default_rng(3)
    pds = rng.beta(1, 8, 60_000)
    label = (rng.random(60_000) < pds).astype(np.int64)
    threshold = choose_threshold_by_cost(label, pds, lgd=0.5, margin=0.1)

    def cost(cut: float) -> float:
        return float((label * 0.5)[pds < cut].sum() + ((1 - label) * 0.1)[pds >= cut].sum())

    assert threshold == pytest.approx(0.1 / 0.6, abs=0.04)
    assert cost(threshold) <= min(cost(cut) for cut in np.linspace(0.01, 0.9, 90))
    assert choose_threshold_by_cost([0, 1], [0.9, 0.1], lgd=0.1, margin=0.5) == 1.0, "no decline pays"


def test_the_paired_interval_of_two_aucs_knows_that_they_share_rows() -> None:
    rng = np.random.default_rng(4)
    truth = rng.normal(size=8_000)
    label = (rng.random(8_000) < 1 / (1 + np.exp(2 - truth))).astype(np.int64)
    better = truth + rng.normal(0, 0.5, 8_000)
    worse = better + rng.normal(0, 0.4, 8_000)
    found = delong_difference(label, better, worse)
    first, second = delong_interval(label, better), delong_interval(label, worse)
    assert found.value == pytest.approx(first.value - second.value, abs=1e-12)
    assert found.lower is not None
    assert found.upper is not None
    assert found.lower > 0
    assert found.upper - found.lower < 0.6 * ((first.upper or 1) - (first.lower or 0))
    mirrored = delong_difference(label, worse, better)
    assert mirrored.lower == pytest.approx(-found.upper)
    same = delong_difference(label, better, better)
    assert (same.value, same.lower, same.upper) == (0.0, 0.0, 0.0)
