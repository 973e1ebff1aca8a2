"""Checks of the ingestion log and the rejected rows: every row read is accounted for, and says why it was refused."""

from __future__ import annotations

from collections import Counter
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from credit_risk_assets.checks.framework import (
    EXAMPLES,
    Check,
    CheckedTable,
    Finding,
    Row,
    counted,
    error_of,
    tied,
    warn_of,
)
from credit_risk_assets.checks.rules import RowRule, aggregates, example_rows, rule_counts, rule_findings
from credit_risk_assets.config.settings import Settings
from credit_risk_assets.config.tables import INGESTION_LOG, REJECTED_RECORDS
from credit_risk_assets.resources.lakehouse import Lakehouse
from credit_risk_assets.resources.platform import Platform
from credit_risk_assets.resources.rejected import kind_of_reason

LOG_TIES = error_of(
    INGESTION_LOG,
    "rows_accounted_for",
    "Rows read are rows accepted plus rows rejected, for every file.",
    "Restore the bronze tables to the run before and ingest the file again.",
)
CONTENT_ONCE = error_of(
    INGESTION_LOG,
    "content_once",
    "Each file content is ingested once.",
    "Two writers took the same file: restore the bronze tables to the run before.",
)
TIMES_IN_ORDER = error_of(
    INGESTION_LOG,
    "times_in_order",
    "Every file was started and then finished.",
    "The machine's clock was moved, or something but ingestion wrote the log: find out which.",
)
FILES_READABLE = error_of(
    INGESTION_LOG,
    "files_readable",
    "No file of the newest run had to be refused.",
    "The file lies in landing/quarantine with its reason beside it; the other files were taken: "
    "mend it and land it again.",
    blocking=False,
)
LOG_CHECKS: tuple[Check, ...] = (LOG_TIES, CONTENT_ONCE, TIMES_IN_ORDER, FILES_READABLE)

REJECTED_TIE = error_of(
    REJECTED_RECORDS,
    "rejected_tie_with_log",
    "Every rejected row is kept.",
    "Restore the bronze tables to the run before and ingest the file again.",
)
REJECTED_REASONED = error_of(
    REJECTED_RECORDS,
    "rejected_have_reasons",
    "Every rejected row has its reasons and its values, or says where they lie.",
    "Only ingestion writes this table: find out what else did.",
)
REJECTED_PSEUDONYMS = error_of(
    REJECTED_RECORDS,
    "rejected_pseudonymised",
    "The values of a rejected row hold a keyed hash in place of the customer id.",
    "Treat it as a data breach: restore the table, vacuum it, and find the writer that went past intake.",
)
REJECTED_SHARE = warn_of(
    REJECTED_RECORDS,
    "rejected_share",
    "Few rows of the newest run were rejected.",
    "The rows are in bronze/rejected_records with every reason; the rest of each file was taken: "
    "repair them with `credit-risk requeue`, or ask for the rows again.",
)
REJECTED_CHECKS: tuple[Check, ...] = (REJECTED_TIE, REJECTED_REASONED, REJECTED_PSEUDONYMS, REJECTED_SHARE)

REASONS_SHOWN = 10
"""Reasons of the newest run that the check of the rejected share lists, the most frequent first."""
WORDINGS_READ = 10_000
"""Reasons quote the row's value: a spoilt column has as many wordings as rows, and the frequent ones tell enough."""
_CUSTOMER = "get_json_object(raw, '$.customer_id')"
REJECTED_RULES = [
    RowRule(REJECTED_REASONED, ("reasons",), "coalesce(size(reasons), 0) < 1", "one reason or more"),
    RowRule(REJECTED_REASONED, ("raw",), "raw is null", "the row's values"),
    RowRule(
        REJECTED_PSEUDONYMS,
        ("customer_id in raw",),
        f"not coalesce({_CUSTOMER} rlike '^[0-9a-f]{{64}}$', true)",
        "64 hexadecimal digits",
    ),
]


def log_rows(lakehouse: Lakehouse) -> list[dict[str, Any]]:
    """The ingestion log."""
    return lakehouse.rows(INGESTION_LOG, lakehouse.columns(INGESTION_LOG))


def newest_run(log: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The log rows of the run that finished last."""
    newest = max(log, key=lambda row: row["finished_at"])["run_id"] if log else None
    return [row for row in log if row["run_id"] == newest]


def _file(row: dict[str, Any], *names: str) -> dict[str, Any]:
    return {"file": row["source_file"], **{name: row[name] for name in names}}


def log_findings(lakehouse: Lakehouse) -> list[Finding]:
    """The findings of the ingestion log."""
    log = log_rows(lakehouse)
    newest = newest_run(log)
    untied = [row for row in log if row["rows_read"] != row["rows_accepted"] + row["rows_rejected"]]
    times = Counter(row["source_sha256"] for row in log if row["outcome"] == "ingested")
    again = [row for row in log if times[row["source_sha256"]] > 1]
    repeated = sum(count - 1 for count in times.values())
    untimely = [
        row
        for row in log
        if row["started_at"] is None or row["finished_at"] is None or row["finished_at"] < row["started_at"]
    ]
    refused = [row for row in newest if row["outcome"] == "refused"]
    return [
        counted(
            LOG_TIES,
            len(untied),
            len(log),
            "rows read = accepted + rejected",
            examples=[_file(row, "rows_read", "rows_accepted", "rows_rejected") for row in untied],
        ),
        counted(
            CONTENT_ONCE,
            repeated,
            len(log),
            "each content once",
            examples=[_file(row, "source_sha256", "run_id") for row in again],
        ),
        counted(
            TIMES_IN_ORDER,
            len(untimely),
            len(log),
            "started, then finished",
            examples=[_file(row, "started_at", "finished_at") for row in untimely],
        ),
        Finding(
            FILES_READABLE,
            not refused,
            "; ".join(str(row["message"]) for row in refused) or "none refused",
            "every file readable",
            len(refused),
            len(newest),
            examples=[_file(row, "message") for row in refused[:EXAMPLES]],
        ),
    ]


def rejected_findings(lakehouse: Lakehouse, settings: Settings) -> list[Finding]:
    """The findings of the rejected rows, in one pass over them."""
    log = log_rows(lakehouse)
    rejected = lakehouse.read(REJECTED_RECORDS)
    counts = aggregates(rejected, rule_counts(REJECTED_RULES))
    newest = newest_run(log)
    read, refused = (sum(row[name] for row in newest) for name in ("rows_read", "rows_rejected"))
    share, limit = (refused / read if read else 0.0), settings.quality.max_rejected_share
    contents = [row["source_sha256"] for row in newest if row["rows_rejected"]]
    of_newest = rejected.where(F.col("_source_sha256").isin(contents))
    return [
        tied(
            REJECTED_TIE,
            int(counts["rows"].sum()),
            sum(row["rows_rejected"] for row in log),
            "rows rejected by the log",
        ),
        *rule_findings(lakehouse, rejected, REJECTED_RULES, counts),
        Finding(
            REJECTED_SHARE,
            share <= limit,
            f"{refused:,} of {read:,} rows rejected ({share:.2%})",
            f"at most {limit:.1%}",
            refused,
            read,
            details=_reasons(of_newest) if contents else (),
            examples=_rejected_rows(lakehouse, of_newest) if share > limit else (),
        ),
    ]


def _reasons(rejected: DataFrame) -> list[Row]:
    """How many rows each reason rejected in each file; a row with two reasons counts for both."""
    reasons = rejected.select(F.col("_source_file").alias("file"), F.explode("reasons").alias("reason"))
    wordings = reasons.groupBy("file", "reason").agg(F.count(F.lit(1)).alias("rows"))
    counts: Counter[tuple[str, str]] = Counter()
    for row in wordings.orderBy(F.desc("rows"), "file", "reason").limit(WORDINGS_READ).collect():
        counts[kind_of_reason(row["reason"]), row["file"]] += row["rows"]
    most = counts.most_common(REASONS_SHOWN)
    return [{"reason": reason, "file": file, "rows": rows} for (reason, file), rows in most]


def _rejected_rows(lakehouse: Lakehouse, rejected: DataFrame) -> list[Row]:
    named = F.coalesce("loan_id", F.lit("(no loan id)"))
    shown = rejected.withColumn("loan_id", named).withColumn("reasons", F.concat_ws("; ", "reasons"))
    return example_rows(lakehouse, shown, ["reasons"])


def _measure_log(platform: Platform) -> list[Finding]:
    return log_findings(platform.lakehouse)


def _measure_rejected(platform: Platform) -> list[Finding]:
    return rejected_findings(platform.lakehouse, platform.settings)


TABLES = (
    CheckedTable(INGESTION_LOG.path, LOG_CHECKS, _measure_log),
    CheckedTable(REJECTED_RECORDS.path, REJECTED_CHECKS, _measure_rejected),
)
