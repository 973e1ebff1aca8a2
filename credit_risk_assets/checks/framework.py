"""What an asset check is here: declared once, measured in one pass with its layer, recorded with history."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import dagster as dg
from pyspark.sql import DataFrame
from pyspark.sql.types import BooleanType, LongType, StringType, StructField, StructType, TimestampType

from credit_risk_assets.config.tables import QUALITY_RESULTS, Table
from credit_risk_assets.resources.lakehouse import IdempotenceKey, Lakehouse
from credit_risk_assets.resources.platform import Platform

Severity = Literal["ERROR", "WARN"]
EXAMPLES = 5
"""Keys that a finding names; the table holds the rest."""

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
    ]
)


@dataclass(frozen=True)
class Check:
    """One check of an asset: ERROR stops what comes after it in the run (where `blocking`), WARN never does."""

    asset: tuple[str, ...]
    name: str
    description: str
    severity: Severity = "ERROR"
    blocking: bool = True

    @property
    def spec(self) -> dg.AssetCheckSpec:
        """The check as Dagster knows it."""
        return dg.AssetCheckSpec(
            self.name,
            asset=dg.AssetKey(list(self.asset)),
            description=self.description,
            blocking=self.blocking and self.severity == "ERROR",
        )


def check_of(
    table: Table, name: str, description: str, severity: Severity = "ERROR", *, blocking: bool = True
) -> Check:
    """Declare a check of a table."""
    return Check((table.layer, table.name), name, description, severity, blocking)


@dataclass(frozen=True)
class Finding:
    """What a check saw: observed beside expected, how many rows fail, and a few of their keys."""

    check: Check
    passed: bool
    observed: str
    expected: str
    failed_rows: int = 0
    total_rows: int = 0
    examples: Sequence[str] = field(default=())

    @property
    def result(self) -> dg.AssetCheckResult:
        """The finding as Dagster shows it."""
        metadata: dict[str, Any] = {
            "observed": self.observed,
            "expected": self.expected,
            "failed_rows": self.failed_rows,
            "total_rows": self.total_rows,
        }
        if self.examples:
            metadata["examples"] = dg.MetadataValue.md("\n".join(f"- `{key}`" for key in self.examples))
        severity = dg.AssetCheckSeverity.ERROR if self.check.severity == "ERROR" else dg.AssetCheckSeverity.WARN
        return dg.AssetCheckResult(
            asset_key=dg.AssetKey(list(self.check.asset)),
            check_name=self.check.name,
            passed=self.passed,
            severity=severity,
            description=None if self.passed else f"{self.observed}: expected {self.expected}",
            metadata=metadata,
        )


def counted(check: Check, failed: int, total: int, what: str, examples: Sequence[str] = ()) -> Finding:
    """A finding that passes when no row fails; `what` says what every row should be."""
    return Finding(check, failed == 0, f"{failed:,} of {total:,} rows fail", what, failed, total, examples)


def count_where(condition: str) -> str:
    """Spark SQL that counts the rows a condition holds for; a null condition counts none."""
    return f"count(case when {condition} then 1 end)"


def broken_rule(check: Check, frame: DataFrame, condition: str, failed: int, total: int, what: str) -> Finding:
    """The finding of a row rule measured before: the first loans that break it are looked up only if any do."""
    return counted(check, failed, total, what, example_loans(frame.where(condition)) if failed else [])


def example_loans(frame: DataFrame) -> list[str]:
    """The first few loan ids of a frame, in their order."""
    return [str(row[0]) for row in frame.select("loan_id").orderBy("loan_id").limit(EXAMPLES).collect()]


def tied(check: Check, left: float, right: float, what: str, *, tolerance: float = 0.0) -> Finding:
    """A finding that passes when two figures agree, to a relative tolerance for sums of money."""
    agree = abs(left - right) <= tolerance * max(1.0, abs(right))
    failed = 0 if agree else max(1, round(abs(left - right)))
    return Finding(check, agree, f"{left:,.10g}", f"{right:,.10g} ({what})", failed, 0)


def record_findings(lakehouse: Lakehouse, run_id: str, step: str, findings: Sequence[Finding]) -> None:
    """Append findings to gold/quality_results, once per run and step."""
    now = datetime.now(UTC)
    rows = [
        (
            run_id,
            now,
            "/".join(f.check.asset),
            f.check.name,
            f.check.severity,
            f.passed,
            f.observed,
            f.expected,
            f.failed_rows,
            f.total_rows,
            ", ".join(f.examples),
        )
        for f in findings
    ]
    frame = lakehouse.session.createDataFrame(rows, RESULTS_SCHEMA)
    lakehouse.append(QUALITY_RESULTS, frame, key=IdempotenceKey(f"checks/{run_id}/{step}"))


Measure = Callable[[Platform], list[Finding]]


def layer_checks(name: str, checks: Sequence[Check], measure: Measure) -> dg.AssetChecksDefinition:
    """One step that evaluates a layer's checks together and records them before Dagster acts on them."""

    @dg.multi_asset_check(name=name, specs=[check.spec for check in checks])
    def evaluate(
        context: dg.AssetCheckExecutionContext, platform: dg.ResourceParam[Platform]
    ) -> Iterator[dg.AssetCheckResult]:
        findings = measure(platform)
        record_findings(platform.lakehouse, context.run.run_id, name, findings)
        for finding in findings:
            yield finding.result

    return evaluate
