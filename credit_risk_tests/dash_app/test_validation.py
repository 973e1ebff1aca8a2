"""The model page names the champion that the decisions name, and its figures are gold's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from credit_risk_assets.config import tables as t
from credit_risk_assets.config.settings import ScheduleSettings, read_settings
from credit_risk_tests.dash_app.conftest import Portfolio
from dash_app.charts import validation as charts
from dash_app.components import model_cards
from dash_app.data import model, quality, validation
from dash_app.data.lake import Snapshot


def test_the_last_decision_names_the_champion_not_the_newest_version(snapshot: Snapshot) -> None:
    assert model.champion_version(snapshot) == "1"
    assert validation.challenger_version(snapshot) == "2"
    assert validation.versions(snapshot) == [("2", "challenger"), ("1", "champion")]
    shown = model.performance(snapshot)
    other = model.performance(snapshot, "2")
    assert shown is not None
    assert other is not None
    assert (shown.version, shown.metric("out_of_time", "auc")[0]) == ("1", 0.812)
    assert (other.version, other.metric("out_of_time", "auc")[0]) == ("2", 0.792)


def test_charts_hold_the_figures_of_the_table(snapshot: Snapshot) -> None:
    figures = validation.validation(snapshot, "1")
    table = snapshot.frame(t.MODEL_VALIDATION).filter(pl.col("model_version") == "1", pl.col("analysis") == "curve")

    def column(subject: str, name: str) -> list[float]:
        return table.filter(pl.col("subject") == subject)[name].to_list()

    assert charts.roc(figures, 0.812).figure["data"][1]["y"] == column("roc", "value")
    assert charts.lift(figures).figure["data"][0]["y"] == column("lift", "value")
    widest = charts.ks(figures, 0.5)
    assert widest.figure["layout"]["shapes"][0]["x0"] == 560
    assert charts.calibration(figures, 0.01).figure["data"][1]["x"] == [0.02, 0.08, 0.3]
    period, drift = validation.newest_drift(validation.drift_periods(snapshot, "1"))
    assert drift["feature"].to_list() == ["pd_12m", "credit_score", "loan_amount"]  # the score leads, segments are left
    assert "1 of those shown has drifted" in charts.drift(period, drift, 0.1).note
    followed = charts.realised(validation.realised(snapshot, "1"))
    assert len(followed.figure["data"][0]["x"]) == 3
    assert followed.figure["data"][1]["y"] == [0.1, 0.125]


def test_groups_are_judged_and_the_comparison_tells_better_from_worse(snapshot: Snapshot) -> None:
    figures = validation.validation(snapshot, "2")
    note, drawn = model_cards.fairness_table(validation.groups(figures), 0.1)
    assert "1 of 2 groups carry a remark" in note
    assert "Explained by risk" in str(drawn)
    note, drawn = model_cards.comparison(
        "2", "1", model.performance(snapshot, "2"), validation.against_champion(figures), None, "worse"
    )
    assert note == "By AUC the challenger is significantly worse (95 %)."
    assert "−0.0200" in str(drawn)
    assert "no challenger" in model_cards.comparison(None, "1", None, {}, None)[0]


def test_a_table_is_late_by_its_schedule_and_a_check_counts_as_seen(snapshot: Snapshot) -> None:
    written = snapshot.committed_at(t.PORTFOLIO_CUBE)
    assert written is not None
    allowed = ScheduleSettings(lake_fresh_hours=5, gold_fresh_hours=25, model_fresh_hours=25)

    def late(hours: float) -> dict[str, tuple[bool, bool]]:
        found = quality.freshness(snapshot, allowed, written + timedelta(hours=hours))
        return {entry.table.path: (entry.late, entry.failing) for entry in found}

    assert late(4)["gold/portfolio_cube"] == (False, False)
    assert late(26)["gold/portfolio_cube"] == (True, False)
    assert late(26)["silver/loans"] == (True, True)
    checked = datetime(2026, 7, 1, 9, tzinfo=UTC)  # the small lake's second run of checks
    entries = {entry.table.path: entry for entry in quality.freshness(snapshot, allowed, checked)}
    assert entries["silver/loans"].checked == checked
    assert entries["bronze/loan_tape"].checked is None


@pytest.mark.parametrize(
    ("address", "link"),
    [
        ("http://ada:secret@tracking:5000", "http://tracking:5000"),
        ("postgresql://ada:secret@tracking/mlflow", None),
        ("", None),
    ],
)
def test_tracking_is_a_link_to_a_server_without_its_password(
    portfolio: Portfolio, address: str, link: str | None
) -> None:
    settings = read_settings(home=portfolio.settings.home, mlflow={"tracking_uri": address} if address else {})
    drawn = model_cards.tracking_link(settings)
    assert "secret" not in str(drawn)
    assert str(portfolio.settings.home) not in str(drawn)
    assert [getattr(part, "href", None) for part in drawn.children][1] == link
