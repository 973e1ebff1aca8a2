"""What is measured on a simulated portfolio: rolls, cures and vintages as its tapes show them, and rankings."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl

from credit_risk_assets.tape import contract
from credit_risk_assets.tape.simulation.blocks import BlockTask, draw_block
from credit_risk_assets.tape.simulation.chain import Hazard
from credit_risk_assets.tape.simulation.parameters import CHARGED_OFF, CODE_3, LATEST, SUBPRIME
from credit_risk_assets.tape.simulation.rows import on_tape

CODES = "0123456"
LABEL = "default_12m"
UNDERWRITING = (
    "score",
    "utilization",
    "dti",
    "income",
    "amount",
    "rate",
    "term",
    "age",
    "employment_years",
    "history_months",
    "accounts",
    "family",
    "purpose",
    "employment",
    "education",
    "collateral",
)
"""What underwriting knew of a loan, by the simulator's own names."""


def auc(outcome: np.ndarray, score: np.ndarray) -> float:
    """Area under the ROC curve by mid-ranks."""
    from scipy.stats import rankdata

    bad = outcome.astype(bool)
    ranks, count = rankdata(score), int(bad.sum())
    return float((ranks[bad].sum() - count * (count + 1) / 2) / (count * (len(bad) - count)))


def observed(earlier: pl.DataFrame, later: pl.DataFrame) -> pl.DataFrame:
    """Performing loans of a tape with `default_12m`, read from the tape twelve months later."""
    performing = earlier.filter(pl.col("loan_status").is_in(["current", "delinquent"]))
    after = later.select("loan_id", _later="payment_history_profile")
    bad = pl.col("_later").str.slice(0, 12).str.contains(f"[{contract.DEFAULT_CODES}]")
    joined = performing.join(after, on="loan_id", maintain_order="left")
    return joined.with_columns(bad.cast(pl.Int32).alias(LABEL)).drop("_later")


def roll_rates(tape: pl.DataFrame, months: int = 12) -> np.ndarray:
    """Monthly transitions over the tape's last year: from codes 0 to 6 (rows) to codes 0 to 6, L and E (columns)."""
    profile = tape["payment_history_profile"]
    counts = np.zeros((7, 9))
    order = f"{CODES}LE"
    for back in range(months):
        pair = profile.str.slice(back, 2).value_counts()
        for text, count in pair.iter_rows():
            if len(text) == 2 and text[1] in CODES and text[0] in order:
                counts[CODES.index(text[1]), order.index(text[0])] += count
    with np.errstate(invalid="ignore"):
        return counts / counts.sum(axis=1, keepdims=True)


def vintage_curve(loans: int, seed: int, as_of: date, months: int = 48) -> np.ndarray:
    """Share of loans that ever reached 90+ DPD by months on book, over all loans old enough (from the chain)."""
    hazard, done, block = Hazard(SUBPRIME.chain), 0, 0
    ever, lent = np.zeros(months + 1), np.zeros(months + 1)
    while done < loans:
        drawn, history = draw_block(BlockTask(seed, block, as_of, (LATEST,)), hazard)
        late = (history.states >= CODE_3) & (history.states <= CHARGED_OFF)
        rows = np.arange(late.shape[0])[:, None]
        first = np.where((late & (rows > drawn.month)).any(axis=0), late.argmax(axis=0), 10_000)
        age, known = first - drawn.month, LATEST - drawn.month
        for mob in range(months + 1):
            ever[mob] += ((age <= mob) & (known >= mob)).sum()
            lent[mob] += (known >= mob).sum()
        done += len(on_tape(drawn, history.snapshots[LATEST]))
        block += 1
    return ever / np.maximum(lent, 1)


def default_months(first: pl.DataFrame, second: pl.DataFrame, third: pl.DataFrame) -> pl.DataFrame:
    """Performing loans of the first of three yearly tapes with the month (1 to 24) of first default, null if none."""
    start = first.filter(pl.col("loan_status").is_in(["current", "delinquent"]))
    for name, tape in (("_second", second), ("_third", third)):
        start = start.join(
            tape.select("loan_id", pl.col("payment_history_profile").alias(name)),
            on="loan_id", how="left", maintain_order="left",
        )  # fmt: skip

    def oldest(name: str) -> pl.Expr:
        year = pl.col(name).str.slice(0, 12).str.reverse()
        return year.str.find(f"[{contract.DEFAULT_CODES}]") + 1

    month = pl.coalesce(oldest("_second"), oldest("_third") + 12)
    return start.with_columns(month.alias("default_month")).drop("_second", "_third")


def origination_features(loans: int, seed: int, as_of: date) -> pl.DataFrame:
    """What underwriting knew of every loan, by `loan_id`: the borrower, the bureau and the terms at the start."""
    hazard, parts, done, block = Hazard(SUBPRIME.chain), [], 0, 0
    while done < loans:
        drawn, history = draw_block(BlockTask(seed, block, as_of, (LATEST,)), hazard)
        first = block * len(drawn)
        frame = pl.DataFrame({name: getattr(drawn, name) for name in UNDERWRITING})
        frame = frame.with_columns(
            loan_id=pl.format("L{}", pl.Series((drawn.number + first).astype(str)).str.zfill(10)),
            ltv=pl.when(pl.col("collateral") > 0).then(pl.col("amount") / pl.col("collateral")),
            loan_to_income=pl.col("amount") / pl.col("income"),
        )
        parts.append(frame)
        done += len(on_tape(drawn, history.snapshots[LATEST]))
        block += 1
    return pl.concat(parts)


def single_feature_aucs(sample: pl.DataFrame, names: list[str]) -> dict[str, float]:
    """AUC of each numeric feature alone, in the better direction; nulls count as the lowest value."""
    label = sample[LABEL].to_numpy()
    found = {}
    for name in names:
        if sample[name].dtype.is_numeric():
            value = auc(label, sample[name].cast(pl.Float64).fill_null(-1e12).to_numpy())
            found[name] = max(value, 1 - value)
    return found
