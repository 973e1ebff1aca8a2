"""Defects land where the ledger says, and the intake's rules find those that break the contract."""

from __future__ import annotations

from collections import Counter
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from credit_risk_assets.tape.intake import stage_tape
from credit_risk_assets.tape.simulate import SimulationError, SimulationResult, inject_defects, simulate
from credit_risk_assets.tape.simulation.defect_kinds import KINDS

AS_OF = date(2022, 10, 31)
REFUSED = (
    "missing_value",
    "impossible_date",
    "out_of_range",
    "wrong_type",
    "unknown_category",
    "encoding_error",
    "swapped_columns",
    "malformed_profile",
    "sentinel",
)
"""Kinds that break a rule of the contract; a row with one must not be accepted."""


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SimulationResult]:
    folder = tmp_path_factory.mktemp("spoilt")
    lines = [f"  - {{kind: {kind}, rate: 0.02}}" for kind in KINDS]
    (folder / "spec.yaml").write_text("seed: 3\ndefects:\n" + "\n".join(lines))
    return folder, simulate(3_000, folder / "tapes", as_of=AS_OF, tapes=1, defects=folder / "spec.yaml")


def ledger_of(result: SimulationResult) -> pl.DataFrame:
    assert result.defects is not None
    return pl.read_csv(result.defects.ledger, infer_schema_length=None)


def test_every_kind_is_put_in_at_its_rate_and_noted(spoilt: tuple[Path, SimulationResult]) -> None:
    result = spoilt[1]
    assert result.defects is not None
    counts = Counter(ledger_of(result)["kind"].to_list())
    assert counts == result.defects.counts
    assert set(counts) == set(KINDS)
    for kind in REFUSED:
        assert counts[kind] == pytest.approx(60, abs=15)


def test_the_ledger_points_at_the_very_values(spoilt: tuple[Path, SimulationResult], tmp_path: Path) -> None:
    folder, result = spoilt
    simulate(3_000, tmp_path, as_of=AS_OF, tapes=1)
    clean = pl.read_csv(tmp_path / "loan_portfolio_data.csv", infer_schema=False)
    text = (folder / "tapes" / "loan_portfolio_data.csv").read_bytes().decode("latin-1")
    dirty = pl.read_csv(text.encode(), infer_schema=False)
    ledger = ledger_of(result)
    again = ledger.filter(pl.col("kind").is_in(["duplicate_row", "key_conflict"])).height
    assert dirty.height == clean.height + again
    for entry in ledger.iter_rows(named=True):
        row = dirty.row(entry["row_number"] - 1, named=True)
        if entry["kind"] not in ("missing_value",) or entry["column"] != "loan_id":
            assert row["loan_id"] == entry["loan_id"]
        if entry["kind"] not in ("encoding_error", "swapped_columns", "duplicate_row"):
            assert str(row[entry["column"]] or "") == str(entry["written"] or ""), entry
    untouched = dirty.filter(~pl.int_range(1, pl.len() + 1).is_in(ledger["row_number"].implode()))
    assert untouched.join(clean, on=clean.columns, how="anti", nulls_equal=True).is_empty()


def test_the_contracts_rules_find_every_defect_that_breaks_them_and_no_other_row(
    spoilt: tuple[Path, SimulationResult], tmp_path: Path
) -> None:
    folder, result = spoilt
    file = folder / "tapes" / "loan_portfolio_data.csv"
    stage_tape(file, tmp_path, key=b"k" * 32, today=date(2022, 11, 1), quarantine_file=tmp_path / "q")
    rejected = set(pl.read_parquet(tmp_path / "rejected")["_row_number"])
    ledger = ledger_of(result)
    breaking = ledger.filter(pl.col("kind").is_in(REFUSED))
    assert rejected == set(breaking["row_number"])


def test_the_same_specification_spoils_the_same_bytes(spoilt: tuple[Path, SimulationResult], tmp_path: Path) -> None:
    folder, _ = spoilt
    simulate(3_000, tmp_path / "tapes", as_of=AS_OF, tapes=1, defects=folder / "spec.yaml")
    for name in ("tapes/loan_portfolio_data.csv", "tapes-defects/ledger.csv"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_late_resent_and_drifting_tapes(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(
        "defects:\n- {kind: late_tape, tapes: older}\n- {kind: resent_file}\n"
        "- {kind: drift, columns: [credit_score], factor: 0.8, shift: 10}\n"
    )
    out = tmp_path / "tapes"
    simulate(500, tmp_path / "clean", as_of=AS_OF, tapes=2)
    result = simulate(500, out, as_of=AS_OF, tapes=2, defects=tmp_path / "spec.yaml")
    names = {file.relative_to(out).as_posix() for file in out.rglob("*.csv")}
    latest, older = "loan_portfolio_data.csv", "loan_portfolio_data_2021-10-31.csv"
    assert names == {latest, f"late/{older}", "loan_portfolio_data_resent.csv", "loan_portfolio_sample.csv"}
    assert (out / latest).read_bytes() == (out / "loan_portfolio_data_resent.csv").read_bytes()
    moved, score = pl.read_csv(out / latest)["credit_score"], pl.read_csv(tmp_path / "clean" / latest)["credit_score"]
    assert moved.to_list() == pytest.approx((score * 0.8 + 10).to_list())
    assert (out / "late" / older).read_bytes() == (tmp_path / "clean" / older).read_bytes()
    assert {file.name for file in result.files} >= {latest, older}


def test_the_example_specification_works(tmp_path: Path) -> None:
    example = Path(__file__).parents[2] / "docs" / "defects.yaml"
    result = simulate(2_000, tmp_path / "t", as_of=AS_OF, defects=example)
    assert result.defects is not None
    assert result.defects.counts["missing_value"] > 100
    assert result.defects.counts["late_tape"] == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("defects: 3", "expected a list under the key 'defects'"),
        ("defects: [{kind: typo}]", "entry 1: found kind 'typo', expected one of missing_value"),
        ("defects: [{kind: casing}]", r"entry 1 \(casing\): found rate None"),
        ("defects: [{kind: casing, rate: 2}]", "found rate 2, expected a share from 0 to 1"),
        ("defects: [{kind: casing, rate: 0.1, columns: [colour]}]", "column 'colour' is not of the contract"),
        ("defects: [{kind: casing, rate: 0.1, colums: [region]}]", "key 'colums' is not known"),
        ("defects: [{kind: casing, rate: 0.7}, {kind: sentinel, rate: 0.7}]", "rates add up to 1.4"),
        ("defects: [", "no YAML"),
        ("defects: [{kind: drift}]", "expected columns"),
        ("defects: [{kind: late_tape, tapes: newest}]", "found tapes 'newest'"),
    ],
)
def test_a_wrong_specification_is_one_clear_line_and_nothing_is_written(
    text: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "spec.yaml").write_text(text)
    with pytest.raises(SimulationError, match=message) as caught:
        simulate(10, tmp_path / "t", as_of=AS_OF, defects=tmp_path / "spec.yaml")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "t").exists()


def test_parquet_tapes_are_not_spoilt(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text("defects: []")
    with pytest.raises(SimulationError, match="expected csv"):
        simulate(10, tmp_path, as_of=AS_OF, format="parquet", defects=tmp_path / "spec.yaml")
    with pytest.raises(SimulationError, match=r"a\.parquet: defects are put into CSV"):
        inject_defects([tmp_path / "a.parquet"], tmp_path / "spec.yaml", tmp_path / "l.csv")
    with pytest.raises(SimulationError, match="cannot be read"):
        inject_defects([], tmp_path / "none.yaml", tmp_path / "l.csv")
