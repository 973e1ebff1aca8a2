"""Injected defects against the real ingestion and checks: all that a rule promises to find, and no clean row."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from credit_risk_assets.checks import bronze, history, silver
from credit_risk_assets.tape.simulation.defect_kinds import KINDS
from credit_risk_assets.tape.simulation.recall import (
    BEGIN,
    CHECKED_KINDS,
    DRIFT,
    DRIFT_CHECK,
    END,
    REJECTED_KINDS,
    Recall,
    document,
    measure_recall,
)

AS_OF = date(2022, 10, 31)
LEAST = 0.99


def holds(recall: Recall) -> None:
    assert (recall.clean_rejected, recall.clean_named, dict(recall.clean_failed)) == (0, 0, {})
    for kind in (*REJECTED_KINDS, *CHECKED_KINDS, DRIFT):
        assert recall.put_in[kind] > 0, kind
        assert recall.share(kind) >= LEAST, (kind, recall.lines())
    assert recall.share(DRIFT) == 1


def total(folder: Path, seeds: Iterable[int]) -> Recall:
    recall = Recall()
    for seed in seeds:
        recall.add(measure_recall(folder / str(seed), seed=seed, loans=1_200, as_of=AS_OF))
    return recall


def test_defects_are_found_and_clean_rows_left_alone(tmp_path: Path, sail: SparkSession) -> None:
    holds(total(tmp_path, [2]))


@pytest.mark.slow
def test_defects_are_found_and_clean_rows_left_alone_over_twenty_seeds(tmp_path: Path, sail: SparkSession) -> None:
    recall = total(tmp_path, range(4, 24))
    holds(recall)
    assert recall.put_in[DRIFT] == 20


def test_every_kind_is_accounted_for() -> None:
    assert {*REJECTED_KINDS, *CHECKED_KINDS, "casing"} == set(KINDS)
    checks = (*bronze.CHECKS, *history.CHECKS, *silver.CHECKS)
    warnings = {check.name for check in checks if check.severity == "WARN"}
    assert {*CHECKED_KINDS.values(), DRIFT_CHECK} <= warnings
    page = (Path(__file__).parents[2] / "docs" / "simulator.md").read_text(encoding="utf-8")
    told = page.partition("## Defects")[2]
    assert [kind for kind in KINDS if told.count(f"`{kind}`") < 2] == []


def test_a_missed_row_and_a_false_alarm_show_in_the_table(tmp_path: Path) -> None:
    recall = Recall()
    for kind in (*REJECTED_KINDS, *CHECKED_KINDS, DRIFT):
        recall.put_in[kind], recall.found[kind] = 4, 4
    recall.found["sentinel"] = 3
    recall.clean_rows, recall.clean_rejected, recall.clean_named = 10, 1, 2
    recall.clean_failed["volume_steady"] = 1
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    document(page, recall, "Small.")
    text = page.read_text()
    assert "| `sentinel` | intake, rejected | 4 rows | 3 | 0.7500 |" in text
    assert "| `drift` | WARN `distribution_steady` | 4 tapes | 4 | 1.0000 |" in text
    assert "10, of them rejected: 1, named by one of these checks: 2." in text
    assert "Checks that failed on a clean portfolio: volume_steady on 1." in text
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    with pytest.raises(AssertionError):
        holds(recall)
    with pytest.raises(ValueError, match="expected the lines"):
        document(Path(__file__).parents[2] / "docs" / "dashboard.md", recall, "")
