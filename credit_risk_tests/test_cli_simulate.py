"""`credit-risk simulate` as a user types it: tapes that land, parts, truth, defects, changes, and clear refusals."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable
from polars.testing import assert_frame_equal

from credit_risk_assets.config import tables
from credit_risk_assets.config.tables import Table
from credit_risk_assets.tape.simulate import Portfolio
from credit_risk_assets.tape.simulation.changes import remember
from credit_risk_tests.conftest import Run

PAST = ("--as-of", "2022-10-31")
ROOT = Path(__file__).parents[1]


def lake(home: Path, table: Table) -> pl.DataFrame:
    return pl.DataFrame(DeltaTable(str(home / "lake" / table.path)).scan())


def names(folder: Path) -> list[str]:
    return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())


@pytest.mark.parametrize("format", ["csv", "parquet"])
def test_tapes_sample_and_truth_are_written_and_told(run: Run, tmp_path: Path, format: str) -> None:
    out, truth = tmp_path / "tapes", tmp_path / "truth"
    result = run("simulate", "--loans", "1500", "--out", out, "--truth", truth, "--format", format, *PAST)
    assert result.exit_code == 0, result.output
    assert names(out) == [
        f"loan_portfolio_data.{format}",
        f"loan_portfolio_data_2020-10-31.{format}",
        f"loan_portfolio_data_2021-10-31.{format}",
        f"loan_portfolio_sample.{format}",
    ]
    assert names(truth) == [f"loan_portfolio_truth_{year}-10-31.{format}" for year in (2020, 2021, 2022)]
    assert "2022-10-31       1,500 loans" in result.output
    assert result.output.count("default within the next twelve months") == 2
    assert "3 files of the truth" in result.output
    assert run("land", out / f"loan_portfolio_data.{format}").exit_code == 0
    refused = run("land", *sorted(truth.iterdir()))
    assert refused.exit_code == 1
    assert refused.output.count("reserved column 'pd_12m'") == 3


def test_tapes_in_parts_make_the_same_lake_as_whole_ones(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDIT_RISK__PRIVACY__KEY", "one key for both homes")
    homes = {}
    for parts in (1, 3):
        out, homes[parts] = tmp_path / f"tapes{parts}", tmp_path / f"home{parts}"
        monkeypatch.setenv("CREDIT_RISK_HOME", str(homes[parts]))
        monkeypatch.setenv("DAGSTER_HOME", str(homes[parts] / "dagster"))
        made = run("simulate", "--loans", "900", "--out", out, "--tapes", "2", "--parts", parts, *PAST)
        assert made.exit_code == 0, made.output
        files = sorted(out.glob("loan_portfolio_data*"))
        assert len(files) == 2 * parts
        assert run("land", *reversed(files)).exit_code == 0
        refreshed = run("refresh", "--select", "+gold/portfolio_kpis")
        assert refreshed.exit_code == 0, refreshed.output
        assert "none_vanished" not in refreshed.output
    for table, key in ((tables.LOANS, "loan_id"), (tables.PORTFOLIO_KPIS, "as_of_date")):
        whole, parted = (lake(homes[parts], table).sort(key) for parts in (1, 3))
        provenance = [name for name in whole.columns if name.startswith("_")]
        assert_frame_equal(whole.drop(provenance), parted.drop(provenance), rel_tol=1e-12)


def test_defects_are_counted_and_their_ledger_named(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "tapes"
    example = ROOT / "docs" / "defects.yaml"
    result = run("simulate", "--loans", "2000", "--out", out, "--defects", example, *PAST)
    assert result.exit_code == 0, result.output
    ledger = pl.read_csv(tmp_path / "tapes-defects" / "ledger.csv", infer_schema=False)
    assert str(tmp_path / "tapes-defects" / "ledger.csv") in result.output
    for kind, count in ledger["kind"].value_counts().iter_rows():
        assert f"{count:,} {kind}" in result.output
    assert "late/loan_portfolio_data_2020-10-31.csv" in names(out)
    assert run("land", out / "loan_portfolio_data.csv").exit_code == 0


def test_changes_continue_the_homes_portfolio_and_a_refresh_updates_the_changed_loans_alone(
    run: Run, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    portfolio = Portfolio(800, 5, datetime(2022, 10, 31, tzinfo=UTC).date())
    tapes = run("simulate", "--loans", "800", "--seed", "5", "--tapes", "1", "--out", tmp_path / "tapes", *PAST)
    assert tapes.exit_code == 0, tapes.output
    assert run("land", tmp_path / "tapes" / "loan_portfolio_data.csv").exit_code == 0
    remember(home, portfolio)
    assert run("refresh", "--select", "+silver/loans").exit_code == 0
    before = lake(home, tables.LOANS)
    changed = run("simulate", "changes", "--home", home, "--hours", "4", "--windows", "6")
    assert changed.exit_code == 0, changed.output
    assert "between 2022-11-01 00:00 and 2022-11-02 00:00 UTC" in changed.output
    files = list((home / "landing" / "changes").glob("*.csv"))
    reported = pl.concat(pl.read_csv(file, columns=["loan_id"]) for file in files)["loan_id"].unique()
    assert 0 < len(reported) < 200
    assert run("refresh", "--select", "+silver/loans").exit_code == 0
    after = lake(home, tables.LOANS)
    assert after.height == before.height + len(set(reported) - set(before["loan_id"]))
    moved = after.filter(pl.col("as_of_date") > portfolio.as_of)
    assert set(moved["loan_id"]) == set(reported)
    record = json.loads((home / "simulator" / "portfolio.json").read_text())
    assert record["until"] == "2022-11-02T00:00:00+00:00"


def test_the_report_prints_each_target_beside_what_was_found(run: Run) -> None:
    result = run("simulate", "--report", "--loans", "6000", *PAST)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    rows = [line for line in result.output.splitlines() if line.startswith("| ")]
    assert len(rows) > 20
    assert any(row.startswith("| observable ceiling AUC | 0.880 to 0.910 |") for row in rows)
    assert result.exit_code == ("falls short" in result.output)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["simulate"], "error --out: expected a folder for the tapes"),
        (["simulate", "--out", "OUT", "--as-of", "31.10.2022"], "--as-of '31.10.2022': expected a date as yyyy-mm-dd"),
        (["simulate", "--out", "OUT", "--as-of", "2022-10-30"], "as-of 2022-10-30: no month-end"),
        (["simulate", "--report", "--as-of", "2022-10-30"], "as-of 2022-10-30: no month-end"),
        (["simulate", "--out", "OUT", "--seed", "-1"], "seed -1: expected 0 or more"),
        (["simulate", "--out", "OUT", "--loans", "10", "--parts", "11"], "parts 11: expected 1 to 100"),
        (["simulate", "--out", "OUT", "--truth", "OUT"], "give a folder of its own"),
        (["simulate", "--out", "OUT", "--defects", "none.yaml"], "defects none.yaml: cannot be read"),
        (["simulate", "--out", "OUT", "--format", "parquet", "--defects", "none.yaml"], "expected csv"),
        (["simulate", "--out", "FILE"], "cannot be made a folder"),
        (["simulate", "--out", "OUT", "--truth", "FILE"], "cannot be made a folder"),
        (["simulate", "changes"], "no simulated portfolio to continue; run `credit-risk demo` first"),
        (["simulate", "changes", "--hours", "2000"], "hours 2000: expected 1 to 744"),
    ],
)
def test_what_cannot_be_simulated_ends_with_one_line(
    run: Run, tmp_path: Path, arguments: list[str], message: str
) -> None:
    (tmp_path / "file").write_text("no folder")
    places = {"OUT": str(tmp_path / "out"), "FILE": str(tmp_path / "file")}
    result = run(*[places.get(argument, argument) for argument in arguments])
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    last = result.output.strip().splitlines()[-1]
    assert last.startswith("error ")
    assert message in last
    assert names(tmp_path / "out") == []
