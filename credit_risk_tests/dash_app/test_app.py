"""The app without a browser: health, headers, figures, and pages over no lake or a broken one."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import plotly.graph_objects as go
import polars as pl
import pytest
from flask import Flask

from credit_risk_assets.config import tables as t
from credit_risk_assets.config.settings import Settings
from credit_risk_tests.dash_app import small_lake
from credit_risk_tests.dash_app.conftest import Portfolio
from dash_app.app import create_app
from dash_app.charts import concentration, loss, mix, model, trend
from dash_app.charts.graph import graph
from dash_app.charts.waterfall import contribution_waterfall
from dash_app.data import model as model_data
from dash_app.data.cube import read_cube
from dash_app.data.explain import Explanation
from dash_app.data.filters import Filters
from dash_app.data.kpis import portfolio_kpis
from dash_app.data.lake import Snapshot
from dash_app.data.rated import rated_segments


def test_health_says_that_gold_can_be_read(server: Flask) -> None:
    answer = server.test_client().get("/health")
    assert answer.status_code == 200
    assert answer.json["status"] == "ok"
    assert answer.json["gold"]["readable"] is True
    assert answer.json["gold"]["as_of_date"] == "2026-06-30"


def test_health_is_up_without_a_lake(empty_home: Settings) -> None:
    answer = create_app(empty_home).server.test_client().get("/health")
    assert answer.status_code == 200
    assert answer.json["gold"]["readable"] is False
    assert "credit-risk refresh" in answer.json["gold"]["reason"]


def test_health_names_a_broken_table(empty_home: Settings) -> None:
    small_lake.write(empty_home.lake, t.PORTFOLIO_KPIS, pl.DataFrame({"a": [1]}))
    (empty_home.lake / t.PORTFOLIO_KPIS.path / "_delta_log" / f"{0:020d}.json").write_text("{broken")
    gold = create_app(empty_home).server.test_client().get("/health").json["gold"]
    assert gold["readable"] is False
    assert gold["reason"].startswith("gold/portfolio_kpis: ")


def test_every_answer_forbids_other_hosts_and_eval(server: Flask) -> None:
    for path in ("/", "/health", "/assets/app.js"):
        policy = server.test_client().get(path).headers["Content-Security-Policy"]
        assert "default-src 'self'" in policy
        assert "unsafe-eval" not in policy
        assert "http" not in policy
    page = server.test_client().get("/")
    assert '<html lang="en">' in page.text
    assert page.headers["Cache-Control"] == "no-store"


def test_a_graph_has_no_way_out() -> None:
    config = graph("any").config
    assert config["showSendToCloud"] is False
    assert config["plotlyServerURL"] == ""
    assert config["displaylogo"] is False


QUERIES = (
    "",
    "risk=High&purpose=home",
    "status=paid_off",
    "as_of=2024-06",
    "from=2099-Q1",
    "region=unknown",
    "rating=High",
    "as_of_from=2025-06",
)


@pytest.mark.parametrize("query", QUERIES)
def test_every_figure_is_one_that_plotly_accepts(snapshot: Snapshot, query: str) -> None:
    cube, filters = read_cube(snapshot), Filters.from_query(query)
    ratings = model_data.ratings(snapshot)
    performance = model_data.performance(snapshot)
    assert ratings is not None
    assert performance is not None
    made = [
        trend.portfolio_growth(cube, filters, "USD"),
        trend.default_rate_trend(portfolio_kpis(cube, filters)["default_rate"], 0.1),
        trend.originations(cube, filters),
        mix.risk_donut(cube, filters, "USD"),
        mix.dpd_distribution(cube, filters),
        mix.score_distribution(cube, filters),
        mix.amount_by_purpose(cube, filters, "EUR"),
        concentration.risk_by_purpose(cube, filters, "balance", "USD"),
        concentration.risk_by_purpose(cube, filters, "loss", "USD"),
        concentration.region_treemap(cube, filters, "USD"),
        loss.expected_loss_by_rating(rated_segments(snapshot).by_rating(filters), "USD"),
        model.rating_distribution(ratings, "USD"),
        model.expected_loss_by_rating(ratings, "USD"),
        model.discrimination(performance),
        model.reasons(model_data.top_reasons(snapshot)),
    ]
    for chart in made:
        go.Figure(chart.figure)  # raises for what plotly does not know
        assert chart.note
        json.dumps(chart.figure)


def test_a_waterfall_leads_from_the_average_loan_to_this_one() -> None:
    added = {"credit_score": 0.8, "utilization_at_low_score": -0.3, "credit_utilization": -0.1, "made_up": 0.2}
    odds = -2.0 + sum(added.values())
    values = dict.fromkeys(added, 1.5) | {"made_up": None}
    found = Explanation("1", -2.0, odds, 0.119, 0.198, tuple(added.items()), values)
    chart = contribution_waterfall(found)
    (trace,) = chart.figure["data"]
    go.Figure(chart.figure)
    # features of one concept are one bar, and the bars add up to the loan's log-odds
    assert trace["y"] == ["Average loan", "Score", "Utilisation", "Made up", "This loan"]
    assert trace["base"] + sum(value for value in trace["x"] if value is not None) == pytest.approx(odds)
    assert "11.9" in chart.note
    assert "score raises it most" in chart.note
    assert chart.data is not None
    assert chart.data["adds_to_log_odds"].to_list() == list(added.values())


def test_loans_that_are_on_time_are_part_of_the_distribution(snapshot: Snapshot) -> None:
    gold = snapshot.frame(t.PORTFOLIO_KPIS).sort("as_of_date").row(-1, named=True)
    bars = mix.dpd_distribution(read_cube(snapshot), Filters()).figure["data"][0]["x"]
    assert sum(bars) == gold["active_loans"]
    assert bars[0] == max(bars) > 0


def test_a_busy_port_is_one_line(portfolio: Portfolio) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        environment = {
            **os.environ,
            "CREDIT_RISK_HOME": str(portfolio.settings.home),
            "CREDIT_RISK__DASHBOARD__PORT": str(port),
        }
        run = subprocess.run(
            [sys.executable, "-m", "dash_app"], env=environment, capture_output=True, text=True, timeout=60, check=False
        )
    assert run.returncode == 1
    assert run.stderr.strip().splitlines()[-1].startswith(f"dashboard: 127.0.0.1:{port} cannot be used")
    assert "Traceback" not in run.stderr


def test_the_dashboard_imports_no_spark_and_no_dagster() -> None:
    code = "import sys, dash_app.app; print(sorted({'pyspark', 'pysail', 'dagster', 'mlflow'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert found.stdout.strip() == "[]"


def test_pages_over_no_lake_are_laid_out(empty_home: Settings) -> None:
    client = create_app(empty_home).server.test_client()
    for path in ("/", "/loans", "/model", "/quality"):
        assert client.get(path).status_code == 200


def test_assets_are_all_local() -> None:
    for asset in (Path(__file__).parents[2] / "dash_app" / "assets").iterdir():
        content = asset.read_text().replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in content, asset.name
        assert "https://" not in content, asset.name
