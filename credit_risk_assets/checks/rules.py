"""Row rules: conditions declared as data, all of a table counted in one pass, failing rows looked up only if any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from credit_risk_assets.checks.framework import EXAMPLES, NEVER_SHOWN, Check, Finding, Row, counted
from credit_risk_assets.config.tables import INGESTION_LOG
from credit_risk_assets.modelling.bins import count_where
from credit_risk_assets.resources.lakehouse import Lakehouse

_PLACE = ("loan_id", "as_of_date", "observation_date", "_source_file", "_source_sha256", "_row_number")


@dataclass(frozen=True)
class RowRule:
    """One rule of a check: Spark SQL that is true on the rows that break it, and what every row should be.

    `columns` are those the rule is about: the details count by them, examples show their values.
    """

    check: Check
    columns: tuple[str, ...]
    broken: str
    expected: str

    @property
    def about(self) -> str:
        """The columns as one name."""
        return ", ".join(self.columns)


def aggregates(frame: DataFrame, figures: Mapping[str, str], by: Sequence[str] = ()) -> pl.DataFrame:
    """Named Spark SQL aggregates of a frame in one pass, one row per group; always `rows` beside them."""
    columns = [F.expr(sql).alias(name) for name, sql in {"rows": "count(1)", **figures}.items()]
    return pl.DataFrame(frame.groupBy(*by).agg(*columns).toArrow() if by else frame.agg(*columns).toArrow())


def rule_counts(rules: Sequence[RowRule], by: Sequence[str] = ()) -> dict[str, str]:
    """The aggregates that count the rows on which each check's rules fail, by the names that `rule_findings` reads.

    Rules about nothing but the columns that rows are grouped `by` are tried once a group.
    """
    return {f"check_{number}": _check_count(mine, by) for number, mine in enumerate(_by_check(rules).values())}


def _by_check(rules: Sequence[RowRule]) -> dict[Check, list[RowRule]]:
    mine: dict[Check, list[RowRule]] = {}
    for rule in rules:
        mine.setdefault(rule.check, []).append(rule)
    return mine


def _any_broken(rules: Sequence[RowRule]) -> str:
    return " or ".join(f"({rule.broken})" for rule in rules)


def _check_count(rules: Sequence[RowRule], by: Sequence[str]) -> str:
    a_group = [rule for rule in rules if set(rule.columns) <= set(by)]
    a_row = [rule for rule in rules if rule not in a_group]
    rows = count_where(_any_broken(a_row)) if a_row else "0"
    return f"case when {_any_broken(a_group)} then count(1) else {rows} end" if a_group else rows


def rule_findings(
    lakehouse: Lakehouse,
    frame: DataFrame,
    rules: Sequence[RowRule],
    counts: pl.DataFrame,
    keys: Sequence[str] = (),
) -> list[Finding]:
    """One finding per check of the rules, from the counts of `rule_counts` (summed over groups).

    A check counts each row once, however many of its rules fail there. Which of several do, and examples, take a
    pass each over the rows of a check that fails. `keys` names the rows of a frame without loans.
    """
    total = int(counts["rows"].sum())
    findings = []
    for number, (check, mine) in enumerate(_by_check(rules).items()):
        rows = int(counts[f"check_{number}"].sum())
        failing = frame.where(_any_broken(mine)) if rows else None
        failed = _failed_rows(failing, mine, rows) if failing else [0] * len(mine)
        details = [
            {"column": r.about, "rule": r.expected, "failed rows": count, "share": _share(count, total)}
            for r, count in sorted(zip(mine, failed, strict=True), key=lambda found: -found[1])
        ]
        broken = [rule for rule, count in zip(mine, failed, strict=True) if count]
        columns = [*keys, *[name for rule in broken for name in rule.columns]]
        expected = "; ".join(f"{rule.about}: {rule.expected}" for rule in broken or mine[:1])
        if len(mine) > 1 and not broken:
            expected = f"{len(mine)} rules kept"
        examples = example_rows(lakehouse, failing, columns) if failing else []
        findings.append(counted(check, rows, total, expected, details=details, examples=examples))
    return findings


def _failed_rows(failing: DataFrame, rules: Sequence[RowRule], rows: int) -> list[int]:
    """How many rows each rule fails on, in the order of the rules; a single one fails on all the failing `rows`."""
    if len(rules) == 1:
        return [rows]
    figures = {f"rule_{number}": count_where(rule.broken) for number, rule in enumerate(rules)}
    counts = aggregates(failing, figures).row(0, named=True)
    return [int(counts[name]) for name in figures]


def _share(part: int, whole: int) -> float:
    return round(part / whole, 6) if whole else 0.0


def example_rows(lakehouse: Lakehouse, failing: DataFrame, columns: Sequence[str]) -> list[Row]:
    """The first few failing rows: the loan, its date, its place in the file it came from, and the values asked for.

    A customer id is never among them.
    """
    known = set(failing.columns)
    wanted = [name for name in dict.fromkeys([*_PLACE, *columns]) if name in known and name not in NEVER_SHOWN]
    rows = [row.asDict() for row in failing.select(*wanted).orderBy(wanted[0]).limit(EXAMPLES).collect()]
    if "_source_file" in wanted or "_source_sha256" not in wanted:
        names: dict[str, str] = {}
    else:
        names = source_files(lakehouse)
    return [_shown(row, names, columns) for row in rows]


def _shown(row: dict[str, Any], names: dict[str, str], asked: Sequence[str]) -> Row:
    content = row.pop("_source_sha256", None) if "_source_sha256" not in asked else row.get("_source_sha256")
    file, number = row.pop("_source_file", None) or names.get(content or ""), row.pop("_row_number", None)
    place = {name: row.pop(name) for name in _PLACE if name in row and not name.startswith("_")}
    return {**place, **({"file": file, "row": number} if content or file else {}), **row}


def source_files(lakehouse: Lakehouse) -> dict[str, str]:
    """Content fingerprint -> file name, of every file that the log names."""
    rows = lakehouse.rows(INGESTION_LOG, ["source_sha256", "source_file"])
    return {row["source_sha256"]: row["source_file"] for row in rows}
