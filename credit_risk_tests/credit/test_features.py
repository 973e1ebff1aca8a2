"""The register of features and what the features say about known loans."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from credit_risk_assets.config.tables import DPD_BUCKETS, RISK_CATEGORIES, SCORE_BANDS
from credit_risk_assets.credit.dictionary import HEADER, data_dictionary
from credit_risk_assets.credit.expressions import columns_of
from credit_risk_assets.credit.features import DERIVED, FEATURES, add_features, feature_layers, model_features
from credit_risk_assets.tape import contract
from credit_risk_tests.credit.tapes import SCHEMA, random_tape

LOAN: dict[str, Any] = {
    "loan_id": "A",
    "customer_id": "c",
    "as_of_date": dt.date(2024, 6, 30),
    "origination_date": dt.date(2023, 5, 15),
    "loan_purpose": "auto",
    "loan_status": "current",
    "loan_amount": 20_000.0,
    "interest_rate": 6.0,
    "term_months": 48,
    "installment": 500.0,
    "outstanding_balance": 15_000.0,
    "collateral_value": 25_000.0,
    "total_paid": 6_000.0,
    "current_dpd": 0,
    "payment_history_profile": "0010020000000",
    "credit_score": 640.0,
    "credit_history_months": 120.0,
    "credit_utilization": 0.5,
    "open_accounts": 4.0,
    "inquiries_6m": 2.0,
    "existing_monthly_debt": 300.0,
    "age": 40,
    "annual_income": 48_000.0,
    "family_size": 4,
}


def features_of(**changes: Any) -> dict[str, Any]:
    return add_features(pl.DataFrame([LOAN | changes], schema=SCHEMA)).to_dicts()[0]


def test_there_are_forty_computed_features_over_five_families() -> None:
    assert len(DERIVED) >= 40
    assert {feature.family for feature in DERIVED} == {"credit", "loan", "repayment", "borrower", "risk"}
    assert len({feature.name for feature in FEATURES}) == len(FEATURES)


def test_the_names_that_other_parts_rely_on_are_there() -> None:
    names = {feature.name for feature in DERIVED}
    assert names >= {
        "score_band",
        "dpd_bucket",
        "origination_quarter",
        "months_on_book",
        "remaining_months",
        "interest_rate_fraction",
        "loan_to_value",
        "debt_to_income",
        "installment_to_income",
        "loan_to_income",
        "balance_to_amount",
        "paid_share",
        "max_dpd_code_3m",
        "max_dpd_code_6m",
        "max_dpd_code_12m",
        "late_months_12m",
        "on_time_share_12m",
        "months_since_delinquency",
        "risk_score",
        "risk_category",
        "pd_proxy",
        "lgd_estimate",
        "exposure_at_default",
        "expected_loss_proxy",
        "early_warning",
    }


def test_the_model_sees_no_outcome_no_identity_and_nothing_protected() -> None:
    banned = {
        "loan_id",
        "customer_id",
        "loan_status",
        "default_date",
        "charge_off_amount",
        "recoveries",
        "default_flag",
        "age",
        "family_size",
        "education",
        "region",
    }
    by_name = {feature.name: feature for feature in FEATURES}

    def reads(name: str) -> set[str]:
        feature = by_name.get(name)
        if feature is None or feature.from_tape:
            return {name}
        return set().union(*(reads(column) for column in columns_of(feature.sql)))

    for feature in model_features():
        assert not reads(feature.name) & banned, feature.name
        assert not feature.protected


def test_features_computed_from_protected_ones_are_protected_or_rules() -> None:
    protected = {feature.name for feature in FEATURES if feature.protected}
    for feature in DERIVED:
        if columns_of(feature.sql) & protected:
            assert feature.protected, feature.name


def test_layers_read_only_the_tape_and_earlier_layers() -> None:
    known = set(contract.NAMES)
    for layer in feature_layers():
        for name, sql in layer.items():
            assert columns_of(sql) <= known, name
        known |= set(layer)
    assert known == set(contract.NAMES) | {feature.name for feature in DERIVED}


def test_ratios_of_a_known_loan() -> None:
    found = features_of()
    expected = {
        "months_on_book": 13,
        "remaining_months": 35,
        "origination_quarter": "2023-Q2",
        "score_band": "620-659",
        "interest_rate_fraction": 0.06,
        "loan_to_value": 0.8,
        "debt_to_income": 0.2,
        "installment_to_income": 0.125,
        "balance_to_amount": 0.75,
        "paid_share": 0.3,
        "late_months_12m": 2,
        "late_months_3m": 1,
        "max_dpd_code_3m": 1,
        "max_dpd_code_6m": 2,
        "months_since_delinquency": 2,
        "months_since_serious": 5,
        "payment_trend": 0,
        "income_per_head": 12_000.0,
        "disposable_income": 3_200.0,
        "dpd_bucket": "0",
        "exposure_at_default": 15_000.0,
        "is_secured": 1,
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert found["on_time_share_12m"] == pytest.approx(10 / 12)
    assert found["expected_loss_proxy"] == found["pd_proxy"] * found["lgd_estimate"] * 15_000.0


def test_a_new_application_without_history_has_its_features() -> None:
    found = features_of(
        as_of_date=LOAN["origination_date"],
        payment_history_profile=None,
        total_paid=0.0,
        outstanding_balance=20_000.0,
    )
    assert found["months_on_book"] == 0
    assert found["max_dpd_code_12m"] is None
    assert found["on_time_share_12m"] is None
    assert found["months_since_delinquency"] is None
    assert found["paid_to_schedule"] is None
    assert 0 < found["pd_proxy"] < 1


@pytest.mark.parametrize(
    ("dpd", "bucket"),
    [
        (0, "0"),
        (1, "1-29"),
        (29, "1-29"),
        (30, "30-59"),
        (60, "60-89"),
        (90, "90-119"),
        (120, "120-179"),
        (180, "180+"),
    ],
)
def test_dpd_buckets(dpd: int, bucket: str) -> None:
    assert features_of(current_dpd=dpd)["dpd_bucket"] == bucket
    assert bucket in DPD_BUCKETS


def test_labels_are_those_of_the_tables() -> None:
    frame = add_features(random_tape(3_000))
    assert set(frame["score_band"]) <= set(SCORE_BANDS)
    assert set(frame["risk_category"]) <= set(RISK_CATEGORIES)
    assert set(frame["dpd_bucket"]) <= set(DPD_BUCKETS)


def test_a_loan_in_default_is_very_high_risk_and_a_closed_one_loses_nothing_more() -> None:
    for changes in ({"current_dpd": 95}, {"loan_status": "default"}, {"payment_history_profile": "K00"}):
        found = features_of(**changes)
        assert (found["risk_score"], found["risk_category"], found["pd_proxy"]) == (100.0, "Very High", 1.0)
    assert features_of(loan_status="paid_off", outstanding_balance=0.0)["expected_loss_proxy"] == 0.0
    assert features_of(loan_status="charged_off")["expected_loss_proxy"] == 0.0


def test_risk_score_rises_with_each_weakness() -> None:
    base = features_of()["risk_score"]
    for worse in (
        {"credit_score": 500.0},
        {"credit_utilization": 0.99},
        {"current_dpd": 45},
        {"inquiries_6m": 9.0},
        {"payment_history_profile": "0110210000000"},
        {"existing_monthly_debt": 2_000.0},
    ):
        assert features_of(**worse)["risk_score"] > base, worse


def test_early_warning_needs_two_signals_on_a_performing_loan() -> None:
    quiet = features_of(payment_history_profile="0" * 13)
    assert quiet["early_warning"] == 0
    loud = features_of(current_dpd=20, credit_utilization=0.95, payment_history_profile="0" * 13)
    assert (loud["early_warning_signals"], loud["early_warning"]) == (2, 1)
    assert features_of(current_dpd=120, credit_utilization=0.95)["early_warning"] == 0


def test_the_data_dictionary_tells_every_feature_whole() -> None:
    rows = [line for line in data_dictionary().splitlines() if line.startswith("| ") and "| meaning |" not in line]
    cells = [row.replace("\\|", "\0").strip("| ").split(" | ") for row in rows]
    assert [row[0] for row in cells] == [feature.name for feature in FEATURES]
    for row, feature in zip(cells, FEATURES, strict=True):
        assert len(row) == len(HEADER)
        assert row[1] == feature.family
        formula = row[4].strip("`").replace("\0", "|")
        assert formula == ("tape column" if feature.from_tape else " ".join(feature.sql.split()))
        assert row[5] == {1: "raises risk", -1: "lowers risk", 0: ""}[feature.direction]
        assert row[6:] == ["yes" if feature.protected else "no", "yes" if feature.in_model else "no"]
        assert not (feature.protected and feature.in_model)


def test_the_data_dictionary_of_the_docs_is_the_generated_one() -> None:
    page = Path(__file__).parents[2] / "docs" / "features.md"
    assert page.read_text(encoding="utf-8") == data_dictionary(), (
        "write it again: python -c 'from credit_risk_assets.credit.dictionary import HEADER, data_dictionary; "
        "print(data_dictionary(), end=str())' > docs/features.md"
    )
