"""Training: disjoint parts, a test that decides nothing, and the same model from the same loans."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from credit_risk_assets.config.settings import ModelSettings
from credit_risk_assets.credit.features import model_features
from credit_risk_assets.modelling.boosting import FOLDS, fit_members, merge
from credit_risk_assets.modelling.calibrate import fit_calibrator
from credit_risk_assets.modelling.encode import fit_encoders
from credit_risk_assets.modelling.errors import ModelDataError
from credit_risk_assets.modelling.evaluate import leak_findings
from credit_risk_assets.modelling.train import TrainingResult, assign_folds, fit, train_default_model


def test_the_model_ranks_and_is_calibrated_on_the_newest_date(trained: TrainingResult) -> None:
    found = trained.test_metrics
    assert trained.test_set == "out_of_time"
    assert 0.82 < found["auc"].value < 0.92
    assert found["ece"].value < 0.02
    assert 0.85 < found["pd_to_observed"].value < 1.15
    assert trained.leaks == []


def test_it_beats_a_logistic_regression(trained: TrainingResult, sample: pl.DataFrame) -> None:
    names = [feature.name for feature in model_features() if feature.type != "string"]
    newest = sample["observation_date"].max()
    table = sample.select("observation_date", "default_12m", *names).to_pandas()
    past = table[table["observation_date"] != pd.Timestamp(str(newest))]
    test = table[table["observation_date"] == pd.Timestamp(str(newest))]
    middle = past[names].median()
    line = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    line.fit(past[names].fillna(middle), past["default_12m"])
    baseline = roc_auc_score(test["default_12m"], line.predict_proba(test[names].fillna(middle))[:, 1])
    assert trained.test_metrics["auc"].value > baseline


def test_the_newest_observation_date_decides_nothing(
    sample: pl.DataFrame, trained: TrainingResult, model_settings: ModelSettings
) -> None:
    newest = sample["observation_date"].max()
    turned = sample.with_columns(
        pl.when(pl.col("observation_date") == newest)
        .then(1 - pl.col("default_12m"))
        .otherwise(pl.col("default_12m"))
        .alias("default_12m")
    )
    other = train_default_model(turned, model_settings)
    assert bytes(other.model.booster.save_raw()) == bytes(trained.model.booster.save_raw())
    assert other.model.calibrator == trained.model.calibrator
    assert other.model.threshold == trained.model.threshold
    assert other.test_metrics["auc"].value == pytest.approx(1 - trained.test_metrics["auc"].value, abs=1e-9)


def test_the_order_of_the_rows_does_not_matter(
    sample: pl.DataFrame, trained: TrainingResult, model_settings: ModelSettings
) -> None:
    shuffled = train_default_model(sample.sample(fraction=1.0, shuffle=True, seed=3).to_pandas(), model_settings)
    assert bytes(shuffled.model.booster.save_raw()) == bytes(trained.model.booster.save_raw())
    np.testing.assert_array_equal(shuffled.predicted, trained.predicted)


def test_parts_are_disjoint_and_a_customer_stays_in_one(sample: pl.DataFrame, model_settings: ModelSettings) -> None:
    past = sample.filter(pl.col("observation_date") == sample["observation_date"].min())
    label = past["default_12m"].to_numpy().astype(np.int64)
    customers = past["customer_id"].to_numpy()
    found = fit(past, label, ["credit_score", "current_dpd"], model_settings, groups=customers)
    calibrated = np.zeros(len(past), dtype=int)
    for member in range(len(found.members)):
        parts = found.parts(member)
        assert (sum(mask.astype(int) for mask in parts.values()) == 1).all()
        homes = [set(customers[mask]) for mask in parts.values()]
        assert not homes[0] & homes[1]
        assert not homes[1] & homes[2]
        assert not homes[0] & homes[2]
        calibrated += parts["calibration"]
    assert (calibrated == 1).all()
    assert pd.Series(customers).duplicated().any()


def test_the_merged_booster_is_the_mean_of_its_members(sample: pl.DataFrame, model_settings: ModelSettings) -> None:
    past = sample.head(4_000)
    label = past["default_12m"].to_numpy().astype(np.int64)
    folds = assign_folds(label, None, 1)
    _, matrix = fit_encoders(past, ["credit_score", "current_dpd", "loan_purpose"], label, folds)
    members = fit_members(matrix, label, folds, model_settings)
    mean = np.mean([member.booster.inplace_predict(matrix, predict_type="margin") for member in members], axis=0)
    merged = merge(members)
    np.testing.assert_allclose(merged.inplace_predict(matrix, predict_type="margin"), mean, atol=1e-5)
    assert merged.num_boosted_rounds() == sum(member.trees for member in members)


def test_a_training_row_does_not_see_its_own_outcome_in_its_category() -> None:
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, 3_000)
    table = pd.DataFrame({"name": [f"n{index // 2}" for index in range(3_000)]})
    folds = np.arange(3_000) % FOLDS
    _, matrix = fit_encoders(table, ["name"], label, folds)
    assert abs(roc_auc_score(label, matrix[:, 0]) - 0.5) < 0.05


def test_encoders_take_unseen_words_gaps_and_other_types() -> None:
    table = pd.DataFrame({"kind": ["a", "b", None, "a"] * 50, "amount": ["1", "2.5", None, "4"] * 50})
    label = np.array([1, 0, 0, 1] * 50)
    encoders, _ = fit_encoders(table, ["kind", "amount"], label, np.arange(200) % FOLDS, text=["kind"])
    new = pd.DataFrame({"kind": ["a", "never seen", None, "b"], "amount": [1, np.inf, np.nan, 7]})
    matrix = encoders.transform(new)
    assert matrix[0, 0] > 0.7 > encoders.prior == matrix[1, 0]
    assert matrix[3, 0] < 0.3
    assert np.isnan(matrix[1:3, 1]).all()
    np.testing.assert_array_equal(encoders.transform(pl.from_pandas(new.astype({"amount": float}))), matrix)
    with pytest.raises(ModelDataError, match="kind"):
        encoders.transform(new.drop(columns="kind"))


@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_calibration_undoes_weighted_classes(method: str) -> None:
    rng = np.random.default_rng(5)
    truth = rng.normal(-2.5, 1.0, 60_000)
    label = (rng.random(60_000) < 1 / (1 + np.exp(-truth))).astype(np.int64)
    inflated = 1.4 * truth + 2.0
    nothing = np.zeros(60_000)
    calibrator = fit_calibrator(method, inflated[:30_000], nothing[:30_000], label[:30_000])  # type: ignore[arg-type]
    found = calibrator.probability(inflated[30_000:], nothing[30_000:])
    assert found.mean() == pytest.approx(label[30_000:].mean(), rel=0.05)
    assert (np.diff(calibrator.probability(np.sort(inflated), nothing)) >= 0).all()
    assert 0 < found.min() <= found.max() < 1


def test_one_observation_date_is_tested_on_customers_of_its_own(
    sample: pl.DataFrame, model_settings: ModelSettings
) -> None:
    one = sample.filter(pl.col("observation_date") == sample["observation_date"].min())
    found = train_default_model(one, model_settings)
    assert found.test_set == "out_of_sample"
    assert sum(found.parts.values()) == one.height


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda sample: sample.head(100), "minimum_sample_loans"),
        (lambda sample: sample.with_columns(default_12m=pl.lit(0)), "0 defaults"),
        (lambda sample: sample.with_columns(default_12m=pl.lit(1)), "both outcomes"),
        (lambda sample: sample.drop("credit_score"), "credit_score"),
    ],
)
def test_a_sample_that_cannot_train_is_refused_in_one_line(
    sample: pl.DataFrame, model_settings: ModelSettings, change: object, message: str
) -> None:
    with pytest.raises(ModelDataError, match=message) as refused:
        train_default_model(change(sample), model_settings)  # type: ignore[operator]
    assert "\n" not in str(refused.value)


def test_a_feature_that_knows_the_outcome_is_found(model_settings: ModelSettings) -> None:
    rng = np.random.default_rng(1)
    label = (rng.random(5_000) < 0.1).astype(np.int64)
    honest = label + rng.normal(0, 1, 5_000)
    leak = np.where(label == 1, np.nan, rng.random(5_000))
    matrix = np.column_stack([honest, leak, -5 * label + rng.random(5_000)])
    findings = leak_findings(matrix, ["honest", "gap", "falling"], label, 0.80, model_settings)
    assert [finding.split(":")[0] for finding in findings] == ["feature gap", "feature falling"]
    assert leak_findings(matrix[:, :1], ["honest"], label, 0.97, model_settings)
    assert leak_findings(matrix[:, :1], ["honest"], label, 0.90, model_settings, ceiling_auc=0.89)
    assert not leak_findings(matrix[:, :1], ["honest"], label, 0.88, model_settings, ceiling_auc=0.89)
