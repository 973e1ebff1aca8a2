"""Expected credit loss of a loan under IFRS 9: stage, lifetime default probability and discounted losses.

ECL = sum over months t of P(default in t) x LGD x EAD(t) x discount(t), weighted over the scenarios (5.5.17); the
first twelve months of it in stage 1 (5.5.5), the whole remaining term in stages 2 (5.5.3) and 3.

- P(default in t): a constant hazard a month that gives the model's PD over the first twelve months, times
  `later_hazard` for each further year. A default is 90 days past due, so the last instalment can still end in one
  three months after the contract's end; a loan with less than twelve months to go has its whole PD until then, because
  the PD is measured on such loans too.
- EAD(t): the balance on the contract's schedule, after the instalments that a loan in default at t has paid: those due
  four and more months before. A loan past its term owes all of it.
- Discount: the contract's rate a month, in place of the effective rate that fees would change (B5.5.44).
- Stage 3: LGD x balance; nothing is left to wait for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from credit_risk_assets.config.settings import EclSettings
from credit_risk_assets.config.tables import SIGNIFICANT_INCREASES
from credit_risk_assets.credit.delinquency import in_default_sql

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MONTHS_TO_DEFAULT = 3
"""Months from an unpaid instalment to 90 days past due."""
BACKSTOP_DPD = 30
"""Days past due from which the credit risk has risen significantly at the latest (5.5.11)."""
IN_DEFAULT, PAST_DUE, PD_ROSE = SIGNIFICANT_INCREASES
CHUNK_LOANS = 100_000
_CERTAIN = 1 - 1e-12

INPUT_SQL = (
    "loan_id",
    "as_of_date",
    f"case when {in_default_sql()} then 1 else 0 end as in_default",
    "current_dpd",
    "interest_rate",
    "remaining_months",
    "lgd_estimate as lgd",
    "exposure_at_default as ead",
    "pd_proxy",
)
"""What the expected loss needs of a loan of silver, beside `pd_12m` and `first_pd_proxy`."""
ECL_SCHEMA = (
    "loan_id string, as_of_date date, stage int, significant_increase string, pd_12m double, pd_lifetime double, "
    "pd_initial double, lgd double, ead double, horizon_months int, expected_loss_12m double, ecl_12m double, "
    "ecl_lifetime double, ecl double"
)
"""Schema of gold/expected_credit_loss, for DataFrame.mapInArrow."""
_ARROW_TYPES = {"string": pa.string(), "date": pa.date32(), "int": pa.int32(), "double": pa.float64()}
_ARROW_SCHEMA = pa.schema(
    [(name, _ARROW_TYPES[kind]) for name, kind in (column.split() for column in ECL_SCHEMA.split(", "))]
)


def horizon_months(remaining_months: Ints) -> Ints:
    """Months in which a loan can default: its remaining term and the time from its last instalment to default."""
    return np.maximum(remaining_months, 0) + MONTHS_TO_DEFAULT


def monthly_hazard(pd_12m: Floats, horizon: Ints) -> Floats:
    """Hazard a month, in logs, that gives the PD over twelve months or a shorter horizon."""
    hazard: Floats = -np.log1p(-np.minimum(pd_12m, _CERTAIN)) / np.minimum(horizon, 12)
    return hazard


def lifetime_pd(pd_12m: Floats, horizon: Ints, later_hazard: float = 1.0) -> Floats:
    """Probability of default over the horizon; never below that over twelve months."""
    hazard, total = monthly_hazard(pd_12m, horizon), np.zeros(len(pd_12m))
    for year in range(-(-int(horizon.max(initial=0)) // 12)):
        months = np.clip(horizon - 12 * year, 0, 12)
        total += hazard * later_hazard**year * months
    pd_lifetime: Floats = -np.expm1(-total)
    return np.where(pd_12m >= 1, 1.0, pd_lifetime)


@dataclass(frozen=True)
class Losses:
    """Scenario-weighted losses of performing loans, in the currency of the exposure."""

    twelve_months: Floats
    lifetime: Floats


def discounted_losses(
    pd_12m: Floats, lgd: Floats, ead: Floats, annual_percent: Floats, remaining_months: Ints, settings: EclSettings
) -> Losses:
    """Losses over twelve months and over the horizon, discounted and weighted over the scenarios.

    `annual_percent` is the contract's rate a year in percent; `ead` the balance now. Months are walked one by one over
    the loans that still run, longest first, so that memory stays at a few columns.
    """
    horizon = horizon_months(remaining_months)
    order = np.argsort(-horizon, kind="stable")
    horizon, term = horizon[order], np.maximum(remaining_months[order], 0)
    rate, balance = annual_percent[order] / 1200, ead[order].copy()
    payment = _payment(balance, rate, term)
    hazard = monthly_hazard(pd_12m[order], horizon)
    discount, alive = np.ones(len(order)), [np.ones(len(order)) for _ in settings.scenarios]
    totals = [np.zeros(len(order)) for _ in settings.scenarios]
    first_year: list[Floats] = [total.copy() for total in totals]
    survives: list[Floats] = []
    for month in range(1, int(horizon.max(initial=0)) + 1):
        running = int(np.searchsorted(-horizon, -month, side="right"))
        now = slice(0, running)
        if month % 12 == 1:
            factor = settings.later_hazard ** (month // 12)
            survives = [np.exp(-hazard[now] * (s.pd_factor * factor)) for s in settings.scenarios]
        discount[now] /= 1 + rate[now]
        if month > MONTHS_TO_DEFAULT + 1:
            # A loan past its term never comes here: its horizon ends before.
            balance[now] = np.maximum(balance[now] * (1 + rate[now]) - payment[now], 0.0)
        worth = balance[now] * discount[now]
        for place, total in enumerate(totals):
            left = alive[place][now] * survives[place][now]
            total[now] += (alive[place][now] - left) * worth
            alive[place][now] = left
        if month == 12:
            first_year = [total.copy() for total in totals]
    if horizon.max(initial=0) < 12:
        first_year = totals
    return Losses(
        _weighted(first_year, lgd, order, settings),
        _weighted(totals, lgd, order, settings),
    )


def _payment(balance: Floats, rate: Floats, term: Ints) -> Floats:
    """Instalment that repays the balance over the remaining term."""
    months = np.maximum(term, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        annuity = balance * rate / -np.expm1(-months * np.log1p(rate))
    return np.where(rate > 0, annuity, balance / months)


def _weighted(totals: list[Floats], lgd: Floats, order: NDArray[np.intp], settings: EclSettings) -> Floats:
    weighted = np.zeros(len(lgd))
    for scenario, total in zip(settings.scenarios, totals, strict=True):
        back = np.empty(len(lgd))
        back[order] = total
        weighted += scenario.weight * np.minimum(lgd * scenario.lgd_factor, 1.0) * back
    return weighted


def initial_pd(pd_12m: Floats, proxy_now: Floats, proxy_first: Floats) -> Floats:
    """PD at the first tape that names the loan: today's, carried back by the change of the rule-based PD.

    No model score of that day is at hand; the rule-based PD is on every tape by the same rules, so its change is
    like with like.
    """
    carried: Floats = pd_12m * proxy_first / np.maximum(proxy_now, 1e-9)
    return np.clip(carried, 0.0, 1.0)


def significant_increases(
    in_default: NDArray[np.bool_], dpd: Ints, pd_12m: Floats, pd_initial: Floats, settings: EclSettings
) -> NDArray[np.object_]:
    """Why a loan has left stage 1, the gravest reason; None where it has not.

    In default; 30 or more days past due (5.5.11); a hazard that has become `significant_ratio` times the initial one,
    with the PD up by `significant_rise` at least (5.5.9). The hazard is the lifetime PD's a month: both PDs run over
    the same remaining term, so their ratio is the lifetime ratio free of the term's length (B5.5.13).
    """
    now, then = (-np.log1p(-np.minimum(pd, _CERTAIN)) for pd in (pd_12m, pd_initial))
    rose = (now >= settings.significant_ratio * then) & (pd_12m - pd_initial >= settings.significant_rise)
    reasons = np.full(len(pd_12m), None, dtype=object)
    reasons[rose] = PD_ROSE
    reasons[dpd >= BACKSTOP_DPD] = PAST_DUE
    reasons[in_default] = IN_DEFAULT
    return reasons


def expected_credit_loss(loans: pa.Table, settings: EclSettings) -> pa.Table:
    """One row per loan with stage and losses (`ECL_SCHEMA`), from columns as `INPUT_SQL`, pd_12m, first_pd_proxy."""

    def numbers(name: str) -> Floats:
        found: Floats = loans[name].to_numpy().astype(float)
        return found

    pd_12m, lgd, ead = numbers("pd_12m"), numbers("lgd"), numbers("ead")
    remaining = numbers("remaining_months").astype(np.int64)
    proxy_now = numbers("pd_proxy")
    first = numbers("first_pd_proxy")
    pd_initial = initial_pd(pd_12m, proxy_now, np.where(np.isnan(first), proxy_now, first))
    in_default = numbers("in_default") > 0
    dpd = numbers("current_dpd").astype(np.int64)
    reasons = significant_increases(in_default, dpd, pd_12m, pd_initial, settings)
    told = pa.array(reasons, pa.string())
    risen = told.is_valid().to_numpy(zero_copy_only=False)
    stage = np.where(in_default, 3, np.where(risen, 2, 1)).astype(np.int32)
    horizon = np.where(in_default, 0, horizon_months(remaining))
    losses = discounted_losses(pd_12m, lgd, ead, numbers("interest_rate"), remaining, settings)
    now = ead * sum(s.weight * np.minimum(lgd * s.lgd_factor, 1.0) for s in settings.scenarios)
    twelve = np.where(in_default, now, losses.twelve_months)
    lifetime = np.where(in_default, now, losses.lifetime)
    columns = {
        "loan_id": loans["loan_id"],
        "as_of_date": loans["as_of_date"],
        "stage": stage,
        "significant_increase": told,
        "pd_12m": pd_12m,
        "pd_lifetime": np.where(in_default, 1.0, lifetime_pd(pd_12m, horizon_months(remaining), settings.later_hazard)),
        "pd_initial": pd_initial,
        "lgd": lgd,
        "ead": ead,
        "horizon_months": horizon.astype(np.int32),
        "expected_loss_12m": pd_12m * lgd * ead,
        "ecl_12m": twelve,
        "ecl_lifetime": lifetime,
        "ecl": np.where(stage == 1, twelve, lifetime),
    }
    return pa.table(columns).cast(_ARROW_SCHEMA)


def make_impairment(settings: EclSettings) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """The function for DataFrame.mapInArrow; batches are put together so that months are walked seldom."""

    def impair(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        held: list[pa.RecordBatch] = []
        for batch in batches:
            held.append(batch)
            if sum(len(part) for part in held) >= CHUNK_LOANS:
                yield from expected_credit_loss(pa.Table.from_batches(held), settings).to_batches()
                held = []
        if held:
            yield from expected_credit_loss(pa.Table.from_batches(held), settings).to_batches()

    return impair
