"""Benchmarks, variants and the scorecard's points."""

from __future__ import annotations

import math
import warnings

import numpy as np
import polars as pl
import pytest
from threadpoolctl import threadpool_info

from credit_risk_assets.config.settings import ModelSettings
from credit_risk_assets.credit.rating import score_points
from credit_risk_assets.modelling.benchmarks import benchmark_figures, compared_rows, train_rivals
from credit_risk_assets.modelling.evaluate import delong_difference
from credit_risk_assets.modelling.figures import Figure
from credit_risk_assets.modelling.scorecard import SCORECARD_FEATURES, fit_scorecard
from credit_risk_assets.modelling.train import TrainingResult
from credit_risk_tests.modelling.lookup import by_key, values


@pytest.fixture(scope="module")
def figures(trained: TrainingResult, model_settings: ModelSettings) -> list[Figure]:
    return compared(trained, model_settings)


def compared(trained: TrainingResult, settings: ModelSettings) -> list[Figure]:
    return benchmark_figures(trained, train_rivals(compared_rows(trained, settings), settings), settings)


def of(figures: list[Figure], analysis: str) -> list[Figure]:
    return [figure for figure in figures if figure.analysis == analysis]


def test_the_champion_is_set_against_simpler_models(figures: list[Figure], trained: TrainingResult) -> None:
    found = by_key(of(figures, "benchmark"))
    champion = found["champion", "", "auc"]
    measured = trained.test_metrics["auc"]
    assert (champion.value, champion.lower, champion.upper) == (measured.value, measured.lower, measured.upper)
    for name in ("logistic_regression", "scorecard"):
        auc, change = found[name, "", "auc"], found[name, "", "auc_change"]
        assert 0.80 < auc.value < champion.value
        assert change.value == pytest.approx(auc.value - champion.value)
        assert change.lower is not None
        assert change.upper is not None
        assert change.lower < change.value < change.upper
        # on the same rows, models that agree differ by less chance than two alone
        assert auc.upper is not None
        assert change.upper - change.value < auc.upper - auc.value
        assert found[name, "", "ece"].value < 0.03
        assert found[name, "", "brier"].value > found["champion", "", "brier"].value


def test_restrictions_are_priced_like_for_like(figures: list[Figure], trained: TrainingResult) -> None:
    found = by_key(of(figures, "benchmark"))
    single = found["champion_single_member", "", "auc"].value
    assert single <= found["champion", "", "auc"].value + 0.003
    for name in ("unconstrained", "protected"):
        assert found[name, "", "auc_change"].value == pytest.approx(found[name, "", "auc"].value - single)
        cost = found[name, "", "expected_cost"].value - found["champion_single_member", "", "expected_cost"].value
        assert found[name, "", "expected_cost_change"].value == pytest.approx(cost)
        assert abs(found[name, "", "auc_change"].value) < 0.02
    more = found["protected", "", "features"].value - found["champion", "", "features"].value
    assert more == 7
    assert found["unconstrained", "", "features"].value == len(trained.model.columns)


def test_the_settings_choose_what_is_compared(trained: TrainingResult, model_settings: ModelSettings) -> None:
    def subjects(**changes: object) -> set[str]:
        return {figure.subject for figure in compared(trained, model_settings.model_copy(update=changes))}

    assert subjects(benchmarks=()) == {"champion"}
    assert subjects(benchmarks=("logistic_regression",)) == {"champion", "logistic_regression"}
    # a model without constraints has none to give up
    assert subjects(benchmarks=("unconstrained",), monotone="none") == {"champion"}


def test_comparing_leaves_warnings_and_threads_as_they_were(
    trained: TrainingResult, model_settings: ModelSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    filters = list(warnings.filters)
    threads = [(found["internal_api"], found["num_threads"]) for found in threadpool_info()]
    compared(trained, model_settings.model_copy(update={"benchmarks": ("scorecard", "unconstrained")}))
    assert list(warnings.filters) == filters
    after = [(found["internal_api"], found["num_threads"]) for found in threadpool_info()]
    assert after[: len(threads)] == threads
    assert capsys.readouterr() == ("", "")


def test_the_points_table_is_readable_and_holds_every_loan(figures: list[Figure], trained: TrainingResult) -> None:
    points = of(figures, "scorecard")
    features = {figure.subject for figure in points}
    assert 5 < len(features) <= SCORECARD_FEATURES
    assert features <= set(trained.model.columns)
    for feature in features:
        assert sum(values(points, feature, "n").values()) == len(trained.development_label)
        places = [f.position for f in points if f.subject == feature and f.metric == "points"]
        assert places == sorted(places, key=lambda place: place or 0)


def test_points_of_a_loan_add_up_to_its_score_and_never_reward_risk() -> None:
    rng = np.random.default_rng(4)
    burden = rng.normal(size=6_000)
    job = rng.choice(["clerk", "driver", None], 6_000)
    odds = -2 + burden + 0.7 * (job == "driver")
    label = (rng.random(6_000) < 1 / (1 + np.exp(-odds))).astype(np.int64)
    frame = pl.DataFrame({"burden": burden, "job": job, "noise": rng.normal(size=6_000)})
    card = fit_scorecard(
        frame, label, frame, ["burden", "job", "noise"], text=["job"], directions={"burden": 1, "noise": -1}, seed=1
    )
    burdens = [f for f in card.points if f.subject == "burden" and f.metric == "points"]
    heights = [figure.value for figure in burdens]
    assert len(heights) > 3
    assert heights == sorted(heights, reverse=True)
    # the riskiest and the safest corner: their points, bin by bin, are the scaled odds of their PD
    for pick, rows in ((min, np.argmax(card.predicted)), (max, np.argmin(card.predicted))):
        total = sum(
            pick(values([f for f in card.points if f.metric == "points"], name, "points").values())
            for name in ("burden", "job", "noise")
        )
        assert total == pytest.approx(float(score_points(card.predicted[rows])[0]), abs=1e-6)
    odds_600 = 1 / (1 + 30)
    assert score_points(odds_600)[0] == pytest.approx(600)
    assert score_points(1 / (1 + 60))[0] == pytest.approx(620)
    assert math.isclose(card.predicted.mean(), label.mean(), rel_tol=0.02)


def test_a_paired_difference_of_a_model_to_itself_is_nothing(trained: TrainingResult) -> None:
    found = delong_difference(trained.label, trained.predicted, trained.predicted)
    assert (found.value, found.lower, found.upper) == (0, 0, 0)
