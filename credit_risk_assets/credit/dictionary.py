"""The data dictionary of the features, generated from their definitions."""

from __future__ import annotations

from credit_risk_assets.credit.features import FEATURES

_DIRECTIONS = {1: "raises risk", -1: "lowers risk", 0: ""}
_FORMULA_WIDTH = 100


def _formula(sql: str) -> str:
    text = " ".join(sql.split()).replace("|", "\\|")
    return text if len(text) <= _FORMULA_WIDTH else f"{text[:_FORMULA_WIDTH]}…"


def data_dictionary() -> str:
    """Markdown: one table a family with each feature's unit, formula, direction and where it may be used."""
    lines = [
        "# Features",
        "",
        "Generated from `credit_risk_assets/credit/features.py`; long formulas are cut here.",
        "Protected features never enter the model nor a reason.",
    ]
    for family in dict.fromkeys(feature.family for feature in FEATURES):
        lines += ["", f"## {family.capitalize()}", "", "| feature | meaning | unit | formula | direction | use |"]
        lines.append("|---|---|---|---|---|---|")
        for feature in FEATURES:
            if feature.family == family:
                use = "protected" if feature.protected else "model" if feature.in_model else "reporting"
                formula = "tape column" if feature.from_tape else f"`{_formula(feature.sql)}`"
                lines.append(
                    f"| {feature.name} | {feature.description} | {feature.unit or feature.type} | {formula} "
                    f"| {_DIRECTIONS[feature.direction]} | {use} |"
                )
    return "\n".join(lines) + "\n"
