"""Upkeep of the lake changes files and nothing else."""

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from credit_risk_assets.assets.inputs import stale_tables
from credit_risk_assets.config.tables import LOAN_HISTORY, LOAN_TAPE, LOANS, TABLES
from credit_risk_assets.resources.platform import Platform
from credit_risk_tests.conftest import Run, run_job, table_rows, write_tape

Tape = Callable[..., Path]


def all_rows(platform: Platform) -> dict[str, pl.DataFrame]:
    """The rows of every table there is."""
    tables = [table for table in TABLES if platform.lake_log.exists(table)]
    return {table.path: table_rows(platform, table) for table in tables}


def test_maintenance_changes_no_row_and_makes_nothing_stale(platform: Platform, tape: Tape) -> None:
    for day, name in enumerate(("a.csv", "b.csv", "c.csv"), 28):
        changed = [{"loan_id": f"L{n}", "as_of_date": f"2026-10-{day}"} for n in range(3)]
        tape(name, changed, changes=day > 28)
        assert run_job(platform).success
    lake = platform.lake_log
    before, files, history = all_rows(platform), lake.size_bytes(LOAN_TAPE)[0], lake.version(LOAN_HISTORY)
    assert history is not None
    assert files == 3
    assert stale_tables(lake, platform.settings) == []

    result = run_job(platform, "maintain_lake")

    assert result.success
    assert lake.size_bytes(LOAN_TAPE)[0] == 1
    assert stale_tables(lake, platform.settings) == []
    after = all_rows(platform)
    assert after.keys() == before.keys()
    for name, rows in before.items():
        assert_frame_equal(after[name], rows, check_row_order=False)
    assert len(after[LOANS.path]) == 3
    compacted, vacuumed = (
        result.asset_materializations_for_node(f"maintenance__{name}")[0].metadata
        for name in ("compacted_files", "vacuumed_files")
    )
    line = next(line for line in str(compacted["by_table"].value).splitlines() if "bronze/loan_tape" in line)
    assert line.split("|")[2:5] == [" 3 ", " 1 ", " 3 "]
    assert vacuumed["retention_hours"].value == 168
    # Younger than the retention time: what was compacted can still be read and restored.
    assert vacuumed["files_removed"].value == 0
    assert platform.lakehouse.read(LOAN_HISTORY, history).count() == 9

    version = lake.data_version(LOANS)
    again = run_job(platform)
    assert again.success
    assert lake.data_version(LOANS) == version


def test_maintenance_of_an_empty_lake_does_nothing(platform: Platform) -> None:
    assert run_job(platform, "maintain_lake").success


@pytest.mark.parametrize("asset", ["maintenance/compacted_files", "maintenance/vacuumed_files"])
def test_the_shell_runs_maintenance_alone(run: Run, tmp_path: Path, asset: str) -> None:
    assert run("land", write_tape(tmp_path / "a.csv", [{}])).exit_code == 0
    assert run("refresh", "--select", "bronze/loan_tape").exit_code == 0
    done = run("refresh", "--select", asset)
    assert done.exit_code == 0, done.output
    assert f"done    {asset.replace('/', '__')}" in done.output
    assert "bronze  " not in done.output
    mixed = run("refresh", "--select", f"{asset},silver/loans")
    assert mixed.exit_code != 0
    assert "maintenance assets run alone" in mixed.output + mixed.stderr
