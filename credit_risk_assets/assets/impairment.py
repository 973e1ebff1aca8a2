"""Expected credit loss of every loan on book, from its score, its contract and its first state on a tape."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from credit_risk_assets.assets.common import asset_attributes, materialized
from credit_risk_assets.assets.inputs import ecl_inputs
from credit_risk_assets.assets.retries import RETRIES, retried
from credit_risk_assets.config.settings import EclSettings
from credit_risk_assets.config.tables import EXPECTED_CREDIT_LOSS, LOAN_HISTORY, LOAN_SCORES, LOANS
from credit_risk_assets.credit.impairment import ECL_SCHEMA, INPUT_SQL, make_impairment
from credit_risk_assets.credit.portfolio import ON_BOOK_SQL
from credit_risk_assets.resources.lakehouse import Lakehouse
from credit_risk_assets.resources.platform import Platform


def impaired(lakehouse: Lakehouse, settings: EclSettings) -> DataFrame:
    """Stage and losses of every loan on book that has a score; the first state is the earliest on any tape."""
    book = lakehouse.read(LOANS).where(ON_BOOK_SQL).selectExpr(*INPUT_SQL)
    scores = lakehouse.read(LOAN_SCORES).select("loan_id", "pd_12m")
    first = (
        lakehouse.read(LOAN_HISTORY).groupBy("loan_id").agg(F.min_by("pd_proxy", "as_of_date").alias("first_pd_proxy"))
    )
    return book.join(scores, "loan_id").join(first, "loan_id", "left").mapInArrow(make_impairment(settings), ECL_SCHEMA)


@dg.asset(
    **asset_attributes(EXPECTED_CREDIT_LOSS),
    deps=[LOANS.key, LOAN_HISTORY.key, LOAN_SCORES.key],
    output_required=False,
    retry_policy=RETRIES,
)
@retried
def expected_credit_loss(
    context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]
) -> Iterator[dg.MaterializeResult[Any]]:
    """Stage, lifetime PD and loss allowance of every loan on book, weighted over the scenarios of the settings."""
    lakehouse, settings = platform.lakehouse, platform.settings.ecl
    if not lakehouse.exists(LOAN_SCORES):
        context.log.warning("no expected credit loss: no loan has a score yet")
        return
    inputs = ecl_inputs(lakehouse, settings)
    if lakehouse.inputs(EXPECTED_CREDIT_LOSS) != inputs:
        lakehouse.overwrite(EXPECTED_CREDIT_LOSS, impaired(lakehouse, settings), inputs=inputs)
    yield materialized(lakehouse, EXPECTED_CREDIT_LOSS)
