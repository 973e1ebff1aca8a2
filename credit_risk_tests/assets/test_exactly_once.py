"""Runs that are killed, and runs at the same time: no row twice, none lost, no half a file."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession

from credit_risk_assets.config import tables
from credit_risk_assets.config.settings import Settings
from credit_risk_assets.resources.ingestion import Ingestion
from credit_risk_assets.resources.mlflow import EXPERIMENT, client
from credit_risk_assets.resources.platform import Platform
from credit_risk_assets.resources.privacy import KEY_FILE, privacy_key
from credit_risk_tests.conftest import make_settings, run_job, table_rows, write_tape

ROOT = Path(__file__).parents[2]
OWN_TO_A_RUN = {"_ingested_at", "_run_id", "started_at", "finished_at", "run_id", "table_version"}


def land_first_tapes(landing: Path) -> None:
    """Two yearly tapes, with a bad row and a line that cannot be split."""
    for year in (2025, 2026):
        rows = [{"loan_id": f"L{n:02}", "customer_id": f"C{n}", "as_of_date": f"{year}-10-31"} for n in range(30)]
        file = write_tape(landing / f"{year}.csv", [*rows, {"loan_id": "BAD", "loan_amount": "-1"}])
        with file.open("a") as out:
            out.write("half,a,line\n")


def land_later_files(landing: Path) -> None:
    """What needs merging: changes with a new column, a correction, a late tape, a file that is none."""
    changed = {"as_of_date": "2026-11-10", "outstanding_balance": "17.5", "branch": "north"}
    write_tape(landing / "changes" / "hours.csv", [{"loan_id": f"L{n:02}", **changed} for n in range(3)])
    write_tape(landing / "corrected.csv", [{"loan_id": "L05", "outstanding_balance": "1234.5"}])
    late = [{"loan_id": f"L{n:02}", "as_of_date": "2026-04-30", "outstanding_balance": "9"} for n in range(30)]
    write_tape(landing / "late.csv", late)
    (landing / "none.csv").write_bytes(bytes(range(256)) * 8)


def rows_of(home: Path, table: tables.Table) -> pl.DataFrame:
    frame = pl.DataFrame(DeltaTable(str(home / "lake" / table.path)).scan())
    kept = frame.drop(OWN_TO_A_RUN & set(frame.columns))
    kept = kept.with_columns(
        [pl.col(n).cast(pl.List(pl.String)).list.join("|") for n, t in kept.schema.items() if t == pl.List]
    )
    return kept.select(sorted(kept.columns)).sort(sorted(kept.columns), nulls_last=True)


def kill(home: Path, died: Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-m", "credit_risk_tests.assets.killed_run", home, died],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return died.read_text().splitlines()


@pytest.mark.slow
def test_a_lake_whose_runs_were_killed_at_every_boundary_is_the_undisturbed_one(
    tmp_path: Path, sail: SparkSession
) -> None:
    undisturbed = Platform(make_settings(tmp_path / "undisturbed"))
    killed = make_settings(tmp_path / "killed")
    privacy_key(undisturbed.settings)
    # One key: the same customer has the same pseudonym in both lakes.
    shutil.copy(undisturbed.settings.home / KEY_FILE, killed.home / KEY_FILE)
    died: list[list[str]] = []
    for land in (land_first_tapes, land_later_files):
        land(undisturbed.settings.landing_folder)
        assert run_job(undisturbed).success
        land(killed.landing_folder)
        died.append(kill(killed.home, tmp_path / f"died_{len(died)}"))
    undisturbed.close()
    made, again = (
        {table for table in tables.TABLES if (settings.lake / table.path).exists()}
        for settings in (undisturbed.settings, killed)
    )
    assert made == again
    assert {tables.LOANS, tables.PORTFOLIO_CUBE, tables.VINTAGE_CURVES} < made
    for table in made - {tables.QUALITY_RESULTS}:
        expected, found = rows_of(undisturbed.settings.home, table), rows_of(killed.home, table)
        assert expected.equals(found), table.path
    register = pl.DataFrame(DeltaTable(str(killed.lake / tables.QUALITY_RESULTS.path)).scan())
    assert not register.select("run_id", "asset", "check_name").is_duplicated().any()
    assert not [path for path in (killed.lake / "silver").iterdir() if path.name.startswith(".merge")]
    kept = sorted(path.name for path in killed.quarantine_folder.iterdir())
    assert kept == sorted(path.name for path in undisturbed.settings.quarantine_folder.iterdir())
    # Each table died with its files written and not committed, and with them committed.
    for name in ("loan_tape", "rejected_records", "loan_history", "loans", "portfolio_cube"):
        assert f"files of {name} written" in died[0]
        assert any(boundary.startswith(f"{name} committed") for boundary in died[0]), name
    # Rows computed in the run itself have no moment in between.
    for name in ("ingestion_log", "vintage_curves"):
        assert any(boundary.startswith(f"{name} committed") for boundary in died[0]), name
    assert {"loan_tape made", "ingestion_log made"} <= set(died[0])
    assert {"loan_tape evolved", "loan_history evolved", "loans evolved", "none.csv moved"} <= set(died[1])
    assert {"files of loan_history written", "merge of r/loans/ prepared"} <= set(died[1])


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("CREDIT_RISK")},
        "CREDIT_RISK_HOME": str(tmp_path / "home"),
        "DAGSTER_HOME": str(tmp_path / "home" / "dagster"),
        "CREDIT_RISK__LANDING__SETTLE_SECONDS": "0",
    }


@pytest.mark.slow
def test_two_refreshes_at_once_take_each_file_once(tmp_path: Path, environment: dict[str, str]) -> None:
    settings = make_settings(tmp_path / "home")
    land_first_tapes(settings.landing_folder)
    command = [sys.executable, "-m", "credit_risk_assets", "refresh"]
    both = [
        subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=300)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    platform = Platform(settings)
    log = table_rows(platform, tables.INGESTION_LOG)
    assert sorted(log["source_file"].to_list()) == ["2025.csv", "2026.csv"]
    assert table_rows(platform, tables.LOAN_TAPE).height == log["rows_accepted"].sum() == 60
    assert table_rows(platform, tables.LOANS).height == 30
    assert table_rows(platform, tables.LOAN_HISTORY).height == 60


def test_a_landed_file_is_removed_also_by_the_run_after_the_one_that_died(
    tmp_path: Path, sail: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Raw customer ids must not stay behind where the settings say that files go."""
    platform = Platform(make_settings(tmp_path / "home", landing={"after_ingestion": "remove"}))
    file = write_tape(platform.settings.landing_folder / "a.csv", [{}])
    # As a run that dies after the log's commit leaves it.
    monkeypatch.setattr(Ingestion, "_finished", lambda *_: None)
    assert run_job(platform, "refresh_lake").success
    monkeypatch.undo()
    assert file.exists()
    assert table_rows(platform, tables.INGESTION_LOG).height == 1
    assert run_job(platform, "refresh_lake").success
    assert not file.exists()
    assert table_rows(platform, tables.LOAN_TAPE).height == 1
    platform.close()


def test_a_run_clears_what_killed_ones_left_and_no_translation_in_progress(platform: Platform) -> None:
    staging = platform.settings.staging_folder
    dead, old, busy = staging / "ingestion" / "abc", staging / "translate-old", staging / "translate-new"
    for folder in (dead, old, busy):
        folder.mkdir(parents=True)
        (folder / "part.parquet").write_bytes(b"x")
    two_days_ago = old.stat().st_mtime - 2 * 86_400
    os.utime(old, (two_days_ago, two_days_ago))
    Ingestion(platform.lakehouse, platform.settings, "run").run()
    assert [path.name for path in staging.iterdir()] == ["translate-new"]


def test_a_model_store_that_a_killed_run_left_half_made_is_made_anew(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow makes its tables, then migrates them: a store that ends in between would fail every later run."""
    from mlflow.store.db import utils

    class Killed(BaseException):
        pass

    def die(_: object) -> None:
        raise Killed

    monkeypatch.setattr(utils, "_upgrade_db", die)
    with pytest.raises(Killed):
        client(settings)
    monkeypatch.undo()
    assert not (settings.home / "mlflow" / "mlflow.db").exists()
    assert client(settings).get_experiment_by_name(EXPERIMENT) is not None
