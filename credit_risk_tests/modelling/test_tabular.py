"""Any labelled table through the platform's model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from credit_risk_assets.config.settings import ModelSettings
from credit_risk_assets.modelling.errors import ModelDataError
from credit_risk_assets.modelling.linear import fit_scale
from credit_risk_assets.modelling.tabular import clean_features, evaluate_table, find_outcome

SHARED = Path(__file__).parents[3] / "shared" / "data"


def table(rows: int = 1_200, seed: int = 0, rate: float = -1.2) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    income, debt = rng.normal(0, 1, rows), rng.normal(0, 1, rows)
    job = rng.choice(["clerk", "driver", "owner"], rows)
    odds = rate - income + 0.8 * debt + 0.8 * (job == "owner")
    bad = rng.random(rows) < 1 / (1 + np.exp(-odds))
    frame = pd.DataFrame({"income": income, "debt": debt, "job": job, "outcome": np.where(bad, "bad", "good")})
    frame.loc[rng.random(rows) < 0.1, "income"] = np.nan
    frame.loc[rng.random(rows) < 0.1, "job"] = None
    frame.loc[rng.random(rows) < 0.02, "debt"] = 9_999
    return frame


def test_a_table_with_gaps_words_and_sentinels(model_settings: ModelSettings) -> None:
    report = evaluate_table(table(), "outcome", settings=model_settings)
    assert report.bad_value == "bad"
    assert report.auc_mean > 0.76
    assert report.ece < 0.06
    assert report.mean_pd == pytest.approx(report.bad_rate, rel=0.1)
    found = report.to_json()
    assert list(found) == [
        "auc_mean",
        "auc_sd",
        "gini",
        "ks",
        "brier",
        "ece",
        "log_loss",
        "pr_auc",
        "accuracy",
        "precision",
        "recall",
        "f1",
        "n",
        "bad_rate",
    ]
    assert json.loads(json.dumps(found)) == found


def test_few_defaults_still_give_a_slope(model_settings: ModelSettings) -> None:
    report = evaluate_table(table(1_000, rate=-4.2), "outcome", settings=model_settings)
    assert 0.03 < report.bad_rate < 0.08
    assert report.auc_mean > 0.74


def test_codes_that_stand_for_gaps_do_not_bend_the_line(model_settings: ModelSettings) -> None:
    clean = table(1_000, rate=-3.0)
    coded = clean.copy()
    rng = np.random.default_rng(9)
    for name, code in (("income", -999.0), ("debt", 99_999_999.0)):
        chosen = rng.random(len(coded)) < 0.1
        coded.loc[chosen, name] = code
        clean.loc[chosen, name] = np.nan
    given = [evaluate_table(frame, "outcome", settings=model_settings).auc_mean for frame in (clean, coded)]
    assert given[1] > given[0] - 0.01
    assert given[1] > 0.72


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ([-999.0], -999.0),
        ([9_999.0], 9_999.0),
        ([99_999_999.0], 100_000_000.0),
        ([-1.0], -1.0),
        ([180.0], None),
        ([12.5], None),
        ([-250.0], None),
    ],
)
def test_a_code_is_told_from_a_number(values: list[float], code: float | None) -> None:
    rng = np.random.default_rng(2)
    column = np.concatenate((rng.uniform(20, 60, 950), np.repeat(values, 50)))
    scale = fit_scale(column.astype(np.float32).reshape(-1, 1), seed=1)
    assert scale.sentinels == (() if code is None else ((0, code),))
    # a table in which the same value is rare keeps it as a number
    rare = np.concatenate((rng.uniform(20, 60, 1_000), values)).astype(np.float32).reshape(-1, 1)
    assert fit_scale(rare, seed=1).sentinels == ()


def test_random_outcomes_are_not_predicted(model_settings: ModelSettings) -> None:
    aucs = []
    for seed in range(3):
        frame = table(600, seed)
        frame["outcome"] = np.random.default_rng(seed).permutation(frame["outcome"].to_numpy())
        aucs.append(evaluate_table(frame, "outcome", settings=model_settings, folds=3).auc_mean)
    assert abs(np.mean(aucs) - 0.5) < 0.06


def test_a_leak_is_named(model_settings: ModelSettings) -> None:
    frame = table(600)
    frame["written_off"] = np.where(frame["outcome"] == "bad", 100.0, np.nan)
    report = evaluate_table(frame, "outcome", settings=model_settings, folds=2)
    assert any("written_off" in line for line in report.lines())


def test_a_group_stays_in_one_fold(model_settings: ModelSettings) -> None:
    frame = table(400)
    twice = pd.concat([frame.assign(person=range(400)), frame.assign(person=range(400))])
    rng = np.random.default_rng(0)
    twice["outcome"] = rng.permutation(frame["outcome"].to_numpy()).tolist() * 2
    together = evaluate_table(twice, "outcome", settings=model_settings, group="person", folds=3)
    assert together.auc_mean < 0.62


@pytest.mark.parametrize(
    ("values", "bad", "expected"),
    [
        (["good", "bad", "good"], None, "bad"),
        (["Fully Paid", "Charged Off", "Fully Paid"], None, "Charged Off"),
        ([0, 1, 0], None, "1"),
        ([1.0, 0.0, 1.0], None, "1.0"),
        ([1, 2, 1], None, "2"),
        ([True, False, False], None, "True"),
        (["Y", "N", "N"], None, "Y"),
        (["a", "b", "a"], None, "b"),
        (["a", "b", "a"], "a", "a"),
        ([0, 1, 1], "0", "0"),
        (["no default", "x", "no default"], None, "x"),
        (["ok", "late", "lost"], "lost", "lost"),
    ],
)
def test_the_bad_value_is_found_or_named(values: list[object], bad: str | None, expected: str) -> None:
    outcome, written, _ = find_outcome(pd.Series(values, name="label"), bad)
    assert written == expected
    assert outcome.tolist() == [int(str(value) == expected) for value in values]


def test_columns_are_understood_or_left_out_with_a_reason() -> None:
    frame = pd.DataFrame(
        {
            "percent": ["10%", "12.5%", None] * 30,
            "thousands": ["1,200", "900", "7"] * 30,
            "day": ["2024-01-05", "2024-02-01", None] * 30,
            "constant": [1] * 90,
            "empty": [None] * 90,
            "name": [f"customer {index}" for index in range(90)],
            "kind": ["a", "b", None] * 30,
        }
    )
    features, dropped = clean_features(frame)
    assert set(dropped) == {"constant", "empty", "name"}
    assert features["percent"].iloc[1] == 12.5
    assert features["thousands"].iloc[0] == 1200
    assert pd.api.types.is_datetime64_any_dtype(features["day"])


@pytest.mark.parametrize(
    ("change", "label", "message"),
    [
        (lambda frame: frame, "nothing", "column nothing"),
        (lambda frame: frame.assign(outcome="good"), "outcome", "every row is good"),
        (lambda frame: frame.assign(outcome=None), "outcome", "no row has a value"),
        (lambda frame: frame.head(50), "outcome", "too few"),
        (lambda frame: frame.assign(outcome=range(len(frame))), "outcome", "--bad"),
        (lambda frame: frame[["outcome"]], "outcome", "no column is left"),
    ],
)
def test_what_cannot_be_evaluated_is_one_line(
    model_settings: ModelSettings, change: object, label: str, message: str
) -> None:
    with pytest.raises(ModelDataError, match=message) as refused:
        evaluate_table(change(table(400)), label, settings=model_settings)  # type: ignore[operator]
    assert "\n" not in str(refused.value)


def test_files_that_cannot_be_read_are_one_line(tmp_path: Path, model_settings: ModelSettings) -> None:
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "binary.csv").write_bytes(bytes(range(256)) * 50)
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 no")
    for name in ("missing.csv", "empty.csv", "binary.csv", "broken.parquet"):
        with pytest.raises(ModelDataError, match=name) as refused:
            evaluate_table(tmp_path / name, "outcome", settings=model_settings)
        assert "\n" not in str(refused.value)


def test_a_file_gives_what_its_table_gives(tmp_path: Path, model_settings: ModelSettings) -> None:
    frame = table(400)
    frame.to_csv(tmp_path / "t.csv.gz", index=False)
    frame.to_csv(tmp_path / "semicolons.csv", index=False, sep=";")
    frame.to_parquet(tmp_path / "t.parquet")
    expected = evaluate_table(frame, "outcome", settings=model_settings, folds=2).to_json()
    for name in ("t.csv.gz", "semicolons.csv", "t.parquet"):
        found = evaluate_table(tmp_path / name, "outcome", settings=model_settings, folds=2).to_json()
        assert found == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "label", "drop", "auc", "ece"),
    [
        ("taiwan_credit_card_30000.csv.gz", "default.payment.next.month", "ID", 0.780, 0.02),
        ("credit_data_4454.csv.gz", "Status", "rownames", 0.840, 0.05),
    ],
)
def test_real_tables_reach_their_targets(
    name: str, label: str, drop: str, auc: float, ece: float, model_settings: ModelSettings
) -> None:
    if not (SHARED / name).exists():
        pytest.skip(f"{name} is not on this machine")
    report = evaluate_table(SHARED / name, label, drop=[drop], settings=model_settings)
    assert report.auc_mean >= auc
    assert report.ece <= ece
