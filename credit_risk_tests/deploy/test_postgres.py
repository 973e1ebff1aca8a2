"""Dagster's run history and MLflow's registry in PostgreSQL, by settings alone, against a real server."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import dagster as dg
import pytest
import yaml

from credit_risk_assets.config.settings import SettingsError, read_settings
from credit_risk_assets.resources.database import DatabaseError, require_databases
from credit_risk_assets.resources.instance import POSTGRES_VARIABLE, open_instance, prepare_instance
from credit_risk_assets.resources.lake_log import LakeLog
from credit_risk_assets.resources.mlflow import load_version
from credit_risk_assets.resources.registry import champion_of, decisions
from credit_risk_tests.conftest import Run
from credit_risk_tests.deploy.postgres import PASSWORDS, Postgres, free_port


def use(monkeypatch: pytest.MonkeyPatch, dagster: str, mlflow: str) -> None:
    monkeypatch.setenv(POSTGRES_VARIABLE, dagster)
    monkeypatch.setenv("CREDIT_RISK__MLFLOW__TRACKING_URI", mlflow)
    # the instance's own copy of it, which outlives a test
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def shown_passwords(text: str) -> list[str]:
    forms = [form for password in PASSWORDS.values() for form in (password, quote(password, safe=""))]
    return [form for form in forms if form in text]


@pytest.mark.slow
def test_a_refresh_keeps_its_history_and_its_model_in_postgres(
    postgres: Postgres, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, simulated_tapes: list[Path]
) -> None:
    use(monkeypatch, postgres.url("dagster"), postgres.url("mlflow"))
    monkeypatch.setenv("CREDIT_RISK__MODEL__N_ESTIMATORS", "40")
    monkeypatch.setenv("CREDIT_RISK__MODEL__BENCHMARKS", "[]")
    home = tmp_path / "home"
    assert run("land", *simulated_tapes).exit_code == 0
    first = run("refresh")
    assert first.exit_code == 0, first.output
    second = run("refresh")
    assert second.exit_code == 0
    assert "everything is up to date" in second.output

    settings = read_settings()
    with open_instance(settings) as instance:
        (history,) = instance.get_run_records(limit=1)
        assert history.dagster_run.status is dg.DagsterRunStatus.SUCCESS
        assert instance.get_latest_materialization_event(dg.AssetKey(["silver", "loans"]))
        assert "Postgres" in type(instance.run_storage).__name__
        assert "Postgres" in type(instance.schedule_storage).__name__
    assert load_version(settings).version == champion_of(decisions(LakeLog(settings.lake)))
    assert run("doctor").output.count("answers") == 2
    migrated = run("migrate")
    assert migrated.exit_code == 0, migrated.output
    assert migrated.output.count("is of the installed release's schema") == 2

    with pytest.raises(DatabaseError, match="give each home a database of its own"):
        load_version(read_settings(home=tmp_path / "another"))

    stored = [postgres.dump("dagster"), postgres.dump("mlflow")]
    assert history.dagster_run.run_id in stored[0]
    assert "credit_default" in stored[1]
    assert not list(home.rglob("*.db")), "nothing is left in SQLite"
    assert list((home / "mlflow" / "artifacts").rglob("*.pkl"))
    files = [file.read_bytes().decode(errors="replace") for file in home.rglob("*") if file.is_file()]
    for text in (*stored, *files, first.output, second.output):
        assert shown_passwords(text) == []


def test_a_wrong_password_is_one_line_without_it(
    postgres: Postgres, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use(monkeypatch, postgres.url("dagster", "not-the/password"), postgres.url("mlflow"))
    refused = run("refresh")
    assert isinstance(refused.exception, DatabaseError)
    (line,) = str(refused.exception).splitlines()
    assert line.startswith(f"setting dagster.postgres_url: postgresql://127.0.0.1:{postgres.port}/dagster")
    assert "password authentication failed" in line
    assert "not-the" not in line
    assert not (tmp_path / "home" / "lake" / "silver").exists()

    told = run("doctor")
    assert told.exit_code == 1
    (missing,) = [found for found in told.output.splitlines() if "MISSING" in found]
    assert "setting dagster.postgres_url" in missing
    assert "not-the" not in told.output
    assert f"ok      MLflow's runs and models: postgresql://127.0.0.1:{postgres.port}/mlflow answers" in told.output


def test_a_socket_is_an_address_too(postgres: Postgres) -> None:
    secret = quote(PASSWORDS["dagster"], safe="")
    url = f"postgresql://dagster:{secret}@/dagster?host={postgres.folder}&port={postgres.port}"
    require_databases(read_settings(dagster={"postgres_url": url}))


def test_roles_reach_their_own_database_alone(postgres: Postgres) -> None:
    swapped = postgres.url("mlflow").removesuffix("mlflow") + "dagster"
    with pytest.raises(DatabaseError, match=r'mlflow\.tracking_uri.*permission denied for database "dagster"'):
        require_databases(read_settings(mlflow={"tracking_uri": swapped}))


def test_a_server_that_is_not_there_is_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("psycopg2")
    port = free_port()
    use(monkeypatch, f"postgresql://dagster:hush@127.0.0.1:{port}/dagster", f"http://ada:hush@127.0.0.1:{port}")
    told = run("doctor")
    assert told.exit_code == 1
    database, server = [found for found in told.output.splitlines() if "MISSING" in found]
    assert f"setting dagster.postgres_url: postgresql://127.0.0.1:{port}/dagster" in database
    assert "refused" in database
    assert f"setting mlflow.tracking_uri: http://127.0.0.1:{port}" in server
    assert "no MLflow server answers" in server
    assert "hush" not in told.output


@pytest.mark.parametrize(
    "value", ["mysql://u:hush@h/db", "postgresql://u:hush@h", "postgresql://u:hu#sh@h/db", "postgresql://u:p/hush@h/db"]
)
def test_an_address_that_is_none_is_one_line_without_it(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv(POSTGRES_VARIABLE, value)
    with pytest.raises(SettingsError, match=r"^setting dagster\.postgres_url: .*expected postgresql://") as refusal:
        read_settings()
    assert "hu" not in str(refusal.value).replace("through", "")


def test_one_database_for_both_is_refused() -> None:
    url = "postgresql://u:hush@db/credit"
    settings = read_settings(dagster={"postgres_url": url}, mlflow={"tracking_uri": url})
    with pytest.raises(DatabaseError, match="expected a database for each"):
        require_databases(settings)


def test_the_instance_names_the_variable_and_never_the_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    monkeypatch.setenv(POSTGRES_VARIABLE, "postgresql://u:hush@db/dagster")
    file = prepare_instance(read_settings(home=tmp_path)) / "dagster.yaml"
    assert yaml.safe_load(file.read_text())["storage"] == {"postgres": {"postgres_url": {"env": POSTGRES_VARIABLE}}}
    assert "hush" not in file.read_text()

    monkeypatch.delenv(POSTGRES_VARIABLE)
    prepare_instance(read_settings(home=tmp_path))
    assert "storage" not in yaml.safe_load(file.read_text()), "without the setting it is SQLite again"

    file.write_text("storage: {sqlite: {base_dir: /elsewhere}}\n")
    prepare_instance(read_settings(home=tmp_path))
    assert yaml.safe_load(file.read_text())["storage"] == {"sqlite": {"base_dir": "/elsewhere"}}
    with pytest.raises(SettingsError, match="has a storage of its own"):
        prepare_instance(read_settings(home=tmp_path, dagster={"postgres_url": "postgresql://u@db/dagster"}))


def test_secrets_come_from_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDIT_RISK_SECRETS", str(tmp_path / "secrets"))
    with pytest.raises(SettingsError, match="does not exist"):
        read_settings()
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "dagster__postgres_url").write_text("postgresql://u:hush@db/dagster\n")
    (tmp_path / "secrets" / "privacy__key").write_text("from the file\n")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home" / "dagster"))
    monkeypatch.delenv(POSTGRES_VARIABLE, raising=False)
    settings = read_settings(home=tmp_path / "home")
    assert settings.privacy.key.get_secret_value() == "from the file"
    assert "hush" not in repr(settings)
    prepare_instance(settings)
    import os

    assert os.environ[POSTGRES_VARIABLE] == "postgresql+psycopg2://u:hush@db/dagster"
    monkeypatch.setenv("CREDIT_RISK__PRIVACY__KEY", "from the environment")
    assert read_settings().privacy.key.get_secret_value() == "from the environment"
    (tmp_path / "secrets" / "privcy__key").write_text("lost")
    with pytest.raises(SettingsError, match="setting privcy__key: no such section"):
        read_settings()
    (tmp_path / "secrets" / "privcy__key").rename(tmp_path / "secrets" / "privacy__kee")
    with pytest.raises(SettingsError, match="no such setting"):
        read_settings()
