"""Checks of gold: figures that tie with silver, a sample without hindsight, a score for every loan on book."""

from __future__ import annotations

import itertools

from pyspark.sql import functions as F

from credit_risk_assets.checks.framework import Check, Finding, check_of, count_where, counted, layer_checks, tied
from credit_risk_assets.config.tables import (
    DEVELOPMENT_SAMPLE,
    LOAN_HISTORY,
    LOAN_SCORES,
    LOANS,
    PORTFOLIO_CUBE,
    PORTFOLIO_KPIS,
    RISK_RATINGS,
)
from credit_risk_assets.credit.delinquency import in_default_sql
from credit_risk_assets.credit.portfolio import ON_BOOK_SQL
from credit_risk_assets.resources.lakehouse import Lakehouse
from credit_risk_assets.resources.platform import Platform

MONEY_TOLERANCE = 1e-9

KPI_LOANS = check_of(PORTFOLIO_KPIS, "active_loans_tie", "The newest key figures count the loans on book of silver.")
KPI_BALANCE = check_of(PORTFOLIO_KPIS, "portfolio_value_ties", "The newest portfolio value is silver's balance.")
KPI_RANGES = check_of(PORTFOLIO_KPIS, "figures_in_range", "Shares lie between 0 and 1, sums are not negative.")
DEFAULT_RATE = check_of(
    PORTFOLIO_KPIS, "default_rate_plausible", "Every observed default rate lies between 0.1 % and 40 %.", "WARN"
)
CUBE_LOANS = check_of(PORTFOLIO_CUBE, "loans_tie", "The cube's newest month counts the loans on book of silver.")
CUBE_BALANCE = check_of(PORTFOLIO_CUBE, "balance_ties", "The cube's newest month sums to silver's balance.")
CUBE_SEGMENTS = check_of(PORTFOLIO_CUBE, "segments_once", "Each segment stands once a month.")

PORTFOLIO_CHECKS: tuple[Check, ...] = (
    KPI_LOANS,
    KPI_BALANCE,
    KPI_RANGES,
    DEFAULT_RATE,
    CUBE_LOANS,
    CUBE_BALANCE,
    CUBE_SEGMENTS,
)

SAMPLE_ONCE = check_of(DEVELOPMENT_SAMPLE, "one_row_per_observation", "A loan is observed once per date.")
SAMPLE_PERFORMING = check_of(
    DEVELOPMENT_SAMPLE, "performing_at_observation", "No loan was in default or closed when it was observed."
)
SAMPLE_MATURE = check_of(
    DEVELOPMENT_SAMPLE, "outcome_window_complete", "Twelve months have passed since every observation."
)

SAMPLE_CHECKS: tuple[Check, ...] = (SAMPLE_ONCE, SAMPLE_PERFORMING, SAMPLE_MATURE)

SCORED_ONCE = check_of(LOAN_SCORES, "one_score_per_loan_on_book", "Each loan on book has exactly one score.")
PD_RANGE = check_of(LOAN_SCORES, "pd_in_range", "Probabilities lie above 0 and at most at 1, ratings are known.")
DEFAULTED_RATED = check_of(
    LOAN_SCORES, "defaulted_loans_at_one", "Loans already in default have PD 1 and the rating Very High."
)
RATINGS_RISE = check_of(LOAN_SCORES, "ratings_follow_pd", "A worse rating has a higher mean PD.")

SCORE_CHECKS: tuple[Check, ...] = (SCORED_ONCE, PD_RANGE, DEFAULTED_RATED, RATINGS_RISE)


def portfolio_findings(lakehouse: Lakehouse) -> list[Finding]:
    """The findings of key figures and cube."""
    book = lakehouse.read(LOANS).where(ON_BOOK_SQL).agg(F.count(F.lit(1)), F.sum("outstanding_balance")).collect()[0]
    loans, balance = book[0], float(book[1] or 0)
    kpis = [row.asDict() for row in lakehouse.read(PORTFOLIO_KPIS).orderBy("as_of_date").collect()]
    newest = max(kpis, key=lambda row: row["as_of_date"]) if kpis else {"active_loans": 0, "portfolio_value": 0.0}
    shares = ("default_rate", "npl_ratio", "delinquent_30_share", "delinquent_90_share")
    outside = [
        row
        for row in kpis
        if any(row[name] is not None and not 0 <= row[name] <= 1 for name in shares)
        or row["portfolio_value"] < 0
        or row["expected_loss"] < 0
        or (row["average_dpd"] or 0) < 0
    ]
    rates = [row["default_rate"] for row in kpis if row["default_rate"] is not None]
    odd = [rate for rate in rates if not 0.001 <= rate <= 0.40]
    cube = lakehouse.read(PORTFOLIO_CUBE)
    top = (
        cube.join(cube.agg(F.max("as_of_month").alias("as_of_month")), "as_of_month")
        .where(ON_BOOK_SQL)
        .agg(F.sum("loans"), F.sum("balance"))
        .collect()[0]
    )
    segments = [name for name, kind in lakehouse.column_types(PORTFOLIO_CUBE) if kind in ("string", "date")]
    repeated = cube.groupBy(*segments).count().where("count > 1").count()
    return [
        tied(KPI_LOANS, newest["active_loans"], loans, "loans on book in silver"),
        tied(KPI_BALANCE, newest["portfolio_value"], balance, "balance on book", tolerance=MONEY_TOLERANCE),
        counted(
            KPI_RANGES,
            len(outside),
            len(kpis),
            "shares from 0 to 1, sums from 0 up",
            [str(row["as_of_date"]) for row in outside],
        ),
        Finding(
            DEFAULT_RATE,
            not odd,
            ", ".join(f"{rate:.2%}" for rate in rates) or "none observed yet",
            "0.1 % to 40 %",
            len(odd),
            len(rates),
        ),
        tied(CUBE_LOANS, int(top[0] or 0), loans, "loans on book in silver"),
        tied(CUBE_BALANCE, float(top[1] or 0), balance, "balance on book", tolerance=MONEY_TOLERANCE),
        counted(CUBE_SEGMENTS, repeated, lakehouse.row_count(PORTFOLIO_CUBE), "one row per segment and month"),
    ]


def sample_findings(lakehouse: Lakehouse) -> list[Finding]:
    """The findings of the development sample."""
    sample = lakehouse.read(DEVELOPMENT_SAMPLE)
    newest_row = lakehouse.read(LOAN_HISTORY).where("tape_kind = 'full'").agg(F.max("as_of_date")).collect()[0]
    too_young = (
        f"months_between(last_day(date'{newest_row[0]}'), last_day(observation_date)) < 12"
        if newest_row[0]
        else "false"
    )
    sums = sample.agg(
        F.count(F.lit(1)).alias("rows"),
        F.countDistinct("loan_id", "observation_date").alias("observations"),
        F.expr(count_where(f"not ({ON_BOOK_SQL}) or coalesce({in_default_sql()}, false)")).alias("not_performing"),
        F.expr(count_where(too_young)).alias("too_young"),
    ).collect()[0]
    rows = sums["rows"]
    return [
        counted(SAMPLE_ONCE, rows - sums["observations"], rows, "one row per loan and observation date"),
        counted(SAMPLE_PERFORMING, sums["not_performing"], rows, "loans on book below 90 DPD"),
        counted(SAMPLE_MATURE, sums["too_young"], rows, "a full tape twelve months later"),
    ]


def score_findings(lakehouse: Lakehouse) -> list[Finding]:
    """The findings of the loan scores."""
    book = lakehouse.read(LOANS).where(ON_BOOK_SQL)
    scores = lakehouse.read(LOAN_SCORES)
    ratings = ", ".join(repr(name) for name in RISK_RATINGS)
    joined = book.select("loan_id", "loan_status", "current_dpd", "payment_history_profile").join(
        scores.groupBy("loan_id").agg(
            F.count(F.lit(1)).alias("scored"),
            F.min("pd_12m").alias("pd_12m"),
            F.max("risk_rating").alias("risk_rating"),
        ),
        "loan_id",
        "full_outer",
    )
    unrated = f"{in_default_sql()} and not coalesce(pd_12m = 1 and risk_rating = 'Very High', false)"
    sums = joined.agg(
        F.expr(count_where("loan_status is not null")).alias("book"),
        F.expr(count_where("loan_status is null or scored is null or scored <> 1")).alias("wrong"),
        F.expr(count_where(unrated)).alias("defaulted"),
    ).collect()[0]
    outside = scores.where(
        f"pd_12m is null or pd_12m <= 0 or pd_12m > 1 or risk_rating is null or risk_rating not in ({ratings})"
    ).count()
    means = {row[0]: row[1] for row in scores.groupBy("risk_rating").agg(F.avg("pd_12m")).collect()}
    ordered = [means[name] for name in RISK_RATINGS if name in means]
    rising = all(low < high for low, high in itertools.pairwise(ordered))
    return [
        counted(SCORED_ONCE, sums["wrong"], sums["book"], "one score per loan on book, none for others"),
        counted(PD_RANGE, outside, sums["book"], "0 < PD <= 1 and a rating of the scale"),
        counted(DEFAULTED_RATED, sums["defaulted"], sums["book"], "PD 1 and Very High for loans in default"),
        Finding(
            RATINGS_RISE,
            rising,
            ", ".join(f"{name} {means[name]:.2%}" for name in RISK_RATINGS if name in means),
            "a mean PD that rises from rating to rating",
        ),
    ]


def _measure_portfolio(platform: Platform) -> list[Finding]:
    return portfolio_findings(platform.lakehouse)


def _measure_sample(platform: Platform) -> list[Finding]:
    return sample_findings(platform.lakehouse)


def _measure_scores(platform: Platform) -> list[Finding]:
    return score_findings(platform.lakehouse)


portfolio_checks = layer_checks("portfolio_checks", PORTFOLIO_CHECKS, _measure_portfolio)
sample_checks = layer_checks("sample_checks", SAMPLE_CHECKS, _measure_sample)
score_checks = layer_checks("score_checks", SCORE_CHECKS, _measure_scores)
