"""Injected defects against the real ingestion and checks: all that a rule promises to find, and no clean row."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from credit_risk_assets.checks import bronze, silver
from credit_risk_assets.tape.simulation.defect_kinds import KINDS
from credit_risk_assets.tape.simulation.recall import (
    BEGIN,
    CHECKED_KINDS,
    END,
    REJECTED_KINDS,
    Recall,
    document,
    measure_recall,
)

AS_OF = date(2022, 10, 31)
LEAST = 0.99
BALANCE_JUMP_LEAST = 0.8
"""Ten times a balance of less than a ninth of the amount is still a balance that a loan may have."""


def holds(recall: Recall) -> None:
    assert (recall.clean_rejected, dict(recall.clean_failed)) == (0, {})
    for kind in (*REJECTED_KINDS, *CHECKED_KINDS):
        assert recall.put_in[kind] > 0, kind
        least = BALANCE_JUMP_LEAST if kind == "balance_jump" else LEAST
        assert least <= recall.share(kind) <= 1, (kind, recall.lines())


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_defects_are_found_and_clean_rows_left_alone(tmp_path: Path, sail: SparkSession, seed: int) -> None:
    holds(measure_recall(tmp_path, seed=seed, loans=1_200, as_of=AS_OF))


@pytest.mark.slow
def test_defects_are_found_and_clean_rows_left_alone_over_twenty_seeds(tmp_path: Path, sail: SparkSession) -> None:
    for seed in range(4, 24):
        holds(measure_recall(tmp_path / str(seed), seed=seed, loans=1_200, as_of=AS_OF))


def test_every_kind_is_accounted_for() -> None:
    unseen = {"casing", "percent_for_ratio", "rewritten_history"}
    assert {*REJECTED_KINDS, *CHECKED_KINDS} | unseen == set(KINDS)
    warnings = {check.name for check in (*bronze.CHECKS, *silver.CHECKS) if check.severity == "WARN"}
    assert set(CHECKED_KINDS.values()) <= warnings
    page = (Path(__file__).parents[2] / "docs" / "simulator.md").read_text(encoding="utf-8")
    told = page.partition("## Defects")[2]
    assert [kind for kind in KINDS if told.count(f"`{kind}`") < 2] == []


def test_a_missed_row_and_a_false_alarm_show_in_the_table(tmp_path: Path) -> None:
    recall = Recall()
    for kind in (*REJECTED_KINDS, *CHECKED_KINDS):
        recall.put_in[kind], recall.found[kind] = 4, 4
    recall.found["sentinel"] = 3
    recall.clean_rows, recall.clean_rejected = 10, 1
    recall.clean_failed["volume_steady"] = 1
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    document(page, recall, "Small.")
    text = page.read_text()
    assert "| `sentinel` | intake, rejected | 4 | 3 | 0.7500 |" in text
    assert "10, of them rejected: 1. Checks that failed on a clean tape: volume_steady on 1." in text
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    with pytest.raises(AssertionError):
        holds(recall)
    with pytest.raises(ValueError, match="expected the lines"):
        document(Path(__file__).parents[2] / "docs" / "dashboard.md", recall, "")
