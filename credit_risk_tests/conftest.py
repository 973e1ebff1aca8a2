"""What the tests share: one Spark session, homes of their own, and small tapes."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from click.testing import Result
from pyspark.sql import SparkSession
from typer.testing import CliRunner

from credit_risk_assets.automation.progress import StepTimes, progress_logger
from credit_risk_assets.cli import app
from credit_risk_assets.config import settings as settings_module
from credit_risk_assets.config.settings import Settings, read_settings
from credit_risk_assets.config.tables import TABLES, Table
from credit_risk_assets.definitions import build_defs
from credit_risk_assets.resources.platform import Platform
from credit_risk_assets.resources.spark import missing_for_jvm, spark_session
from credit_risk_assets.tape.simulate import simulate

TEST_SEED = 7
SMALL_LOANS = 3_000
AS_OF = date(2026, 10, 31)

Run = Callable[..., Result]

GOOD_ROW: dict[str, Any] = {
    "loan_id": "L1",
    "customer_id": "C1",
    "as_of_date": "2026-10-31",
    "origination_date": "2025-01-15",
    "loan_purpose": "auto",
    "loan_status": "current",
    "loan_amount": "10000",
    "interest_rate": "9.5",
    "term_months": "36",
    "outstanding_balance": "6000.25",
    "current_dpd": "0",
    "payment_history_profile": "000000000000",
    "credit_score": "690",
    "annual_income": "52000",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of the JVM engines skip, with the reason, on a machine that lacks what they need."""
    needing = [item for item in items if item.get_closest_marker("jvm")]
    problem = missing_for_jvm() if needing else None
    for item in needing if problem else []:
        item.add_marker(pytest.mark.skip(reason=problem))


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's own settings must not decide a test."""
    import os

    for name in os.environ:
        if name.startswith("CREDIT_RISK_") or name in ("DAGSTER_HOME", "MLFLOW_TRACKING_URI"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def sail(tmp_path_factory: pytest.TempPathFactory) -> SparkSession:
    """The embedded engine's session, one for all tests."""
    return spark_session(read_settings(home=tmp_path_factory.mktemp("session")))


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """The command line as a user types it, in a fresh home."""
    monkeypatch.setenv("CREDIT_RISK_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CREDIT_RISK__LANDING__SETTLE_SECONDS", "0")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home" / "dagster"))
    monkeypatch.setenv("COLUMNS", "160")

    def call(*arguments: str | Path) -> Result:
        settings_module.load_settings.cache_clear()
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    yield call
    settings_module.load_settings.cache_clear()


def make_settings(home: Path, **sections: Any) -> Settings:
    """Settings of a home that waits for no file to settle."""
    landing = {"settle_seconds": 0, **sections.pop("landing", {})}
    settings = read_settings(home=home, landing=landing, **sections)
    settings.make_home()
    return settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A home of the test's own."""
    return make_settings(tmp_path / "home")


@pytest.fixture
def platform(settings: Settings, sail: SparkSession) -> Iterator[Platform]:
    """An empty lake on the embedded engine."""
    made = Platform(settings)
    yield made
    made.close()


def write_tape(file: Path, rows: list[dict[str, Any]], columns: list[str] | None = None) -> Path:
    """A CSV tape of the rows, each the good row with what the test changes."""
    full = [{**GOOD_ROW, **row} for row in rows]
    names = columns or list(dict.fromkeys(name for row in full for name in row))
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(out, names, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(full)
    return file


@pytest.fixture
def tape(settings: Settings) -> Callable[..., Path]:
    """Write a tape straight into the landing folder."""

    def write(name: str, rows: list[dict[str, Any]], *, changes: bool = False, **options: Any) -> Path:
        folder = settings.changes_folder if changes else settings.landing_folder
        return write_tape(folder / name, rows, **options)

    return write


def run_job(platform: Platform, job: str = "main", **options: Any) -> dg.ExecuteInProcessResult:
    """Run a job over a platform on an instance of the test's own; a failed step is in the result."""
    quiet = progress_logger(lambda _: None, StepTimes())
    defs = build_defs(platform.settings, resource_overrides={"platform": platform}, loggers={"quiet": quiet})
    options = {"run_config": {"loggers": {"quiet": {"config": {}}}}, **options}
    with dg.DagsterInstance.ephemeral() as instance:
        return defs.resolve_job_def(job).execute_in_process(instance=instance, raise_on_error=False, **options)


def failed_checks(result: dg.ExecuteInProcessResult) -> dict[str, str]:
    """The checks that failed: asset and name -> severity."""
    return {
        f"{check.asset_key.to_user_string()} {check.check_name}": check.severity.value
        for check in result.get_asset_check_evaluations()
        if not check.passed
    }


def table_rows(platform: Platform, table: Table) -> pl.DataFrame:
    """A table as any Delta reader sees it."""
    return pl.DataFrame(platform.lake_log.newest(table).scan())


def table_versions(platform: Platform) -> dict[str, int | None]:
    """The version of each table."""
    return {table.path: platform.lake_log.version(table) for table in TABLES}


@pytest.fixture(scope="session")
def simulated_tapes(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three yearly tapes of a small simulated portfolio."""
    folder = tmp_path_factory.mktemp("tapes")
    result = simulate(SMALL_LOANS, folder, seed=TEST_SEED, as_of=AS_OF)
    return result.tapes
