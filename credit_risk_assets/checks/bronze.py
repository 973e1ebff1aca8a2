"""Checks of bronze: nothing lost, nothing twice, nobody's identity in the lake."""

from __future__ import annotations

from datetime import UTC, date, datetime

from pyspark.sql import functions as F

from credit_risk_assets.checks.framework import (
    EXAMPLES,
    Check,
    Finding,
    broken_rule,
    check_of,
    count_where,
    counted,
    layer_checks,
    tied,
)
from credit_risk_assets.config.settings import Settings
from credit_risk_assets.config.tables import INGESTION_LOG, LOAN_TAPE, REJECTED_RECORDS
from credit_risk_assets.resources.lakehouse import Lakehouse
from credit_risk_assets.resources.platform import Platform
from credit_risk_assets.tape import contract

ROWS_TIE = check_of(LOAN_TAPE, "rows_tie_with_log", "Bronze holds exactly the rows that the log says were accepted.")
REQUIRED_PRESENT = check_of(LOAN_TAPE, "required_values_present", "No required column has a gap.")
VALUES_IN_RANGE = check_of(LOAN_TAPE, "values_in_contract", "Numbers and categories keep the tape contract.")
PSEUDONYMS = check_of(
    LOAN_TAPE, "customers_pseudonymised", "Every customer id is a keyed hash of 64 hexadecimal digits."
)
DATES_IN_ORDER = check_of(LOAN_TAPE, "dates_in_order", "Origination, as-of date and maturity stand in order.")
DUPLICATES = check_of(
    LOAN_TAPE, "loans_once_per_date", "A loan stands once on a tape; silver keeps the last one.", "WARN"
)
FRESHNESS = check_of(LOAN_TAPE, "tape_is_recent", "The newest as-of date is not older than the limit.", "WARN")
NEW_COLUMNS = check_of(LOAN_TAPE, "columns_known", "No file of the newest run brought a new column.", "WARN")
LOG_TIES = check_of(INGESTION_LOG, "rows_accounted_for", "Rows read are rows accepted plus rows rejected.")
CONTENT_ONCE = check_of(INGESTION_LOG, "content_once", "Each file content is ingested once.")
FILES_READABLE = check_of(
    INGESTION_LOG, "files_readable", "No file of the newest run had to be refused.", blocking=False
)
REJECTED_TIE = check_of(REJECTED_RECORDS, "rejected_tie_with_log", "Every rejected row is kept.")
REJECTED_REASONED = check_of(REJECTED_RECORDS, "rejected_have_reasons", "Every rejected row says why.")
REJECTED_SHARE = check_of(REJECTED_RECORDS, "rejected_share", "Few rows of the newest run were rejected.", "WARN")

CHECKS: tuple[Check, ...] = (
    ROWS_TIE,
    REQUIRED_PRESENT,
    VALUES_IN_RANGE,
    PSEUDONYMS,
    DATES_IN_ORDER,
    DUPLICATES,
    FRESHNESS,
    NEW_COLUMNS,
    LOG_TIES,
    CONTENT_ONCE,
    FILES_READABLE,
    REJECTED_TIE,
    REJECTED_REASONED,
    REJECTED_SHARE,
)


def _any_null() -> str:
    return " or ".join(f"{name} is null or trim(cast({name} as string)) = ''" for name in contract.REQUIRED)


def _outside_contract() -> str:
    parts = []
    for column in contract.COLUMNS:
        if column.values:
            parts.append(f"{column.name} not in ({', '.join(repr(v) for v in column.values)})")
        if column.minimum is not None:
            mark = "<=" if column.above else "<"
            parts.append(f"{column.name} {mark} {column.minimum:g}")
        if column.maximum is not None:
            parts.append(f"{column.name} > {column.maximum:g}")
    parts.append("(loan_status = 'paid_off' and current_dpd > 0)")
    return " or ".join(f"coalesce({part}, false)" for part in parts)


_ROW_RULES = {
    "required": _any_null(),
    "contract": _outside_contract(),
    "pseudonyms": "not coalesce(customer_id rlike '^[0-9a-f]{64}$', false)",
    "dates": "coalesce(origination_date > as_of_date, false) or coalesce(maturity_date <= origination_date, false)",
}


def measure_bronze(platform: Platform) -> list[Finding]:
    """Evaluate every bronze check: one pass over the tape rows, one over the log and the rejected rows."""
    return bronze_findings(platform.lakehouse, platform.settings, datetime.now(UTC).date())


def bronze_findings(lakehouse: Lakehouse, settings: Settings, today: date) -> list[Finding]:
    """The findings of the bronze layer as of a day."""
    tape = lakehouse.read(LOAN_TAPE)
    sums = tape.agg(
        F.count(F.lit(1)).alias("rows"),
        F.max("as_of_date").alias("newest"),
        *[F.expr(count_where(condition)).alias(name) for name, condition in _ROW_RULES.items()],
    ).collect()[0]
    repeated = (
        tape.groupBy("_source_sha256", "loan_id", "as_of_date")
        .count()
        .where("count > 1")
        .agg(F.coalesce(F.sum(F.col("count") - 1), F.lit(0)), F.min("loan_id"))
        .collect()[0]
    )
    log = [row.asDict() for row in lakehouse.read(INGESTION_LOG).collect()]
    rejected = (
        lakehouse.read(REJECTED_RECORDS)
        .agg(F.count(F.lit(1)), F.expr(count_where("coalesce(size(reasons), 0) < 1 or raw is null")))
        .collect()[0]
    )

    def row_rule(check: Check, rule: str, what: str) -> Finding:
        return broken_rule(check, tape, _ROW_RULES[rule], sums[rule], sums["rows"], what)

    total = sums["rows"]
    duplicate_share = repeated[0] / total if total else 0.0
    limit = settings.quality.max_duplicate_share
    return [
        tied(ROWS_TIE, total, sum(r["rows_accepted"] for r in log), "rows accepted by the log"),
        row_rule(REQUIRED_PRESENT, "required", "a value in every required column"),
        row_rule(VALUES_IN_RANGE, "contract", "values inside the tape contract"),
        row_rule(PSEUDONYMS, "pseudonyms", "64 hexadecimal digits"),
        row_rule(DATES_IN_ORDER, "dates", "origination <= as-of date, origination < maturity"),
        Finding(
            DUPLICATES,
            duplicate_share <= limit,
            f"{repeated[0]:,} repeated rows ({duplicate_share:.3%})",
            f"at most {limit:.1%}",
            int(repeated[0]),
            total,
            [str(repeated[1])] if repeated[1] else [],
        ),
        _freshness(sums["newest"], today, settings),
        *_log_findings(log, settings),
        tied(REJECTED_TIE, rejected[0], sum(r["rows_rejected"] for r in log), "rows rejected by the log"),
        counted(REJECTED_REASONED, rejected[1], rejected[0], "a reason and the row's values"),
    ]


def _freshness(newest: date | None, today: date, settings: Settings) -> Finding:
    limit = settings.quality.max_tape_age_days
    if newest is None:
        return Finding(FRESHNESS, False, "no tape", f"a tape of the last {limit} days")
    age_days = (today - newest).days
    return Finding(
        FRESHNESS, age_days <= limit, f"newest as-of date {newest}, {age_days} days old", f"at most {limit} days"
    )


def _log_findings(log: list[dict[str, object]], settings: Settings) -> list[Finding]:
    untied = [r for r in log if r["rows_read"] != r["rows_accepted"] + r["rows_rejected"]]  # type: ignore[operator]
    ingested = [r["source_sha256"] for r in log if r["outcome"] == "ingested"]
    repeated = len(ingested) - len(set(ingested))
    newest_run = max(log, key=lambda r: r["finished_at"])["run_id"] if log else None  # type: ignore[arg-type,return-value]
    newest = [r for r in log if r["run_id"] == newest_run]
    refused = [r for r in newest if r["outcome"] == "refused"]
    columns = sorted({name for r in newest for name in r["new_columns"] or []})  # type: ignore[attr-defined]
    read = sum(int(r["rows_read"]) for r in newest)  # type: ignore[call-overload]
    rejected = sum(int(r["rows_rejected"]) for r in newest)  # type: ignore[call-overload]
    share, limit = (rejected / read if read else 0.0), settings.quality.max_rejected_share
    return [
        Finding(
            NEW_COLUMNS,
            not columns,
            f"new columns: {', '.join(columns)}" if columns else "none",
            "only columns seen before; the new ones are kept",
            len(columns),
        ),
        counted(
            LOG_TIES,
            len(untied),
            len(log),
            "rows read = accepted + rejected",
            [str(r["source_file"]) for r in untied[:EXAMPLES]],
        ),
        counted(CONTENT_ONCE, repeated, len(log), "each content once"),
        Finding(
            FILES_READABLE,
            not refused,
            "; ".join(str(r["message"]) for r in refused) or "none refused",
            "every file readable",
            len(refused),
            len(newest),
            [str(r["source_file"]) for r in refused[:EXAMPLES]],
        ),
        Finding(
            REJECTED_SHARE,
            share <= limit,
            f"{rejected:,} of {read:,} rows rejected ({share:.2%})",
            f"at most {limit:.1%}",
            rejected,
            read,
        ),
    ]


bronze_checks = layer_checks("bronze_checks", CHECKS, measure_bronze)
