"""The names, partitions and meaning of every table of the lake, and the labels people read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Cadence = Literal["lake", "gold", "model"]


@dataclass(frozen=True)
class Table:
    """One Delta table: its folder under the lake, its partitions and what one row is.

    `cadence` names the schedule that refreshes it, and so how old it may be; `columns` says what each column
    means, where that follows neither from the tape's contract nor from the features.
    """

    layer: str
    name: str
    description: str
    partition_by: tuple[str, ...] = ()
    cadence: Cadence = "gold"
    columns: Mapping[str, str] = field(default_factory=dict, hash=False, compare=False)

    @property
    def path(self) -> str:
        """The table's folder below the lake, such as `silver/loans`."""
        return f"{self.layer}/{self.name}"

    @property
    def key(self) -> list[str]:
        """The Dagster asset key."""
        return [self.layer, self.name]


LOAN_TAPE = Table(
    "bronze", "loan_tape", "Every accepted tape row, exactly once per file content.", ("loan_status",), "lake"
)
REJECTED_RECORDS = Table(
    "bronze", "rejected_records", "Every refused tape row with all its reasons and its values.", cadence="lake"
)
INGESTION_LOG = Table(
    "bronze", "ingestion_log", "One row per file taken: the audit trail of the landing folder.", cadence="lake"
)
LOANS = Table(
    "silver",
    "loans",
    "One row per loan in its latest known state, with features and a rule-based risk category.",
    ("risk_category", "loan_purpose"),
    "lake",
)
LOAN_HISTORY = Table(
    "silver", "loan_history", "One row per loan and as-of date, with the same columns.", ("as_of_month",), "lake"
)
PORTFOLIO_KPIS = Table("gold", "portfolio_kpis", "The portfolio's key figures per full tape and as it stands now.")
PORTFOLIO_CUBE = Table("gold", "portfolio_cube", "Counts and sums per segment and month; never averages.")
DEVELOPMENT_SAMPLE = Table(
    "gold",
    "development_sample",
    "One row per loan and observation date: features as known then and the outcome twelve months on.",
    cadence="model",
)
LOAN_SCORES = Table(
    "gold",
    "loan_scores",
    "One row per loan on book: probability of default, rating, points, reasons and model version.",
    ("risk_rating",),
)
CHALLENGER_SCORES = Table(
    "gold",
    "challenger_scores",
    "Shadow scores: what the challenger, where there is one, says of every loan on book; nothing decides by them.",
    ("risk_rating",),
    columns={
        "loan_id": "Loan on book.",
        "as_of_date": "Day of the state that was scored.",
        "pd_12m": "Probability of default within twelve months by the challenger; 1 for a loan in default.",
        "risk_rating": "Very Low, Low, Medium, High or Very High by the PD.",
        "score_points": "The PD as points; more points, less risk.",
        "model_version": "Version of the challenger.",
        "scored_at": "When it was scored (UTC).",
    },
)
VINTAGE_CURVES = Table(
    "gold",
    "vintage_curves",
    "What became of the loans of each origination quarter, by purpose and months on book.",
    columns={
        "origination_quarter": "Calendar quarter of origination, such as 2024-Q1.",
        "loan_purpose": "What the loans pay for.",
        "months_on_book": "Calendar months since origination.",
        "loans": "Loans of the cohort that any tape names, the same at every age.",
        "loans_unseen": "Of these, loans whose profile does not reach back to their first month.",
        "loan_amount": "Amount lent to them.",
        "loans_observed": "Of these, loans whose state at that age is known; closed ones stay known.",
        "amount_observed": "Amount lent to the loans observed.",
        "ever_30": "Of the loans observed, those 30 or more days past due, or worse, at that age or before.",
        "ever_60": "The same for 60 or more days past due.",
        "ever_90": "The same for 90 or more days past due, collections, repossession and charge-off.",
        "ever_90_amount": "Amount lent to the loans of ever_90.",
        "mature": "Whether every loan of the quarter has had the time to reach that age.",
        "complete": "Whether no loan of the quarter can have closed and left the tapes before the first one.",
    },
)
ROLL_RATES = Table(
    "gold",
    "roll_rates",
    "Loans by delinquency bucket at the start and at the end of each of the newest 36 months, by purpose.",
    columns={
        "month": "Calendar month, such as 2026-10.",
        "loan_purpose": "What the loans pay for.",
        "from_bucket": "Bucket at the end of the month before; `not observed` in a loan's first month.",
        "to_bucket": "Bucket at the end of the month.",
        "loans": "Loans that went from the one to the other.",
        "balance": "Their balance on the full tape that ends the month; empty in a month without one.",
    },
)
RATING_MIGRATION = Table(
    "gold",
    "rating_migration",
    "Loans and balance by rule-based risk category on one full tape and on the next, by purpose.",
    columns={
        "from_date": "As-of date of the earlier full tape.",
        "to_date": "As-of date of the next one.",
        "loan_purpose": "What the loans pay for.",
        "from_state": "Risk category, Default, Paid off or Charged off then; New where that tape lacks the loan.",
        "to_state": "The same on the later tape; Lost where it lacks a loan that was on book.",
        "loans": "Loans that went from the one to the other.",
        "from_balance": "Their balance on book on the earlier tape.",
        "to_balance": "Their balance on book on the later tape.",
    },
)
EXPECTED_CREDIT_LOSS = Table(
    "gold",
    "expected_credit_loss",
    "One row per loan on book: IFRS 9 stage, default probabilities, LGD, exposure and expected credit loss.",
    ("stage",),
    columns={
        "loan_id": "Identifier of the loan, stable over tapes.",
        "as_of_date": "Day of the loan's present state.",
        "stage": "1 performing, 2 credit risk risen significantly, 3 in default.",
        "significant_increase": "Why the loan is not in stage 1: in default, 30 days past due or PD has risen.",
        "pd_12m": "Probability of default within twelve months by the model; 1 for a loan in default.",
        "pd_lifetime": "Probability of default over the remaining term; 1 for a loan in default.",
        "pd_initial": "Twelve-month PD at the first tape that names the loan, carried back by the rule-based PD.",
        "lgd": "Share of the exposure lost at default.",
        "ead": "Exposure at default now: the balance.",
        "horizon_months": "Months over which the lifetime loss runs; 0 for a loan in default.",
        "expected_loss_12m": "PD x LGD x EAD over twelve months: no scenario, no discount.",
        "ecl_12m": "Expected credit loss of the next twelve months, discounted, weighted over scenarios.",
        "ecl_lifetime": "The same over the remaining term.",
        "ecl": "Loss allowance: ecl_12m in stage 1, ecl_lifetime in stages 2 and 3.",
    },
)
MODEL_PERFORMANCE = Table(
    "gold", "model_performance", "One row per model version, data set and metric.", cadence="model"
)
MODEL_VALIDATION = Table(
    "gold",
    "model_validation",
    "One row per figure of a model version's validation: segments, ratings, fairness, benchmarks, curves, stability.",
    cadence="model",
    columns={
        "model_version": "Version of the model in MLflow.",
        "analysis": "Part of the validation, such as segment, fairness or benchmark.",
        "subject": "What it is about: a dimension, a model, a feature or a curve.",
        "item": "Group within it; empty where there is none.",
        "metric": "Name of the figure.",
        "value": "Its value.",
        "lower": "Lower end of its 95 % interval; empty where none is given.",
        "upper": "Upper end of its 95 % interval; empty where none is given.",
        "position": "Place on the axis of a curve or feature; empty elsewhere.",
        "computed_at": "When the version was registered (UTC).",
    },
)
MODEL_DECISIONS = Table(
    "gold",
    "model_decisions",
    "One row per decision on a model version: registered, promoted, refused or rolled back, by whom and why.",
    cadence="model",
    columns={
        "decided_at": "When (UTC).",
        "model_version": "Version that the decision is about.",
        "action": "registered, promoted, refused or rolled_back.",
        "champion_version": "Champion after the decision; empty where there is none.",
        "decided_by": "gate, or the name of the person.",
        "reasons": "What spoke for or against it.",
        "run_id": "Dagster run that decided; empty for a person.",
    },
)
FEATURE_DRIFT = Table(
    "gold",
    "feature_drift",
    "One row per feature of the champion, its score or a segment, and period after its development: how far it moved.",
    columns={
        "model_version": "Version of the champion, whose development loans are the reference.",
        "period": "As-of date of the loans that are compared: a full tape's, or the newest state's.",
        "kind": "feature (what the model reads), score (its PD) or segment (how the loans are divided).",
        "feature": "Name of the feature, pd_12m, or the segments' name such as loan_purpose.",
        "reference_rows": "Performing loans of the observation dates that trained the champion.",
        "rows": "Performing loans of the period.",
        "psi": "Population stability index between both, gaps being a bin of their own.",
        "expected": "Mean of the index where nothing has moved, for these numbers of loans.",
        "critical": "What the index passes in one case of twenty where nothing has moved.",
        "bins": "Bins that hold loans.",
        "gaps_then": "Share of the reference without a value.",
        "gaps_now": "Share of the period without a value.",
        "drifted": "Whether the index passes the critical value and the setting monitoring.maximum_psi.",
        "computed_at": "When it was measured (UTC).",
    },
)
MODEL_MONITORING = Table(
    "gold",
    "model_monitoring",
    "One row per followed model version, observation date and segment: predicted beside realised default rates.",
    columns={
        "model_version": "Version of the model in MLflow.",
        "alias": "champion or challenger.",
        "observation_date": "Day the loans are looked at.",
        "in_training": "Whether loans of that date trained the version, so that its figures flatter it.",
        "matured": "Whether the twelve months after it have passed, so that the outcome is known.",
        "dimension": "What the segment divides by: all, risk_rating, loan_purpose, score_band or risk_category.",
        "segment": "The segment.",
        "loans": "Performing loans measured.",
        "share": "Their share of the date's loans.",
        "reference_share": "The segment's share of the loans that trained the version.",
        "mean_pd": "Mean of the version's PDs.",
        "defaults": "Loans that defaulted in the twelve months; empty until the outcome is known, as all that follows.",
        "observed_rate": "Realised default rate.",
        "lower": "Lower end of its 95 % Jeffreys interval.",
        "upper": "Upper end of its 95 % Jeffreys interval.",
        "pd_to_observed": "Mean PD over realised rate.",
        "auc": "Area under the ROC curve; with all loans alone, as the columns after it.",
        "auc_lower": "Lower end of its 95 % interval (DeLong).",
        "auc_upper": "Upper end of its 95 % interval (DeLong).",
        "ece": "Expected calibration error over ten bins of equal count.",
        "ece_critical": "What the error passes in one case of twenty where every PD is right.",
        "calibration_slope": "Slope of the outcome's log-odds on the predicted ones; 1 is perfect.",
        "slope_lower": "Lower end of its 95 % interval.",
        "slope_upper": "Upper end of its 95 % interval.",
        "calibration_intercept": "Intercept of the same line; 0 is perfect.",
        "computed_at": "When it was measured (UTC).",
    },
)
# Every job closes the register of check results, so it is as fresh as the most frequent one.
QUALITY_RESULTS = Table("gold", "quality_results", "One row per asset check and run.", cadence="lake")

TABLES: tuple[Table, ...] = (
    LOAN_TAPE,
    REJECTED_RECORDS,
    INGESTION_LOG,
    LOANS,
    LOAN_HISTORY,
    PORTFOLIO_KPIS,
    PORTFOLIO_CUBE,
    DEVELOPMENT_SAMPLE,
    LOAN_SCORES,
    CHALLENGER_SCORES,
    MODEL_PERFORMANCE,
    MODEL_VALIDATION,
    MODEL_DECISIONS,
    FEATURE_DRIFT,
    MODEL_MONITORING,
    VINTAGE_CURVES,
    ROLL_RATES,
    RATING_MIGRATION,
    EXPECTED_CREDIT_LOSS,
    QUALITY_RESULTS,
)

RISK_CATEGORIES = ("Low", "Medium", "High", "Very High")
RISK_RATINGS = ("Very Low", "Low", "Medium", "High", "Very High")
DPD_BUCKETS = ("0", "1-29", "30-59", "60-89", "90-119", "120-179", "180+")
ROLL_BUCKETS = (
    "current",
    "30-59",
    "60-89",
    "90-119",
    "120-149",
    "150-179",
    "180+",
    "collections or charge-off",
    "closed",
    "not observed",
)
"""Buckets of a payment-history profile; the first seven are days past due, `current` up to 29."""
MIGRATION_STATES = (*RISK_CATEGORIES, "Default", "Charged off", "Paid off", "New", "Lost")
STAGES = (1, 2, 3)
SIGNIFICANT_INCREASES = ("in default", "30 days past due", "PD has risen")
SCORE_BANDS = ("300-579", "580-619", "620-659", "660-699", "700-739", "740-799", "800-900", "unknown")

MODEL_NAME = "credit_default"
CHAMPION = "champion"
CHALLENGER = "challenger"
