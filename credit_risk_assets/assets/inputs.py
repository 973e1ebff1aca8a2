"""What each table was computed from, and so which ones have fallen behind; read from commit logs alone."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import date
from typing import Any

from credit_risk_assets.config.settings import EclSettings, ModelSettings, MonitoringSettings, Settings
from credit_risk_assets.config.tables import (
    CHALLENGER_SCORES,
    DEVELOPMENT_SAMPLE,
    EXPECTED_CREDIT_LOSS,
    FEATURE_DRIFT,
    INGESTION_LOG,
    LOAN_HISTORY,
    LOAN_SCORES,
    LOANS,
    MODEL_MONITORING,
    MODEL_PERFORMANCE,
    MODEL_VALIDATION,
    PORTFOLIO_CUBE,
    PORTFOLIO_KPIS,
    RATING_MIGRATION,
    ROLL_RATES,
    VINTAGE_CURVES,
    Table,
)
from credit_risk_assets.resources.commits import IdempotenceKey
from credit_risk_assets.resources.ingestion import known_contents, waiting_files
from credit_risk_assets.resources.lake_log import LakeLog
from credit_risk_assets.resources.registry import champion_of, decisions, newest_of

SILVER = "silver"
DELINQUENCY_TABLES = (VINTAGE_CURVES, ROLL_RATES, RATING_MIGRATION)
CODE = {
    PORTFOLIO_KPIS.path: 1,
    DEVELOPMENT_SAMPLE.path: 1,
    MODEL_PERFORMANCE.path: 3,
    LOAN_SCORES.path: 2,
    MODEL_MONITORING.path: 1,
    VINTAGE_CURVES.path: 1,
    EXPECTED_CREDIT_LOSS.path: 1,
}
"""Raised when a derivation changes, so that its table is computed again from the same inputs."""


@dataclass(frozen=True)
class NewFiles:
    """Files that bronze holds and a silver table has not consumed, up to a bronze version."""

    contents: list[str]
    change_files: list[str]
    bronze_version: int

    @property
    def key(self) -> IdempotenceKey:
        """The key of the commit that consumes them."""
        return IdempotenceKey(SILVER, self.bronze_version)


def new_files(lake: LakeLog, table: Table) -> NewFiles:
    """What a silver table has yet to read, by the ingestion log and the table's own last commit."""
    consumed = lake.sequence(table, SILVER)
    rows = lake.rows(INGESTION_LOG, ["source_sha256", "kind", "table_version", "rows_accepted"])
    rows = [row for row in rows if row["rows_accepted"]]
    new = [row for row in rows if consumed is None or row["table_version"] > consumed]
    return NewFiles(
        contents=sorted(row["source_sha256"] for row in new),
        change_files=sorted(row["source_sha256"] for row in new if row["kind"] == "changes"),
        bronze_version=max((row["table_version"] for row in rows), default=0),
    )


def _versions(lake: LakeLog, *tables: Table) -> dict[str, Any]:
    return {table.path: lake.data_version(table) for table in tables}


def portfolio_inputs(lake: LakeLog) -> dict[str, Any]:
    """What key figures and cube are computed from."""
    return {**_versions(lake, LOANS, LOAN_HISTORY), "code": CODE[PORTFOLIO_KPIS.path]}


def delinquency_inputs(lake: LakeLog) -> dict[str, Any]:
    """What vintage curves, roll rates and rating migration are computed from."""
    return {**_versions(lake, LOANS, LOAN_HISTORY), "code": CODE[VINTAGE_CURVES.path]}


def sample_inputs(lake: LakeLog, full_tapes: list[date]) -> dict[str, Any]:
    """What the development sample is computed from: full tapes alone, so that change files leave it as it is."""
    contents = lake.rows(INGESTION_LOG, ["source_sha256", "kind", "rows_accepted"])
    tapes = sorted(row["source_sha256"] for row in contents if row["kind"] == "full" and row["rows_accepted"])
    digest = hashlib.sha256("".join(tapes).encode()).hexdigest()
    return {
        "full tapes": digest,
        "as of": [day.isoformat() for day in full_tapes],
        "code": CODE[DEVELOPMENT_SAMPLE.path],
    }


def model_inputs(lake: LakeLog, settings: ModelSettings) -> dict[str, Any]:
    """What the default model is trained from."""
    digest = hashlib.sha256(settings.model_dump_json().encode()).hexdigest()[:16]
    return {**_versions(lake, DEVELOPMENT_SAMPLE), "settings": digest, "code": CODE[MODEL_PERFORMANCE.path]}


def ecl_inputs(lake: LakeLog, settings: EclSettings) -> dict[str, Any]:
    """What the expected credit loss is computed from: the loans, their first states, the scores and the scenarios."""
    digest = hashlib.sha256(settings.model_dump_json().encode()).hexdigest()[:16]
    versions = _versions(lake, LOANS, LOAN_HISTORY, LOAN_SCORES)
    return {**versions, "settings": digest, "code": CODE[EXPECTED_CREDIT_LOSS.path]}


def score_inputs(lake: LakeLog) -> dict[str, Any] | None:
    """What the scores are computed from: the loans and the champion; None where no version is in force."""
    champion = champion_of(decisions(lake))
    if champion is None:
        return None
    return {**_versions(lake, LOANS), "champion": champion, "code": CODE[LOAN_SCORES.path]}


def shadow_inputs(lake: LakeLog) -> dict[str, Any] | None:
    """What the shadow scores are computed from; the challenger is empty where the newest version is champion."""
    taken = decisions(lake)
    champion, newest = champion_of(taken), newest_of(taken)
    if champion is None:
        return None
    challenger = newest if newest != champion else None
    moving = _versions(lake, LOANS) if challenger else {}
    return {**moving, "challenger": challenger or "", "code": CODE[LOAN_SCORES.path]}


def monitoring_inputs(lake: LakeLog, settings: MonitoringSettings) -> dict[str, Any] | None:
    """What drift and realised rates are computed from: the loans, the full tapes, and the versions followed.

    None where no version is in force.
    """
    scores, shadow = score_inputs(lake), shadow_inputs(lake)
    if scores is None or shadow is None:
        return None
    digest = hashlib.sha256(settings.model_dump_json().encode()).hexdigest()[:16]
    return {
        **_versions(lake, DEVELOPMENT_SAMPLE, LOANS),
        "full tapes": sample_inputs(lake, [])["full tapes"],
        "champion": scores["champion"],
        "challenger": shadow["challenger"],
        "settings": digest,
        "code": CODE[MODEL_MONITORING.path],
    }


def sample_suffices(lake: LakeLog, settings: ModelSettings) -> str | None:
    """Why no model can be trained on the sample, in one line, or None where one can."""
    rows = lake.row_count(DEVELOPMENT_SAMPLE)
    if rows < settings.minimum_sample_loans:
        return (
            f"{rows:,} observed loans with an outcome: expected {settings.minimum_sample_loans:,}; "
            "land two full tapes twelve months apart"
        )
    defaults = lake.total(DEVELOPMENT_SAMPLE, "default_12m")
    if defaults < settings.minimum_defaults:
        return f"{defaults:,} defaults in the sample: expected {settings.minimum_defaults:,}; land older tapes too"
    return None


def stale_scores(lake: LakeLog) -> list[str]:
    """The score tables that loans or champion have left behind; none where no version is in force."""
    wanted = {LOAN_SCORES: score_inputs(lake), CHALLENGER_SCORES: shadow_inputs(lake)}
    return [table.path for table, found in wanted.items() if found is not None and lake.inputs(table) != found]


def stale_monitoring(lake: LakeLog, settings: MonitoringSettings) -> list[str]:
    """The monitoring tables that loans, champion or challenger have left behind; none where no version is in force."""
    wanted = monitoring_inputs(lake, settings)
    return [table.path for table in (FEATURE_DRIFT, MODEL_MONITORING) if wanted and lake.inputs(table) != wanted]


def stale_tables(lake: LakeLog, settings: Settings) -> list[str]:
    """The tables that the next run has to bring up to date, with the landing folder's new files first."""
    files = waiting_files(settings, known_contents(lake))
    if files:
        return [file.name for file in files]
    if not lake.exists(INGESTION_LOG):
        return []
    stale = [table.path for table in (LOAN_HISTORY, LOANS) if not lake.exists(table) or new_files(lake, table).contents]
    if stale:
        return stale
    inputs = portfolio_inputs(lake)
    stale = [table.path for table in (PORTFOLIO_KPIS, PORTFOLIO_CUBE) if lake.inputs(table) != inputs]
    inputs = delinquency_inputs(lake)
    stale += [table.path for table in DELINQUENCY_TABLES if lake.inputs(table) != inputs]
    if not lake.exists(DEVELOPMENT_SAMPLE):
        stale.append(DEVELOPMENT_SAMPLE.path)
    elif sample_suffices(lake, settings.model) is None:
        inputs = model_inputs(lake, settings.model)
        stale += [table.path for table in (MODEL_PERFORMANCE, MODEL_VALIDATION) if lake.inputs(table) != inputs]
        stale += stale_scores(lake)
        stale += stale_monitoring(lake, settings.monitoring)
    scored = score_inputs(lake) is not None and lake.exists(LOAN_SCORES)
    if scored and lake.inputs(EXPECTED_CREDIT_LOSS) != ecl_inputs(lake, settings.ecl):
        stale.append(EXPECTED_CREDIT_LOSS.path)
    return stale
