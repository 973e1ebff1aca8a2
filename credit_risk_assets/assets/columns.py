"""What each column of each table says, in one sentence; from the contract, the features and the figures."""

from __future__ import annotations

from collections.abc import Mapping

from credit_risk_assets.config.tables import (
    DEVELOPMENT_SAMPLE,
    INGESTION_LOG,
    LOAN_HISTORY,
    LOAN_SCORES,
    LOAN_TAPE,
    LOANS,
    MODEL_PERFORMANCE,
    PORTFOLIO_CUBE,
    PORTFOLIO_KPIS,
    QUALITY_RESULTS,
    REJECTED_RECORDS,
    Table,
)
from credit_risk_assets.credit import features
from credit_risk_assets.credit.portfolio import KPI_FIGURES, MEASURE_FIGURES, SEGMENTS
from credit_risk_assets.modelling.score import REASON_COLUMNS
from credit_risk_assets.tape import contract

EXTRA_COLUMN = "A column of the tape that the contract does not know, kept as text."
TAPED = (LOAN_TAPE, LOAN_HISTORY, LOANS, DEVELOPMENT_SAMPLE)
"""Tables that carry the tape's columns, and so those that a tape brings beyond the contract."""

_CONTRACT = {column.name: column.description for column in contract.COLUMNS}
_FEATURES = {feature.name: feature.description for feature in features.FEATURES}
_PROVENANCE = {
    "_source_file": "File that the row came in, below the landing folder.",
    "_source_sha256": "Fingerprint (SHA-256) of that file's content.",
    "_row_number": "Place of the row in its file, the first data row being 1.",
    "_ingested_at": "When the file was taken into bronze (UTC).",
    "_run_id": "Dagster run that took the file.",
}
_STATE = {
    "tape_kind": "Kind of file the state came in: full or changes.",
    "as_of_month": "Month of as_of_date, such as 2026-10.",
}
_SEGMENTS = {name: _CONTRACT.get(name) or _FEATURES[name] for name in SEGMENTS}
_TABLES: dict[str, Mapping[str, str]] = {
    LOAN_TAPE.path: {**_CONTRACT, **_PROVENANCE},
    REJECTED_RECORDS.path: {
        "reasons": "Every rule that the row breaks.",
        "raw": "The row's values as JSON, with the customer's pseudonym, or where the quarantined line lies.",
        "loan_id": _CONTRACT["loan_id"],
        **_PROVENANCE,
    },
    INGESTION_LOG.path: {
        "source_file": "File below the landing folder.",
        "source_sha256": "Fingerprint (SHA-256) of its content.",
        "kind": "full (every loan on book) or changes.",
        "bytes": "Size of the file.",
        "rows_read": "Data rows in the file: accepted plus rejected.",
        "rows_accepted": "Rows that went to bronze/loan_tape.",
        "rows_rejected": "Rows that went to bronze/rejected_records.",
        "new_columns": "Columns that no file before had brought.",
        "started_at": "When its reading began (UTC).",
        "finished_at": "When it was committed or refused (UTC).",
        "run_id": "Dagster run that took it.",
        "table_version": "Version of bronze/loan_tape that holds its rows.",
        "outcome": "ingested or refused.",
        "message": "What became of it, in one line.",
    },
    LOAN_HISTORY.path: {**_FEATURES, **_CONTRACT, **_PROVENANCE, **_STATE},
    LOANS.path: {**_FEATURES, **_CONTRACT, **_PROVENANCE, **_STATE},
    PORTFOLIO_KPIS.path: {
        "as_of_date": "Day of the snapshot: a full tape's, or the newest state's.",
        **{figure.name: figure.description for figure in KPI_FIGURES},
    },
    PORTFOLIO_CUBE.path: {
        "as_of_month": "Month of the snapshot.",
        "as_of_date": "Day of the month's last snapshot.",
        **_SEGMENTS,
        **{figure.name: figure.description for figure in MEASURE_FIGURES},
    },
    DEVELOPMENT_SAMPLE.path: {
        **_FEATURES,
        **_CONTRACT,
        **_STATE,
        "observation_date": "Day the loan is looked at; nothing later is known.",
        "default_12m": "1 where the loan defaulted in the twelve months after, else 0.",
    },
    LOAN_SCORES.path: {
        "loan_id": _CONTRACT["loan_id"],
        "as_of_date": _CONTRACT["as_of_date"],
        "pd_12m": "Probability of default within twelve months; 1 for a loan in default.",
        "risk_rating": "Very Low, Low, Medium, High or Very High by the PD.",
        "score_points": "The PD as points; more points, less risk.",
        **{name: f"Reason {place} for a high PD." for place, name in enumerate(REASON_COLUMNS, 1)},
        "model_version": "Version of the champion that scored the loan.",
        "scored_at": "When it was scored (UTC).",
    },
    MODEL_PERFORMANCE.path: {
        "model_version": "Version of the model in MLflow.",
        "data_set": "Rows that it was measured on, such as out_of_time.",
        "metric": "Name of the metric.",
        "value": "Its value.",
        "lower": "Lower end of its 95 % interval; empty where none is given.",
        "upper": "Upper end of its 95 % interval; empty where none is given.",
        "computed_at": "When the version was registered (UTC).",
    },
    QUALITY_RESULTS.path: {
        "run_id": "Dagster run that evaluated the check.",
        "evaluated_at": "When (UTC).",
        "asset": "Table or model that was checked.",
        "check_name": "Name of the check.",
        "severity": "ERROR or WARN.",
        "passed": "Whether it passed.",
        "observed": "What it saw.",
        "expected": "What it expected.",
        "failed_rows": "Rows that fail it.",
        "total_rows": "Rows that it looked at.",
        "examples": "A few of the failing rows.",
        "action": "What the platform did with them, and what to do.",
        "details": "What was measured, by column, rule, file or tape.",
    },
}


def describe(table: Table, column: str) -> str | None:
    """What a column of a table says; None where nobody has said it yet."""
    known = table.columns.get(column) or _TABLES.get(table.path, {}).get(column)
    return EXTRA_COLUMN if known is None and table in TAPED else known
