"""The same tapes through the main job on both engines: every table equal, row by row."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable
from polars.testing import assert_frame_equal

from credit_risk_assets.config import tables
from credit_risk_assets.config.tables import Table
from credit_risk_tests.conftest import write_tape

ENGINES = ("embedded", "local")
KEYS: dict[str, list[str]] = {
    tables.LOAN_TAPE.path: ["_source_sha256", "_row_number"],
    tables.REJECTED_RECORDS.path: ["_source_sha256", "_row_number"],
    tables.INGESTION_LOG.path: ["source_sha256"],
    tables.LOANS.path: ["loan_id"],
    tables.LOAN_HISTORY.path: ["loan_id", "as_of_date"],
    tables.PORTFOLIO_KPIS.path: ["as_of_date"],
    tables.PORTFOLIO_CUBE.path: [
        "as_of_month",
        "risk_category",
        "loan_purpose",
        "loan_status",
        "score_band",
        "dpd_bucket",
        "origination_quarter",
        "region",
    ],
    tables.DEVELOPMENT_SAMPLE.path: ["loan_id", "observation_date"],
    tables.LOAN_SCORES.path: ["loan_id"],
    tables.CHALLENGER_SCORES.path: ["loan_id"],
    tables.MODEL_PERFORMANCE.path: ["data_set", "metric"],
    tables.MODEL_VALIDATION.path: ["analysis", "subject", "item", "metric", "position", "value"],
    tables.MODEL_DECISIONS.path: ["model_version", "action"],
    tables.FEATURE_DRIFT.path: ["period", "kind", "feature"],
    tables.MODEL_MONITORING.path: ["alias", "observation_date", "dimension", "segment"],
    tables.VINTAGE_CURVES.path: ["origination_quarter", "loan_purpose", "months_on_book"],
    tables.ROLL_RATES.path: ["month", "loan_purpose", "from_bucket", "to_bucket"],
    tables.RATING_MIGRATION.path: ["from_date", "loan_purpose", "from_state", "to_state"],
    tables.EXPECTED_CREDIT_LOSS.path: ["loan_id"],
    tables.QUALITY_RESULTS.path: ["run_id", "asset", "check_name"],
}
# What a run stamps on its rows: when and by which run, never what.
STAMPS = {
    *("_ingested_at", "_run_id", "run_id", "started_at", "finished_at"),
    *("computed_at", "evaluated_at", "scored_at", "decided_at"),
}


def run(home: Path, engine: str, *arguments: str) -> None:
    environment = {
        **os.environ,
        "CREDIT_RISK_HOME": str(home),
        "CREDIT_RISK__SPARK__ENGINE": engine,
        "CREDIT_RISK__PRIVACY__KEY": "the same key on both engines",
        "CREDIT_RISK__LANDING__SETTLE_SECONDS": "0",
    }
    done = subprocess.run(
        [sys.executable, "-m", "credit_risk_assets", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory, simulated_tapes: list[Path]) -> Iterator[dict[str, Path]]:
    """A home for each engine after two refreshes: three full tapes, then changes, a late tape and bad rows."""
    folder = tmp_path_factory.mktemp("conformance")
    latest = simulated_tapes[-1]
    header, *lines = latest.read_text().splitlines()
    changed = folder / "changes.csv"
    changed.write_text(
        "\n".join([header, *[line.replace("2026-10-31", "2026-11-15", 1) for line in lines[:40]]]) + "\n"
    )
    dirty = write_tape(
        folder / "dirty.csv",
        [
            {"loan_id": "NEW-1", "branch": "north"},
            {"loan_id": "NEW-2", "loan_amount": "-5"},
            {"loan_id": "NEW-3", "as_of_date": "2026-02-30", "current_dpd": "x"},
            {"loan_id": "NEW-4", "as_of_date": "2024-02-29", "origination_date": "2023-01-31", "term_months": "24"},
            {"loan_id": "NEW-1", "outstanding_balance": "1.01"},
        ],
    )
    made = {}
    for engine in ENGINES:
        home = folder / engine
        run(home, engine, "land", *[str(tape) for tape in simulated_tapes])
        run(home, engine, "refresh")
        run(home, engine, "land", "--kind", "changes", str(changed), str(dirty))
        run(home, engine, "refresh")
        made[engine] = home
    return made


def rows(home: Path, table: Table) -> pl.DataFrame:
    frame = pl.DataFrame(DeltaTable(str(home / "lake" / table.path)).scan())
    # The runs of a home are told apart by their order, not by their random ids.
    keys = [key for key in KEYS[table.path] if key in frame.columns]
    if "run_id" in keys:
        order = frame.group_by("run_id").agg(pl.col("evaluated_at").min()).sort("evaluated_at")["run_id"]
        frame = frame.with_columns(pl.col("run_id").replace_strict(order, pl.Series(range(len(order)))).alias("run"))
        keys = ["run", *keys[1:]]
    frame = frame.select(sorted(name for name in frame.columns if name not in STAMPS))
    assert frame.select(keys).is_unique().all(), f"{table.path}: {keys} is no key"
    return frame.sort(keys)


@pytest.mark.slow
@pytest.mark.jvm
@pytest.mark.parametrize("table", tables.TABLES, ids=lambda table: table.path)
def test_both_engines_make_the_same_table(homes: dict[str, Path], table: Table) -> None:
    embedded, local = (rows(homes[engine], table) for engine in ENGINES)
    # a first version has no challenger
    assert (embedded.height > 0) is (table != tables.CHALLENGER_SCORES)
    # Sums of money are added up in another order: equal to twelve digits, everything else to the last bit.
    assert_frame_equal(embedded, local, check_exact=False, rel_tol=1e-12, abs_tol=1e-9)


@pytest.mark.slow
@pytest.mark.jvm
def test_both_engines_leave_the_same_layout(homes: dict[str, Path]) -> None:
    for table in tables.TABLES:
        layouts = []
        for engine in ENGINES:
            delta = DeltaTable(str(homes[engine] / "lake" / table.path))
            fields = {
                f.name: str(f.type).replace("contains_null=False", "contains_null=True") for f in delta.schema().fields
            }
            layouts.append((fields, delta.metadata().partition_columns))
        assert layouts[0] == layouts[1], table.path
        assert layouts[0][1] == list(table.partition_by)
