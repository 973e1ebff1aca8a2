"""What an asset check is here: declared once, measured in one step with its layer, recorded with history."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import dagster as dg
from pyspark.sql.types import BooleanType, LongType, StringType, StructField, StructType, TimestampType

from credit_risk_assets.assets.retries import RETRIES, retried
from credit_risk_assets.config.tables import QUALITY_RESULTS, Table
from credit_risk_assets.resources.commits import IdempotenceKey, arrow_rows
from credit_risk_assets.resources.lakehouse import Lakehouse
from credit_risk_assets.resources.platform import Platform

Severity = Literal["ERROR", "WARN"]
Row = Mapping[str, Any]
EXAMPLES = 5
"""Failing rows that a finding shows; the table holds the rest."""
NEVER_SHOWN = ("customer_id", "raw")
"""Columns that no finding shows: not even a pseudonym belongs where more people read than the table."""

STOPPED = "Nothing after this step ran."
WENT_ON = "The run went on."

RESULTS_SCHEMA = StructType(
    [
        StructField("run_id", StringType()),
        StructField("evaluated_at", TimestampType()),
        StructField("asset", StringType()),
        StructField("check_name", StringType()),
        StructField("severity", StringType()),
        StructField("passed", BooleanType()),
        StructField("observed", StringType()),
        StructField("expected", StringType()),
        StructField("failed_rows", LongType()),
        StructField("total_rows", LongType()),
        StructField("examples", StringType()),
        StructField("action", StringType()),
        StructField("details", StringType()),
    ]
)


class CheckError(RuntimeError):
    """The checks of a table could not be measured; the message names the table."""


@dataclass(frozen=True)
class Check:
    """One check of an asset: ERROR stops what comes after it in the run (where `blocking`), WARN never does.

    `action` says what the platform did with what it found and what the analyst should do.
    """

    asset: tuple[str, ...]
    name: str
    description: str
    action: str
    severity: Severity = "ERROR"
    blocking: bool = True

    @property
    def spec(self) -> dg.AssetCheckSpec:
        """The check as Dagster knows it."""
        return dg.AssetCheckSpec(
            self.name,
            asset=dg.AssetKey(list(self.asset)),
            description=self.description,
            blocking=self.stops,
            metadata={"when it fails": self.action},
        )

    @property
    def stops(self) -> bool:
        """Whether a failure stops what comes after it in the run."""
        return self.blocking and self.severity == "ERROR"


def error_of(table: Table, name: str, description: str, advice: str, *, blocking: bool = True) -> Check:
    """Declare a check of a table whose failure means that its figures cannot be trusted."""
    action = f"{STOPPED if blocking else WENT_ON} {advice}"
    return Check((table.layer, table.name), name, description, action, "ERROR", blocking)


def warn_of(table: Table, name: str, description: str, advice: str) -> Check:
    """Declare a check of a table whose failure somebody should look at."""
    return Check((table.layer, table.name), name, description, f"{WENT_ON} {advice}", "WARN", blocking=False)


@dataclass(frozen=True)
class Finding:
    """What a check saw: observed beside expected, how many rows fail, where, and a few of them.

    `details` is a table of what was measured (by column, rule, file or tape), `examples` one of failing rows; the
    first column of an example is its key. `severity` is the check's unless the finding has a milder one of its own.
    """

    check: Check
    passed: bool
    observed: str
    expected: str
    failed_rows: int = 0
    total_rows: int = 0
    details: Sequence[Row] = field(default=())
    examples: Sequence[Row] = field(default=())
    severity: Severity | None = None

    @property
    def weight(self) -> Severity:
        """How serious the finding is."""
        return self.severity or self.check.severity

    @property
    def keys(self) -> list[str]:
        """What the examples are called: loan, file or date."""
        return [str(next(iter(row.values()))) for row in self.examples]

    @property
    def result(self) -> dg.AssetCheckResult:
        """The finding as Dagster shows it."""
        metadata: dict[str, Any] = {
            "observed": self.observed,
            "expected": self.expected,
            "failed_rows": self.failed_rows,
            "total_rows": self.total_rows,
        }
        if not self.passed:
            metadata["action"] = self.check.action
        if self.details:
            metadata["details"] = _table(self.details)
        if self.examples:
            metadata["examples"] = _table(self.examples)
        severity = dg.AssetCheckSeverity.ERROR if self.weight == "ERROR" else dg.AssetCheckSeverity.WARN
        return dg.AssetCheckResult(
            asset_key=dg.AssetKey(list(self.check.asset)),
            check_name=self.check.name,
            passed=self.passed,
            severity=severity,
            description=None if self.passed else f"{self.observed}: expected {self.expected}",
            metadata=metadata,
        )

    @property
    def record(self) -> tuple[Any, ...]:
        """The finding as the columns of gold/quality_results from `asset` on."""
        tables = {"details": self.details, "examples": self.examples}
        shown = {name: [_plain(row) for row in rows] for name, rows in tables.items() if rows}
        return (
            "/".join(self.check.asset),
            self.check.name,
            self.weight,
            self.passed,
            self.observed,
            self.expected,
            self.failed_rows,
            self.total_rows,
            ", ".join(self.keys),
            None if self.passed else self.check.action,
            json.dumps(shown, ensure_ascii=False) if shown else None,
        )


def _plain(row: Row) -> dict[str, Any]:
    """The row in types that a table of the Dagster UI and JSON know, without what is never shown."""
    return {
        name: value if value is None or isinstance(value, bool | int | float | str) else str(value)
        for name, value in row.items()
        if name not in NEVER_SHOWN
    }


_COLUMN_TYPES = {bool: "bool", int: "int", float: "float"}


def _table(rows: Sequence[Row]) -> dg.TableMetadataValue:
    plain = [_plain(row) for row in rows]
    names = list(dict.fromkeys(name for row in plain for name in row))

    def kind(name: str) -> str:
        kinds = {type(row[name]) for row in plain if row.get(name) is not None}
        return _COLUMN_TYPES.get(kinds.pop(), "string") if len(kinds) == 1 else "string"

    schema = dg.TableSchema([dg.TableColumn(name, kind(name)) for name in names])
    return dg.MetadataValue.table([dg.TableRecord(row) for row in plain], schema)


def counted(
    check: Check,
    failed: int,
    total: int,
    what: str,
    *,
    details: Sequence[Row] = (),
    examples: Sequence[Row] = (),
) -> Finding:
    """A finding that passes when no row fails; `what` says what every row should be."""
    return Finding(
        check, failed == 0, f"{failed:,} of {total:,} rows fail", what, failed, total, details, examples[:EXAMPLES]
    )


def tied(
    check: Check, left: float, right: float, what: str, *, tolerance: float = 0.0, details: Sequence[Row] = ()
) -> Finding:
    """A finding that passes when two figures agree, to a relative tolerance for sums of money."""
    agree = abs(left - right) <= tolerance * max(1.0, abs(right))
    failed = 0 if agree else max(1, round(abs(left - right)))
    return Finding(check, agree, f"{left:,.10g}", f"{right:,.10g} ({what})", failed, 0, details)


def record_findings(lakehouse: Lakehouse, run_id: str, step: str, findings: Sequence[Finding]) -> None:
    """Append findings to gold/quality_results, once per run and step."""
    now = datetime.now(UTC)
    rows = [(run_id, now, *finding.record) for finding in findings]
    lakehouse.ensure(QUALITY_RESULTS, RESULTS_SCHEMA)
    lakehouse.append(QUALITY_RESULTS, arrow_rows(rows, RESULTS_SCHEMA), key=IdempotenceKey(f"checks/{run_id}/{step}"))


Measure = Callable[[Platform], list[Finding]]


@dataclass(frozen=True)
class CheckedTable:
    """A table, its checks, and the function that measures them all."""

    path: str
    checks: tuple[Check, ...]
    measure: Measure


def findings_of(platform: Platform, tables: Sequence[CheckedTable]) -> tuple[list[Finding], list[str]]:
    """The findings of tables, and one line for each table that could not be measured."""
    findings: list[Finding] = []
    problems: list[str] = []
    for table in tables:
        try:
            findings += table.measure(platform)
        except Exception as error:  # whatever it is, the other tables' findings must not be lost with it
            lines = str(error).strip().splitlines() or [type(error).__name__]
            problems.append(f"{table.path}: its {len(table.checks)} checks could not be measured: {lines[0]}")
    return findings, problems


def layer_checks(name: str, tables: Sequence[CheckedTable]) -> dg.AssetChecksDefinition:
    """One step that evaluates the checks of some tables and records them before Dagster acts on them."""

    specs = [check.spec for table in tables for check in table.checks]

    @dg.multi_asset_check(name=name, specs=specs, retry_policy=RETRIES)
    @retried
    def evaluate(
        context: dg.AssetCheckExecutionContext, platform: dg.ResourceParam[Platform]
    ) -> Iterator[dg.AssetCheckResult]:
        findings, problems = findings_of(platform, tables)
        record_findings(platform.lakehouse, context.run.run_id, name, findings)
        for finding in findings:
            yield finding.result
        if problems:
            raise CheckError("; ".join(problems))

    return evaluate
