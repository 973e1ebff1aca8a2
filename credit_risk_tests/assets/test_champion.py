"""Champion and challenger: promoted by the gate, kept out by it, overruled and taken back by people."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest
from pyspark.sql import SparkSession

from credit_risk_assets.automation.failures import step_reason
from credit_risk_assets.config import tables
from credit_risk_assets.config.settings import Settings
from credit_risk_assets.definitions import build_defs
from credit_risk_assets.resources.landing import land
from credit_risk_assets.resources.mlflow import client, load_version
from credit_risk_assets.resources.platform import Platform
from credit_risk_assets.resources.registry import (
    PROMOTED,
    REFUSED,
    REGISTERED,
    RegistryError,
    champion_of,
    decisions,
    overview,
    promote,
    rollback,
)
from credit_risk_tests.conftest import Run, failed_checks, make_settings, run_job, table_rows

POOR = {"max_depth": 1, "n_estimators": 2, "learning_rate": 0.01, "monotone": "none", "minimum_auc": 0.5}
"""A model so plain that no champion gives way to it."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, simulated_tapes: list[Path], sail: SparkSession) -> Settings:
    """A portfolio whose first version is in force and whose second, a poor one, has just been trained."""
    settings = make_settings(tmp_path_factory.mktemp("champion"))
    for tape in simulated_tapes:
        land(settings, tape)
    first = Platform(settings)
    assert run_job(first).success
    first.close()
    return settings


def succeeds(platform: Platform, job: str = "main") -> bool:
    result = run_job(platform, job)
    errors = {name for name, severity in failed_checks(result).items() if severity == "ERROR"}
    steps = [step_reason(event) for event in result.get_step_failure_events()]
    assert (steps, errors) == ([], set())
    return result.success


def asked_to_score(settings: Settings) -> list[dg.RunRequest]:
    """What the sensor that watches the scores asks for."""
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(instance=instance)
        return list(build_defs(settings).resolve_sensor_def("stale_scores").evaluate_tick(context).run_requests or [])


def scored_by(platform: Platform, table: tables.Table = tables.LOAN_SCORES) -> set[str]:
    return set(table_rows(platform, table)["model_version"])


def test_versions_rise_fall_and_come_back(home: Settings) -> None:
    platform = Platform(home)
    assert champion_of(decisions(platform.lake_log)) == "1"
    assert [d.action for d in decisions(platform.lake_log)] == [REGISTERED, PROMOTED]
    assert scored_by(platform) == {"1"}
    assert table_rows(platform, tables.CHALLENGER_SCORES).height == 0
    assert asked_to_score(home) == []
    platform.close()

    poorer = Platform(make_settings(home.home, model=POOR))
    result = run_job(poorer)
    assert not result.success, "what keeps a version out is an ERROR that stops its promotion"
    assert failed_checks(result)["default_model not_worse_than_champion"] == "ERROR"
    taken = decisions(poorer.lake_log)
    assert (taken[-1].version, taken[-1].action, taken[-1].champion) == ("2", REFUSED, "1")
    assert "not_worse_than_champion: AUC -0." in taken[-1].reasons
    assert load_version(home).version == "1"
    first, again = asked_to_score(home), asked_to_score(home)
    assert [request.run_key for request in first] == [request.run_key for request in again], "once, not every tick"
    assert len(first) == 1

    # Nothing is stopped any more: the champion scores, the challenger in its shadow.
    assert succeeds(poorer)
    assert scored_by(poorer) == {"1"}
    assert scored_by(poorer, tables.CHALLENGER_SCORES) == {"2"}
    shadow = table_rows(poorer, tables.CHALLENGER_SCORES)
    assert sorted(shadow["loan_id"]) == sorted(table_rows(poorer, tables.LOAN_SCORES)["loan_id"])
    assert len(decisions(poorer.lake_log)) == len(taken), "a version is decided on once"

    promote(poorer.lakehouse, poorer.settings, "2", by="anna", reasons="a test of the override")
    assert succeeds(poorer, "refresh_gold")
    assert scored_by(poorer) == {"2"}
    assert table_rows(poorer, tables.CHALLENGER_SCORES).height == 0
    rows = {row["version"]: row for row in overview(poorer.lake_log)}
    assert (rows["2"]["role"], rows["2"]["decision"], rows["2"]["by"]) == ("champion", PROMOTED, "anna")

    assert rollback(poorer.lakehouse, poorer.settings, by="ben", reasons="worse by far") == "1"
    assert load_version(home).version == "1"
    assert succeeds(poorer, "refresh_gold")
    assert scored_by(poorer) == {"1"}
    with pytest.raises(RegistryError, match="no champion reigned before version 1"):
        rollback(poorer.lakehouse, poorer.settings, by="ben", reasons="again")
    with pytest.raises(RegistryError, match="no such version"):
        promote(poorer.lakehouse, poorer.settings, "99", by="ben", reasons="a slip")
    assert champion_of(decisions(poorer.lake_log)) == "1"
    poorer.close()


def test_the_shell_lists_promotes_and_rolls_back(home: Settings, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDIT_RISK_HOME", str(home.home))
    listed = run("model", "list")
    assert listed.exit_code == 0
    assert "champion" in listed.stdout
    refused = run("model", "promote", "2")
    assert refused.exit_code == 1
    assert "version 2: the gate objects (" in refused.stderr
    assert "--override" in refused.stderr
    bare = run("model", "promote", "2", "--override")
    assert "--override needs --reason" in bare.stderr
    assert "it is the champion already" in run("model", "promote", "1").stderr
    assert "version 77: unknown" in run("model", "promote", "77").stderr
    done = run("model", "promote", "2", "--override", "--reason", "a drill")
    assert done.exit_code == 0, done.stderr
    last = decisions(Platform(home).lake_log)[-1]
    assert last.champion == "2"
    assert last.reasons.startswith("a drill (overruled: ")
    back = run("model", "rollback", "--reason", "end of the drill")
    assert back.exit_code == 0, back.stderr
    assert champion_of(decisions(Platform(home).lake_log)) == "1"


def test_the_document_of_a_version_names_its_sample_and_who_promoted_it(
    home: Settings, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import mlflow

    monkeypatch.setenv("CREDIT_RISK_HOME", str(home.home))
    done = run("model", "document", "2", "--out", tmp_path)
    assert done.exit_code == 0, done.stderr
    text = (tmp_path / "model_document.md").read_text(encoding="utf-8")
    assert "| promoted | anna | version 2 | a test of the override |" in text
    assert "not_worse_than_champion" in text.split("## 15.")[1]
    sample = table_rows(Platform(home), tables.DEVELOPMENT_SAMPLE)
    for (day,), rows in sample.group_by("observation_date"):
        line = next(line for line in text.splitlines() if line.startswith(f"| {day} | "))
        cells = [cell.strip().replace(",", "") for cell in line.strip("|").split("|")]
        assert [int(cell) for cell in (cells[7], cells[9])] == [rows.height, rows["default_12m"].sum()]
        assert int(cells[2]) == sum(int(cell) for cell in cells[3:8]), "on the tape = left out + in the sample"
    run_id = client(home).get_model_version(tables.MODEL_NAME, "2").tags["run_id"]
    logged = {file.path for file in client(home).list_artifacts(run_id, "document/plots")}
    assert {f"document/plots/{file.name}" for file in (tmp_path / "plots").iterdir()} == logged
    assert {"importance", "importance_by_segment", "dependence"} <= {Path(name).stem for name in logged}
    first = mlflow.artifacts.load_text(f"runs:/{run_id}/document/model_document.md")
    assert "anna" not in first
    assert run("model", "document", "2", "--out", tmp_path, "--log").exit_code == 0
    again = mlflow.artifacts.load_text(f"runs:/{run_id}/document/model_document.md")
    assert "anna" in again


def test_a_document_of_no_version_is_one_line(
    home: Settings, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    none = run("model", "document", "--out", tmp_path / "none")
    assert none.exit_code == 1
    assert none.stderr.startswith("error no version yet")
    monkeypatch.setenv("CREDIT_RISK_HOME", str(home.home))
    missing = run("model", "document", "77", "--out", tmp_path / "none")
    assert missing.exit_code == 1
    assert missing.stderr.strip() == "error version 77: unknown; expected one of 1, 2"
    (tmp_path / "file").touch()
    blocked = run("model", "document", "1", "--out", tmp_path / "file")
    assert blocked.exit_code == 1
    assert len(blocked.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "none").exists()
