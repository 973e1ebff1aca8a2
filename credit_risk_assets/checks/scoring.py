"""Checks of the development sample and the scores: no hindsight, and one score for every loan on book."""

from __future__ import annotations

import itertools

from pyspark.sql import functions as F

from credit_risk_assets.checks.framework import Check, CheckedTable, Finding, counted, error_of
from credit_risk_assets.checks.history import newest_full_tape
from credit_risk_assets.checks.rules import (
    RowRule,
    aggregates,
    rule_counts,
    rule_findings,
)
from credit_risk_assets.config.tables import (
    CHALLENGER_SCORES,
    DEVELOPMENT_SAMPLE,
    LOAN_SCORES,
    LOANS,
    MODEL_PERFORMANCE,
    RISK_RATINGS,
)
from credit_risk_assets.credit.delinquency import in_default_sql
from credit_risk_assets.credit.portfolio import ON_BOOK_SQL
from credit_risk_assets.modelling.sample import LABEL, OUTCOME_MONTHS
from credit_risk_assets.resources.lakehouse import Lakehouse
from credit_risk_assets.resources.platform import Platform

RESAMPLE = "No model is trained on it: find out who changed the table, drop it and refresh again."
RESCORE = "Drop the table and refresh again: it is computed from silver/loans and the champion."

SAMPLE_ONCE = error_of(DEVELOPMENT_SAMPLE, "one_row_per_observation", "A loan is observed once per date.", RESAMPLE)
SAMPLE_PERFORMING = error_of(
    DEVELOPMENT_SAMPLE,
    "performing_at_observation",
    "No loan was in default or closed when it was observed.",
    RESAMPLE,
)
SAMPLE_MATURE = error_of(
    DEVELOPMENT_SAMPLE, "outcome_window_complete", "Twelve months have passed since every observation.", RESAMPLE
)
SAMPLE_KNOWN_THEN = error_of(
    DEVELOPMENT_SAMPLE,
    "nothing_after_observation",
    "Every row shows the loan as of its observation date, and no default declared later.",
    RESAMPLE,
)
SAMPLE_LABELLED = error_of(DEVELOPMENT_SAMPLE, "outcome_known", "Every observation has an outcome, 0 or 1.", RESAMPLE)
SAMPLE_CHECKS: tuple[Check, ...] = (
    SAMPLE_ONCE,
    SAMPLE_PERFORMING,
    SAMPLE_MATURE,
    SAMPLE_KNOWN_THEN,
    SAMPLE_LABELLED,
)

SCORED_ONCE = error_of(LOAN_SCORES, "one_score_per_loan_on_book", "Each loan on book has exactly one score.", RESCORE)
SCORES_CURRENT = error_of(LOAN_SCORES, "scores_current", "Each score was made from the loan's present state.", RESCORE)
PD_RANGE = error_of(
    LOAN_SCORES, "pd_in_range", "Probabilities lie above 0 and at most at 1, ratings are known.", RESCORE
)
DEFAULTED_RATED = error_of(
    LOAN_SCORES, "defaulted_loans_at_one", "Loans already in default have PD 1 and the rating Very High.", RESCORE
)
RATINGS_RISE = error_of(LOAN_SCORES, "ratings_follow_pd", "A worse rating has a higher mean PD.", RESCORE)
MODEL_RECORDED = error_of(
    LOAN_SCORES,
    "model_recorded",
    "One model version made all scores, and gold/model_performance says how well it does.",
    RESCORE,
)
SCORE_CHECKS: tuple[Check, ...] = (
    SCORED_ONCE,
    SCORES_CURRENT,
    PD_RANGE,
    DEFAULTED_RATED,
    RATINGS_RISE,
    MODEL_RECORDED,
)

SHADOW_ONCE = error_of(
    CHALLENGER_SCORES,
    "one_shadow_score_per_loan",
    "Where there is a challenger, each loan with a score has one shadow score, by one other version.",
    "Nothing decides by shadow scores. Drop the table and refresh again.",
    blocking=False,
)
SHADOW_CHECKS: tuple[Check, ...] = (SHADOW_ONCE,)

_RATINGS = ", ".join(repr(name) for name in RISK_RATINGS)
SCORE_RULES = [
    RowRule(PD_RANGE, ("pd_12m",), "not coalesce(pd_12m > 0 and pd_12m <= 1, false)", "above 0, at most 1"),
    RowRule(
        PD_RANGE,
        ("risk_rating",),
        f"not coalesce(risk_rating in ({_RATINGS}), false)",
        f"one of {', '.join(RISK_RATINGS)}",
    ),
]
_OBSERVED = ("loan_status", "current_dpd", "payment_history_profile")
BOOK_RULES = [
    RowRule(
        SCORED_ONCE,
        ("loan_status", "scored"),
        "loan_status is null or scored is null or scored <> 1",
        "one score per loan on book, none for others",
    ),
    RowRule(
        SCORES_CURRENT,
        ("as_of_date", "scored_as_of"),
        "scored_as_of <> as_of_date",
        "a score of the loan's as-of date",
    ),
    RowRule(
        DEFAULTED_RATED,
        ("pd_12m", "risk_rating", *_OBSERVED),
        f"{in_default_sql()} and not coalesce(pd_12m = 1 and risk_rating = 'Very High', false)",
        "PD 1 and Very High for loans in default",
    ),
]
"""The rules of a loan on book with its score beside it."""


def sample_rules(newest_tape: object) -> list[RowRule]:
    """The rules of every observation, given the as-of date of the newest full tape."""
    young = f"months_between(last_day(date'{newest_tape}'), last_day(observation_date)) < {OUTCOME_MONTHS}"
    return [
        RowRule(
            SAMPLE_PERFORMING,
            _OBSERVED,
            f"not ({ON_BOOK_SQL}) or coalesce({in_default_sql()}, false)",
            "on book, below 90 DPD and not in default",
        ),
        RowRule(
            SAMPLE_MATURE,
            ("observation_date",),
            young if newest_tape else "false",
            f"{OUTCOME_MONTHS} months before the newest full tape",
        ),
        RowRule(
            SAMPLE_KNOWN_THEN,
            ("as_of_date",),
            "not coalesce(as_of_date = observation_date, false)",
            "the observation date",
        ),
        RowRule(
            SAMPLE_KNOWN_THEN,
            ("default_date",),
            "default_date > observation_date",
            "no default after the observation date",
        ),
        RowRule(SAMPLE_LABELLED, (LABEL,), f"not coalesce({LABEL} in (0, 1), false)", "0 or 1"),
    ]


def sample_findings(lakehouse: Lakehouse) -> list[Finding]:
    """The findings of the development sample: one pass for the rules, one shuffle for its keys."""
    sample = lakehouse.read(DEVELOPMENT_SAMPLE)
    rules = sample_rules(newest_full_tape(lakehouse))
    counts = aggregates(sample, rule_counts(rules))
    rows = int(counts["rows"][0])
    again = rows - sample.select("loan_id", "observation_date").distinct().count()
    return [
        counted(SAMPLE_ONCE, again, rows, "one row per loan and observation date"),
        *rule_findings(lakehouse, sample, rules, counts),
    ]


def score_findings(lakehouse: Lakehouse) -> list[Finding]:
    """The findings of the loan scores: one pass over them, one join with the loans on book."""
    book = lakehouse.read(LOANS).where(ON_BOOK_SQL).select("loan_id", "as_of_date", *_OBSERVED)
    scores = lakehouse.read(LOAN_SCORES)
    made = scores.groupBy("loan_id").agg(
        F.count(F.lit(1)).alias("scored"),
        F.min("pd_12m").alias("pd_12m"),
        F.max("risk_rating").alias("risk_rating"),
        F.min("as_of_date").alias("scored_as_of"),
    )
    joined = book.join(made, "loan_id", "full_outer")
    ties = aggregates(joined, rule_counts(BOOK_RULES))
    ratings = aggregates(scores, {"pd": "avg(pd_12m)", **rule_counts(SCORE_RULES)}, by=["risk_rating", "model_version"])
    return [
        *rule_findings(lakehouse, joined, BOOK_RULES, ties),
        *rule_findings(lakehouse, scores, SCORE_RULES, ratings),
        *_ratings_rise(ratings.select("risk_rating", "rows", "pd").rows()),
        _model_recorded(lakehouse, ratings.select("model_version", "rows").rows()),
    ]


def _ratings_rise(ratings: list[tuple[str, int, float | None]]) -> list[Finding]:
    loans, sums = dict.fromkeys(RISK_RATINGS, 0), dict.fromkeys(RISK_RATINGS, 0.0)
    for name, rows, pd in ratings:
        if name in loans and pd is not None:
            loans[name] += rows
            sums[name] += rows * pd
    means = {name: sums[name] / loans[name] for name in RISK_RATINGS if loans[name]}
    rising = all(low < high for low, high in itertools.pairwise(means.values()))
    return [
        Finding(
            RATINGS_RISE,
            rising,
            ", ".join(f"{name} {mean:.2%}" for name, mean in means.items()),
            "a mean PD that rises from rating to rating",
            details=[{"rating": name, "loans": loans[name], "mean PD": round(means[name], 6)} for name in means],
        )
    ]


def _model_recorded(lakehouse: Lakehouse, scored: list[tuple[str | None, int]]) -> Finding:
    recorded = {row["model_version"] for row in lakehouse.rows(MODEL_PERFORMANCE, ["model_version"])}
    versions: dict[str | None, int] = {}
    for version, rows in scored:
        versions[version] = versions.get(version, 0) + rows
    unknown = sum(rows for version, rows in versions.items() if version not in recorded)
    names = ", ".join(str(version) for version in versions) or "none"
    return Finding(
        MODEL_RECORDED,
        not unknown and len(versions) <= 1,
        f"model versions: {names}",
        "one version, recorded in gold/model_performance",
        unknown,
        sum(versions.values()),
        details=[
            {"model version": version, "loans": rows, "recorded": version in recorded}
            for version, rows in versions.items()
        ],
    )


def _measure_sample(platform: Platform) -> list[Finding]:
    return sample_findings(platform.lakehouse)


def _measure_shadow(platform: Platform) -> list[Finding]:
    return shadow_findings(platform.lakehouse)


def _measure_scores(platform: Platform) -> list[Finding]:
    return score_findings(platform.lakehouse)


def shadow_findings(lakehouse: Lakehouse) -> list[Finding]:
    """The finding of the shadow scores: they cover what the champion scored, or nothing."""
    if not lakehouse.row_count(CHALLENGER_SCORES):
        return [Finding(SHADOW_ONCE, True, "no challenger", "no shadow score without a challenger")]
    facts = ("count(1)", "count(distinct loan_id)", "min(model_version)", "max(model_version)")
    rows, loans, first, last = lakehouse.read(CHALLENGER_SCORES).selectExpr(*facts).collect()[0]
    champion = lakehouse.read(LOAN_SCORES).selectExpr("max(model_version)").collect()[0][0]
    scored = lakehouse.row_count(LOAN_SCORES)
    failed = abs(scored - loans) + rows - loans
    return [
        Finding(
            SHADOW_ONCE,
            not failed and first == last != champion,
            f"{rows:,} shadow scores of {loans:,} loans by version {first}{'' if first == last else f' to {last}'}",
            f"{scored:,}, one for each loan with a score, by one version other than the champion {champion}",
            failed,
            scored,
        )
    ]


SAMPLE_TABLE = CheckedTable(DEVELOPMENT_SAMPLE.path, SAMPLE_CHECKS, _measure_sample)
SCORES_TABLE = CheckedTable(LOAN_SCORES.path, SCORE_CHECKS, _measure_scores)
SHADOW_TABLE = CheckedTable(CHALLENGER_SCORES.path, SHADOW_CHECKS, _measure_shadow)
