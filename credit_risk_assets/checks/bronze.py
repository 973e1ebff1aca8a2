"""Checks of bronze/loan_tape: nothing lost, nothing twice, nobody's identity in the lake."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import polars as pl
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from credit_risk_assets.assets.silver import distinct_states
from credit_risk_assets.checks import contract_rules, ingestion
from credit_risk_assets.checks.framework import (
    Check,
    CheckedTable,
    Finding,
    counted,
    error_of,
    layer_checks,
    warn_of,
)
from credit_risk_assets.checks.rules import RowRule, aggregates, example_rows, rule_counts, rule_findings
from credit_risk_assets.config.settings import Settings
from credit_risk_assets.config.tables import LOAN_TAPE
from credit_risk_assets.resources.ingestion import LOAN_TAPE_SCHEMA
from credit_risk_assets.resources.lakehouse import Lakehouse
from credit_risk_assets.resources.platform import Platform
from credit_risk_assets.tape import contract

INTAKE = "Intake rejects such rows, so these came past it: find out how, restore the table, ingest the file again."
SILVER_KEEPS_LAST = "The rows stay in bronze; silver holds the last one of each loan and date: ask who made the tape."

ROWS_TIE = error_of(
    LOAN_TAPE,
    "rows_tie_with_log",
    "Bronze holds exactly the rows that the log says were accepted, in total and file by file.",
    "Restore the table to the version of the last run that tied; its files can then be ingested again.",
)
FROM_LOGGED_FILES = error_of(
    LOAN_TAPE,
    "rows_from_logged_files",
    "Every row says which file, row, time and run it came from, and the log names the file.",
    "A row without a file was not written by ingestion: restore the table and find the writer.",
)
SCHEMA_AS_CONTRACT = error_of(
    LOAN_TAPE,
    "schema_as_contract",
    "The table has every column of the contract in its type, and none of a simulator's sealed truth.",
    "Restore the version before the change of schema.",
)
REQUIRED_PRESENT = error_of(LOAN_TAPE, "required_values_present", "No required column has a gap.", INTAKE)
NUMBERS_IN_RANGE = error_of(LOAN_TAPE, "numbers_in_range", "Every number lies in its range of the contract.", INTAKE)
CATEGORIES_KNOWN = error_of(LOAN_TAPE, "categories_known", "Purposes and statuses are those of the contract.", INTAKE)
DATES_IN_ORDER = error_of(
    LOAN_TAPE, "dates_in_order", "Origination, as-of date and maturity stand in order, none before 1900.", INTAKE
)
DATES_PAST = error_of(LOAN_TAPE, "dates_not_in_future", "No tape describes a day that is yet to come.", INTAKE)
PROFILE_WELL_FORMED = error_of(
    LOAN_TAPE, "profile_well_formed", "Payment profiles hold known codes alone, 84 months at most.", INTAKE
)
PAID_OFF_WITHOUT_DPD = error_of(LOAN_TAPE, "paid_off_without_dpd", "A loan that is paid off is not past due.", INTAKE)
PSEUDONYMS = error_of(
    LOAN_TAPE,
    "customers_pseudonymised",
    "Every customer id is a keyed hash of 64 hexadecimal digits.",
    "Treat it as a data breach: restore the table, vacuum it, and find the writer that went past intake.",
)
DUPLICATES = warn_of(
    LOAN_TAPE, "loans_once_per_date", "A loan stands once on a tape; few rows are repeated.", SILVER_KEEPS_LAST
)
FRESHNESS = warn_of(
    LOAN_TAPE,
    "tape_is_recent",
    "The newest as-of date is not older than the limit.",
    "Figures are as old as the tape: ask for the next one.",
)
NEW_COLUMNS = warn_of(
    LOAN_TAPE,
    "columns_known",
    "No file of the newest run brought a new column.",
    "The columns are kept in bronze and silver; no feature reads them: map them if they mean something known.",
)
COLUMNS_KEPT = warn_of(
    LOAN_TAPE,
    "columns_kept",
    "The newest tape fills every column that earlier tapes filled.",
    "The gaps are kept as gaps, and features that need the column are empty: ask who made the tape.",
)

CHECKS: tuple[Check, ...] = (
    ROWS_TIE,
    FROM_LOGGED_FILES,
    SCHEMA_AS_CONTRACT,
    REQUIRED_PRESENT,
    NUMBERS_IN_RANGE,
    CATEGORIES_KNOWN,
    DATES_IN_ORDER,
    DATES_PAST,
    PROFILE_WELL_FORMED,
    PAID_OFF_WITHOUT_DPD,
    PSEUDONYMS,
    DUPLICATES,
    FRESHNESS,
    NEW_COLUMNS,
    COLUMNS_KEPT,
)
EXPECTED_FILLED = 10
"""Values that chance alone would hardly leave out: fewer expected ones prove nothing when none is there."""
USUAL_SHARE = 0.2
"""A change file holds the loans that moved: only columns filled on this share of earlier rows are missed there."""
FILES_SHOWN = 50
_TAPE = ["_source_sha256", "as_of_date"]


def row_rules(today: date) -> list[RowRule]:
    """The rules of every bronze row, nearly all of them generated from the contract."""
    return [
        *contract_rules.provenance(FROM_LOGGED_FILES),
        *contract_rules.completeness(REQUIRED_PRESENT),
        *contract_rules.ranges(NUMBERS_IN_RANGE),
        *contract_rules.enumerations(CATEGORIES_KNOWN),
        *contract_rules.dates_in_order(DATES_IN_ORDER),
        *contract_rules.dates_past(DATES_PAST, today),
        *contract_rules.profile_well_formed(PROFILE_WELL_FORMED),
        *contract_rules.paid_off_without_dpd(PAID_OFF_WITHOUT_DPD),
        *contract_rules.pseudonymised(PSEUDONYMS),
    ]


def tape_findings(lakehouse: Lakehouse, settings: Settings, today: date) -> list[Finding]:
    """The findings of the tape rows as of a day: one pass for rules and fills, one for repeated keys."""
    schema = _schema(lakehouse)
    if not schema.passed:
        # Rules cannot be trusted, or not be tried at all, on columns of another type.
        rest = [check for check in CHECKS if check != SCHEMA_AS_CONTRACT]
        return [schema, *[Finding(check, False, "not measured", "the schema mended first") for check in rest]]
    tape, rules = lakehouse.read(LOAN_TAPE), row_rules(today)
    columns = [name for name in lakehouse.columns(LOAN_TAPE) if not name.startswith("_")]
    filled = {f"filled_{number}": f"count(`{name}`)" for number, name in enumerate(columns)}
    tapes = aggregates(tape, {**rule_counts(rules, by=_TAPE), **filled}, by=_TAPE)
    rows = int(tapes["rows"].sum())
    # A loan that one file holds twice for a date stands twice in the table.
    repeated = None if distinct_states(lakehouse, LOAN_TAPE) == rows else repeated_keys(tape)
    log = ingestion.log_rows(lakehouse)
    by_rule = {finding.check: finding for finding in rule_findings(lakehouse, tape, rules, tapes)}
    by_rule[FROM_LOGGED_FILES] = _from_logged_files(by_rule[FROM_LOGGED_FILES], tapes, log)
    return [
        _rows_tie(tapes, log),
        schema,
        *by_rule.values(),
        _duplicates(lakehouse, repeated, rows, settings),
        _freshness(tapes["as_of_date"].max(), today, settings),
        _new_columns(log),
        _columns_kept(tapes, dict(zip(filled, columns, strict=True)), log),
    ]


def repeated_keys(tape: DataFrame) -> DataFrame:
    """Loans that one file holds more than once for a date, with how many `times`."""
    counts = tape.groupBy("_source_sha256", "loan_id", "as_of_date").agg(F.count(F.lit(1)).alias("times"))
    return counts.where("times > 1")


def _rows_tie(tapes: pl.DataFrame, log: list[dict[str, Any]]) -> Finding:
    held = {row[0]: row[1] for row in tapes.group_by("_source_sha256").agg(pl.col("rows").sum()).iter_rows()}
    stated: dict[str, int] = {}
    names: dict[str, str] = {}
    for row in log:
        stated[row["source_sha256"]] = stated.get(row["source_sha256"], 0) + row["rows_accepted"]
        names[row["source_sha256"]] = row["source_file"]
    untied = [
        {
            "file": names.get(content, content),
            "rows in bronze": held.get(content, 0),
            "accepted": stated.get(content, 0),
        }
        for content in {**held, **stated}
        if held.get(content, 0) != stated.get(content, 0)
    ]
    rows, accepted = sum(held.values()), sum(stated.values())
    failed = sum(abs(row["rows in bronze"] - row["accepted"]) for row in untied)
    observed = f"{rows:,} rows" + (f", {len(untied)} files untied" if untied else "")
    expected = f"{accepted:,} (rows accepted by the log), file by file"
    return Finding(ROWS_TIE, not untied, observed, expected, failed, rows, details=untied[:FILES_SHOWN])


def _from_logged_files(finding: Finding, tapes: pl.DataFrame, log: list[dict[str, Any]]) -> Finding:
    known = [row["source_sha256"] for row in log]
    strange = tapes.filter(~pl.col("_source_sha256").is_in(known) | pl.col("_source_sha256").is_null())
    rows = int(strange["rows"].sum())
    details = [
        *finding.details,
        {"column": "_source_sha256", "rule": "a file of the log", "failed rows": rows, "share": None},
    ]
    failed = max(finding.failed_rows, rows)
    expected = finding.expected if finding.failed_rows else "a file that the log names on every row"
    return counted(FROM_LOGGED_FILES, failed, finding.total_rows, expected, details=details, examples=finding.examples)


def _schema(lakehouse: Lakehouse) -> Finding:
    found = dict(lakehouse.column_types(LOAN_TAPE))
    names = {"string": "string", "double": "double", "int": "integer", "date": "date", "bigint": "long"}
    wanted = {field.name: field.dataType.simpleString() for field in LOAN_TAPE_SCHEMA.fields}
    wrong = [
        {"column": name, "found": found.get(name, "missing"), "expected": names.get(kind, kind)}
        for name, kind in wanted.items()
        if found.get(name) != names.get(kind, kind)
    ]
    sealed = set(contract.RESERVED) & {name.lower() for name in found}
    wrong += [{"column": name, "found": found.get(name, name), "expected": "no such column"} for name in sorted(sealed)]
    return Finding(
        SCHEMA_AS_CONTRACT,
        not wrong,
        "; ".join(f"{row['column']} is {row['found']}" for row in wrong) or f"{len(wanted)} columns as they should be",
        "every column of the contract in its type, and no truth",
        len(wrong),
        len(found),
        details=wrong,
    )


def _duplicates(lakehouse: Lakehouse, repeated: DataFrame | None, total: int, settings: Settings) -> Finding:
    more = 0
    if repeated is not None:
        more = int(repeated.agg(F.coalesce(F.sum(F.col("times") - 1), F.lit(0))).collect()[0][0])
    share, limit = more / total if total else 0.0, settings.quality.max_duplicate_share
    return Finding(
        DUPLICATES,
        share <= limit,
        f"{more:,} repeated rows ({share:.3%})",
        f"at most {limit:.1%}",
        more,
        total,
        examples=example_rows(lakehouse, repeated, ["times"]) if repeated is not None and more else (),
    )


def _freshness(newest: Any, today: date, settings: Settings) -> Finding:
    limit = settings.quality.max_tape_age_days
    if newest is None:
        return Finding(FRESHNESS, False, "no tape", f"a tape of the last {limit} days")
    age_days = (today - newest).days
    return Finding(
        FRESHNESS, age_days <= limit, f"newest as-of date {newest}, {age_days} days old", f"at most {limit} days"
    )


def _new_columns(log: list[dict[str, Any]]) -> Finding:
    new = [
        {"column": name, "file": row["source_file"]}
        for row in ingestion.newest_run(log)
        for name in row["new_columns"] or []
    ]
    columns = sorted({row["column"] for row in new})
    return Finding(
        NEW_COLUMNS,
        not columns,
        f"new columns: {', '.join(columns)}" if columns else "none",
        "only columns seen before; the new ones are kept",
        len(columns),
        details=new,
    )


def _columns_kept(tapes: pl.DataFrame, columns: dict[str, str], log: list[dict[str, Any]]) -> Finding:
    """Columns that earlier tapes filled often enough for their absence on the newest one to be no chance."""
    expected = "every column that earlier tapes filled"
    newest = tapes.filter(pl.col("as_of_date") == pl.col("as_of_date").max())
    earlier = tapes.filter(pl.col("as_of_date") < pl.col("as_of_date").max())
    if newest.is_empty() or earlier.is_empty():
        return Finding(COLUMNS_KEPT, True, "one tape only", expected)
    full = {row["source_sha256"] for row in log if row["kind"] == "full"}
    usual = 0.0 if full & set(newest["_source_sha256"]) else USUAL_SHARE
    rows, before = int(newest["rows"].sum()), int(earlier["rows"].sum())
    gone = []
    for figure, name in columns.items():
        share = int(earlier[figure].sum()) / before
        if not int(newest[figure].sum()) and share * rows >= EXPECTED_FILLED and share >= usual:
            gone.append({"column": name, "filled before": round(share, 4), "filled now": 0.0, "rows": rows})
    names = ", ".join(str(row["column"]) for row in gone)
    return Finding(
        COLUMNS_KEPT, not gone, f"empty now: {names}" if gone else "all of them", expected, len(gone), details=gone
    )


def bronze_findings(lakehouse: Lakehouse, settings: Settings, today: date) -> list[Finding]:
    """The findings of the three bronze tables as of a day."""
    return [
        *tape_findings(lakehouse, settings, today),
        *ingestion.log_findings(lakehouse),
        *ingestion.rejected_findings(lakehouse, settings),
    ]


def _measure(platform: Platform) -> list[Finding]:
    return tape_findings(platform.lakehouse, platform.settings, datetime.now(UTC).date())


TABLES = (CheckedTable(LOAN_TAPE.path, CHECKS, _measure), *ingestion.TABLES)
bronze_checks = layer_checks("bronze_checks", TABLES)
