"""Scoring: applications in process, the portfolio on Spark, reasons that are true of the loan."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from credit_risk_assets.config.tables import RISK_RATINGS
from credit_risk_assets.credit.capital import installment
from credit_risk_assets.credit.features import BY_NAME, model_features
from credit_risk_assets.credit.loan_states import INSTALLMENT_SQL
from credit_risk_assets.credit.rating import risk_rating, score_points
from credit_risk_assets.credit.reasons import REASONS
from credit_risk_assets.modelling import ModelDataError, score_new_loans
from credit_risk_assets.modelling.explain import as_lists, reasons
from credit_risk_assets.modelling.prepare import prepare
from credit_risk_assets.modelling.score import SCORE_SCHEMA, dump_model, load_model, make_scorer, scorer_columns
from credit_risk_assets.modelling.train import TrainingResult
from credit_risk_assets.tape import contract

STAMP = dt.datetime(2025, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
APPLICATION: dict[str, Any] = {
    "loan_id": "a1",
    "loan_purpose": "business",
    "loan_amount": 20_000,
    "interest_rate": 18,
    "term_months": 60,
    "credit_score": 560,
    "annual_income": 30_000,
    "existing_monthly_debt": 900,
    "credit_utilization": 0.97,
}


def score(trained: TrainingResult, *rows: dict[str, Any], explain: bool = False, **change: Any) -> pd.DataFrame:
    loans = pd.DataFrame([APPLICATION | change | row for row in rows or ({},)])
    return score_new_loans(loans, trained.model, trained.encoders, explain=explain)


def test_an_application_needs_no_repayment_history(trained: TrainingResult) -> None:
    (row,) = score(trained).to_dict("records")
    assert 0.05 < row["default_probability"] < 0.9
    assert row["default_prediction"] == int(row["default_probability"] >= trained.model.threshold)
    assert row["risk_rating"] in RISK_RATINGS
    assert row["reason"] is None


def test_better_borrowers_have_lower_probabilities(trained: TrainingResult) -> None:
    found = score(trained, {}, {"credit_score": 760, "credit_utilization": 0.1}, {"existing_monthly_debt": 0})
    assert found["default_probability"][1] < found["default_probability"][0] / 3
    assert found["default_probability"][2] < found["default_probability"][0]


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ({"loan_purpose": "boat"}, "loan_purpose 'boat'"),
        ({"loan_purpose": None}, "loan_purpose is missing"),
        ({"loan_amount": -5}, "loan_amount -5"),
        ({"loan_amount": "abc"}, "loan_amount 'abc' is no number"),
        ({"loan_amount": float("inf")}, "loan_amount 'inf' is no number"),
        ({"term_months": 12.5}, "term_months '12.5' is no whole number"),
        ({"credit_score": 1200}, "credit_score 1200"),
        ({"origination_date": "2024-02-30"}, "origination_date '2024-02-30' is no date"),
        ({"origination_date": "2024-02-01", "as_of_date": "2024-01-01"}, "after as_of_date"),
        ({"payment_history_profile": "00X"}, "payment_history_profile '00X'"),
        ({"loan_status": "paid_off"}, "nothing can default"),
    ],
)
def test_a_bad_row_comes_back_with_its_reason_and_the_others_are_scored(
    trained: TrainingResult, broken: dict[str, Any], reason: str
) -> None:
    found = score(trained, {}, broken)
    assert reason in found["reason"][1]
    assert np.isnan(found["default_probability"][1])
    assert found["default_prediction"][1] is pd.NA
    assert found["risk_rating"][1] is None
    assert found["default_probability"][0] == score(trained)["default_probability"][0]


def test_index_order_and_gaps_are_kept(trained: TrainingResult) -> None:
    loans = pd.DataFrame(
        [APPLICATION, APPLICATION | {"credit_score": None}, APPLICATION | {"credit_score": 800}], index=[7, 3, 9]
    )
    found = score_new_loans(loans, trained.model, trained.encoders)
    assert list(found.index) == [7, 3, 9]
    assert found["default_probability"].notna().all()
    alone = score_new_loans(loans.loc[[9]], trained.model, trained.encoders)
    assert alone["default_probability"][9] == found["default_probability"][9]
    empty = score_new_loans(loans.head(0), trained.model, trained.encoders)
    assert empty.empty
    assert "default_probability" in empty


def test_a_table_without_a_needed_column_is_refused(trained: TrainingResult) -> None:
    with pytest.raises(ModelDataError, match="loan_amount"):
        score_new_loans(pd.DataFrame([APPLICATION]).drop(columns="loan_amount"), trained.model, trained.encoders)


def test_a_missing_installment_is_what_silver_computes(sail: Any) -> None:
    rng = np.random.default_rng(4)
    loans = pd.DataFrame(
        {
            "loan_purpose": "auto",
            "loan_amount": np.round(rng.uniform(100, 90_000, 300), 2),
            "interest_rate": np.where(rng.random(300) < 0.1, 0.0, np.round(rng.uniform(0, 40, 300), 2)),
            "term_months": rng.integers(1, 361, 300),
        }
    )
    online = prepare(loans)["installment"].to_list()
    silver = sail.createDataFrame(loans.assign(installment=np.nan)).selectExpr(
        "nullif(installment, double('nan')) as installment", "loan_amount", "interest_rate", "term_months"
    )
    assert [row[0] for row in silver.selectExpr(f"{INSTALLMENT_SQL} as i").collect()] == online
    assert online[0] == pytest.approx(
        installment(loans["loan_amount"][0], loans["interest_rate"][0], int(loans["term_months"][0])), abs=0.005
    )


def test_a_word_never_seen_is_an_average_one(trained: TrainingResult) -> None:
    found = score(trained, {"employment_type": "astronaut"}, {"employment_type": "unemployed"})
    assert found["default_probability"].notna().all()
    assert found["default_probability"][0] < found["default_probability"][1]


def test_the_online_score_is_the_batch_score_of_the_same_loan(
    trained: TrainingResult, tapes: dict[dt.date, pl.DataFrame]
) -> None:
    book = tapes[max(tapes)].filter(pl.col("loan_status").is_in(["current", "delinquent"])).head(500)
    batch = trained.model.probability(trained.encoders.transform(book))
    tape = book.select(contract.NAMES).to_pandas()
    online = score_new_loans(tape, trained.model, trained.encoders)
    performing = (online["default_probability"] < 1).to_numpy()
    np.testing.assert_array_equal(online["default_probability"].to_numpy()[performing], batch[performing])


def test_features_that_come_along_stand_in_for_missing_tape_columns(trained: TrainingResult) -> None:
    known = score(trained)["default_probability"][0]
    bare = pd.DataFrame([APPLICATION]).drop(columns=["existing_monthly_debt", "annual_income"])
    without = score_new_loans(bare, trained.model, trained.encoders)["default_probability"][0]
    helped = score_new_loans(bare.assign(debt_to_income=0.56), trained.model, trained.encoders)
    assert helped["default_probability"][0] != without
    ignored = score(trained, debt_to_income=0.01)["default_probability"][0]
    assert ignored == known


def scored_on(session: Any, trained: TrainingResult, tape: pl.DataFrame) -> pl.DataFrame:
    content = dump_model(trained.model.named("7"), trained.encoders)
    scorer = make_scorer(content, STAMP)
    frame = session.createDataFrame(tape.select(scorer_columns(trained.model)).to_arrow())
    return pl.DataFrame(pl.from_arrow(frame.mapInArrow(scorer, SCORE_SCHEMA).toArrow())).sort("loan_id")


def test_the_portfolio_is_scored_on_spark_as_in_process(
    sail: Any, trained: TrainingResult, tapes: dict[dt.date, pl.DataFrame]
) -> None:
    book = tapes[max(tapes)].filter(pl.col("loan_status").is_in(contract.ON_BOOK_STATUSES)).sort("loan_id")
    found = scored_on(sail, trained, book)
    assert found["loan_id"].to_list() == book["loan_id"].to_list()
    expected = trained.model.probability(trained.encoders.transform(book))
    defaulted = (book["current_dpd"] >= 90).to_numpy() | (book["loan_status"] == "default").to_numpy()
    assert defaulted.any()
    np.testing.assert_array_equal(found["pd_12m"].to_numpy(), np.where(defaulted, 1.0, expected))
    assert set(found.filter(pl.Series(defaulted))["risk_rating"]) == {"Very High"}
    bounds = trained.model.rating_bounds
    assert found["risk_rating"].to_list() == list(risk_rating(found["pd_12m"].to_numpy(), bounds))
    np.testing.assert_allclose(found["score_points"].to_numpy(), score_points(found["pd_12m"].to_numpy()))
    assert set(found["model_version"]) == {"7"}
    assert found["scored_at"].dt.epoch("s").unique().to_list() == [STAMP.timestamp()]
    explained = found.filter(pl.col("risk_rating").is_in(["High", "Very High"]))
    assert explained["reason_1"].null_count() == 0
    assert found.filter(pl.col("risk_rating").is_in(["Very Low", "Low", "Medium"]))["reason_1"].null_count() == (
        found.height - explained.height
    )


def test_reasons_raise_the_risk_and_are_true(trained: TrainingResult, sample: pl.DataFrame) -> None:
    rows = sample.head(3_000)
    matrix = trained.encoders.transform(rows)
    pds = trained.model.probability(matrix)
    chosen = np.argsort(-pds)[:200]
    contributions = trained.model.contributions(matrix[chosen])
    told = as_lists(reasons(trained.model, matrix[chosen], rows[chosen.tolist()]))
    by_sentence: dict[str, list[str]] = {}
    for name, reason in REASONS.items():
        for text in (reason.sentence.split("{")[0], reason.missing):
            if text:
                by_sentence.setdefault(text, []).append(name)
    assert any(told)
    for row, texts in enumerate(told):
        assert len(texts) <= 4
        assert len(set(texts)) == len(texts)
        for text in texts:
            names = [name for start, found in by_sentence.items() if text.startswith(start) for name in found]
            places = [trained.model.columns.index(name) for name in names if name in trained.model.columns]
            assert any(contributions[row, place] > 0 for place in places), text
    overdue = [row for row, texts in enumerate(told) if "Payments are overdue" in texts]
    assert overdue
    assert all(rows["current_dpd"][int(chosen[row])] > 0 for row in overdue)


def test_contributions_add_up_to_the_log_odds(trained: TrainingResult, sample: pl.DataFrame) -> None:
    matrix = trained.encoders.transform(sample.head(50))
    pds = trained.model.probability(matrix)
    for exact in (False, True):
        rest = np.log(pds / (1 - pds)) - trained.model.contributions(matrix, exact=exact).sum(axis=1)
        assert rest.std() < 1e-4


def test_every_model_feature_has_a_reason_and_no_protected_one_does() -> None:
    assert set(REASONS) == {feature.name for feature in model_features()}
    assert not any(BY_NAME[name].protected for name in REASONS)


def test_explained_applications_name_what_is_wrong_with_them(trained: TrainingResult) -> None:
    (row,) = score(trained, explain=True).to_dict("records")
    texts = [row[f"reason_{place}"] for place in range(1, 5)]
    assert "Credit score is low" in texts or "Use of revolving credit is high for this credit score" in texts
    (fine,) = score(trained, explain=True, credit_score=800, credit_utilization=0.05, loan_amount=2_000).to_dict(
        "records"
    )
    assert fine["risk_rating"] in {"Very Low", "Low", "Medium"}
    assert fine["reason_1"] is None


def test_model_bytes_survive_the_way_to_a_worker(trained: TrainingResult, sample: pl.DataFrame) -> None:
    model, encoders = load_model(dump_model(trained.model, trained.encoders))
    rows = sample.head(100)
    np.testing.assert_array_equal(
        model.probability(encoders.transform(rows)),
        trained.model.probability(trained.encoders.transform(rows)),
    )


def test_importing_the_package_stays_light() -> None:
    code = (
        "import sys, credit_risk_assets.modelling; sys.exit(bool({'xgboost', 'sklearn', 'pandas'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
