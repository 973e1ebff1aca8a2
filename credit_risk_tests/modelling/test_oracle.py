"""The model against the truth of a simulated portfolio."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import typer
from deltalake import write_deltalake
from typer.testing import CliRunner

from credit_risk_assets.commands.model_oracle import oracle
from credit_risk_assets.config.settings import read_settings
from credit_risk_assets.config.tables import CHAMPION, DEVELOPMENT_SAMPLE, MODEL_NAME
from credit_risk_assets.modelling.errors import ModelDataError
from credit_risk_assets.modelling.oracle import OracleReport, compare_with_truth, read_truth
from credit_risk_assets.modelling.train import TrainingResult
from credit_risk_assets.resources.mlflow import client, register
from credit_risk_assets.tape.simulate import simulate

DATE = dt.date(2024, 12, 31)
BOUNDS = (0.02, 0.05, 0.12, 0.30)


@pytest.fixture(scope="session")
def truth_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The truth of the portfolio that the fixture `sample` was made of."""
    folder = tmp_path_factory.mktemp("sealed")
    simulate(12_000, folder / "tapes", seed=11, as_of=dt.date(2025, 12, 31), format="parquet", truth=folder / "truth")
    return folder / "truth"


def drawn(rows: int = 20_000, seed: int = 0) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Loans with an outcome, and their truth; the oracle knows a little more than can be observed."""
    rng = np.random.default_rng(seed)
    seen = rng.normal(-3, 1.2, rows)
    known = seen + rng.normal(0, 0.5, rows)
    true = 1 / (1 + np.exp(-known))
    observable = 1 / (1 + np.exp(-seen / 1.03))
    ids = [f"L{row}" for row in range(rows)]
    tested = pl.DataFrame(
        {
            "loan_id": ids,
            "observation_date": [DATE] * rows,
            "default_12m": (rng.random(rows) < true).astype(int),
            "loan_purpose": rng.choice(["auto", "home"], rows),
        }
    )
    truth = pl.DataFrame({"loan_id": ids, "as_of_date": [DATE] * rows, "pd_12m": true, "pd_12m_observable": observable})
    return tested, truth


def compared(tested: pl.DataFrame, truth: pl.DataFrame, predicted: np.ndarray) -> OracleReport:
    return compare_with_truth(tested, predicted, truth, threshold=0.15, bounds=BOUNDS)


def test_a_model_that_is_the_ceiling_has_no_gap_to_it() -> None:
    tested, truth = drawn()
    ceiling = truth["pd_12m_observable"].to_numpy()
    found = compared(tested, truth, ceiling)
    assert found.gap_to_observable.value == 0
    assert found.gap_to_oracle.value > 0.01
    assert found.pd_errors["observable"] == {"mean_error": 0, "rmse": 0, "ratio": 1}
    assert found.at_threshold["model"] == found.at_threshold["observable"]
    assert found.at_recall_70["model"]["recall"] == pytest.approx(0.70, abs=0.002)
    assert not found.leaks


def test_errors_of_probabilities_are_those_put_in() -> None:
    tested, truth = drawn()
    auto = tested["loan_purpose"].to_numpy() == "auto"
    ceiling = truth["pd_12m_observable"].to_numpy()
    found = compared(tested, truth, ceiling + 0.01 * auto)
    by_segment = {(s.dimension, s.segment): s for s in found.segments}
    assert by_segment["loan_purpose", "auto"].mean_error == pytest.approx(0.01)
    assert by_segment["loan_purpose", "auto"].rmse == pytest.approx(0.01)
    assert by_segment["loan_purpose", "home"].rmse == 0
    assert found.pd_errors["observable"]["mean_error"] == pytest.approx(0.01 * auto.mean())
    for dimension in ("loan_purpose", "risk_rating"):
        assert sum(s.n for s in found.segments if s.dimension == dimension) == tested.height


def test_a_model_above_the_ceiling_leaks_and_one_above_it_by_chance_does_not() -> None:
    tested, truth = drawn()
    ceiling = truth["pd_12m_observable"].to_numpy()
    knowing = np.clip(ceiling + 0.1 * tested["default_12m"].to_numpy(), 0, 1)
    assert compared(tested, truth, knowing).leaks
    assert any(line.startswith("LEAK") for line in compared(tested, truth, knowing).lines())
    by_chance = 0
    for seed in range(20):
        tested, truth = drawn(3_000, seed)
        noise = np.random.default_rng(seed + 100).normal(1, 0.05, tested.height)
        by_chance += compared(tested, truth, np.clip(truth["pd_12m_observable"].to_numpy() * noise, 0, 1)).leaks
    assert by_chance <= 2


def test_rows_in_any_order_and_a_few_without_truth() -> None:
    tested, truth = drawn(4_000)
    predicted = truth["pd_12m"].to_numpy()
    order = np.random.default_rng(3).permutation(tested.height)
    plain = compared(tested, truth, predicted)
    mixed = compared(tested[order.tolist()], truth.sample(fraction=1, shuffle=True, seed=1), predicted[order])
    assert plain == mixed
    assert compared(tested, truth.head(3_990), predicted).unknown == 10
    with pytest.raises(ModelDataError, match=r"knows 3,000 of the 4,000 loans .* other tapes"):
        compared(tested, truth.head(3_000), predicted)


def test_the_platforms_model_comes_near_the_ceiling_and_not_above(trained: TrainingResult, truth_folder: Path) -> None:
    found = compare_with_truth(
        trained.tested, trained.predicted, read_truth(truth_folder), threshold=trained.model.threshold, bounds=BOUNDS
    )
    assert found.unknown == 0
    assert not found.leaks
    assert 0 < found.gap_to_observable.value < 0.035
    assert found.auc["oracle"].value > found.auc["observable"].value > found.auc["model"].value
    assert 0.9 < found.pd_errors["observable"]["ratio"] < 1.1
    assert found.pd_errors["observable"]["rmse"] < found.pd_errors["oracle"]["rmse"]


def test_the_command_compares_the_champion(
    trained: TrainingResult,
    sample: pl.DataFrame,
    truth_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = read_settings(home=tmp_path / "home")
    monkeypatch.setattr("credit_risk_assets.commands.model_oracle.current_settings", lambda: settings)
    app = typer.Typer()
    app.command()(oracle)

    def run(*arguments: object) -> tuple[int, str]:
        done = CliRunner().invoke(app, [str(argument) for argument in arguments])
        return done.exit_code, done.output

    (tmp_path / "nothing").mkdir()
    code, said = run("--truth", tmp_path / "nothing")
    assert (code, "simulate --truth" in said) == (1, True)
    code, said = run("--truth", truth_folder)
    assert (code, "champion" in said) == (1, True)

    version = register(trained, settings).version
    client(settings).set_registered_model_alias(MODEL_NAME, CHAMPION, version)
    write_deltalake(str(settings.lake / DEVELOPMENT_SAMPLE.path), sample.to_arrow())
    code, said = run("--truth", truth_folder, "--json", tmp_path / "oracle.json")
    assert code == 0, said
    assert "gap to the observable ceiling" in said
    found = json.loads((tmp_path / "oracle.json").read_text())
    assert found["n"] == len(trained.label)
    assert found["auc"]["model"]["value"] == pytest.approx(trained.test_metrics["auc"].value)
    assert found["leaks"] is False

    older = sample.filter(pl.col("observation_date") < sample["observation_date"].max())
    write_deltalake(str(settings.lake / DEVELOPMENT_SAMPLE.path), older.to_arrow(), mode="overwrite")
    code, said = run("--truth", truth_folder)
    assert (code, "out-of-time" in said) == (1, True)
