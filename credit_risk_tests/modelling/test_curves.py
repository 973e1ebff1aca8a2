"""Curves: their ends, their directions, and the figures that they stand for."""

from __future__ import annotations

import numpy as np
import pytest

from credit_risk_assets.modelling.curves import curve_figures
from credit_risk_assets.modelling.figures import Figure
from credit_risk_assets.modelling.train import TrainingResult
from credit_risk_tests.modelling.lookup import assert_same, shuffled, with_test_rows


def line(figures: list[Figure], subject: str, metric: str, item: str = "") -> tuple[np.ndarray, np.ndarray]:
    points = [
        (f.position, f.value) for f in figures if (f.subject, f.metric) == (subject, metric) and item in ("*", f.item)
    ]
    places, heights = np.array(points, dtype=float).T
    return places, heights


@pytest.fixture(scope="module")
def figures(trained: TrainingResult) -> list[Figure]:
    return curve_figures(trained)


def test_the_roc_curve_rises_to_one_and_encloses_the_auc(figures: list[Figure], trained: TrainingResult) -> None:
    false, true = line(figures, "roc", "true_positive_rate")
    assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)
    assert (np.diff(false) >= 0).all()
    assert (np.diff(true) >= 0).all()
    area = float(np.sum(np.diff(false) * (true[1:] + true[:-1]) / 2))
    assert area == pytest.approx(trained.test_metrics["auc"].value, abs=0.002)
    assert len(false) <= 101


def test_good_and_bad_part_by_the_ks(figures: list[Figure], trained: TrainingResult) -> None:
    points, bad = line(figures, "ks", "cumulative_share", "bad")
    _, good = line(figures, "ks", "cumulative_share", "good")
    assert (np.diff(points) >= 0).all()
    assert (np.diff(bad) >= 0).all()
    assert (np.diff(good) >= 0).all()
    assert np.max(bad - good) == pytest.approx(trained.test_metrics["ks"].value, abs=0.01)


def test_precision_ends_at_the_default_rate(figures: list[Figure], trained: TrainingResult) -> None:
    recall, precision = line(figures, "precision_recall", "precision")
    assert (np.diff(recall) > 0).all()
    assert recall[-1] == 1
    assert precision[0] > precision[-1] >= trained.label.mean()


def test_gain_and_lift_agree_with_the_metrics(figures: list[Figure], trained: TrainingResult) -> None:
    share, capture = line(figures, "gain", "capture")
    tenths, lift = line(figures, "lift", "lift")
    assert capture[-1] == lift[-1] == 1
    assert (np.diff(capture) >= 0).all()
    assert (np.diff(lift) <= 1e-12).all()
    assert capture[1] == pytest.approx(trained.test_metrics["capture_10"].value, abs=2e-3)
    np.testing.assert_allclose(capture[1:] / share[1:], lift)
    assert tenths.tolist() == pytest.approx(share[1:].tolist())


def test_bins_of_the_calibration_curve_hold_every_loan(figures: list[Figure], trained: TrainingResult) -> None:
    mean_pd, observed = line(figures, "calibration", "observed_rate", "*")
    _, sizes = line(figures, "calibration", "n", "*")
    assert 10 <= len(sizes) <= 20
    assert sizes.sum() == len(trained.label)
    assert (np.diff(mean_pd) >= 0).all()
    assert np.dot(sizes, observed) == pytest.approx(trained.label.sum())
    assert np.dot(sizes, mean_pd) == pytest.approx(trained.predicted.sum())


def test_curves_of_four_loans_are_those_drawn_by_hand(trained: TrainingResult) -> None:
    small = curve_figures(with_test_rows(trained, {}, [1, 0, 1, 0], [0.9, 0.6, 0.5, 0.1]))
    false, true = line(small, "roc", "true_positive_rate")
    assert list(zip(false, true, strict=True)) == [(0, 0), (0, 0.5), (0.5, 0.5), (0.5, 1), (1, 1)]
    recall, precision = line(small, "precision_recall", "precision")
    assert list(zip(recall, precision, strict=True)) == [(0.5, 1), (1, pytest.approx(2 / 3))]


def test_the_order_of_the_rows_does_not_matter(figures: list[Figure], trained: TrainingResult) -> None:
    assert_same(figures, curve_figures(shuffled(trained)))
