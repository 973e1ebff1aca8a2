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
MODEL_PERFORMANCE = Table(
    "gold", "model_performance", "One row per model version, data set and metric.", cadence="model"
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
    MODEL_PERFORMANCE,
    QUALITY_RESULTS,
)

RISK_CATEGORIES = ("Low", "Medium", "High", "Very High")
RISK_RATINGS = ("Very Low", "Low", "Medium", "High", "Very High")
DPD_BUCKETS = ("0", "1-29", "30-59", "60-89", "90-119", "120-179", "180+")
SCORE_BANDS = ("300-579", "580-619", "620-659", "660-699", "700-739", "740-799", "800-900", "unknown")

MODEL_NAME = "credit_default"
CHAMPION = "champion"
CHALLENGER = "challenger"
