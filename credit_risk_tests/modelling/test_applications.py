"""One loan, a table, a file and Spark: the same contract, features, probabilities and reasons everywhere."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from credit_risk_assets.credit.loan_states import INSTALLMENT_SQL
from credit_risk_assets.modelling import ModelDataError, score_new_loans
from credit_risk_assets.modelling.applications import FEW_LOANS, few_loans
from credit_risk_assets.modelling.complaints import NEEDED
from credit_risk_assets.modelling.explain import overlap
from credit_risk_assets.modelling.prepare import REASON, prepare
from credit_risk_assets.modelling.score import (
    EXACT_REASONS_UP_TO,
    REASON_COLUMNS,
    SCORE_SCHEMA,
    dump_model,
    make_scorer,
    scorer_columns,
)
from credit_risk_assets.modelling.train import TrainingResult
from credit_risk_assets.tape import contract
from credit_risk_assets.tape.rows import ROW_NUMBER, check_rows
from credit_risk_tests.credit.tapes import rows, tapes
from credit_risk_tests.credit.test_expressions import assert_same_bits, spark_features

TODAY = dt.date(2032, 1, 1)
GOOD: dict[str, str] = {
    "loan_id": "L1",
    "customer_id": "C1",
    "as_of_date": "2025-10-31",
    "origination_date": "2024-01-15",
    "loan_purpose": "auto",
    "loan_status": "current",
    "loan_amount": "10000",
    "interest_rate": "9.5",
    "term_months": "36",
    "outstanding_balance": "6000.25",
    "current_dpd": "0",
}
SPOILT: tuple[tuple[str, str], ...] = (
    ("loan_amount", "-5"), ("loan_amount", "0"), ("loan_amount", "ten"), ("loan_amount", "inf"), ("loan_amount", "1e3"),
    ("interest_rate", "101"), ("interest_rate", "0"), ("interest_rate", "-0.01"), ("term_months", "0"),
    ("term_months", "12.5"), ("term_months", "480"), ("term_months", "481"), ("credit_score", "299"),
    ("credit_score", "900"), ("credit_score", "901"), ("age", "17"), ("age", "101"), ("age", "44.0"),
    ("current_dpd", "-1"), ("current_dpd", "2147483648"), ("loan_purpose", "boat"),
    ("loan_purpose", "Debt Consolidation"),
    ("loan_status", "open"), ("loan_status", "CHARGED-OFF"), ("origination_date", "2024-02-30"),
    ("origination_date", "20240115"), ("origination_date", "2024-01-15T00:00:00"), ("origination_date", "2025-11-01"),
    ("origination_date", "1899-12-31"), ("as_of_date", "2032-01-02"), ("maturity_date", "2024-01-15"),
    ("maturity_date", "2027-01-15"), ("payment_history_profile", "00X"), ("payment_history_profile", "0" * 84),
    ("payment_history_profile", "0" * 85), ("collateral_value", "-1"), ("annual_income", "0"), ("family_size", "0"),
    ("recoveries", "x"), ("default_date", "soon"), ("credit_utilization", "1.7"),
)  # fmt: skip


@pytest.mark.parametrize(("column", "value"), SPOILT)
def test_what_the_lake_rejects_is_not_scored_and_what_it_takes_is(column: str, value: str) -> None:
    row = GOOD | {column: value}
    texts = pl.DataFrame([row]).with_columns(pl.lit(1, pl.Int64).alias(ROW_NUMBER))
    rejected = check_rows(texts, b"key", TODAY).rejected.height == 1
    from_file = prepare(texts, today=TODAY)[REASON][0]
    from_table = prepare(pd.DataFrame([row]), today=TODAY)[REASON][0]
    assert (from_file is not None) == rejected, from_file
    if value != "20240115" and "T" not in value:
        assert from_table == from_file
    if rejected:
        assert column in from_file


def plain(tape: pl.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(tape.to_dicts(), columns=tape.columns)


@settings(max_examples=20, deadline=None)
@given(tape=tapes(max_rows=FEW_LOANS), gone=st.sets(st.sampled_from(sorted(set(contract.NAMES) - set(NEEDED)))))
def test_a_few_loans_are_prepared_as_a_table_is(tape: pl.DataFrame, gone: set[str]) -> None:
    loans = plain(tape.drop(gone))
    expected = prepare(loans, today=TODAY)
    found = few_loans(loans, (), TODAY)
    assert found is not None
    names = [name for name in contract.NAMES if name not in ("loan_id", "customer_id")]
    frame = pl.DataFrame(found, schema={name: expected.schema[name] for name in (*names, REASON)})
    assert_same_bits(frame, expected.select(*names, REASON))


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(loans=st.lists(rows(), min_size=FEW_LOANS + 1, max_size=FEW_LOANS + 4), explain=st.booleans())
def test_a_loan_scored_alone_has_the_score_it_has_in_a_table(
    trained: TrainingResult, loans: list[dict[str, Any]], explain: bool
) -> None:
    table = pd.DataFrame(loans, columns=contract.NAMES)
    together = score_new_loans(table, trained.model, trained.encoders, explain=explain)
    for place in range(len(table)):
        alone = score_new_loans(table.iloc[[place]], trained.model, trained.encoders, explain=explain)
        pd.testing.assert_frame_equal(alone, together.iloc[[place]])


@pytest.mark.parametrize("value", ["abc", "12", object(), complex(1, 2), np.float32(0.1), True, 10**400])
def test_what_is_no_plain_value_is_left_to_the_table(value: Any) -> None:
    loan = {"loan_purpose": "auto", "loan_amount": 9_000.0, "interest_rate": 8.0, "term_months": 24}
    found = few_loans(pd.DataFrame([loan | {"credit_utilization": value}], dtype=object), ())
    assert (found is None) == (not isinstance(value, bool))


def test_silver_on_spark_and_an_application_online_get_the_same_score(
    sail: Any, trained: TrainingResult, tapes: dict[dt.date, pl.DataFrame]
) -> None:
    on_book = tapes[max(tapes)].filter(pl.col("loan_status").is_in(contract.ON_BOOK_STATUSES)).select(contract.NAMES)
    unpaid = pl.int_range(pl.len()) % 3 == 0  # a third of the tape does not tell its instalments
    tape = on_book.with_columns(pl.when(unpaid).then(None).otherwise("installment").alias("installment"))
    frame = sail.createDataFrame(tape.to_arrow())
    others = [name for name in contract.NAMES if name != "installment"]
    silver = spark_features(frame.selectExpr(*others, f"{INSTALLMENT_SQL} as installment"))

    content = dump_model(trained.model.named("9"), trained.encoders)
    stamp = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    columns = sail.createDataFrame(silver.select(scorer_columns(trained.model)).to_arrow())
    scored = columns.mapInArrow(make_scorer(content, stamp), SCORE_SCHEMA).toArrow()
    batch = pl.DataFrame(pl.from_arrow(scored)).sort("loan_id")

    loans = plain(tape.sort("loan_id"))
    online = score_new_loans(loans, trained.model, trained.encoders, explain=True)
    assert len(loans) > EXACT_REASONS_UP_TO
    assert batch["loan_id"].to_list() == online["loan_id"].to_list()
    assert online["reason"].isna().all()
    np.testing.assert_array_equal(online["default_probability"].to_numpy(), batch["pd_12m"].to_numpy())
    assert online["risk_rating"].to_list() == batch["risk_rating"].to_list()
    for name in REASON_COLUMNS:
        assert online[name].to_list() == batch[name].to_list()
    one_by_one = [score_new_loans(loans.iloc[[i]], trained.model, trained.encoders) for i in range(0, len(loans), 40)]
    singles = np.array([found["default_probability"].iloc[0] for found in one_by_one])
    np.testing.assert_array_equal(singles, batch["pd_12m"].to_numpy()[::40])


def test_approximate_reasons_mostly_say_what_exact_ones_say(
    trained: TrainingResult, tapes: dict[dt.date, pl.DataFrame]
) -> None:
    tape = tapes[max(tapes)].filter(pl.col("loan_status") == "current").select(contract.NAMES).head(3_000).to_pandas()
    many = score_new_loans(tape, trained.model, trained.encoders, explain=True)
    risky = many[many["risk_rating"].isin(["High", "Very High"])].head(EXACT_REASONS_UP_TO)
    few = score_new_loans(tape.loc[risky.index], trained.model, trained.encoders, explain=True)

    def told(scores: pd.DataFrame) -> list[list[str]]:
        return [[text for text in row if text is not None] for row in scores[list(REASON_COLUMNS)].to_numpy()]

    first, shared = overlap(told(risky), told(few))
    assert first > 0.6
    assert shared > 0.7
    assert overlap([["a", "b"], [], ["c"]], [["a", "c"], [], ["d"]]) == (0.5, pytest.approx(1 / 6))


def test_columns_that_come_twice_are_refused(trained: TrainingResult) -> None:
    loan = pd.DataFrame([GOOD])
    with pytest.raises(ModelDataError, match="loan_amount come more than once"):
        score_new_loans(pd.concat([loan, loan[["loan_amount"]]], axis=1), trained.model, trained.encoders)


def test_a_scorer_gathers_small_batches_and_keeps_their_order(
    trained: TrainingResult, tapes: dict[dt.date, pl.DataFrame]
) -> None:
    book = tapes[max(tapes)].select(scorer_columns(trained.model)).head(9_000)
    scorer = make_scorer(dump_model(trained.model, trained.encoders), dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
    small = list(scorer(iter(book.to_arrow().combine_chunks().to_batches(max_chunksize=100))))
    assert [batch.num_rows for batch in small] == [8_200, 800]
    assert [name for batch in small for name in batch.column(0).to_pylist()] == book["loan_id"].to_list()
    assert list(scorer(iter([]))) == []
