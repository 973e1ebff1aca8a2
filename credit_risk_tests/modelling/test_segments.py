"""Performance by segment and by rating grade."""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl
import pytest

from credit_risk_assets.config.settings import ModelSettings
from credit_risk_assets.modelling.evaluate import grade_tests
from credit_risk_assets.modelling.intervals import difference_interval, jeffreys_interval, ratio_interval
from credit_risk_assets.modelling.segments import DIMENSIONS, rating_figures, segment_figures
from credit_risk_assets.modelling.train import TrainingResult
from credit_risk_tests.modelling.lookup import assert_same, by_key, shuffled, values, with_test_rows


def test_jeffreys_intervals_are_the_published_ones() -> None:
    # Brown, Cai and DasGupta (2001), table 5
    assert jeffreys_interval(1, 10) == pytest.approx((0.011, 0.381), abs=5e-4)
    assert jeffreys_interval(0, 10) == pytest.approx((0.0, 0.217), abs=5e-4)
    assert jeffreys_interval(10, 10)[1] == 1.0


def test_intervals_of_a_difference_and_of_a_ratio_are_the_published_ones() -> None:
    # Newcombe (1998), table II, method 10: 56/70 against 48/80 gives 0.0524 to 0.3339
    assert difference_interval(56, 70, 48, 80) == pytest.approx((0.0524, 0.3339), abs=5e-5)
    low, high = ratio_interval(30, 100, 60, 100) or (0.0, 0.0)
    assert low * high == pytest.approx(0.5**2)
    assert np.log(high / 0.5) == pytest.approx(1.959964 * np.sqrt(0.7 / 30 + 0.4 / 60))
    assert ratio_interval(0, 10, 5, 10) is None


def test_a_segment_is_what_its_rows_say(trained: TrainingResult) -> None:
    found = by_key(segment_figures(trained))
    auto = trained.tested["loan_purpose"].to_numpy() == "auto"
    label, predicted = trained.label[auto], trained.predicted[auto]
    rate = label.mean()

    def value(metric: str) -> float:
        return found["loan_purpose", "auto", metric].value

    assert value("n") == auto.sum()
    assert value("defaults") == label.sum()
    assert value("observed_rate") == pytest.approx(rate)
    assert value("mean_pd") == pytest.approx(predicted.mean())
    assert value("pd_to_observed") == pytest.approx(predicted.mean() / rate)
    assert value("brier") == pytest.approx(((predicted - label) ** 2).mean())
    assert value("calibration_gap") == pytest.approx(predicted.mean() - rate)
    bad, good = predicted[label == 1], predicted[label == 0]
    assert value("auc") == pytest.approx(((bad[:, None] > good).mean() + 0.5 * (bad[:, None] == good).mean()), abs=1e-9)


def test_groups_of_every_dimension_add_up(trained: TrainingResult) -> None:
    figures = segment_figures(trained)
    everyone = by_key(figures)["all", "", "n"].value
    assert everyone == len(trained.label)
    for dimension in (*DIMENSIONS, "origination_year"):
        assert sum(values(figures, dimension, "n").values()) == everyone
        assert sum(values(figures, dimension, "defaults").values()) == trained.label.sum()
    assert all(len(year) == 4 and year.isdigit() for year in values(figures, "origination_year", "n"))


def test_over_time_older_dates_are_those_held_out_in_development(trained: TrainingResult) -> None:
    sizes = values(segment_figures(trained), "observation_date", "n")
    older = trained.development["observation_date"].unique().sort().to_list()
    assert list(sizes) == [str(date) for date in [*older, trained.test_date]]
    assert sum(sizes.values()) == len(trained.label) + len(trained.development_label)


def test_intervals_hold_their_values_and_no_auc_comes_from_a_handful(trained: TrainingResult) -> None:
    figures = segment_figures(trained)
    for figure in figures:
        if figure.lower is not None and figure.upper is not None:
            assert figure.lower <= figure.value <= figure.upper, figure
    few = with_test_rows(trained, {"loan_purpose": ["auto"] * 30 + ["home"] * 30}, [0] * 30 + [1, 0] * 15, [0.1] * 60)
    found = by_key(segment_figures(few))
    assert ("loan_purpose", "home", "auc") in found
    assert ("loan_purpose", "auto", "auc") not in found
    assert ("loan_purpose", "auto", "pd_to_observed") not in found
    assert found["loan_purpose", "auto", "observed_rate"].value == 0


def test_rows_without_a_value_are_a_group_of_their_own(trained: TrainingResult) -> None:
    found = with_test_rows(trained, {"risk_category": ["Low", None, "High", " "]}, [0, 1, 1, 0], [0.1, 0.2, 0.3, 0.4])
    assert values(segment_figures(found), "risk_category", "n") == {"Low": 1, "High": 1, "missing": 2}


def test_the_order_of_the_rows_does_not_matter(trained: TrainingResult, model_settings: ModelSettings) -> None:
    other = shuffled(trained)
    assert_same(segment_figures(trained), segment_figures(other))
    assert_same(rating_figures(trained, model_settings), rating_figures(other, model_settings))


def test_the_master_scale_agrees_with_the_grade_tests(trained: TrainingResult, model_settings: ModelSettings) -> None:
    figures = rating_figures(trained, model_settings)
    found = by_key(figures)
    bounds = model_settings.rating_pd_bounds
    tests = grade_tests(trained.label, trained.predicted, bounds)
    for test in tests:
        assert found["master_scale", test.rating, "n"].value == test.loans
        assert found["master_scale", test.rating, "holds"].value == float(test.holds)
        observed = found["master_scale", test.rating, "observed_rate"]
        assert (observed.value, observed.lower, observed.upper) == pytest.approx(
            (test.observed_rate, test.lower, test.upper)
        )
    assert found["master_scale", "", "monotone"].value == 1
    assert found["master_scale", "", "grades_outside"].value == sum(not test.holds for test in tests)
    assert sum(values(figures, "master_scale", "share").values()) == pytest.approx(1)
    assert values(figures, "master_scale", "pd_from")["Low"] == bounds[0]
    assert values(figures, "master_scale", "pd_below")["Very High"] == 1


def test_a_scale_whose_rates_fall_is_not_monotone(trained: TrainingResult, model_settings: ModelSettings) -> None:
    # Very Low 1 of 10, Low 1 of 10: equal rates do not rise
    flat = with_test_rows(trained, {}, ([1] + [0] * 9) * 2, [0.01] * 10 + [0.03] * 10)
    found = by_key(rating_figures(flat, model_settings))
    assert found["master_scale", "", "monotone"].value == 0
    assert found["master_scale", "", "concentration"].value == pytest.approx(0.5)
    assert found["master_scale", "Low", "above_previous_p"].value > 0.5
    assert found["master_scale", "High", "n"].value == 0
    assert ("master_scale", "High", "observed_rate") not in found
    turned = dataclasses.replace(trained, label=1 - trained.label)
    assert by_key(rating_figures(turned, model_settings))["master_scale", "", "monotone"].value == 0


def test_one_observation_date_is_judged_by_its_test_rows_alone(trained: TrainingResult) -> None:
    one = dataclasses.replace(
        trained,
        development=trained.development.with_columns(pl.lit(trained.test_date).alias("observation_date")),
    )
    assert values(segment_figures(one), "observation_date", "n") == {str(trained.test_date): len(trained.label)}
