"""Registering and loading the default model in MLflow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from deltalake import write_deltalake

from credit_risk_assets.config.settings import Settings, read_settings
from credit_risk_assets.config.tables import CHALLENGER, CHAMPION, LOANS, MODEL_NAME
from credit_risk_assets.modelling.figures import Figure
from credit_risk_assets.modelling.train import TrainingResult
from credit_risk_assets.resources.mlflow import (
    EXPERIMENT,
    FIGURES_FILE,
    NoChampionError,
    client,
    load_version,
    log_figures,
    register,
)
from credit_risk_tests.modelling.test_score import APPLICATION
from dash_app.data.explain import NoModelError, explain
from dash_app.data.lake import Lake


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return read_settings(home=tmp_path_factory.mktemp("home"))


def champion(settings: Settings, version: str) -> None:
    client(settings).set_registered_model_alias(MODEL_NAME, CHAMPION, version)


def test_a_version_is_registered_as_challenger_and_loaded(
    home: Settings, trained: TrainingResult, sample: pl.DataFrame
) -> None:
    import mlflow

    with pytest.raises(NoChampionError, match="credit_default"):
        load_version(home)
    figure = Figure("segment", "loan_purpose", "auto", "auc", 0.8)
    first = register(trained, home)
    log_figures(home, first.run_id, [figure])
    assert first.version == "1"
    with pytest.raises(NoChampionError):
        load_version(home)
    loaded = load_version(home, CHALLENGER)
    assert loaded.model.version == "1"
    rows = sample.head(200)
    np.testing.assert_array_equal(
        loaded.model.probability(loaded.encoders.transform(rows)),
        trained.model.probability(trained.encoders.transform(rows)),
    )
    run = client(home).get_run(first.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.metrics["out_of_time_auc"] == pytest.approx(trained.test_metrics["auc"].value)
    assert run.data.params["max_depth"] == "6"
    assert mlflow.artifacts.load_dict(f"runs:/{first.run_id}/{FIGURES_FILE}")["figures"][0]["item"] == "auto"
    assert mlflow.active_run() is None

    assert register(trained, home).version == "2"
    assert load_version(home, CHALLENGER).version == "2"
    champion(home, "1")
    assert load_version(home).version == "1"


def test_a_loan_is_explained_by_the_version_that_scored_it(
    home: Settings, trained: TrainingResult, sample: pl.DataFrame
) -> None:
    columns = list(dict.fromkeys(["loan_id", *trained.model.columns, *LOANS.partition_by]))
    rows = (
        sample.with_columns(risk_category=pl.lit("Low")).unique("loan_id", maintain_order=True).head(40).select(columns)
    )
    write_deltalake(str(home.lake / LOANS.path), rows, partition_by=list(LOANS.partition_by))
    snapshot = Lake(home.lake).snapshot()
    matrix = trained.encoders.transform(rows)
    pds = trained.model.probability(matrix)
    for row in range(3):
        found = explain(snapshot, home, rows["loan_id"][row], "1", pl.col("risk_category") == "Low")
        assert found.version == "1"
        assert found.pd_12m == pytest.approx(pds[row])
        # margins and contributions are sums over all trees in single precision
        summed = found.base_odds + sum(added for _, added in found.contributions)
        assert found.odds == pytest.approx(summed, abs=1e-5)
        exact = dict(zip(trained.model.columns, trained.model.contributions(matrix[[row]], exact=True)[0], strict=True))
        assert dict(found.contributions) == pytest.approx(exact, abs=1e-6)
        assert found.values["loan_amount"] == rows["loan_amount"][row]
    with pytest.raises(NoModelError, match="no version 9"):
        explain(snapshot, home, rows["loan_id"][0], "9", pl.lit(value=True))


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
