"""The report measures what the tapes show, judges it against the targets, and keeps the page up to date."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from credit_risk_assets.tape.simulation import measure
from credit_risk_assets.tape.simulation.plots import BEGIN, END, document
from credit_risk_assets.tape.simulation.report import Measure, Report, report

AS_OF = date(2022, 10, 31)
PACKAGE = Path(__file__).parents[2] / "credit_risk_assets"


@pytest.fixture(scope="module")
def made() -> Report:
    return report(9_000, as_of=AS_OF, model=False)


def of_the_portfolio(made: Report) -> dict[str, Measure]:
    """The measures but speed and memory, which are the process's, and all tests share one."""
    return {m.name: m for m in made.measures if "second" not in m.name and "memory" not in m.name}


def test_the_chains_targets_hold_on_a_small_portfolio(made: Report) -> None:
    found = of_the_portfolio(made)
    assert {name for name, line in found.items() if not line.holds} <= {
        "vintage after month 12: largest rise of the half-year growth",  # noisy on so few loans
    }
    assert found["monthly roll 30-59 to 60-89"].value == pytest.approx(0.37, abs=0.05)


def test_roll_rates_are_read_from_the_profiles() -> None:
    tape = pl.DataFrame({"payment_history_profile": ["10000", "21000", "00100", "L5432", "EE000", "B"]})
    rolls = measure.roll_rates(tape, months=4)
    assert rolls[0].tolist() == pytest.approx([9 / 13, 3 / 13, 0, 0, 0, 0, 0, 0, 1 / 13])
    assert rolls[1].tolist() == pytest.approx([0.5, 0, 0.5, 0, 0, 0, 0, 0, 0])
    assert rolls[5, 7] == 1


def test_the_month_of_default_is_counted_from_the_first_tape() -> None:
    first = pl.DataFrame({"loan_id": ["a", "b", "c"], "loan_status": ["current"] * 3})
    second = pl.DataFrame(
        {"loan_id": ["a", "b", "c"], "payment_history_profile": ["LL543210000000", "0" * 14, "0" * 14]}
    )
    third = pl.DataFrame({"loan_id": ["b", "c"], "payment_history_profile": ["3" + "0" * 25, "0" * 26]})
    assert measure.default_months(first, second, third)["default_month"].to_list() == [8, 24, None]


def test_auc_is_the_chance_to_rank_a_pair_rightly() -> None:
    outcome, score = np.array([1, 1, 0, 0, 0]), np.array([0.9, 0.4, 0.5, 0.4, 0.1])
    assert measure.auc(outcome, score) == pytest.approx(4.5 / 6)


def test_a_measure_knows_its_band() -> None:
    assert Measure("x", 0.5, 0.5, 0.6).holds
    assert not Measure("x", 0.61, None, 0.6).holds
    assert [Measure("x", 1, *band).band for band in ((0.1, 0.2), (None, 0.2), (0.1, None), (None, None))] == [
        "0.100 to 0.200",
        "at most 0.200",
        "at least 0.100",
        "no target",
    ]


def test_the_page_gets_its_table_and_plots(made: Report, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\noutdated\n{END}\nafter\n", encoding="utf-8")
    files = document(page, made)
    text = page.read_text(encoding="utf-8")
    assert "| oracle AUC, all latents known | 0.890 to 0.920 |" in text
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "outdated" not in text
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in files[1:])
    page.write_text("no markers", encoding="utf-8")
    with pytest.raises(ValueError, match="expected the lines"):
        document(page, made)


def test_no_code_of_the_pipeline_reads_the_truth() -> None:
    # The contract names the truth's columns only to refuse a tape that carries them.
    own = [
        PACKAGE / "tape" / "simulate.py",
        PACKAGE / "tape" / "contract.py",
        # what holds a finished model against the truth, by a command of its own
        PACKAGE / "modelling" / "oracle.py",
        PACKAGE / "commands" / "model_oracle.py",
        *(PACKAGE / "tape" / "simulation").iterdir(),
    ]
    for file in PACKAGE.rglob("*.py"):
        if file in own:
            continue
        text = file.read_text(encoding="utf-8")
        assert "pd_12m_observable" not in text, file
        assert "simulation.truth" not in text, file


@pytest.mark.slow
def test_every_target_holds_with_the_platforms_own_model() -> None:
    made = report(50_000, as_of=AS_OF)
    assert [name for name, measure in of_the_portfolio(made).items() if not measure.holds] == []
