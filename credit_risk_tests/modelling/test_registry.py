"""Registering, promoting and loading the default model in MLflow."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest

from credit_risk_assets.config.settings import Settings, read_settings
from credit_risk_assets.modelling.evaluate import Metric
from credit_risk_assets.modelling.train import TrainingResult
from credit_risk_assets.resources.mlflow import (
    EXPERIMENT,
    NoChampionError,
    client,
    load_version,
    promotion_findings,
    register,
    version_tags,
)
from credit_risk_tests.modelling.test_score import APPLICATION


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return read_settings(home=tmp_path_factory.mktemp("home"))


def with_auc(result: TrainingResult, auc: float) -> TrainingResult:
    metrics = {name: dict(found) for name, found in result.metrics.items()}
    metrics[result.test_set]["auc"] = Metric(auc, auc - 0.01, auc + 0.01)
    return dataclasses.replace(result, metrics=metrics)


def test_versions_are_registered_promoted_and_loaded(
    home: Settings, trained: TrainingResult, sample: pl.DataFrame
) -> None:
    import mlflow

    with pytest.raises(NoChampionError, match="credit_default"):
        load_version(home)
    first = register(trained, home)
    assert (first.version, first.promoted, first.findings) == ("1", True, ())
    champion = load_version(home)
    assert champion.model.version == "1"
    rows = sample.head(200)
    np.testing.assert_array_equal(
        champion.model.probability(champion.encoders.transform(rows)),
        trained.model.probability(trained.encoders.transform(rows)),
    )
    run = client(home).get_run(first.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.metrics["out_of_time_auc"] == pytest.approx(trained.test_metrics["auc"].value)
    assert run.data.params["max_depth"] == "6"
    assert mlflow.active_run() is None

    worse = register(with_auc(trained, trained.test_metrics["auc"].value - 0.1), home)
    assert not worse.promoted
    assert "champion" in worse.findings[0]
    assert load_version(home).version == "1"
    assert load_version(home, "challenger").version == worse.version
    assert worse.findings[0] in version_tags(home, "challenger")["gate"]

    assert register(trained, home).promoted
    assert load_version(home).version == "3"


def test_the_registered_pyfunc_scores_applications(home: Settings, trained: TrainingResult) -> None:
    import mlflow

    client(home)
    served = mlflow.pyfunc.load_model("models:/credit_default@champion")
    loans = pd.DataFrame([APPLICATION, APPLICATION | {"loan_purpose": "boat"}])
    numbers = loans.select_dtypes("number").columns
    found = served.predict(loans.astype(dict.fromkeys(numbers, float)))
    assert found["default_probability"][0] > 0
    assert found["risk_rating"][0]
    assert "boat" in found["reason"][1]
    signature = served.metadata.signature
    assert not {"age", "family_size", "education", "region"} & {
        column.name for column in signature.inputs.inputs if column.required
    }


def test_everything_lies_under_the_home(home: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = client(home)
    experiment = store.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    assert experiment.artifact_location == (home.home / "mlflow" / "artifacts").as_uri()
    assert not list(tmp_path.iterdir())


def test_registration_joins_the_active_run(home: Settings, trained: TrainingResult) -> None:
    import mlflow

    client(home)
    mlflow.set_experiment(EXPERIMENT)
    with mlflow.start_run() as run:
        assert register(trained, home).run_id == run.info.run_id
        active = mlflow.active_run()
        assert active is not None
        assert active.info.run_id == run.info.run_id


def test_the_gate_names_each_finding(trained: TrainingResult, home: Settings) -> None:
    assert promotion_findings(trained, home.model, None) == []
    weak = promotion_findings(with_auc(trained, 0.61), home.model, {"auc_lower": "0.8"})
    assert len(weak) == 2
    leaky = dataclasses.replace(trained, leaks=["feature x: it restates the outcome"])
    assert promotion_findings(leaky, home.model, None) == ["feature x: it restates the outcome"]
    metrics = {name: dict(found) for name, found in trained.metrics.items()}
    metrics[trained.test_set]["ece"] = Metric(0.2)
    findings = promotion_findings(dataclasses.replace(trained, metrics=metrics), home.model, None)
    assert "ECE 0.2000" in findings[0]


def test_a_first_version_that_leaks_is_no_champion(trained: TrainingResult, tmp_path: Path) -> None:
    settings = read_settings(home=tmp_path)
    found = register(dataclasses.replace(trained, leaks=["feature x: it restates the outcome"]), settings)
    assert not found.promoted
    with pytest.raises(NoChampionError):
        load_version(settings)
