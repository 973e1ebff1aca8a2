"""The data dictionary of the features, generated from their definitions."""

from __future__ import annotations

from credit_risk_assets.credit.feature import Feature
from credit_risk_assets.credit.features import FEATURES

HEADER = ("feature", "family", "meaning", "unit", "formula", "direction", "protected", "in the model")
_DIRECTIONS = {1: "raises risk", -1: "lowers risk", 0: ""}


def _formula(feature: Feature) -> str:
    """The whole formula as one line of Spark SQL that a Markdown table can hold."""
    if feature.from_tape:
        return "tape column"
    return "`" + " ".join(feature.sql.split()).replace("|", "\\|") + "`"


def _yes(holds: bool) -> str:
    return "yes" if holds else "no"


def _row(feature: Feature) -> str:
    cells = (
        feature.name,
        feature.family,
        feature.description,
        feature.unit or feature.type,
        _formula(feature),
        _DIRECTIONS[feature.direction],
        _yes(feature.protected),
        _yes(feature.in_model),
    )
    return f"| {' | '.join(cells)} |"


def data_dictionary() -> str:
    """Markdown: one table a family with each feature's unit, whole formula, direction and where it may be used."""
    in_model = sum(feature.in_model for feature in FEATURES)
    lines = [
        "# Features",
        "",
        f"Generated from `credit_risk_assets/credit/features.py`: {len(FEATURES)} features, {in_model} of them in the "
        "default model.",
        "Formulas are Spark SQL over tape columns and other features. The direction is what the business expects of a "
        "higher value; where it is empty, neither. Protected features never enter the model nor a reason: they are "
        "there for measuring fairness.",
    ]
    for family in dict.fromkeys(feature.family for feature in FEATURES):
        lines += ["", f"## {family.capitalize()}", "", f"| {' | '.join(HEADER)} |", "|---" * len(HEADER) + "|"]
        lines += [_row(feature) for feature in FEATURES if feature.family == family]
    return "\n".join(lines) + "\n"
