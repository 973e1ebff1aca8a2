"""Ways to break a sound lake, each with the check that must then fail: the tests and the page of checks use them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
from deltalake import DeltaTable, write_deltalake

from credit_risk_assets.assets.model import PERFORMANCE_SCHEMA, VALIDATION_SCHEMA, validation_rows
from credit_risk_assets.checks import (
    bronze,
    delinquency,
    gold,
    history,
    impairment,
    ingestion,
    model,
    monitoring,
    scoring,
    silver,
)
from credit_risk_assets.checks.framework import Check, CheckedTable, Finding
from credit_risk_assets.checks.rules import RowRule
from credit_risk_assets.config import tables
from credit_risk_assets.config.settings import ModelSettings, Settings
from credit_risk_assets.config.tables import MODEL_PERFORMANCE, MODEL_VALIDATION, RISK_RATINGS, Table
from credit_risk_assets.modelling.evaluate import Metric
from credit_risk_assets.modelling.figures import Figure
from credit_risk_assets.modelling.gate import Evidence, judge
from credit_risk_assets.resources.lakehouse import Lakehouse
from credit_risk_assets.resources.platform import Platform

TODAY = date(2026, 11, 23)
NEWEST, EARLIER = date(2026, 10, 31), date(2025, 10, 31)
TESTS = "credit_risk_tests/checks/test_checks.py"

CHECKED: tuple[CheckedTable, ...] = (
    *bronze.TABLES,
    silver.HISTORY_TABLE,
    silver.LOANS_TABLE,
    *gold.PORTFOLIO_TABLES,
    *delinquency.DELINQUENCY_TABLES,
    scoring.SAMPLE_TABLE,
    scoring.SCORES_TABLE,
    scoring.SHADOW_TABLE,
    impairment.ECL_TABLE,
    *monitoring.TABLES,
    model.MODEL_TABLE,
)
"""Every table with checks, in the order in which a run measures them."""


@dataclass
class Lake:
    """A copy of the sound lake that a test may damage."""

    platform: Platform

    @property
    def lakehouse(self) -> Lakehouse:
        return self.platform.lakehouse

    @property
    def settings(self) -> Settings:
        return self.platform.settings

    def delta(self, table: Table) -> DeltaTable:
        return DeltaTable(self.lakehouse.path(table))

    def rows(self, table: Table) -> pl.DataFrame:
        return pl.DataFrame(self.delta(table).scan())

    def replace(self, table: Table, frame: pl.DataFrame) -> None:
        schema = self.delta(table).to_pyarrow_dataset().schema
        write_deltalake(self.lakehouse.path(table), frame.to_arrow().cast(schema), mode="overwrite")

    def change(self, table: Table, *columns: pl.Expr | pl.Series) -> None:
        self.replace(table, self.rows(table).with_columns(*columns))

    def retype(self, table: Table, *columns: pl.Expr) -> None:
        frame = self.rows(table).with_columns(*columns)
        write_deltalake(self.lakehouse.path(table), frame.to_arrow(), mode="overwrite", schema_mode="overwrite")

    def repeat_first(self, table: Table, times: int = 1) -> None:
        frame = self.rows(table)
        self.replace(table, pl.concat([frame, *[frame.head(1)] * times]))

    def drop_first(self, table: Table) -> None:
        self.replace(table, self.rows(table).slice(1))

    def findings(self, asset: str | None = None) -> dict[Check, Finding]:
        """What the checks of the tables of data (all, or one) find."""
        found: list[Finding] = []
        for table in CHECKED:
            if table == model.MODEL_TABLE or asset not in (None, table.path):
                continue
            if table.path == tables.LOAN_TAPE.path:
                found += bronze.tape_findings(self.lakehouse, self.settings, TODAY)
            else:
                found += table.measure(self.platform)
        return {finding.check: finding for finding in found}


@dataclass(frozen=True)
class Damage:
    """One way to break a lake: what is done to it, in words and as a function, and the check that must fail."""

    check: Check
    what: str
    do: Callable[[Lake], Any]


def _first(name: str, value: Any) -> pl.Expr:
    return pl.when(pl.int_range(pl.len()) == 0).then(value).otherwise(pl.col(name)).alias(name)


def _set(table: Table, name: str, value: Any) -> Callable[[Lake], None]:
    """The first row takes a value."""
    return lambda lake: lake.change(table, _first(name, pl.lit(value) if isinstance(value, str) else value))


def _all(table: Table, *columns: pl.Expr | pl.Series) -> Callable[[Lake], None]:
    return lambda lake: lake.change(table, *columns)


def _on(day: date, value: pl.Expr | Any, name: str) -> pl.Expr:
    """A value on the rows of one tape."""
    return pl.when(pl.col("as_of_date") == day).then(value).otherwise(pl.col(name)).alias(name)


def _halve_newest(lake: Lake) -> None:
    keep = (pl.col("as_of_date") < NEWEST) | (pl.col("loan_id") < "L10")
    lake.replace(tables.LOAN_HISTORY, lake.rows(tables.LOAN_HISTORY).filter(keep))


def _drop_newest_figures(lake: Lake) -> None:
    kpis = lake.rows(tables.PORTFOLIO_KPIS)
    lake.replace(tables.PORTFOLIO_KPIS, kpis.filter(pl.col("as_of_date") < NEWEST))


def _book_elsewhere(lake: Lake) -> None:
    contents = lake.rows(tables.LOAN_TAPE)["_source_sha256"]
    other = contents.filter(contents != contents[0])[0]
    lake.change(tables.LOAN_TAPE, _first("_source_sha256", pl.lit(other)))


def _leave_out(table: Table, rows: pl.Expr) -> Callable[[Lake], None]:
    return lambda lake: lake.replace(table, lake.rows(table).filter(~rows))


def _seal_broken(lake: Lake) -> None:
    lake.retype(tables.LOAN_TAPE, pl.lit(0.1).alias("pd_12m"))


def _moved(kind: str, psi: float) -> Callable[[Lake], None]:
    """Everything of a kind has the stability index given."""
    value = pl.when(pl.col("kind") == kind).then(psi).otherwise(pl.col("psi")).alias("psi")
    return lambda lake: lake.change(tables.FEATURE_DRIFT, value)


def _at_all(value: pl.Expr, name: str, *, dimension: str = "all") -> pl.Expr:
    """A value on the rows of all loans together, or of a division, where the outcome is known."""
    rows = (pl.col("dimension") == dimension) & pl.col("matured")
    return pl.when(rows).then(value).otherwise(pl.col(name)).alias(name)


def _whole(value: pl.Expr, name: str) -> Callable[[Lake], None]:
    return lambda lake: lake.change(tables.MODEL_MONITORING, _at_all(value, name))


def _segments(value: pl.Expr, name: str) -> Callable[[Lake], None]:
    return lambda lake: lake.change(tables.MODEL_MONITORING, _at_all(value, name, dimension="risk_rating"))


_B, _S, _H = tables.LOAN_TAPE, tables.LOANS, tables.LOAN_HISTORY
_LOG, _REJECTED = tables.INGESTION_LOG, tables.REJECTED_RECORDS
_K, _C = tables.PORTFOLIO_KPIS, tables.PORTFOLIO_CUBE
_D, _SCORES = tables.DEVELOPMENT_SAMPLE, tables.LOAN_SCORES
_F, _M = tables.FEATURE_DRIFT, tables.MODEL_MONITORING
_V, _R, _E = tables.VINTAGE_CURVES, tables.ROLL_RATES, tables.EXPECTED_CREDIT_LOSS
_MOVES = tables.RATING_MIGRATION
_STRANGER = "f" * 64

DAMAGE: tuple[Damage, ...] = (
    Damage(bronze.ROWS_TIE, "a row less", lambda lake: lake.drop_first(_B)),
    Damage(
        bronze.ROWS_TIE,
        "a row booked under another file",
        _book_elsewhere,
    ),
    Damage(bronze.FROM_LOGGED_FILES, "a row of a file that the log lacks", _set(_B, "_source_sha256", _STRANGER)),
    Damage(bronze.FROM_LOGGED_FILES, "a row whose file has no fingerprint", _set(_B, "_source_sha256", None)),
    Damage(bronze.FROM_LOGGED_FILES, "a row without a row number", _set(_B, "_row_number", None)),
    Damage(
        bronze.SCHEMA_AS_CONTRACT,
        "amounts turned into text",
        lambda lake: lake.retype(_B, pl.col("loan_amount").cast(pl.String)),
    ),
    Damage(bronze.SCHEMA_AS_CONTRACT, "a column of a simulator's truth", _seal_broken),
    Damage(bronze.REQUIRED_PRESENT, "a rate left out", _set(_B, "interest_rate", None)),
    Damage(bronze.REQUIRED_PRESENT, "a blank loan id", _set(_B, "loan_id", "  ")),
    Damage(bronze.NUMBERS_IN_RANGE, "a negative amount", _set(_B, "loan_amount", -1.0)),
    Damage(bronze.NUMBERS_IN_RANGE, "a score of 999", _set(_B, "credit_score", 999.0)),
    Damage(bronze.CATEGORIES_KNOWN, "a purpose `yacht`", _set(_B, "loan_purpose", "yacht")),
    Damage(bronze.DATES_IN_ORDER, "origination after the tape", _set(_B, "origination_date", date(2026, 12, 1))),
    Damage(bronze.DATES_IN_ORDER, "maturity before origination", _set(_B, "maturity_date", date(2001, 1, 1))),
    Damage(bronze.DATES_PAST, "a tape of next year", _set(_B, "as_of_date", date(2027, 10, 31))),
    Damage(bronze.PROFILE_WELL_FORMED, "a code 9", _set(_B, "payment_history_profile", "0090")),
    Damage(bronze.PROFILE_WELL_FORMED, "85 months", _set(_B, "payment_history_profile", "0" * 85)),
    Damage(
        bronze.PAID_OFF_WITHOUT_DPD,
        "paid off and 12 days late",
        lambda lake: lake.change(_B, _first("loan_status", pl.lit("paid_off")), _first("current_dpd", 12)),
    ),
    Damage(bronze.PSEUDONYMS, "a raw customer id", _set(_B, "customer_id", "C1")),
    Damage(bronze.DUPLICATES, "a row four times", lambda lake: lake.repeat_first(_B, 3)),
    Damage(
        bronze.FRESHNESS,
        "tapes moved back by two months",
        _all(_B, pl.col("as_of_date") - timedelta(days=61)),
    ),
    Damage(bronze.NEW_COLUMNS, "files with a column `branch`", _all(_LOG, pl.Series("new_columns", [["branch"]] * 3))),
    Damage(bronze.COLUMNS_KEPT, "no scores on the newest tape", _all(_B, _on(NEWEST, None, "credit_score"))),
    Damage(ingestion.LOG_TIES, "a count of rows read changed", _set(_LOG, "rows_read", 1)),
    Damage(ingestion.CONTENT_ONCE, "a file logged twice", lambda lake: lake.repeat_first(_LOG)),
    Damage(
        ingestion.TIMES_IN_ORDER,
        "a file finished before it was started",
        _all(_LOG, pl.col("finished_at") - timedelta(days=1)),
    ),
    Damage(ingestion.FILES_READABLE, "refused files", _all(_LOG, pl.lit("refused").alias("outcome"))),
    Damage(ingestion.REJECTED_TIE, "a rejected row less", lambda lake: lake.drop_first(_REJECTED)),
    Damage(ingestion.REJECTED_REASONED, "no reasons", _all(_REJECTED, pl.Series("reasons", [[]], pl.List(pl.String)))),
    Damage(ingestion.REJECTED_REASONED, "no values", _set(_REJECTED, "raw", None)),
    Damage(
        ingestion.REJECTED_PSEUDONYMS,
        "a raw customer id among the values",
        _set(_REJECTED, "raw", '{"loan_id": "BAD", "customer_id": "C1"}'),
    ),
    Damage(ingestion.REJECTED_SHARE, "30 rows of 41 rejected", _all(_LOG, pl.lit(30).alias("rows_rejected"))),
    Damage(history.HISTORY_ONCE, "a state twice", lambda lake: lake.repeat_first(_H)),
    Damage(history.HISTORY_COMPLETE, "a state less", lambda lake: lake.drop_first(_H)),
    Damage(history.HISTORY_PSEUDONYMS, "a raw customer id", _set(_H, "customer_id", "C1")),
    Damage(history.MONTH_FITS_DATE, "a state in another month", _set(_H, "as_of_month", "2020-01")),
    Damage(history.VOLUME_STEADY, "three quarters of the newest tape left out", _halve_newest),
    Damage(
        history.DISTRIBUTION_STEADY,
        "utilisation three times as high",
        _all(_H, _on(NEWEST, pl.col("credit_utilization") * 3, "credit_utilization")),
    ),
    Damage(
        history.DISTRIBUTION_STEADY,
        "all purposes become `other`",
        _all(_H, _on(NEWEST, pl.lit("other"), "loan_purpose")),
    ),
    Damage(
        history.COMPLETENESS_STEADY,
        "incomes of a fifth of the loans left out",
        _all(
            _H,
            pl.when((pl.col("as_of_date") == NEWEST) & (pl.col("loan_id") < "L08"))
            .then(None)
            .otherwise(pl.col("annual_income"))
            .alias("annual_income"),
        ),
    ),
    Damage(
        history.PROFILE_KEPT,
        "last year's codes changed",
        _all(_H, _on(EARLIER, pl.lit("000100000000"), "payment_history_profile")),
    ),
    Damage(history.ORIGINATION_KEPT, "another amount", _all(_H, _on(NEWEST, pl.col("loan_amount") + 1, "loan_amount"))),
    Damage(history.ORIGINATION_KEPT, "another term", _all(_H, _on(NEWEST, pl.col("term_months") + 12, "term_months"))),
    Damage(
        history.CLOSED_STAYS_CLOSED,
        "loans that were paid off a year before",
        _all(_H, _on(EARLIER, pl.lit("paid_off"), "loan_status")),
    ),
    Damage(silver.LOAN_ONCE, "a loan twice", lambda lake: lake.repeat_first(_S)),
    Damage(silver.LOANS_COMPLETE, "a loan less", lambda lake: lake.drop_first(_S)),
    Damage(silver.LATEST_WINS, "a loan at an old date", _set(_S, "as_of_date", date(2024, 10, 31))),
    Damage(silver.LOANS_PSEUDONYMS, "a raw customer id", _set(_S, "customer_id", "C1")),
    Damage(silver.FEATURES_PRESENT, "no risk score", _set(_S, "risk_score", None)),
    Damage(silver.FEATURES_PRESENT, "an LGD of 0", _all(_S, pl.lit(0.0).alias("lgd_estimate"))),
    Damage(silver.STATUS_FITS_DPD, "current loans 45 days late", _all(_S, pl.lit(45).alias("current_dpd"))),
    Damage(
        silver.PROFILE_FITS_DPD,
        "a newest code of 60 days",
        _all(_S, pl.lit("2000").alias("payment_history_profile")),
    ),
    Damage(silver.BALANCE_FITS_AMOUNT, "a balance of a million", _set(_S, "outstanding_balance", 1e6)),
    Damage(
        silver.BALANCE_FITS_SCHEDULE,
        "a balance below the amount, but not paid down",
        _set(_S, "outstanding_balance", 9_500.0),
    ),
    Damage(
        silver.BALANCE_FITS_SCHEDULE,
        "more owed than was charged off",
        _all(_S, pl.lit("charged_off").alias("loan_status"), pl.lit(100.0).alias("charge_off_amount")),
    ),
    Damage(silver.PAID_OFF_WITHOUT_BALANCE, "paid off and owing", _set(_S, "loan_status", "paid_off")),
    Damage(silver.DEFAULT_DATE_IN_ORDER, "a default before origination", _set(_S, "default_date", date(2020, 1, 1))),
    Damage(silver.DEFAULT_DATE_IN_ORDER, "a default yet to come", _set(_S, "default_date", date(2026, 11, 1))),
    Damage(silver.RATIOS_NOT_PERCENT, "a utilisation of 46", _set(_S, "credit_utilization", 46.0)),
    Damage(silver.NONE_VANISHED, "a loan that the newest tape lacks", _set(_S, "as_of_date", EARLIER)),
    Damage(gold.KPI_LOANS, "a loan too many", _all(_K, pl.col("active_loans") + 1)),
    Damage(gold.KPI_BALANCE, "a millionth too much", _all(_K, pl.col("portfolio_value") * 1.000001)),
    Damage(gold.EXPECTED_LOSS, "a millionth too much", _all(_K, pl.col("expected_loss") * 1.000001)),
    Damage(
        gold.KPIS_CURRENT,
        "figures of last year alone",
        _drop_newest_figures,
    ),
    Damage(gold.KPIS_CURRENT, "a date twice", lambda lake: lake.repeat_first(_K)),
    Damage(gold.KPI_RANGES, "an NPL ratio of 120 %", _all(_K, pl.lit(1.2).alias("npl_ratio"))),
    Damage(gold.DEFAULT_RATE, "a default rate of 90 %", _all(_K, pl.lit(0.9).alias("default_rate"))),
    Damage(gold.CUBE_LOANS, "a loan more in each segment", _all(_C, pl.col("loans") + 1)),
    Damage(gold.CUBE_BALANCE, "a unit more in each segment", _all(_C, pl.col("balance") + 1)),
    Damage(
        gold.CUBE_TIES_WITH_KPIS,
        "a loan more in an older month",
        _all(_C, _on(EARLIER, pl.col("loans") + 1, "loans")),
    ),
    Damage(gold.CUBE_SEGMENTS, "a segment twice", lambda lake: lake.repeat_first(_C)),
    Damage(gold.CUBE_MEASURES, "a negative sum of days", _set(_C, "dpd_days", -1.0)),
    Damage(delinquency.COHORTS_TIE, "a loan more in each cohort", _all(_V, pl.col("loans") + 1)),
    Damage(delinquency.COHORTS_TIE, "a millionth more lent", _all(_V, pl.col("loan_amount") * 1.000001)),
    Damage(delinquency.AGES_ONCE, "an age twice", lambda lake: lake.repeat_first(_V)),
    Damage(delinquency.AGES_ONCE, "an age left out", _leave_out(_V, pl.col("months_on_book") == 5)),
    Damage(
        delinquency.COUNTS_NESTED, "more loans at 60+ than at 30+", _all(_V, (pl.col("ever_30") + 1).alias("ever_60"))
    ),
    Damage(delinquency.COUNTS_NESTED, "more loans late than observed", _set(_V, "ever_30", 99)),
    Damage(
        delinquency.CURVES_RISE,
        "late loans forgotten at the last age",
        _all(
            _V,
            *[
                pl.when(pl.col("months_on_book") == pl.col("months_on_book").max()).then(0).otherwise(name).alias(name)
                for name in ("ever_30", "ever_60", "ever_90")
            ],
        ),
    ),
    Damage(delinquency.MONTHS_TIE, "a loan more", _all(_R, _first("loans", pl.col("loans") + 1))),
    Damage(delinquency.MONTHS_TIE, "a month left out", _leave_out(_R, pl.col("month") == "2026-03")),
    Damage(delinquency.BALANCES_TIE, "a millionth too much", _all(_R, pl.col("balance") * 1.000001)),
    Damage(delinquency.BALANCES_TIE, "a balance in every month", _all(_R, pl.col("balance").fill_null(1.0))),
    Damage(
        delinquency.MONTHS_CHAIN,
        "twice the loans in the newest month",
        _all(_R, (pl.col("loans") * pl.when(pl.col("month") == "2026-10").then(2).otherwise(1)).alias("loans")),
    ),
    Damage(delinquency.BUCKETS_ONCE, "a bucket `30+`", _set(_R, "to_bucket", "30+")),
    Damage(delinquency.BUCKETS_ONCE, "a pair twice", lambda lake: lake.repeat_first(_R)),
    Damage(delinquency.TAPES_TIE, "a loan more", _all(_MOVES, pl.col("loans") + 1)),
    Damage(delinquency.TAPES_TIE, "a millionth too much", _all(_MOVES, pl.col("to_balance") * 1.000001)),
    Damage(delinquency.PAIRS_ONCE, "a pair of states twice", lambda lake: lake.repeat_first(_MOVES)),
    Damage(delinquency.PAIRS_ONCE, "a category AAA", _set(_MOVES, "to_state", "AAA")),
    Damage(delinquency.PAIRS_ONCE, "the newest tape left out", _leave_out(_MOVES, pl.col("to_date") == NEWEST)),
    Damage(scoring.SAMPLE_ONCE, "an observation twice", lambda lake: lake.repeat_first(_D)),
    Damage(scoring.SAMPLE_PERFORMING, "an observation at 120 DPD", _set(_D, "current_dpd", 120)),
    Damage(
        scoring.SAMPLE_MATURE,
        "observations of this January",
        _all(_D, pl.lit(date(2026, 1, 31)).alias("observation_date")),
    ),
    Damage(scoring.SAMPLE_KNOWN_THEN, "a later state of a loan", _set(_D, "as_of_date", NEWEST)),
    Damage(scoring.SAMPLE_KNOWN_THEN, "a default declared later", _set(_D, "default_date", NEWEST)),
    Damage(scoring.SAMPLE_LABELLED, "an outcome left out", _set(_D, "default_12m", None)),
    Damage(scoring.SCORED_ONCE, "a score twice", lambda lake: lake.repeat_first(_SCORES)),
    Damage(scoring.SCORED_ONCE, "a score less", lambda lake: lake.drop_first(_SCORES)),
    Damage(scoring.SCORES_CURRENT, "a score of last year", _set(_SCORES, "as_of_date", EARLIER)),
    Damage(scoring.PD_RANGE, "a PD of 0", _set(_SCORES, "pd_12m", 0.0)),
    Damage(scoring.PD_RANGE, "a rating AAA", _set(_SCORES, "risk_rating", "AAA")),
    Damage(scoring.DEFAULTED_RATED, "a PD of 20 % for every loan", _all(_SCORES, pl.lit(0.2).alias("pd_12m"))),
    Damage(scoring.RATINGS_RISE, "PDs in reverse", _all(_SCORES, (1.001 - pl.col("pd_12m")).alias("pd_12m"))),
    Damage(scoring.MODEL_RECORDED, "a score by a version without figures", _set(_SCORES, "model_version", "99")),
    Damage(scoring.SHADOW_ONCE, "a shadow score missing", lambda lake: lake.drop_first(tables.CHALLENGER_SCORES)),
    Damage(scoring.SHADOW_ONCE, "a shadow score twice", lambda lake: lake.repeat_first(tables.CHALLENGER_SCORES)),
    Damage(
        scoring.SHADOW_ONCE,
        "shadow scores by the champion",
        _all(tables.CHALLENGER_SCORES, pl.lit("1").alias("model_version")),
    ),
    Damage(impairment.ECL_ONCE, "a loss twice", lambda lake: lake.repeat_first(_E)),
    Damage(impairment.ECL_ONCE, "a loss less", lambda lake: lake.drop_first(_E)),
    Damage(impairment.ECL_CURRENT, "a loss of last year", _set(_E, "as_of_date", EARLIER)),
    Damage(impairment.ECL_CURRENT, "another LGD", _set(_E, "lgd", 0.9)),
    Damage(impairment.ECL_CURRENT, "scores made anew", _all(_SCORES, pl.col("pd_12m") * 0.9)),
    Damage(impairment.EXPOSURE_TIES, "a millionth too much", _all(_E, pl.col("ead") * 1.000001)),
    Damage(impairment.STAGES_FIT, "every loan in stage 1", _all(_E, pl.lit(1, pl.Int32).alias("stage"))),
    Damage(impairment.STAGES_FIT, "loans 45 days late in stage 1", _all(_S, pl.lit(45).alias("current_dpd"))),
    Damage(
        impairment.STAGES_FIT,
        "no reason for stage 3",
        _all(_E, pl.lit(None, pl.String).alias("significant_increase")),
    ),
    Damage(impairment.LOSS_RANGE, "a year worse than life", _all(_E, pl.col("ecl_12m") + pl.col("ecl_lifetime"))),
    Damage(impairment.LOSS_RANGE, "a loss below 0", _set(_E, "ecl", -1.0)),
    Damage(impairment.LOSS_RANGE, "a loss above the exposure", _set(_E, "ecl_lifetime", 1e9)),
    Damage(impairment.LOSS_RANGE, "a lifetime PD below the year's", _set(_E, "pd_lifetime", 1e-9)),
    Damage(impairment.LOSS_OF_STAGE, "half the allowance", _all(_E, pl.col("ecl") / 2)),
    Damage(
        impairment.COVERAGE_RISES,
        "nothing set aside for stage 3",
        _all(_E, pl.when(pl.col("stage") == 3).then(0.0).otherwise("ecl").alias("ecl")),
    ),
    Damage(monitoring.CHAMPION_MEASURED, "a row twice", lambda lake: lake.repeat_first(_F)),
    Damage(
        monitoring.CHAMPION_MEASURED, "a version that scored no loan", _all(_F, pl.lit("99").alias("model_version"))
    ),
    Damage(monitoring.CHAMPION_MEASURED, "drift of last year alone", _all(_F, pl.lit(EARLIER).alias("period"))),
    Damage(monitoring.SCORE_STABLE, "a PSI of the score of 0.15", _moved("score", 0.15)),
    Damage(monitoring.SCORE_SHIFTED, "a PSI of the score of 0.3", _moved("score", 0.3)),
    Damage(monitoring.FEATURES_STABLE, "a PSI of each feature of 0.15", _moved("feature", 0.15)),
    Damage(monitoring.SEGMENTS_STABLE, "a PSI of each division of 0.15", _moved("segment", 0.15)),
    Damage(monitoring.SEGMENTS_TIE, "loans of a segment left out", _segments(pl.col("loans") - 1, "loans")),
    Damage(monitoring.SEGMENTS_TIE, "a default in no segment", _whole(pl.col("defaults") + 1, "defaults")),
    Damage(monitoring.RATE_FITS, "a mean PD 15 % too high", _whole(pl.col("mean_pd") * 1.15, "mean_pd")),
    Damage(monitoring.RATE_BROKEN, "a mean PD a third too low", _whole(pl.col("mean_pd") * 0.67, "mean_pd")),
    Damage(monitoring.CALIBRATION_STEADY, "an ECE of 0.05", _whole(pl.lit(0.05), "ece")),
    Damage(
        monitoring.CALIBRATION_STEADY,
        "a calibration slope of 0.6",
        lambda lake: lake.change(
            _M,
            _at_all(pl.lit(0.6), "calibration_slope"),
            _at_all(pl.lit(0.5), "slope_lower"),
            _at_all(pl.lit(0.7), "slope_upper"),
        ),
    ),
    Damage(
        monitoring.RANKING_STEADY,
        "an AUC that falls from 0.90 to 0.80",
        _all(
            _M,
            *[
                pl.when(pl.col("observation_date") == EARLIER).then(pl.lit(value)).otherwise(pl.col(name)).alias(name)
                for name, value in (("auc", 0.80), ("auc_lower", 0.78), ("auc_upper", 0.82))
            ],
        ),
    ),
)


def _metric(name: str, value: float, data_set: str = "out_of_time") -> Callable[[Evidence], Evidence]:
    def change(evidence: Evidence) -> Evidence:
        changed = {**evidence.metrics[data_set], name: Metric(value)}
        return replace(evidence, metrics={**evidence.metrics, data_set: changed})

    return change


def _figure(figure: Figure) -> Callable[[Evidence], Evidence]:
    """Put a figure in the place of the one of its name, or beside the others."""

    def change(evidence: Evidence) -> Evidence:
        name = (figure.analysis, figure.subject, figure.item, figure.metric)
        others = [f for f in evidence.figures if (f.analysis, f.subject, f.item, f.metric) != name]
        return replace(evidence, figures=[*others, figure])

    return change


def _without(analysis: str) -> Callable[[Evidence], Evidence]:
    return lambda evidence: replace(evidence, figures=[f for f in evidence.figures if f.analysis != analysis])


MODEL_DAMAGE: tuple[tuple[Check, str, Callable[[Evidence], Evidence]], ...] = (
    (
        model.NO_LEAK,
        "a feature that knows the outcome",
        _figure(Figure("leak", "feature cured: alone it has AUC 0.991", "", "finding", 1.0)),
    ),
    (
        model.LEAK_CANARY,
        "a training that learns from permuted outcomes",
        _figure(Figure("canary", "permuted_labels", "out_of_time", "passed", 0.0)),
    ),
    (
        model.LEAK_CANARY,
        "a leak guard that overlooks a planted column",
        _figure(Figure("canary", "planted_column", "", "caught", 0.0)),
    ),
    (model.LEAK_CANARY, "no training on permuted outcomes at all", _without("canary")),
    (model.AUC_IN_RANGE, "an AUC of 0.54", _metric("auc", 0.54)),
    (model.AUC_IN_RANGE, "an AUC of 0.99", _metric("auc", 0.99)),
    (
        model.NOT_WORSE,
        "an AUC .02 below the champion's on the same rows",
        _figure(Figure("champion", "1", "", "auc_difference", -0.02, -0.03, -0.01)),
    ),
    (model.CALIBRATED, "an ECE of 0.2", _metric("ece", 0.2)),
    (model.MEAN_PD, "a mean PD of 47 % where 10 % default", _metric("mean_pd", 0.47)),
    (model.MEAN_PD, "a mean PD of 8.5 % where 10 % default", _metric("mean_pd", 0.085)),
    (
        model.RATINGS_RISE,
        "loans rated High that default less often than Medium ones",
        _figure(Figure("rating", "master_scale", "High", "observed_rate", 0.03, 0.02, 0.04, 3.0)),
    ),
    (model.RATINGS_RISE, "no default rate by rating", _without("rating")),
    (
        model.STABLE,
        "a score whose PSI is 0.4",
        _figure(Figure("stability", "score_points", "", "psi", 0.4)),
    ),
    (
        model.FAIR,
        "good loans of the young approved 20 points less often",
        _figure(Figure("fairness", "age_band", "18-24", "equal_opportunity_difference", -0.2, -0.22, -0.18)),
    ),
    (
        model.FAIR,
        "an impact ratio below four fifths without more risk",
        _figure(Figure("fairness", "region", "North", "explained_by_risk", 0.0)),
    ),
    (model.NOT_OVERFITTED, "an AUC of 0.99 in training", _metric("auc", 0.99, "train")),
)


def sound_evidence(version: str = "2", champion: str | None = "1") -> Evidence:
    """What the gold tables hold of a version that nothing speaks against."""
    rates = dict(zip(RISK_RATINGS, (0.01, 0.03, 0.08, 0.20, 0.50), strict=True))
    figures = [
        Figure("canary", "permuted_labels", "out_of_time", "auc", 0.503, 0.48, 0.526),
        Figure("canary", "permuted_labels", "out_of_time", "auc_distance_bound", 0.04),
        Figure("canary", "permuted_labels", "out_of_time", "passed", 1.0),
        Figure("canary", "planted_column", "", "caught", 1.0),
        *(
            Figure("rating", "master_scale", name, "observed_rate", rate, rate * 0.9, rate * 1.1, float(place))
            for place, (name, rate) in enumerate(rates.items())
        ),
        Figure("stability", "score_points", "", "psi", 0.003),
        Figure("stability", "score_points", "", "psi_critical", 0.002),
        Figure("fairness", "age_band", "18-24", "equal_opportunity_difference", -0.02, -0.04, 0.0),
        Figure("fairness", "age_band", "35-44", "equal_opportunity_difference", 0.0),
    ]
    if champion:
        figures.append(Figure("champion", champion, "", "auc_difference", -0.001, -0.004, 0.002))
    tested = {"auc": 0.87, "ece": 0.01, "mean_pd": 0.10, "observed_rate": 0.10, "n": 30_000.0}
    metrics = {
        "out_of_time": {name: Metric(value) for name, value in tested.items()},
        "train": {"auc": Metric(0.89)},
    }
    return Evidence(version, "out_of_time", metrics, figures)


def recorded(evidence: Evidence) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """The rows of gold/model_performance and gold/model_validation that hold the evidence."""
    now = datetime.now(UTC)
    performance = [
        (evidence.version, data_set, name, metric.value, metric.lower, metric.upper, now)
        for data_set, metrics in evidence.metrics.items()
        for name, metric in metrics.items()
    ]
    return performance, validation_rows(evidence.figures, evidence.version, now)


def record_evidence(lakehouse: Lakehouse, evidence: Evidence) -> None:
    """Put the evidence of a version into the lake."""
    for table, schema, rows in zip(
        (MODEL_PERFORMANCE, MODEL_VALIDATION), (PERFORMANCE_SCHEMA, VALIDATION_SCHEMA), recorded(evidence), strict=True
    ):
        lakehouse.ensure(table, schema)
        lakehouse.append(table, lakehouse.session.createDataFrame(rows, schema))


def monitored() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows of gold/feature_drift and gold/model_monitoring of a sound champion: dates in and out of training."""
    now = datetime(2026, 11, 23, tzinfo=UTC)
    drift = [
        {
            "model_version": "1",
            "period": NEWEST,
            "kind": kind,
            "feature": feature,
            "reference_rows": 10_000,
            "rows": 10_000,
            "psi": 0.01,
            "expected": 0.0018,
            "critical": 0.0034,
            "bins": 10,
            "gaps_then": 0.0,
            "gaps_now": 0.0,
            "drifted": False,
            "computed_at": now,
        }
        for kind, feature in (
            ("score", "pd_12m"),
            ("feature", "credit_utilization"),
            ("feature", "current_dpd"),
            ("segment", "risk_rating"),
        )
    ]
    quality = {"auc": 0.87, "auc_lower": 0.86, "auc_upper": 0.88, "ece": 0.004, "ece_critical": 0.009}
    quality |= {"calibration_slope": 1.02, "slope_lower": 0.96, "slope_upper": 1.08, "calibration_intercept": 0.03}
    realised = []
    for day, matured in ((date(2023, 10, 31), True), (date(2024, 10, 31), True), (EARLIER, True), (NEWEST, False)):
        for dimension, segment, loans, defaults in (
            ("all", "all", 10_000, 500),
            ("risk_rating", "Low", 8_000, 100),
            ("risk_rating", "High", 2_000, 400),
        ):
            rate = defaults / loans
            outcome = {"defaults": defaults, "observed_rate": rate, "lower": rate * 0.95, "upper": rate * 1.05}
            row = {
                "model_version": "1",
                "alias": "champion",
                "observation_date": day,
                "in_training": day == date(2023, 10, 31),
                "matured": matured,
                "dimension": dimension,
                "segment": segment,
                "loans": loans,
                "share": loans / 10_000,
                "reference_share": loans / 10_000,
                "mean_pd": rate * 1.01,
                "computed_at": now,
                **({**outcome, "pd_to_observed": 1.01} if matured else {}),
                **(quality if matured and dimension == "all" else {}),
            }
            realised.append(row)
    return drift, realised


def model_findings(
    change: Callable[[Evidence], Evidence] = lambda evidence: evidence,
    *,
    champion: str | None = "1",
    undecided: bool = True,
) -> dict[Check, Finding]:
    """What the checks of the model find in a sound version's evidence, changed."""
    criteria = judge(change(sound_evidence(champion=champion)), ModelSettings())
    findings = model.gate_findings(criteria, "2", open_version=undecided, champion_reigns=champion is not None)
    return {finding.check: finding for finding in findings}


def case_ids(checks: Sequence[Check]) -> list[str]:
    """A name for each case: table and check, numbered where a check has several."""
    names = [f"{check.asset[-1]}-{check.name}" for check in checks]
    return [
        name if names.count(name) == 1 else f"{name}-{names[: number + 1].count(name)}"
        for number, name in enumerate(names)
    ]


LAKE_IDS = case_ids([damage.check for damage in DAMAGE])
MODEL_IDS = case_ids([check for check, _, _ in MODEL_DAMAGE])
LAKE_TEST = "test_a_check_fails_on_a_lake_that_violates_it"
MODEL_TEST = "test_a_check_fails_on_a_model_that_violates_it"


def proofs() -> dict[Check, list[tuple[str, str]]]:
    """Every proven check -> what breaks it, in words, and the id of the test that does."""
    found: dict[Check, list[tuple[str, str]]] = {}
    for damage, name in zip(DAMAGE, LAKE_IDS, strict=True):
        found.setdefault(damage.check, []).append((damage.what, f"{TESTS}::{LAKE_TEST}[{name}]"))
    for (check, what, _), name in zip(MODEL_DAMAGE, MODEL_IDS, strict=True):
        found.setdefault(check, []).append((what, f"{TESTS}::{MODEL_TEST}[{name}]"))
    return found


def row_rules() -> list[RowRule]:
    """Every row rule of every table, in the order of the tables."""
    return [
        *bronze.row_rules(TODAY),
        *ingestion.REJECTED_RULES,
        *history.ROW_RULES,
        *history.joined_rules(EARLIER, NEWEST),
        *silver.ROW_RULES,
        *gold.CUBE_RULES,
        *scoring.sample_rules(NEWEST),
        *scoring.BOOK_RULES,
        *scoring.SCORE_RULES,
        *impairment.BOOK_RULES,
        *impairment.LOSS_RULES,
    ]
