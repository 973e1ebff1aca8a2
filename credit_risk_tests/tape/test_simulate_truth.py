"""The sealed truth is what then happens: probabilities match frequencies, losses match recoveries."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.stats import rankdata

from credit_risk_assets.tape import contract
from credit_risk_assets.tape.simulate import SimulationError, simulate
from credit_risk_assets.tape.simulation.blocks import BlockTask, draw_block
from credit_risk_assets.tape.simulation.chain import Hazard
from credit_risk_assets.tape.simulation.parameters import CHARGED_OFF, CODE_3, PAID_OFF, SUBPRIME
from credit_risk_assets.tape.simulation.standing import balance_after, collateral_at, recovery_rate
from credit_risk_assets.tape.simulation.truth import default_loss, observable_pd, oracle_defaults

AS_OF = date(2022, 10, 31)
MONTH = 71


def auc(outcome: np.ndarray, score: np.ndarray) -> float:
    ranks, bad = rankdata(score), int(outcome.sum())
    return float((ranks[outcome].sum() - bad * (bad + 1) / 2) / (bad * (len(outcome) - bad)))


@pytest.fixture(scope="module")
def year() -> dict[str, np.ndarray]:
    """PDs at month 71 of three blocks and what happened in the year after."""
    hazard = Hazard(SUBPRIME.chain)
    parts: list[dict[str, np.ndarray]] = []
    for block in range(3):
        loans, history = draw_block(BlockTask(11, block, AS_OF, (MONTH,), True), hazard, end=MONTH + 24)
        snapshot = history.snapshots[MONTH]
        mine = np.flatnonzero((snapshot.state < CODE_3) & (loans.month <= MONTH))
        after = history.states[MONTH + 1 :, mine]
        late = (after >= CODE_3) & (after <= CHARGED_OFF)
        outcome = late[:12].any(axis=0)
        defaults = oracle_defaults(loans, snapshot, mine, hazard)
        stressed = defaults[1] / defaults.sum(axis=0)
        first = late.argmax(axis=0)
        begun = np.arange(len(after))[:, None] >= first
        ended = begun & ((after < CODE_3) | (after == PAID_OFF))
        end = np.where(ended.any(axis=0), ended.argmax(axis=0), len(after))
        written = (after == CHARGED_OFF) & begun & (np.arange(len(after))[:, None] < end)
        taken = loans.take(mine)
        age = MONTH - taken.month
        balance = balance_after(taken, np.clip(age - snapshot.state[mine].astype(int), 0, taken.term))
        value = collateral_at(taken, age + 6)
        recovered = recovery_rate(taken, balance, value, SUBPRIME.severity, taken.recovery_noise)
        parts.append(
            {
                "outcome": outcome,
                "oracle": defaults.sum(axis=0),
                "observable": observable_pd(loans, history, snapshot, mine, hazard),
                "lgd": default_loss(loans, snapshot, mine, stressed, hazard, SUBPRIME),
                "loss": written.any(axis=0) * (1 - recovered),
                "secured": taken.secured,
            }
        )
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


@pytest.mark.parametrize("which", ["oracle", "observable"])
def test_probabilities_match_frequencies_in_every_tenth(year: dict[str, np.ndarray], which: str) -> None:
    order = np.argsort(year[which])
    for group in np.array_split(order, 10):
        expected, seen = year[which][group].mean(), year["outcome"][group].mean()
        error = np.sqrt((year[which][group] * (1 - year[which][group])).sum()) / len(group)
        assert abs(expected - seen) < 4 * error


def test_who_knows_more_ranks_better_and_both_ceilings_are_in_their_bands(
    year: dict[str, np.ndarray],
) -> None:
    oracle, observable = (auc(year["outcome"], year[name]) for name in ("oracle", "observable"))
    assert 0.89 < oracle < 0.92
    assert 0.88 < observable < 0.91
    assert observable < oracle
    assert 0.08 < year["outcome"].mean() < 0.12


def test_expected_losses_match_what_charge_offs_cost(year: dict[str, np.ndarray]) -> None:
    bad = year["outcome"]
    for kind in (bad & year["secured"], bad & ~year["secured"]):
        realised, expected = year["loss"][kind], year["lgd"][kind]
        assert realised.mean() == pytest.approx(expected.mean(), abs=4 * realised.std() / np.sqrt(kind.sum()))
    assert year["lgd"][year["secured"]].mean() < 0.6 * year["lgd"][~year["secured"]].mean()


def test_truth_files_hold_the_loans_on_book_and_nothing_of_them_is_on_a_tape(tmp_path: Path) -> None:
    result = simulate(2_000, tmp_path / "tapes", as_of=AS_OF, truth=tmp_path / "sealed")
    assert [file.name for file in result.truth_files] == [
        f"loan_portfolio_truth_{year}-10-31.csv" for year in (2020, 2021, 2022)
    ]
    tape = pl.read_csv(tmp_path / "tapes" / "loan_portfolio_data.csv", infer_schema_length=None)
    truth = pl.read_csv(result.truth_files[-1])
    assert truth.columns == ["loan_id", "as_of_date", "pd_12m", "pd_12m_observable", "lgd"]
    assert not set(tape.columns) & {"pd_12m", "pd_12m_observable", "lgd"}
    on_book = tape.filter(pl.col("loan_status").is_in(contract.ON_BOOK_STATUSES))
    assert truth["loan_id"].to_list() == on_book["loan_id"].to_list()
    joined = truth.join(on_book, on="loan_id")
    assert joined.filter(pl.col("current_dpd") >= 90)["pd_12m"].unique().to_list() == [1.0]
    assert joined.filter(pl.col("current_dpd") < 90)["pd_12m"].is_between(0, 1, closed="none").all()
    assert joined["lgd"].is_between(0, 1).all()


def test_the_truth_cannot_be_written_among_the_tapes(tmp_path: Path) -> None:
    for truth in (tmp_path, tmp_path / "below"):
        with pytest.raises(SimulationError, match="give a folder of its own"):
            simulate(10, tmp_path, as_of=AS_OF, truth=truth)
