"""Files of loans through the champion: streamed, checked by the contract, written whole or not at all."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest

from credit_risk_assets.automation import scoring
from credit_risk_assets.automation.scoring import score_file
from credit_risk_assets.config.settings import Settings
from credit_risk_assets.modelling import ModelDataError, score_new_loans
from credit_risk_assets.modelling.score import score_texts
from credit_risk_assets.modelling.train import TrainingResult
from credit_risk_assets.resources.mlflow import LoadedModel
from credit_risk_tests.conftest import make_settings
from credit_risk_tests.modelling.conftest import model_settings, sample, tapes, trained  # noqa: F401
from credit_risk_tests.modelling.test_applications import GOOD

ROWS = 3_000
LEAST_BLOCK = 2**16


@pytest.fixture
def home(tmp_path: Path, trained: TrainingResult, monkeypatch: pytest.MonkeyPatch) -> Settings:  # noqa: F811
    """A home whose champion is version 7 and whose files are read in small blocks."""
    champion = LoadedModel(trained.model.named("7"), trained.encoders, "7")
    monkeypatch.setattr(scoring, "load_version", lambda _: champion)
    return make_settings(tmp_path / "home", landing={"block_bytes": LEAST_BLOCK})


def loans(count: int = ROWS) -> pd.DataFrame:
    """Loans as a file holds them, each of another amount; the first ones are safe and the others are not."""
    return pd.DataFrame(
        [
            GOOD | {"loan_id": f"L{i}", "loan_amount": str(5_000 + i), "credit_score": "830" if i < 400 else "480"}
            for i in range(count)
        ]
    )


def scores_of(home: Settings, source: Path, name: str = "scores.csv") -> tuple[pl.DataFrame, str]:
    target = home.home / name
    summary = score_file(home, source, target)
    assert not list(target.parent.glob(".*.part"))
    return (pl.read_parquet(target) if name.endswith("parquet") else pl.read_csv(target)), summary


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "parquet"])
def test_a_file_is_scored_in_blocks_as_its_rows_are_in_process(
    home: Settings, tmp_path: Path, trained: TrainingResult, kind: str, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:  # fmt: skip
    source, given = tmp_path / f"loans.{kind}", loans()
    blocks: list[int] = []

    def counted(texts: pl.DataFrame, *arguments: Any, **options: Any) -> pl.DataFrame:
        blocks.append(len(texts))
        return score_texts(texts, *arguments, **options)

    monkeypatch.setattr(scoring, "score_texts", counted)
    if kind == "parquet":
        given.assign(loan_amount=given["loan_amount"].astype(float)).to_parquet(source)
    else:
        text = given.to_csv(index=False)
        source.write_bytes(gzip.compress(text.encode()) if kind.endswith("gz") else text.encode())
    found, summary = scores_of(home, source, "scores.parquet")
    expected = score_new_loans(given, trained.model, trained.encoders, explain=True)
    assert found["loan_id"].to_list() == given["loan_id"].to_list()
    assert found["default_probability"].to_list() == expected["default_probability"].to_list()
    assert found["reason_1"].to_list() == expected["reason_1"].to_list()
    assert 0 < found["reason_1"].null_count() < ROWS
    assert set(found["model_version"]) == {"7"}
    assert found.columns == [*expected.columns, "model_version"]
    assert f"{ROWS:,} loans in" in summary
    assert len(blocks) > 1 or kind == "parquet"


def test_each_bad_row_comes_back_in_its_place_with_its_reason(home: Settings, tmp_path: Path) -> None:
    columns = [name for name in GOOD if name not in ("customer_id", "as_of_date", "loan_status", "current_dpd")]
    given = loans(8)[columns].assign(branch="north")
    lines = given.to_csv(index=False).splitlines()
    lines[2] = lines[2].replace("auto", "boat")
    lines[3] = lines[3].replace("9.5", "nine")
    lines[4] = "L3,2024-01-15"
    lines[5] = lines[5].replace("2024-01-15", "")
    lines[6] = lines[6].replace("north", "nörth")
    source = tmp_path / "loans.csv"
    source.write_bytes("\n".join(lines).encode("latin-1"))
    found, summary = scores_of(home, source)
    reasons = found["reason"].to_list()
    assert "loan_purpose 'boat' is none of" in reasons[1]
    assert "interest_rate 'nine' is no number" in reasons[2]
    assert "the line has 2 fields, the header 8" in reasons[3]
    assert "branch: the value is not UTF-8" in reasons[5]
    assert [reason is None for reason in reasons] == [True, False, False, False, True, False, True, True]
    assert [value is None for value in found["default_probability"]] == [reason is not None for reason in reasons]
    assert found["risk_rating"].null_count() == found["default_prediction"].null_count() == 4
    assert found["loan_id"].to_list() == ["L0", "L1", "L2", None, "L4", "L5", "L6", "L7"]
    assert "4 of them not scored" in summary


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "the file is empty"),
        ("loan_id,loan_amount\nL1,5\n", "required column missing: loan_purpose, interest_rate, term_months"),
        (",".join(GOOD) + "\n", "a header without rows"),
        (";".join(GOOD) + "\n" + ";".join(GOOD.values()) + "\n", "save the file as comma-separated"),
        ("some words\nand more\n", "no required column"),
        ("PAR1\x00\x01", "broken Parquet"),
    ],
)
def test_a_file_that_cannot_be_scored_is_one_line_and_leaves_nothing(
    home: Settings, tmp_path: Path, content: str, said: str
) -> None:
    source, target = tmp_path / "loans.csv", tmp_path / "out" / "scores.csv"
    source.write_text(content)
    with pytest.raises(ModelDataError, match=said) as raised:
        score_file(home, source, target)
    assert "\n" not in str(raised.value)
    assert list(target.parent.iterdir()) == []


def test_scores_written_before_stay_until_new_ones_are_whole(
    home: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = tmp_path / "loans.csv", tmp_path / "scores.csv"
    loans().to_csv(source, index=False)
    target.write_text("yesterday's")
    calls = []

    def fails_later(*arguments: Any, **options: Any) -> pl.DataFrame:
        calls.append(1)
        if len(calls) > 2:
            raise OSError("disk full")
        return score_texts(*arguments, **options)

    monkeypatch.setattr(scoring, "score_texts", fails_later)
    with pytest.raises(OSError, match="disk full"):
        score_file(home, source, target)
    assert target.read_text() == "yesterday's"
    assert not list(tmp_path.glob(".*.part"))
