"""The scoring page gives the champion's own answers, says what is wrong at the field, and writes nobody down."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from dash import Dash
from hypothesis import given
from hypothesis import settings as thorough
from hypothesis import strategies as st

from credit_risk_assets.modelling.score import score_new_loans
from credit_risk_assets.resources.mlflow import LoadedModel
from credit_risk_tests.dash_app.champion import scored  # noqa: F401
from credit_risk_tests.dash_app.conftest import Portfolio, Visitor
from dash_app.app import create_app
from dash_app.data import scoring
from dash_app.data.lake import Lake
from dash_app.data.scoring import BY_FIELD, EXAMPLE, FIELDS, WHAT_IF
from dash_app.security.audit import audit_log

Scored = tuple[Portfolio, LoadedModel]
RISKY = {**EXAMPLE, "credit_score": 480, "credit_utilization": 1.1, "annual_income": 19_000, "interest_rate": 24.0}


def test_the_page_says_what_the_champion_says(scored: Scored) -> None:  # noqa: F811
    made, loaded = scored
    assert scoring.champion(made.settings, Lake(made.settings.lake).snapshot()) is loaded
    expected = score_new_loans(pd.DataFrame([EXAMPLE, RISKY]), loaded.model, loaded.encoders, explain=True)
    for found, row in zip(scoring.score(loaded, [EXAMPLE, RISKY]), expected.to_dict("records"), strict=True):
        assert found.pd_12m == row["default_probability"]
        assert found.rating == row["risk_rating"]
        assert found.reaches_threshold == (row["default_probability"] >= loaded.model.threshold)
        assert list(found.reasons) == [row[f"reason_{i}"] for i in range(1, 5) if row[f"reason_{i}"]]
    assert scoring.score(loaded, [RISKY])[0].reasons


def test_the_curve_along_a_slider_passes_through_the_application(scored: Scored) -> None:  # noqa: F811
    _, loaded = scored
    found = {slider.name: slider for slider in scoring.sliders(EXAMPLE)}
    assert tuple(found) == WHAT_IF
    for name, slider in found.items():
        assert slider.low <= EXAMPLE[name] <= slider.high
        curve = scoring.along(loaded, EXAMPLE, slider)
        for value, pd_12m in (curve[0], curve[-1]):
            assert pd_12m == scoring.score(loaded, [{**EXAMPLE, name: value}])[0].pd_12m
    assert "annual_income" not in {slider.name for slider in scoring.sliders({**EXAMPLE, "annual_income": None})}


@pytest.mark.parametrize(
    ("name", "shown", "said"),
    [
        ("loan_amount", "", "needed: more than 0 USD"),
        ("loan_amount", 0, "0 found, expected more than 0 USD"),
        ("interest_rate", 101, "101 found, expected 0 to 100\u00a0%"),
        ("term_months", 12.5, "12.5 found, expected a whole number, 1 to 480 months"),
        ("credit_score", 299, "299 found, expected 300 to 900 points"),
        ("credit_utilization", -1, "-1 found, expected 0\u00a0% or more"),
        ("annual_income", "lots", "lots found, expected more than 0 USD"),
        ("loan_purpose", "boat", "boat found"),
    ],
)
def test_what_breaks_the_contract_is_said_at_its_field(name: str, shown: Any, said: str) -> None:
    application = {**EXAMPLE, name: BY_FIELD[name].stored(shown)}
    found = scoring.complaints(application, "USD")
    assert list(found) == [name]
    assert found[name].startswith(said)


@thorough(max_examples=60, deadline=None)
@given(
    st.fixed_dictionaries(
        {
            field.name: st.none()
            | (st.sampled_from(field.values) if field.values else st.floats() | st.integers() | st.text(max_size=5))
            for field in FIELDS
            if field.name != "employment_type"
        }
    )
)
def test_whatever_is_typed_is_either_scored_or_complained_about(
    scored: Scored,  # noqa: F811
    shown: dict[str, Any],
) -> None:
    application = {name: BY_FIELD[name].stored(value) for name, value in shown.items()}
    if not scoring.complaints(application, "USD"):
        found = scoring.score(scored[1], [application])[0]
        assert found.complaint is None
        assert found.pd_12m is not None
        assert 0 <= found.pd_12m <= 1


def _submit(app: Dash) -> str:
    return next(output for output in app.callback_map if "score-result.children" in output)


def test_a_score_is_audited_without_the_applicant_and_viewers_are_refused(scored: Scored) -> None:  # noqa: F811
    made, _ = scored
    app = create_app(made.settings)
    visitor = Visitor.of(app)
    visitor.client.get("/")
    shown = {
        f"score-{name.replace('_', '-')}__value": value * BY_FIELD[name].scale if name in WHAT_IF else value
        for name, value in RISKY.items()
    }
    before = len(audit_log(made.settings).records())
    looked = visitor.call(_submit(app), **shown)
    assert looked.status_code == 200
    assert len(audit_log(made.settings).records()) == before  # the example that a page opens with is nobody's
    body = {**shown, "score-submit__n_clicks": 1}
    from credit_risk_tests.dash_app.conftest import callback_body

    sent = {**callback_body(app, _submit(app), body), "changedPropIds": ["score-submit.n_clicks"]}
    assert visitor.post(sent).status_code == 200
    newest = audit_log(made.settings).records()[0]
    assert (newest["action"], newest["what"], newest["model_version"]) == ("score", "application", "1")
    assert not {"480", "19000", "24.0", "salaried"} & {str(value) for value in newest.values()}
    assert audit_log(made.settings).verify().holds


def test_without_a_champion_the_page_says_so(scored: Scored, empty_home: Any) -> None:  # noqa: F811
    app = create_app(empty_home)
    visitor = Visitor.of(app)
    visitor.client.get("/")
    answer = visitor.call(_submit(app))
    assert "No champion yet" in answer.text
