"""Each check, proven on a lake that violates it: it passes before the damage and fails after."""

from __future__ import annotations

import json
import runpy
import shutil
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from pyspark.sql import SparkSession

from credit_risk_assets.assets.impairment import impaired
from credit_risk_assets.assets.monitoring import DRIFT_SCHEMA, MONITORING_SCHEMA
from credit_risk_assets.checks import bronze, history, silver
from credit_risk_assets.checks.framework import CheckedTable, CheckError, Finding, layer_checks
from credit_risk_assets.checks.rules import RowRule, aggregates, rule_counts
from credit_risk_assets.config import tables
from credit_risk_assets.config.settings import Settings
from credit_risk_assets.credit.rating import risk_rating
from credit_risk_assets.definitions import build_defs
from credit_risk_assets.resources.platform import Platform
from credit_risk_assets.resources.registry import GATE, PROMOTED, REGISTERED, record
from credit_risk_tests.checks.damage import (
    CHECKED,
    DAMAGE,
    LAKE_IDS,
    LAKE_TEST,
    MODEL_DAMAGE,
    MODEL_IDS,
    MODEL_TEST,
    TODAY,
    Damage,
    Lake,
    model_findings,
    monitored,
    proofs,
    record_evidence,
    sound_evidence,
)
from credit_risk_tests.conftest import failed_checks, make_settings, run_job, write_tape

LOANS = 40


def _profile(months_late: int) -> str:
    """A profile of a loan that is so many months past due, clean before."""
    return "".join(str(min(code, 6)) for code in range(months_late, 0, -1)) + "0" * 12


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory, sail: SparkSession) -> Iterator[Settings]:
    """A small lake with three yearly tapes, a rejected row, and scores; every check passes on it."""
    platform = Platform(make_settings(tmp_path_factory.mktemp("sound")))
    for year in (2024, 2025, 2026):
        # One loan defaults in each year after the first, so that both years have a default rate.
        late = {n: 3 + 12 * (year - 2025 - n) for n in (0, 1) if year >= 2025 + n}
        rows: list[dict[str, Any]] = [
            {
                "loan_id": f"L{n:02d}",
                "customer_id": f"C{n}",
                "as_of_date": f"{year}-10-31",
                "origination_date": "2023-01-15",
                "term_months": "120",
                "loan_status": "default" if n in late else "current",
                "current_dpd": 30 * late[n] + 5 if n in late else 0,
                "payment_history_profile": _profile(late.get(n, 0)),
                "credit_utilization": (n + 1) / 100,
            }
            for n in range(LOANS)
        ]
        if year == 2026:
            rows.append({"loan_id": "BAD", "loan_amount": "-1"})
        write_tape(platform.settings.landing_folder / f"{year}.csv", rows)
    assert run_job(platform).success
    _score(platform)
    platform.close()
    return platform.settings


def _score(platform: Platform) -> None:
    """Scores without a model: 40 loans train none."""
    lakehouse = platform.lakehouse
    book = lakehouse.read(tables.LOANS).select("loan_id", "as_of_date", "current_dpd").toArrow()
    frame = pl.DataFrame(pl.from_arrow(book)).sort("loan_id").with_row_index("n")
    pds = pl.when(pl.col("current_dpd") >= 90).then(1.0).otherwise(0.005 + pl.col("n") * 0.02)
    frame = frame.with_columns(pds.alias("pd_12m"))
    bounds = platform.settings.model.rating_pd_bounds
    frame = frame.with_columns(
        pl.Series("risk_rating", list(risk_rating(frame["pd_12m"].to_numpy(), bounds)), pl.String),
        pl.lit("1").alias("model_version"),
    )
    wanted = frame.select("loan_id", "as_of_date", "pd_12m", "risk_rating", "model_version").to_arrow()
    scores = lakehouse.session.createDataFrame(wanted)
    lakehouse.overwrite(tables.LOAN_SCORES, scores)
    lakehouse.overwrite(tables.CHALLENGER_SCORES, scores.drop("model_version").selectExpr("*", "'2' as model_version"))
    record_evidence(lakehouse, sound_evidence("1", champion=None))
    record(lakehouse, "1", REGISTERED, None, by=GATE, reasons="")
    record(lakehouse, "1", PROMOTED, "1", by=GATE, reasons="")
    lakehouse.overwrite(tables.EXPECTED_CREDIT_LOSS, impaired(lakehouse, platform.settings.ecl))
    schemas = {tables.FEATURE_DRIFT: DRIFT_SCHEMA, tables.MODEL_MONITORING: MONITORING_SCHEMA}
    for (table, schema), found in zip(schemas.items(), monitored(), strict=True):
        rows = [tuple(row.get(name) for name in schema.names) for row in found]
        lakehouse.append(table, lakehouse.session.createDataFrame(rows, schema))


@pytest.fixture
def lake(sound: Settings, tmp_path: Path, sail: SparkSession) -> Iterator[Lake]:
    home = tmp_path / "damaged"
    shutil.copytree(sound.home, home)
    platform = Platform(make_settings(home))
    yield Lake(platform)
    platform.close()


def test_every_check_passes_on_the_sound_lake(lake: Lake) -> None:
    found = lake.findings()
    assert {check.name: finding.observed for check, finding in found.items() if not finding.passed} == {}
    assert set(found) == {check for table in CHECKED[:-1] for check in table.checks}


@pytest.mark.parametrize("damage", DAMAGE, ids=LAKE_IDS)
def test_a_check_fails_on_a_lake_that_violates_it(lake: Lake, damage: Damage) -> None:
    damage.do(lake)
    finding = lake.findings("/".join(damage.check.asset))[damage.check]
    assert not finding.passed
    assert finding.observed
    assert finding.expected
    shown = json.dumps([dict(row) for row in (*finding.details, *finding.examples)], default=str)
    assert "customer_id" not in {name for row in finding.examples for name in row}
    assert '"C1"' not in shown


@pytest.mark.parametrize(("check", "_what", "change"), MODEL_DAMAGE, ids=MODEL_IDS)
def test_a_check_fails_on_a_model_that_violates_it(check: Any, _what: str, change: Any) -> None:
    assert model_findings()[check].passed
    finding = model_findings(change)[check]
    assert not finding.passed
    assert finding.weight == check.severity
    assert model_findings(change, undecided=False)[check].weight == "WARN", "nothing is left to stop"


def test_every_declared_check_is_proven_here() -> None:
    declared = [check for table in CHECKED for check in table.checks]
    assert set(proofs()) == set(declared)
    keys = {(check.asset, check.name) for check in declared}
    assert len(keys) == len(declared)
    assert {(tuple(k.asset_key.path), k.name) for k in build_defs().resolve_asset_graph().asset_check_keys} == keys
    assert {LAKE_TEST, MODEL_TEST} <= set(globals())


def test_the_page_of_checks_is_current() -> None:
    folder = Path(__file__).parents[2] / "docs"
    made = runpy.run_path(str(folder / "make_data_quality.py"))["page"]()
    assert (folder / "data_quality.md").read_text(encoding="utf-8") == made, "run python docs/make_data_quality.py"


def test_an_old_tape_is_reported(lake: Lake) -> None:
    later = {f.check: f for f in bronze.tape_findings(lake.lakehouse, lake.settings, TODAY + timedelta(days=60))}
    assert not later[bronze.FRESHNESS].passed
    assert "83 days old" in later[bronze.FRESHNESS].observed


def test_failing_rows_are_counted_by_rule_and_shown_with_their_place(lake: Lake) -> None:
    spoilt = pl.when(pl.col("loan_id") < "L03").then(1e6).otherwise(5.0).alias("outstanding_balance")
    lake.change(tables.LOANS, spoilt)
    finding = lake.findings("silver/loans")[silver.BALANCE_FITS_AMOUNT]
    assert (finding.failed_rows, finding.total_rows) == (3, LOANS)
    assert finding.keys == ["L00", "L01", "L02"]
    first = finding.examples[0]
    assert first == {
        "loan_id": "L00",
        "as_of_date": date(2026, 10, 31),
        "file": "2026.csv",
        "row": 1,
        "outstanding_balance": 1e6,
        "loan_amount": 10_000.0,
    }
    assert finding.details[0]["failed rows"] == 3
    assert finding.details[0]["share"] == 3 / LOANS


def test_a_row_that_breaks_two_rules_of_a_check_counts_once(lake: Lake) -> None:
    first = pl.int_range(pl.len()) == 0
    lake.change(
        tables.LOAN_TAPE,
        *[pl.when(first).then(-1.0).otherwise(pl.col(n)).alias(n) for n in ("loan_amount", "interest_rate")],
    )
    finding = lake.findings("bronze/loan_tape")[bronze.NUMBERS_IN_RANGE]
    assert finding.failed_rows == 1
    assert [(row["column"], row["failed rows"]) for row in finding.details[:3]] == [
        ("loan_amount", 1),
        ("interest_rate", 1),
        ("term_months", 0),
    ]
    assert {"loan_amount", "interest_rate", "file", "row"} <= set(finding.examples[0])


def test_a_change_file_need_not_fill_what_is_rarely_filled(lake: Lake) -> None:
    """A default date is no column that a handful of moved loans must have; a score is."""
    rows = [
        {"loan_id": f"L{n:02d}", "customer_id": f"C{n}", "as_of_date": "2026-11-10", "credit_score": ""}
        for n in range(12)
    ]
    write_tape(lake.settings.changes_folder / "change.csv", rows)
    spread = pl.when(pl.col("loan_id") < "L06").then(date(2024, 1, 1)).alias("default_date")
    lake.change(tables.LOAN_TAPE, spread)
    run_job(lake.platform)
    finding = lake.findings("bronze/loan_tape")[bronze.COLUMNS_KEPT]
    assert [row["column"] for row in finding.details] == ["credit_score", "credit_utilization"]


@pytest.mark.parametrize(
    ("earlier", "later", "differ"),
    [
        ("210000", "000000000000210000", False),
        ("210000", "000000000000210", False),
        ("210000", "00000000000021", False),
        ("D10000", "000000000000210000", False),
        ("210000", "0000000000002D0000", True),
        ("210000", "000000000000220000", True),
        ("210000", "0000", False),
        ("", "0000", False),
        (None, "000000000000210000", False),
    ],
)
def test_profiles_are_compared_on_the_months_that_both_tell_of(
    sail: SparkSession, earlier: str | None, later: str, differ: bool
) -> None:
    frame = sail.createDataFrame([(earlier, later)], "a string, b string")
    told = history.profiles_differ_sql("a", "b", date(2025, 10, 31), date(2026, 10, 31))
    assert bool(frame.selectExpr(told).collect()[0][0]) is differ
    # On the 15th the month still runs: its code may change.
    running = history.profiles_differ_sql("a", "b", date(2025, 10, 15), date(2026, 10, 31))
    changed = f"9{earlier[1:]}" if earlier else earlier
    frame = sail.createDataFrame([(changed, later)], "a string, b string")
    assert bool(frame.selectExpr(running).collect()[0][0]) is differ


def test_a_table_that_cannot_be_measured_is_named_and_hides_no_other(platform: Platform) -> None:
    good = CheckedTable("bronze/loan_tape", (bronze.ROWS_TIE,), lambda _: [Finding(bronze.ROWS_TIE, True, "1", "1")])

    def broken(_: Platform) -> list[Finding]:
        raise RuntimeError("no such column\nand a long story")

    bad = CheckedTable("silver/loans", (silver.LOAN_ONCE,), broken)
    definition = layer_checks("both", (bad, good))
    with dg.DagsterInstance.ephemeral() as instance:
        defs = dg.Definitions(
            assets=[dg.AssetSpec(list(check.asset)) for check in (bronze.ROWS_TIE, silver.LOAN_ONCE)],
            asset_checks=[definition],
            resources={"platform": platform},
            jobs=[dg.define_asset_job("checks", dg.AssetSelection.checks(definition))],
        )
        result = defs.resolve_job_def("checks").execute_in_process(instance=instance, raise_on_error=False)
    assert not result.success
    assert [check.check_name for check in result.get_asset_check_evaluations()] == ["rows_tie_with_log"]
    error = result.get_step_failure_events()[0].event_specific_data.error  # type: ignore[union-attr]
    assert CheckError.__name__ in str(error)
    assert "silver/loans: its 1 checks could not be measured: no such column" in str(error)
    register = Lake(platform).rows(tables.QUALITY_RESULTS)
    assert register["check_name"].to_list() == ["rows_tie_with_log"]


def test_a_failing_error_check_stops_what_comes_after_it_and_is_recorded(lake: Lake) -> None:
    raw = pl.when(pl.col("loan_id") == "L00").then(pl.lit("C1")).otherwise(pl.col("customer_id")).alias("customer_id")
    lake.change(tables.LOAN_TAPE, raw)
    write_tape(lake.settings.landing_folder / "next.csv", [{"loan_id": "NEXT"}])
    result = run_job(lake.platform)
    assert not result.success
    assert failed_checks(result)["bronze/loan_tape customers_pseudonymised"] == "ERROR"
    assert "NEXT" in lake.rows(tables.LOAN_TAPE)["loan_id"].to_list()
    assert "NEXT" not in lake.rows(tables.LOANS)["loan_id"].to_list()
    register = lake.rows(tables.QUALITY_RESULTS).filter(pl.col("run_id") == result.run_id)
    failed = register.filter(~pl.col("passed"), pl.col("check_name") == "customers_pseudonymised").row(0, named=True)
    assert failed["action"].startswith("Nothing after this step ran.")
    assert failed["examples"] == "L00, L00, L00"
    shown = json.loads(failed["details"])
    assert shown["details"][0] == {
        "column": "customer_id",
        "rule": "64 hexadecimal digits",
        "failed rows": 3,
        "share": round(3 / (3 * LOANS + 1), 6),
    }
    assert {"loan_id", "as_of_date", "file", "row"} == set(shown["examples"][0])
    evaluation = next(e for e in result.get_asset_check_evaluations() if e.check_name == "customers_pseudonymised")
    assert {"action", "details", "examples", "observed", "expected"} <= set(evaluation.metadata)
    assert isinstance(evaluation.metadata["details"], dg.TableMetadataValue)
    assert isinstance(evaluation.metadata["examples"], dg.TableMetadataValue)


def test_results_are_appended_to_a_register_of_the_first_release(lake: Lake) -> None:
    """The table had neither actions nor details once."""
    old = lake.rows(tables.QUALITY_RESULTS).drop("action", "details")
    folder = Path(lake.lakehouse.path(tables.QUALITY_RESULTS))
    shutil.rmtree(folder)
    old.write_delta(folder)
    result = run_job(lake.platform)
    register = lake.rows(tables.QUALITY_RESULTS)
    assert register.filter(pl.col("run_id") != result.run_id).height == old.height
    assert register.filter(pl.col("run_id") == result.run_id)["details"].null_count() < register.height


def test_a_rule_about_the_grouping_columns_counts_the_rows_of_the_groups_that_break_it(sail: SparkSession) -> None:
    rows = sail.createDataFrame([("a", 1), ("a", 2), ("b", 3), (None, 4)], "file string, number int")
    check = bronze.FROM_LOGGED_FILES
    rules = [
        RowRule(check, ("file",), "file is null or file = 'a'", "another file"),
        RowRule(check, ("file",), "file = 'c'", "not c"),
        RowRule(check, ("number",), "number > 2", "2 at most"),
    ]
    by_group, by_row = (aggregates(rows, rule_counts(rules, by=by), by=["file"]) for by in (["file"], []))
    # The row without a file breaks two of them and counts once.
    assert by_group["check_0"].sum() == 4
    assert by_group.sort("file").equals(by_row.sort("file"))
