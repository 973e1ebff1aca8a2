"""What a person sees of a table in the Dagster UI: every column explained, and where it comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from pyspark.sql import SparkSession

from credit_risk_assets.assets.columns import EXTRA_COLUMN
from credit_risk_assets.assets.landing import LANDING_KEY, loan_tapes
from credit_risk_assets.config.tables import (
    DEVELOPMENT_SAMPLE,
    EXPECTED_CREDIT_LOSS,
    INGESTION_LOG,
    LOAN_HISTORY,
    LOAN_SCORES,
    LOAN_TAPE,
    LOANS,
    MODEL_DECISIONS,
    PORTFOLIO_KPIS,
    QUALITY_RESULTS,
    ROLL_RATES,
    TABLES,
    VINTAGE_CURVES,
    Table,
)
from credit_risk_assets.resources.platform import Platform
from credit_risk_assets.tape.simulate import simulate
from credit_risk_tests.conftest import AS_OF, make_settings, run_job

TAPE_KIND = ("silver/loan_history", "tape_kind")
EXTRAS = {"branch_code": "Z1", "default_12m": "9"}
"""Columns beyond the contract; one is called as silver calls a column of its own."""


@pytest.fixture(scope="module")
def materializations(sail: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The metadata of each asset after a run that makes every table."""
    home = tmp_path_factory.mktemp("lineage") / "home"
    settings = make_settings(home, model={"n_estimators": 5, "minimum_sample_loans": 100, "minimum_defaults": 10})
    for file in simulate(1_500, tmp_path_factory.mktemp("lineage_tapes"), seed=11, as_of=AS_OF).files:
        if "sample" in file.name:
            continue
        head, *rows = file.read_text().splitlines()
        lines = [",".join([head, *EXTRAS]), *[",".join([row, *EXTRAS.values()]) for row in rows]]
        Path(settings.landing_folder / file.name).write_text("\n".join(lines) + "\n")
    platform = Platform(settings)
    result = run_job(platform)
    platform.close()
    found = {
        event.asset_key.to_user_string(): event.step_materialization_data.materialization.metadata
        for event in result.all_events
        if event.is_step_materialization and event.asset_key
    }
    assert {table.path for table in TABLES} < set(found)
    return found


def schema(metadata: dict[str, Any]) -> dict[str, dg.TableColumn]:
    return {column.name: column for column in metadata["dagster/column_schema"].value.columns}


def lineage(materializations: dict[str, Any], table: Table, column: str) -> set[tuple[str, str]]:
    deps = materializations[table.path]["dagster/column_lineage"].value.deps_by_column.get(column, [])
    return {(dep.asset_key.to_user_string(), dep.column_name) for dep in deps}


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.path)
def test_every_column_is_explained(materializations: dict[str, Any], table: Table) -> None:
    columns = schema(materializations[table.path])
    unexplained = [name for name, column in columns.items() if not column.description]
    assert unexplained == []
    sentences = [column.description or "" for column in columns.values()]
    assert [text for text in sentences if not text.rstrip(")").endswith(".")] == []


def test_only_a_column_of_the_tape_is_explained_as_unknown(materializations: dict[str, Any]) -> None:
    for table in (LOAN_TAPE, LOANS):
        extra = {n for n, column in schema(materializations[table.path]).items() if column.description == EXTRA_COLUMN}
        own = "default_12m" if table == LOAN_TAPE else "tape_default_12m"
        assert extra == {"branch_code", own}


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.path)
def test_lineage_names_columns_that_are_there(materializations: dict[str, Any], table: Table) -> None:
    metadata = materializations[table.path]
    own = set(schema(metadata))
    held = {name: set(schema(found)) for name, found in materializations.items() if "dagster/column_schema" in found}
    landed = {column.name for column in loan_tapes.metadata["dagster/column_schema"].columns}
    held[LANDING_KEY.to_user_string()] = landed | set(EXTRAS)
    deps = metadata["dagster/column_lineage"].value.deps_by_column
    assert set(deps) <= own
    for column, sources in deps.items():
        for source in sources:
            assert source.column_name in held[source.asset_key.to_user_string()], f"{table.path} {column}"


def test_columns_without_a_source_are_those_the_platform_writes(materializations: dict[str, Any]) -> None:
    for table in TABLES:
        metadata = materializations[table.path]
        bare = set(schema(metadata)) - set(metadata["dagster/column_lineage"].value.deps_by_column)
        if table in (INGESTION_LOG, MODEL_DECISIONS, QUALITY_RESULTS):
            assert bare == set(schema(metadata))
        elif table.layer == "silver" or table == DEVELOPMENT_SAMPLE:
            assert bare == set()
        else:
            assert {name for name in bare if not name.startswith("_")} <= {
                "model_version",
                "alias",
                "analysis",
                "subject",
                "item",
                "position",
                "metric",
                "kind",
                "feature",
                "dimension",
                "computed_at",
                "scored_at",
            }


@pytest.mark.parametrize(
    ("table", "column", "sources"),
    [
        (LOAN_TAPE, "customer_id", {("landing/loan_tapes", "customer_id")}),
        (LOAN_HISTORY, "interest_rate_fraction", {("bronze/loan_tape", "interest_rate")}),
        (
            LOAN_HISTORY,
            "balance_behind_plan",
            {
                ("bronze/loan_tape", name)
                for name in ("outstanding_balance", "loan_amount", "term_months", "as_of_date", "origination_date")
            },
        ),
        (
            LOAN_HISTORY,
            "installment_to_income",
            {
                ("bronze/loan_tape", name)
                for name in ("installment", "interest_rate", "loan_amount", "term_months", "annual_income")
            },
        ),
        (LOAN_HISTORY, "tape_default_12m", {("bronze/loan_tape", "default_12m")}),
        (LOANS, "risk_score", {("silver/loan_history", "risk_score")}),
        (
            PORTFOLIO_KPIS,
            "npl_ratio",
            {
                (table, name)
                for table in ("silver/loans", "silver/loan_history")
                for name in ("outstanding_balance", "current_dpd", "loan_status")
            },
        ),
        (
            PORTFOLIO_KPIS,
            "default_rate",
            {
                (table, name)
                for table in ("silver/loans", "silver/loan_history")
                for name in ("payment_history_profile", "current_dpd", "loan_status")
            },
        ),
        (
            DEVELOPMENT_SAMPLE,
            "default_12m",
            {("silver/loan_history", name) for name in ("payment_history_profile", "loan_id", "as_of_date")},
        ),
        (LOAN_SCORES, "model_version", {("gold/model_performance", "model_version")}),
        (VINTAGE_CURVES, "loan_amount", {("silver/loans", "loan_amount")}),
        (ROLL_RATES, "month", {("silver/loans", "as_of_date"), ("silver/loan_history", "as_of_date"), TAPE_KIND}),
        (
            EXPECTED_CREDIT_LOSS,
            "pd_initial",
            {
                ("gold/loan_scores", "pd_12m"),
                ("silver/loans", "pd_proxy"),
                ("silver/loan_history", "pd_proxy"),
                ("silver/loan_history", "as_of_date"),
            },
        ),
    ],
)
def test_a_column_comes_from_what_computes_it(
    materializations: dict[str, Any], table: Table, column: str, sources: set[tuple[str, str]]
) -> None:
    assert lineage(materializations, table, column) == sources


def test_scores_come_from_the_features_of_the_model(materializations: dict[str, Any]) -> None:
    sources = lineage(materializations, LOAN_SCORES, "pd_12m")
    assert ("silver/loans", "debt_to_income") in sources
    assert ("silver/loans", "age") not in sources
    assert {table for table, _ in sources} == {"silver/loans"}


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.path)
def test_each_table_shows_rows_bytes_and_version(materializations: dict[str, Any], table: Table) -> None:
    metadata = materializations[table.path]
    assert metadata["dagster/row_count"].value >= 0
    assert metadata["table_version"].value >= 0
    assert metadata["bytes"].value > 0 or metadata["dagster/row_count"].value == 0
    assert (metadata["data_files"].value > 0) == (metadata["bytes"].value > 0)
