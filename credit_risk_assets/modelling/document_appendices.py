"""The appendices of the model document: the scorecard's points, the features read, the reasons that may be given."""

from __future__ import annotations

from collections.abc import Sequence

from credit_risk_assets.credit.features import BY_NAME
from credit_risk_assets.credit.reasons import REASONS
from credit_risk_assets.modelling.document_tables import DIRECTIONS
from credit_risk_assets.modelling.document_text import by_item, number, plain, table
from credit_risk_assets.modelling.gate import Evidence

LEAST_POINTS = 0.05
"""A scorecard feature whose bins differ by less tells no loans apart."""


def weightless(evidence: Evidence) -> list[str]:
    """Features that the scorecard holds and gives no weight."""
    found: dict[str, list[float]] = {}
    for figure in evidence.of("scorecard", metric="points"):
        found.setdefault(figure.subject, []).append(figure.value)
    return [name for name, points in found.items() if max(points) - min(points) < LEAST_POINTS]


def scorecard_table(evidence: Evidence) -> str:
    """The benchmark scorecard as an officer would read it."""
    rows = []
    idle = set(weightless(evidence))
    for name in dict.fromkeys(figure.subject for figure in evidence.of("scorecard")):
        if name in idle:
            continue
        for place, (item, of) in enumerate(by_item(evidence.of("scorecard", name)).items()):
            values = {metric: found.value for metric, found in of.items()}
            shares = number(values["default_rate"], "share"), f"{values['woe']:.3f}"
            loans = number(values["n"], "count")
            rows.append((name if not place else "", plain(item), f"{values['points']:.1f}", loans, *shares))
    return table(("feature", "bin", "points", "loans", "default rate", "weight of evidence"), rows)


def features_table(names: Sequence[str]) -> str:
    """The features that the version reads."""
    rows = []
    for name in names:
        feature = BY_NAME.get(name)
        if feature is not None:
            said = (
                feature.family,
                feature.unit or feature.type,
                plain(feature.description),
                DIRECTIONS[feature.direction],
            )
            rows.append((f"`{name}`", *said))
    return table(("feature", "family", "unit", "meaning", "direction"), rows)


def reasons_table(names: Sequence[str]) -> str:
    """What a borrower may be told where a feature raises the risk."""
    rows = [
        (f"`{name}`", reason.concept, plain(reason.sentence), plain(reason.missing))
        for name in names
        if (reason := REASONS.get(name)) is not None and (reason.sentence or reason.missing)
    ]
    return table(("feature", "concept", "reason", "where the value is missing"), rows)
