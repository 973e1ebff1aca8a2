"""The simulator's targets, measured: what the portfolio shows, what can be known, and what the platform's model gets.

This is the only place of the simulator that looks at the platform's features and model, and it does so when called.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl

from credit_risk_assets.tape.simulation import measure
from credit_risk_assets.tape.simulation.timeline import check_as_of, last_month_end

ORDER = ("Low", "Medium", "High", "Very High")


@dataclass(frozen=True)
class Measure:
    """One line of the report: what, its band (inclusive; None where open), and the value found."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    digits: int = 3

    @property
    def holds(self) -> bool:
        """Whether the value lies in its band."""
        return (self.low is None or self.value >= self.low) and (self.high is None or self.value <= self.high)

    @property
    def band(self) -> str:
        """The band in words."""
        low, high = (None if end is None else f"{end:,.{self.digits}f}" for end in (self.low, self.high))
        if low is None or high is None:
            return f"at most {high}" if high else f"at least {low}" if low else "no target"
        return f"{low} to {high}"


@dataclass(frozen=True)
class Report:
    """Every measure of one simulated portfolio, with the curves behind the plots."""

    loans: int
    seed: int
    measures: tuple[Measure, ...]
    rolls: np.ndarray
    vintage: np.ndarray
    by_category: dict[str, np.ndarray]
    sample: pl.DataFrame

    @property
    def holds(self) -> bool:
        """Whether every target is met."""
        return all(measure.holds for measure in self.measures)

    def lines(self) -> list[str]:
        """The report as a Markdown table."""
        rows = ["| measure | target | found | |", "|---|---|---|---|"]
        for m in self.measures:
            state = "" if m.low is None and m.high is None else "holds" if m.holds else "falls short"
            rows.append(f"| {m.name} | {m.band} | {m.value:,.{m.digits}f} | {state} |")
        return rows


def report(
    loans: int = 50_000,
    *,
    seed: int = 20_240_131,
    as_of: date | None = None,
    model: bool = True,
    progress: Callable[[str, float], None] | None = None,
) -> Report:
    """Simulate a portfolio into a temporary folder and measure every target on it.

    Without `model` neither the platform's features nor its model are needed. At 200,000 loans and more the model
    may fall short of the observable ceiling by 0.012, below that by 0.020.
    """
    as_of = check_as_of(as_of or last_month_end())

    def say(label: str, share: float) -> None:
        if progress is not None:
            progress(label, share)

    say("simulating", 0.0)
    with tempfile.TemporaryDirectory() as folder:
        speed = _speed(loans, seed, as_of, Path(folder))
        tapes = [pl.read_parquet(file) for file in sorted((Path(folder) / "parquet").glob("loan_portfolio_data_*"))]
        tapes.append(pl.read_parquet(Path(folder) / "parquet" / "loan_portfolio_data.parquet"))
        truth = pl.concat(pl.read_parquet(file) for file in sorted((Path(folder) / "truth").iterdir()))
    say("measuring the chain", 0.3)
    samples = [measure.observed(*pair) for pair in pairwise(tapes)]
    tested = samples[-1].join(truth, on=["loan_id", "as_of_date"], how="left", maintain_order="left")
    label = tested[measure.LABEL].to_numpy()
    oracle, ceiling = (measure.auc(label, tested[name].to_numpy()) for name in ("pd_12m", "pd_12m_observable"))
    found = _default_rates(samples, truth, as_of)
    found += [Measure("oracle AUC, all latents known", oracle, 0.89, 0.92)]
    found += [Measure("observable ceiling AUC", ceiling, 0.88, 0.91)]
    rolls = measure.roll_rates(tapes[-1])
    vintage = measure.vintage_curve(loans, seed, as_of)
    found += _chain(rolls, vintage)
    by_category: dict[str, np.ndarray] = {}
    if model:
        say("training the platform's model", 0.5)
        found += _model(samples, label, ceiling, loans)
        say("training on origination features", 0.8)
        found += [Measure("AUC of origination features alone", _origination(samples, loans, seed, as_of), 0.75, 0.82)]
        by_category = _by_category(tapes)
        ordered = [by_category[name] for name in ORDER]
        gaps = [float((worse[3:] - better[3:]).min()) for better, worse in pairwise(ordered)]
        found += [Measure("vintages by risk category: least gap between neighbours", min(gaps), 0.0)]
    return Report(loans, seed, (*found, *speed), rolls, vintage, by_category, tested)


def _speed(loans: int, seed: int, as_of: date, folder: Path) -> list[Measure]:
    from credit_risk_assets.tape.simulate import simulate

    # Processor time over all threads: the figure stays the same on a busy machine.
    begin = time.process_time()
    result = simulate(loans, folder / "untold", seed=seed, as_of=as_of, format="parquet")
    parquet = time.process_time() - begin
    begin = time.process_time()
    simulate(loans, folder / "csv", seed=seed, as_of=as_of)
    csv = time.process_time() - begin
    # Linux counts in kilobytes, macOS in bytes.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    simulate(loans, folder / "parquet", seed=seed, as_of=as_of, format="parquet", truth=folder / "truth")
    rows = sum(result.rows.values())
    return [
        Measure("tape rows to Parquet a second of one core", rows / parquet, 100_000, None, 0),
        Measure("tape rows to CSV a second of one core", rows / csv, None, None, 0),
        Measure("peak memory, MB", peak, None, 1_024, 0),
    ]


def _default_rates(samples: list[pl.DataFrame], truth: pl.DataFrame, as_of: date) -> list[Measure]:
    def rate(frame: pl.DataFrame, column: str) -> float:
        return float(frame[column].to_numpy().mean())

    measures = [
        Measure(f"12-month default rate from {sample['as_of_date'][0]}", rate(sample, measure.LABEL), 0.08, 0.12)
        for sample in samples
    ]
    ahead = truth.filter((pl.col("as_of_date") == as_of) & (pl.col("pd_12m") < 1))
    return [*measures, Measure(f"mean true PD at {as_of}", rate(ahead, "pd_12m"), 0.08, 0.12)]


def _chain(rolls: np.ndarray, vintage: np.ndarray) -> list[Measure]:
    cures = [float(rolls[code, 0]) for code in (1, 2, 3)]
    # Growth a half-year from month 12 on; concave where no half-year brings more than the one before.
    steps = np.diff(vintage[12::6])
    return [
        Measure("monthly roll 0-29 to 30-59", float(rolls[0, 1]), None, None),
        Measure("monthly roll 30-59 to 60-89", float(rolls[1, 2]), 0.20, 0.40),
        Measure("monthly roll 60-89 to 90-119", float(rolls[2, 3]), 0.45, 0.70),
        *(Measure(f"monthly cure from code {code}", cure) for code, cure in zip((1, 2, 3), cures, strict=True)),
        Measure("fall of cures with depth, least step", min(cures[0] - cures[1], cures[1] - cures[2]), 0.0),
        Measure("ever 90+ DPD by month 12", float(vintage[12])),
        Measure("ever 90+ DPD by month 24", float(vintage[24])),
        Measure("ever 90+ DPD by month 36", float(vintage[36])),
        Measure("vintage after month 12: largest rise of the half-year growth", float(np.diff(steps).max()), None, 0.0),
    ]


def _model(samples: list[pl.DataFrame], label: np.ndarray, ceiling: float, loans: int) -> list[Measure]:
    from credit_risk_assets.config.settings import ModelSettings
    from credit_risk_assets.credit.features import add_features, model_features
    from credit_risk_assets.modelling.train import train_default_model

    sample = pl.concat(add_features(part) for part in samples)
    sample = sample.with_columns(observation_date=pl.col("as_of_date"))
    trained = train_default_model(sample, ModelSettings())
    got = measure.auc(trained.label, trained.predicted)
    newest = sample.filter(pl.col("observation_date") == trained.test_date)
    singles = measure.single_feature_aucs(newest, [feature.name for feature in model_features()])
    best = max(singles, key=lambda name: singles[name])
    assert len(label) == len(trained.label)
    return [
        Measure("the platform's XGBoost, out-of-time AUC", got, 0.87, 0.89),
        Measure("gap to the observable ceiling", ceiling - got, None, 0.012 if loans >= 200_000 else 0.020, 4),
        Measure(f"best single feature ({best})", singles[best], None, 0.95),
    ]


def _origination(samples: list[pl.DataFrame], loans: int, seed: int, as_of: date) -> float:
    from credit_risk_assets.config.settings import ModelSettings
    from credit_risk_assets.modelling.train import fit

    known = measure.origination_features(loans, seed, as_of)
    names = [name for name in known.columns if name not in ("loan_id", "collateral")]
    train, test = (
        part.select("loan_id", "customer_id", measure.LABEL).join(known, on="loan_id", maintain_order="left")
        for part in samples[-2:]
    )
    label = train[measure.LABEL].to_numpy().astype(np.int64)
    trained = fit(train, label, names, ModelSettings(), groups=train["customer_id"].to_numpy(), text=[])
    return measure.auc(test[measure.LABEL].to_numpy(), trained.model.probability(trained.encoders.transform(test)))


def _by_category(tapes: list[pl.DataFrame]) -> dict[str, np.ndarray]:
    from credit_risk_assets.credit.features import add_features

    loans = add_features(measure.default_months(*tapes[-3:]), ["risk_category"])
    curves = {}
    for name in ORDER:
        months = loans.filter(pl.col("risk_category") == name)["default_month"]
        reached = months.fill_null(99).to_numpy()
        curves[name] = np.array([(reached <= month).mean() for month in range(25)])
    return curves
