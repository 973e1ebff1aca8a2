"""Scores one application by the champion, in this process and without a JVM.

MLflow, XGBoost and pandas are imported when the first application is scored, never before; each champion is loaded
once a process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from credit_risk_assets.config.settings import Settings
from credit_risk_assets.tape.contract import BY_NAME, LOAN_PURPOSES, Column
from dash_app.data.explain import model_version
from dash_app.data.lake import Snapshot
from dash_app.data.model import champion_version

if TYPE_CHECKING:
    from credit_risk_assets.resources.mlflow import LoadedModel

Application = Mapping[str, Any]
"""Values by tape column; None where the applicant gave none."""


@dataclass(frozen=True)
class Field:
    """An input of the form: a tape column, its name for people, its unit, and how a shown number becomes the tape's.

    The stored value is what is shown divided by `scale`.
    """

    name: str
    label: str
    unit: str = ""
    scale: float = 1.0
    whole: bool = False
    needed: bool = False
    values: tuple[str, ...] = ()

    @property
    def column(self) -> Column:
        """What the tape contract says of it."""
        return BY_NAME[self.name]

    def stored(self, shown: Any) -> Any:
        """A form's value as the tape holds it; None where nothing was given."""
        if shown is None or (isinstance(shown, str) and not shown.strip()):
            return None
        if self.column.type == "string" or isinstance(shown, bool):
            return str(shown)
        try:
            number = float(shown)
        except (TypeError, ValueError):
            return str(shown)
        return round(number / self.scale, 9)

    def expected(self, currency: str) -> str:
        """What the contract allows, in the units of the form."""
        column = self.column
        if self.values:
            return f"one of {', '.join(self.values)}"
        unit = currency if self.unit == "money" else self.unit
        low = f"{(column.minimum or 0) * self.scale:g}"
        if column.maximum is not None:
            words = f"{low} to {column.maximum * self.scale:g} {unit}"
        else:
            words = f"more than {low} {unit}" if column.above else f"{low} {unit} or more"
        return f"{'a whole number, ' if self.whole else ''}{words}".replace(" %", "\u00a0%").strip()


FIELDS = (
    Field("loan_purpose", "Purpose", needed=True, values=LOAN_PURPOSES),
    Field("loan_amount", "Amount", "money", needed=True),
    Field("term_months", "Term", "months", whole=True, needed=True),
    Field("interest_rate", "Interest rate a year", "%", needed=True),
    Field("collateral_value", "Value of collateral", "money"),
    Field("annual_income", "Gross income a year", "money"),
    Field("existing_monthly_debt", "Other debts a month", "money"),
    Field("employment_type", "Employment"),
    Field("employment_years", "With the employer", "years"),
    Field("credit_score", "Bureau score", "points"),
    Field("credit_utilization", "Credit utilisation", "%", scale=100),
    Field("credit_history_months", "Credit history", "months"),
    Field("open_accounts", "Open credit lines", "lines"),
    Field("inquiries_6m", "Inquiries, six months", "inquiries"),
)
BY_FIELD = {field.name: field for field in FIELDS}
EXAMPLE: dict[str, Any] = {
    "loan_purpose": "auto",
    "loan_amount": 18_000,
    "term_months": 60,
    "interest_rate": 9.5,
    "collateral_value": 21_000,
    "annual_income": 52_000,
    "existing_monthly_debt": 410,
    "employment_type": "salaried",
    "employment_years": 4,
    "credit_score": 655,
    "credit_utilization": 0.62,
}
"""An application that a new form shows, so that it can be tried at once."""


@dataclass(frozen=True)
class Slider:
    """What a what-if slider may be moved over: from and to, and its step, all as the tape holds them."""

    name: str
    low: float
    high: float
    step: float


WHAT_IF = ("loan_amount", "term_months", "interest_rate", "annual_income", "credit_utilization", "credit_score")
STOPS = 13
"""Points of the curve along a slider; with the application's own they stay within what is scored value by value."""


@dataclass(frozen=True)
class Score:
    """What the champion says of an application; `complaint` says why it says nothing."""

    version: str
    threshold: float
    pd_12m: float | None
    rating: str | None
    points: float | None
    reaches_threshold: bool
    reasons: tuple[str, ...]
    complaint: str | None = None


def complaints(application: Application, currency: str, today: date | None = None) -> dict[str, str]:
    """What the tape contract has against each field, in the units of the form; empty where nothing."""
    from credit_risk_assets.modelling.complaints import complaint_of

    day = today or datetime.now(UTC).date()
    good = dict.fromkeys(BY_NAME) | {name: EXAMPLE[name] for name, field in BY_FIELD.items() if field.needed}
    found = {}
    for field in FIELDS:
        value = application.get(field.name)
        if value is None:
            if field.needed:
                found[field.name] = f"needed: {field.expected(currency)}"
            continue
        number = field.column.type != "string"
        unreadable = number and (isinstance(value, str) or value != value or abs(value) == float("inf"))
        broken = unreadable or (field.whole and value != int(value))
        if broken or complaint_of({**good, field.name: value}, day) is not None:
            shown = value if not number or unreadable else f"{value * field.scale:,.10g}"
            found[field.name] = f"{shown} found, expected {field.expected(currency)}"
    return found


def champion(settings: Settings, snapshot: Snapshot) -> LoadedModel | None:
    """The champion that the decisions name, loaded once a process; None where none reigns.

    Raises `NoModelError` where it cannot be loaded.
    """
    version = champion_version(snapshot)
    return model_version(settings, version) if version is not None else None


def employment_types(loaded: LoadedModel) -> list[str]:
    """The kinds of employment that the champion has learned of."""
    return sorted(name for name in loaded.encoders.categories.get("employment_type", {}) if name)


def score(loaded: LoadedModel, applications: Sequence[Application]) -> list[Score]:
    """The champion's word on each application, with exact reasons where the rating is High or Very High."""
    import pandas as pd

    from credit_risk_assets.credit.rating import score_points
    from credit_risk_assets.modelling.score import REASON_COLUMNS, score_new_loans

    rows = pd.DataFrame([dict(application) for application in applications], dtype=object)
    answers = score_new_loans(rows, loaded.model, loaded.encoders, explain=True).to_dict("records")
    found = []
    for answer in answers:
        usable = answer["reason"] is None
        probability = float(answer["default_probability"]) if usable else None
        found.append(
            Score(
                loaded.version,
                loaded.model.threshold,
                probability,
                answer["risk_rating"] if usable else None,
                float(score_points([probability])[0]) if probability is not None else None,
                bool(usable and answer["default_prediction"] == 1),
                tuple(str(answer[name]) for name in REASON_COLUMNS if answer[name]),
                answer["reason"],
            )
        )
    return found


def sliders(application: Application) -> list[Slider]:
    """How far each what-if slider goes for an application; one without a value is left out."""
    found = []
    for name in WHAT_IF:
        value = application.get(name)
        if value is None:
            continue
        if name in ("loan_amount", "annual_income"):
            step = 10.0 ** max(len(str(int(value))) - 3, 0)
            found.append(Slider(name, max(step, value * 0.25 // step * step), (value * 2.5 // step + 1) * step, step))
        elif name == "term_months":
            found.append(Slider(name, 6 if value >= 6 else 1, min(max(120, value * 1.5), 480), 1))
        elif name == "interest_rate":
            found.append(Slider(name, 0, min(max(30, value * 1.5), 100), 0.25))
        elif name == "credit_utilization":
            found.append(Slider(name, 0, max(1.2, value * 1.2), 0.01))
        else:
            found.append(Slider(name, 300, 900, 5))
    return found


def along(loaded: LoadedModel, application: Application, slider: Slider) -> list[tuple[float, float]]:
    """The PD at even stops of a slider, all else as in the application: pairs of value and probability."""
    wide = slider.high - slider.low
    stops = [slider.low + wide * i / (STOPS - 1) for i in range(STOPS)]
    if BY_FIELD[slider.name].whole:
        stops = sorted({float(round(stop)) for stop in stops})
    scored = score(loaded, [{**application, slider.name: stop} for stop in stops])
    return [(stop, s.pd_12m) for stop, s in zip(stops, scored, strict=True) if s.pd_12m is not None]
