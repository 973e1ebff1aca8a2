"""Which version of the default model decides about loans, who decided so, and how to go back.

`gold/model_decisions` is the record: it only grows, and its last row names the champion. MLflow's aliases follow it.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from credit_risk_assets.config.settings import ModelSettings, Settings
from credit_risk_assets.config.tables import (
    CHALLENGER,
    CHAMPION,
    MODEL_DECISIONS,
    MODEL_NAME,
    MODEL_PERFORMANCE,
    MODEL_VALIDATION,
)
from credit_risk_assets.modelling.figures import Figure
from credit_risk_assets.modelling.gate import Criterion, Evidence, judge, objections
from credit_risk_assets.resources.commits import IdempotenceKey, arrow_rows
from credit_risk_assets.resources.lake_log import LakeLog

if TYPE_CHECKING:
    from credit_risk_assets.resources.lakehouse import Lakehouse

REGISTERED, PROMOTED, REFUSED, ROLLED_BACK = "registered", "promoted", "refused", "rolled_back"
GATE = "gate"
_COLUMNS = ("decided_at", "model_version", "action", "champion_version", "decided_by", "reasons", "run_id")


class RegistryError(RuntimeError):
    """A decision on a version that cannot be taken; the message is one line that names it."""


@dataclass(frozen=True)
class Decision:
    """One decision on a version; `champion` reigns after it, None where no version does."""

    decided_at: datetime
    version: str
    action: str
    champion: str | None
    decided_by: str
    reasons: str
    run_id: str | None


def decisions(lake: LakeLog) -> list[Decision]:
    """Every decision so far, in order of time."""
    rows = lake.rows(MODEL_DECISIONS, _COLUMNS)
    found = [
        Decision(
            row["decided_at"],
            row["model_version"],
            row["action"],
            row["champion_version"] or None,
            row["decided_by"],
            row["reasons"] or "",
            row["run_id"] or None,
        )
        for row in rows
    ]
    return sorted(found, key=lambda decision: decision.decided_at)


def champion_of(taken: Sequence[Decision]) -> str | None:
    """The version in force after these decisions."""
    return taken[-1].champion if taken else None


def newest_of(taken: Sequence[Decision]) -> str | None:
    """The version registered last."""
    registered = [decision.version for decision in taken if decision.action == REGISTERED]
    return registered[-1] if registered else None


def is_open(taken: Sequence[Decision], version: str) -> bool:
    """Whether nobody has decided on the version yet."""
    return all(decision.action == REGISTERED for decision in taken if decision.version == version)


def newest_version(lake: LakeLog) -> str | None:
    """The model version whose figures were written last, None before the first."""
    rows = lake.rows(MODEL_PERFORMANCE, ["model_version", "computed_at"])
    return str(max(rows, key=lambda row: row["computed_at"])["model_version"]) if rows else None


def evidence_of(lake: LakeLog, version: str) -> Evidence:
    """What the gold tables know of a version; raises `RegistryError` where they know nothing."""
    from credit_risk_assets.modelling.evaluate import Metric

    metrics: dict[str, dict[str, Metric]] = {}
    for row in lake.rows(MODEL_PERFORMANCE, ["model_version", "data_set", "metric", "value", "lower", "upper"]):
        if row["model_version"] == version:
            metrics.setdefault(row["data_set"], {})[row["metric"]] = Metric(row["value"], row["lower"], row["upper"])
    tested = next((name for name in metrics if name.startswith("out_of")), None)
    if tested is None:
        known = sorted({row["model_version"] for row in lake.rows(MODEL_PERFORMANCE, ["model_version"])}, key=_number)
        raise RegistryError(f"version {version}: unknown; expected one of {', '.join(known) or 'none yet'}")
    columns = ["model_version", "analysis", "subject", "item", "metric", "value", "lower", "upper", "position"]
    figures = [
        Figure(**{name: row[name] for name in columns[1:]})
        for row in lake.rows(MODEL_VALIDATION, columns)
        if row["model_version"] == version
    ]
    return Evidence(version, tested, metrics, figures)


def _number(version: str) -> int:
    return int(version) if version.isdigit() else 0


def judged(lake: LakeLog, settings: ModelSettings, version: str) -> tuple[list[Criterion], list[str]]:
    """Every criterion of the gate for a version, and what keeps it from being promoted."""
    evidence = evidence_of(lake, version)
    criteria = judge(evidence, settings)
    return criteria, objections(criteria, champion_reigns=evidence.champion is not None)


def record(
    lakehouse: Lakehouse,
    version: str,
    action: str,
    champion: str | None,
    *,
    by: str,
    reasons: str,
    run_id: str | None = None,
) -> None:
    """Add a decision to the register, once where the same one stands last already."""
    from pyspark.sql.types import StringType, StructField, StructType, TimestampType

    taken = decisions(lakehouse)
    if taken and (taken[-1].version, taken[-1].action, taken[-1].champion) == (version, action, champion):
        return
    kinds = {"decided_at": TimestampType()}
    schema = StructType([StructField(name, kinds.get(name, StringType())) for name in _COLUMNS])
    rows = [(datetime.now(UTC), version, action, champion, by, reasons, run_id)]
    lakehouse.ensure(MODEL_DECISIONS, schema)
    key = IdempotenceKey(f"decision/{len(taken)}/{version}/{action}")
    lakehouse.append(MODEL_DECISIONS, arrow_rows(rows, schema), key=key)


def promote(
    lakehouse: Lakehouse,
    settings: Settings,
    version: str,
    *,
    by: str,
    reasons: str,
    run_id: str | None = None,
    action: str = PROMOTED,
) -> None:
    """Make a version the champion: the alias first, then the register, so that a crash between is made good again.

    Raises `RegistryError` where MLflow does not know the version.
    """
    _set_aliases(settings, version, newest_of(decisions(lakehouse)))
    record(lakehouse, version, action, version, by=by, reasons=reasons, run_id=run_id)


def refuse(lakehouse: Lakehouse, version: str, against: Sequence[str], *, run_id: str | None = None) -> None:
    """Note that the gate kept a version out, with its reasons; the champion stays in force."""
    champion = champion_of(decisions(lakehouse))
    record(lakehouse, version, REFUSED, champion, by=GATE, reasons="; ".join(against), run_id=run_id)


def rollback(lakehouse: Lakehouse, settings: Settings, *, by: str, reasons: str) -> str:
    """Make the champion before the present one champion again; return its version.

    Raises `RegistryError` where there was none before.
    """
    taken = decisions(lakehouse)
    now = champion_of(taken)
    reigned = list(dict.fromkeys(d.champion for d in reversed(taken) if d.champion))
    # A champion that a rollback took from office does not come back by the next one.
    deposed = {before.champion for before, after in itertools.pairwise(taken) if after.action == ROLLED_BACK}
    earlier = [version for version in reigned if version != now and version not in deposed]
    if now is None or not earlier:
        raise RegistryError(f"rollback: no champion reigned before version {now or 'none'}; promote a version instead")
    promote(lakehouse, settings, earlier[0], by=by, reasons=reasons, action=ROLLED_BACK)
    return earlier[0]


def _set_aliases(settings: Settings, champion: str, newest: str | None) -> None:
    """The newest version is the challenger, unless it is the champion."""
    from mlflow.exceptions import MlflowException

    from credit_risk_assets.resources.mlflow import client

    store = client(settings)
    try:
        store.set_registered_model_alias(MODEL_NAME, CHAMPION, champion)
    except MlflowException:
        raise RegistryError(f"version {champion}: MLflow has no such version of {MODEL_NAME}") from None
    if newest is not None and newest != champion:
        store.set_registered_model_alias(MODEL_NAME, CHALLENGER, newest)
    else:
        store.delete_registered_model_alias(MODEL_NAME, CHALLENGER)


def overview(lake: LakeLog) -> list[dict[str, Any]]:
    """Every version with its role, its figures out of time and the last decision on it, the newest first."""
    taken = decisions(lake)
    champion, newest = champion_of(taken), newest_of(taken)
    rows: dict[str, dict[str, Any]] = {}
    for row in lake.rows(MODEL_PERFORMANCE, ["model_version", "data_set", "metric", "value", "computed_at"]):
        found = rows.setdefault(row["model_version"], {"version": row["model_version"], "trained": row["computed_at"]})
        if row["data_set"].startswith("out_of") and row["metric"] in ("auc", "ece", "mean_pd", "observed_rate"):
            found[row["metric"]] = row["value"]
    for version, found in rows.items():
        last = [decision for decision in taken if decision.version == version][-1:]
        role = "champion" if version == champion else "challenger" if version == newest else ""
        found |= {
            "role": role,
            "decision": last[0].action if last else "",
            "by": last[0].decided_by if last else "",
            "reasons": last[0].reasons if last else "",
        }
    return sorted(rows.values(), key=lambda row: -_number(row["version"]))
