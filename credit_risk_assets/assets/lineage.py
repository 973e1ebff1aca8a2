"""Which column each column comes from, read from the definitions that compute it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

import dagster as dg

from credit_risk_assets.assets.landing import LANDING_KEY
from credit_risk_assets.assets.lineage_credit import CREDIT_SOURCES
from credit_risk_assets.config.tables import (
    CHALLENGER_SCORES,
    DEVELOPMENT_SAMPLE,
    FEATURE_DRIFT,
    INGESTION_LOG,
    LOAN_HISTORY,
    LOAN_SCORES,
    LOAN_TAPE,
    LOANS,
    MODEL_MONITORING,
    MODEL_PERFORMANCE,
    MODEL_VALIDATION,
    PORTFOLIO_CUBE,
    PORTFOLIO_KPIS,
    REJECTED_RECORDS,
    Table,
)
from credit_risk_assets.credit.delinquency import defaulted_within_sql, in_default_sql
from credit_risk_assets.credit.expressions import columns_of
from credit_risk_assets.credit.features import DERIVED, model_features
from credit_risk_assets.credit.loan_states import INSTALLMENT_SQL, tape_extras
from credit_risk_assets.credit.portfolio import (
    AT_RISK_SQL,
    KPI_FIGURES,
    KPI_SUMS,
    MEASURE_FIGURES,
    ON_BOOK_SQL,
    SEGMENTS,
)
from credit_risk_assets.modelling.realised import SILVER_DIMENSIONS
from credit_risk_assets.modelling.sample import LABEL, OBSERVATION_DATE, OUTCOME_MONTHS, PERFORMING_SQL
from credit_risk_assets.modelling.score import REASON_COLUMNS
from credit_risk_assets.tape import contract

Source = tuple[dg.AssetKey, str]

_DERIVED = {feature.name: feature.sql for feature in DERIVED}
_OUTCOME = columns_of(defaulted_within_sql(OUTCOME_MONTHS))
_MEASURES = {figure.name: figure.sql for figure in MEASURE_FIGURES}
_KPIS = {figure.name: figure.sql for figure in KPI_FIGURES}


def _of(table: Table, columns: Iterable[str]) -> list[Source]:
    return [(dg.AssetKey(table.key), column) for column in sorted(set(columns))]


@lru_cache(maxsize=256)
def _tape_columns(column: str) -> frozenset[str]:
    """The tape columns that a column of the loan states is computed from, through features of features."""
    if column == "installment":
        return columns_of(INSTALLMENT_SQL)
    sql = _DERIVED.get(column)
    if sql is None:
        return frozenset({column})
    return frozenset().union(*[_tape_columns(name) for name in columns_of(sql)])


def _loan_tape(column: str) -> list[Source]:
    return [] if column.startswith("_") else [(LANDING_KEY, column)]


def _rejected(column: str) -> list[Source]:
    if column in ("raw", "reasons"):
        return [(LANDING_KEY, name) for name in contract.NAMES]
    return _loan_tape(column)


def _loan_history(column: str) -> list[Source]:
    if column == "tape_kind":
        return [*_of(LOAN_TAPE, ["_source_sha256"]), *_of(INGESTION_LOG, ["kind", "source_sha256"])]
    if column == "as_of_month":
        return _of(LOAN_TAPE, ["as_of_date"])
    prefix, _, name = column.partition("_")
    if prefix == "tape" and tape_extras([name]).get(name) == column:
        return _of(LOAN_TAPE, [name])
    return _of(LOAN_TAPE, _tape_columns(column))


def _sample(column: str) -> list[Source]:
    if column == OBSERVATION_DATE:
        return _of(LOAN_HISTORY, ["as_of_date"])
    if column == LABEL:
        return _of(LOAN_HISTORY, {*_OUTCOME, "loan_id", "as_of_date"})
    return _of(LOAN_HISTORY, [column])


def _measure_columns(measure: str) -> set[str]:
    """The silver columns of a measure: those its SQL reads, and those that say which loans it is over."""
    columns = set(columns_of(_MEASURES[measure]))
    if "at_risk" in columns:
        columns |= columns_of(AT_RISK_SQL)
    return columns - {"present", "at_risk"} or {"loan_id"}


def _kpi_columns(kpi: str) -> set[str]:
    columns: set[str] = set()
    for name in columns_of(_KPIS[kpi]):
        if name in ("as_of_date", "newest"):
            columns.add("as_of_date")
        elif name in KPI_SUMS:
            columns |= _measure_columns(KPI_SUMS[name])
        else:
            columns |= _measure_columns(name) | columns_of(ON_BOOK_SQL)
    return columns


def _portfolio(column: str) -> list[Source]:
    if column in ("as_of_date", "as_of_month"):
        columns = {"as_of_date"}
    elif column in SEGMENTS:
        columns = {column}
    else:
        columns = _measure_columns(column)
    return [*_of(LOANS, columns), *_of(LOAN_HISTORY, columns)]


def _kpis(column: str) -> list[Source]:
    columns = {"as_of_date"} if column == "as_of_date" else _kpi_columns(column)
    return [*_of(LOANS, columns), *_of(LOAN_HISTORY, columns)]


def _features_of_the_model() -> set[str]:
    return {feature.name for feature in model_features()}


def _scores(column: str) -> list[Source]:
    if column in ("loan_id", "as_of_date"):
        return _of(LOANS, [column])
    if column == "model_version":
        return _of(MODEL_PERFORMANCE, ["model_version"])
    if column in ("pd_12m", "risk_rating", "score_points", *REASON_COLUMNS):
        return _of(LOANS, _features_of_the_model() | columns_of(in_default_sql()))
    return []


def _performance(column: str) -> list[Source]:
    if column == "data_set":
        return _of(DEVELOPMENT_SAMPLE, [OBSERVATION_DATE, "customer_id"])
    if column in ("value", "lower", "upper"):
        return _of(DEVELOPMENT_SAMPLE, {*_features_of_the_model(), LABEL})
    return []


def _validation(column: str) -> list[Source]:
    return _performance(column) if column in ("value", "lower", "upper") else []


def _present_and_past(columns: Iterable[str]) -> list[Source]:
    """Columns of the loans at every date that monitoring looks at."""
    wanted = sorted(set(columns))
    return [source for table in (DEVELOPMENT_SAMPLE, LOAN_HISTORY, LOANS) for source in _of(table, wanted)]


def _drift(column: str) -> list[Source]:
    if column == "model_version":
        return _of(LOAN_SCORES, ["model_version"])
    if column == "period":
        return [
            *_of(DEVELOPMENT_SAMPLE, [OBSERVATION_DATE]),
            *_of(LOAN_HISTORY, ["as_of_date"]),
            *_of(LOANS, ["as_of_date"]),
        ]
    if column in ("reference_rows", "rows"):
        return _present_and_past(columns_of(PERFORMING_SQL))
    if column in ("psi", "expected", "critical", "bins", "gaps_then", "gaps_now", "drifted"):
        return _present_and_past({*_features_of_the_model(), *SILVER_DIMENSIONS})
    return []


def _monitoring(column: str) -> list[Source]:
    if column in ("observation_date", "in_training", "matured"):
        return _drift("period")
    if column in ("loans", "share", "reference_share"):
        return _drift("rows")
    if column in ("segment", "mean_pd"):
        return _drift("psi")
    if column in ("defaults", "observed_rate", "lower", "upper"):
        return _of(DEVELOPMENT_SAMPLE, [LABEL])
    if column in ("model_version", "alias", "dimension", "computed_at"):
        return []
    return _of(DEVELOPMENT_SAMPLE, {*_features_of_the_model(), LABEL})


_SOURCES: dict[str, Callable[[str], list[Source]]] = {
    LOAN_TAPE.path: _loan_tape,
    REJECTED_RECORDS.path: _rejected,
    LOAN_HISTORY.path: _loan_history,
    LOANS.path: lambda column: _of(LOAN_HISTORY, [column]),
    PORTFOLIO_CUBE.path: _portfolio,
    PORTFOLIO_KPIS.path: _kpis,
    DEVELOPMENT_SAMPLE.path: _sample,
    LOAN_SCORES.path: _scores,
    CHALLENGER_SCORES.path: _scores,
    MODEL_PERFORMANCE.path: _performance,
    MODEL_VALIDATION.path: _validation,
    FEATURE_DRIFT.path: _drift,
    MODEL_MONITORING.path: _monitoring,
    **CREDIT_SOURCES,
}
"""The ingestion log, the register of checks and that of decisions are the platform's own: they have no source."""


def column_lineage(table: Table, columns: Sequence[str]) -> dg.TableColumnLineage:
    """The upstream columns of each column that has any."""
    sources = _SOURCES.get(table.path, lambda _: [])
    found = {column: sources(column) for column in columns}
    return dg.TableColumnLineage(
        {column: [dg.TableColumnDep(key, name) for key, name in deps] for column, deps in found.items() if deps}
    )
