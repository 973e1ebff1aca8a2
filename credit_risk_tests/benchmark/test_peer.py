"""The peer's tables against the platform's, on clean and dirty tapes; and a comparison that can fail."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake
from pyspark.sql import SparkSession

from credit_risk_assets.benchmark.compare import KEYS, compare_lakes
from credit_risk_assets.benchmark.run import peer_command
from credit_risk_assets.config import tables
from credit_risk_assets.config.tables import Table
from credit_risk_assets.resources.platform import Platform
from credit_risk_assets.tape.simulate import simulate
from credit_risk_tests.conftest import AS_OF, TEST_SEED, make_settings, run_job, write_tape

LOANS = 2_000
TABLE_WORK = [dg.AssetKey(table.key) for table in (*KEYS, tables.INGESTION_LOG)]


@pytest.fixture(scope="module")
def lakes(sail: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same dirty tapes through the platform and through the peer: CSV and Parquet, changes, corrections."""
    folder = tmp_path_factory.mktemp("peer")
    settings = make_settings(folder / "home")
    made = simulate(LOANS, folder / "csv", seed=TEST_SEED, as_of=AS_OF)
    typed = simulate(LOANS, folder / "parquet", seed=TEST_SEED, as_of=AS_OF, tapes=1, format="parquet")
    oldest, middle, newest = (file for file in made.files if "sample" not in file.name)
    shutil.copy(oldest, settings.landing_folder)
    shutil.copy(middle, settings.landing_folder)
    shutil.copy(next(file for file in typed.files if "sample" not in file.name), settings.landing_folder)
    header, *lines = newest.read_text().splitlines()
    moved = [line.replace("2026-10-31", "2026-11-15", 1) for line in lines[:40]]
    (settings.changes_folder / "changes.csv").write_text("\n".join([header, *moved]) + "\n")
    write_tape(
        settings.changes_folder / "dirty.csv",
        [
            {"loan_id": "NEW-1", "branch": "north"},
            {"loan_id": "NEW-2", "loan_amount": "-5"},
            {"loan_id": "NEW-3", "as_of_date": "2026-02-30", "current_dpd": "x"},
            {"loan_id": "NEW-4", "as_of_date": "2024-02-29", "origination_date": "2023-01-31", "installment": ""},
            {"loan_id": "NEW-1", "outstanding_balance": "1.01"},
            {"loan_id": " NEW-5 ", "loan_purpose": "Debt-Consolidation", "annual_income": "  "},
            {"loan_id": "NEW-6", "payment_history_profile": "00X", "credit_score": "1000"},
            {"loan_id": "NEW-7", "payment_history_profile": "", "interest_rate": "0", "loan_status": "default"},
        ],
    )
    odd = pl.read_parquet(settings.landing_folder / "loan_portfolio_data.parquet").head(3)
    odd = odd.with_columns(
        loan_id=pl.Series(["ODD-1", "ODD-2", "ODD-3"]),
        credit_score=pl.Series([1000.0, 700.5, float("nan")]),
        loan_amount=pl.Series([1000.0, -2.5, 3000.0]),
    )
    odd.write_parquet(settings.changes_folder / "odd.parquet")
    platform = Platform(settings)
    run_job(platform, asset_selection=TABLE_WORK)
    platform.close()
    theirs = folder / "theirs"
    done = subprocess.run(
        peer_command(settings, theirs, folder / "peer.json"), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return settings.lake, theirs


def difference(lakes: tuple[Path, Path]) -> list[str]:
    found: list[str] = compare_lakes(*lakes, lambda _: None)["differences"]
    return found


def test_the_peer_makes_what_the_platform_makes(lakes: tuple[Path, Path]) -> None:
    ours, theirs = lakes
    assert difference(lakes) == []
    rejected = pl.DataFrame(DeltaTable(str(theirs / tables.REJECTED_RECORDS.path)).scan())
    assert set(rejected["loan_id"]) == {"NEW-2", "NEW-3", "NEW-6", "ODD-1", "ODD-2"}
    for table in KEYS:
        one, other = (DeltaTable(str(folder / table.path)) for folder in (ours, theirs))
        assert one.count() == other.count() > 0, table.path


def damaged(
    lakes: tuple[Path, Path], tmp_path: Path, table: Table, change: Callable[[pl.DataFrame], pl.DataFrame]
) -> list[str]:
    """What is said once the peer's table is changed."""
    ours, theirs = lakes
    target = tmp_path / "damaged"
    frame = pl.DataFrame(DeltaTable(str(theirs / table.path)).scan())
    shutil.copytree(theirs, target, ignore=lambda folder, _: ["_delta_log"] if folder.endswith(table.path) else [])
    shutil.rmtree(target / table.path)
    write_deltalake(str(target / table.path), change(frame), partition_by=list(table.partition_by) or None)
    return difference((ours, target))


def bump(column: str, factor: float) -> Callable[[pl.DataFrame], pl.DataFrame]:
    return lambda frame: frame.with_columns(
        pl.when(pl.int_range(pl.len()) == 3).then(pl.col(column) * factor).otherwise(pl.col(column)).alias(column)
    )


@pytest.mark.parametrize(
    ("table", "change", "said"),
    [
        (tables.LOANS, bump("loan_amount", 1.000001), ["silver/loans: loan_amount: 1 rows, such as"]),
        (tables.LOANS, lambda f: f.slice(1), ["silver/loans: only here: 1 rows, such as"]),
        (tables.LOAN_TAPE, lambda f: pl.concat([f, f.head(2)]), ["bronze/loan_tape: keys more than once there: 4"]),
        (
            tables.LOAN_HISTORY,
            lambda f: f.with_columns(pl.col("thin_file").cast(pl.Int64)),
            ["silver/loan_history: columns differ in thin_file (integer, long)"],
        ),
        (
            tables.LOAN_HISTORY,
            lambda f: f.with_columns(pl.col("risk_category").shift(1)),
            ["silver/loan_history: risk_category: "],
        ),
        (tables.LOANS, lambda f: f.with_columns(pl.col("customer_id").reverse()), ["silver/loans: customer_id: "]),
        (tables.PORTFOLIO_KPIS, bump("default_rate", 1.0), []),
        (tables.PORTFOLIO_CUBE, bump("balance", 1 + 1e-12), []),
        (tables.VINTAGE_CURVES, lambda f: f.head(0), ["gold/vintage_curves: "]),
    ],
    ids=["sum", "lost row", "twice", "type", "shifted", "customer", "nothing", "last bit", "empty"],
)  # fmt: skip
def test_a_damaged_table_is_named(
    lakes: tuple[Path, Path],
    tmp_path: Path,
    table: Table,
    change: Callable[[pl.DataFrame], pl.DataFrame],
    said: list[str],
) -> None:
    found = damaged(lakes, tmp_path, table, change)
    assert len(found) == len(said), found
    for line, start in zip(found, said, strict=True):
        assert line.startswith(start)
    ids = pl.DataFrame(DeltaTable(str(lakes[0] / tables.LOANS.path)).scan(columns=["customer_id"]))
    assert not any(customer in line for line in found for customer in ids["customer_id"]), "no pseudonym is shown"


def test_another_layout_or_a_missing_table_is_named(lakes: tuple[Path, Path], tmp_path: Path) -> None:
    ours, theirs = lakes
    target = tmp_path / "other"
    shutil.copytree(theirs, target)
    shutil.rmtree(target / tables.ROLL_RATES.path)
    frame = pl.DataFrame(DeltaTable(str(theirs / tables.LOANS.path)).scan())
    shutil.rmtree(target / tables.LOANS.path)
    write_deltalake(str(target / tables.LOANS.path), frame, partition_by=["loan_purpose"])
    assert difference((ours, target)) == [
        "silver/loans: partitioned by ['risk_category', 'loan_purpose'] here, by ['loan_purpose'] there",
        "gold/roll_rates: the peer has no such table",
    ]
