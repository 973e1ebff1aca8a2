"""Delinquency, scoring and the model page in a browser: their switches, sliders, states, colours and widths."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
import pytest

from credit_risk_assets.config import tables as t
from credit_risk_assets.config.settings import Settings
from credit_risk_assets.resources.mlflow import LoadedModel
from credit_risk_tests.dash_app.champion import scored  # noqa: F401
from credit_risk_tests.dash_app.conftest import Portfolio, Tab
from credit_risk_tests.dash_app.marks import click_mark
from dash_app.components import text
from dash_app.data import scoring
from dash_app.data.lake import Lake

pytestmark = pytest.mark.browser
playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect
expect.set_options(timeout=30_000)


def test_the_pages_show_their_tables_and_answer(
    scored: tuple[Portfolio, LoadedModel],  # noqa: F811
    serve: Callable[[Settings], str],
    open_tab: Callable[..., Tab],
) -> None:
    made, loaded = scored
    base = serve(made.settings)
    snapshot = Lake(made.settings.lake).snapshot()

    page = open_tab(f"{base}/delinquency?late=ever_30&purpose=auto&months=12", width=1366).page
    expect(page.locator("#vintage-note")).to_contain_text("30 or more days")
    expect(page.locator("#roll-rates-note")).to_contain_text("each row sums to 100")
    plot = "document.querySelector('#vintage .js-plotly-plot')"
    # the note comes before the drawing
    expect(page.locator("#vintage .js-plotly-plot .main-svg").first).to_be_visible()
    tallest = page.evaluate(f"Math.max(...{plot}.data.flatMap(trace => trace.y))")
    auto = snapshot.frame(t.VINTAGE_CURVES).filter(pl.col("loan_purpose") == "auto")
    assert tallest == pytest.approx((auto["ever_30"] / auto["loans_observed"]).max())
    page.locator("#vintage-cohort").get_by_text("Year").click()
    page.wait_for_function(f"() => {plot}.data.every(trace => trace.name.length === 4)")
    assert "cohort=year" in page.url
    assert "purpose=auto" in page.url
    # a mark opens the loans that it means, of the purposes on the page, and the filters lead back to the purposes
    click_mark(page, "#roll-rates .heatmap-label")
    expect(page.locator(".chip")).to_have_text(["Purpose: Auto", "Days past due: on time", "Days past due: 1–29 days"])
    page.locator("#nav-delinquency").click()
    expect(page.locator("#vintage-note")).not_to_be_empty()
    assert page.url.endswith("/delinquency?purpose=auto")

    page = open_tab(f"{base}/score", width=1366).page
    first = scoring.score(loaded, [scoring.EXAMPLE])[0]
    expect(page.locator("#score-pd .kpi-value")).to_have_text(text.percent(first.pd_12m, 2))
    page.locator("#score-credit-score").fill("200")
    page.locator("#score-submit").click()
    expect(page.locator("#score-body")).to_contain_text("200 found, expected 300 to 900 points")
    page.locator("#score-credit-score").fill("500")
    page.locator("#score-submit").click()
    second = scoring.score(loaded, [{**scoring.EXAMPLE, "credit_score": 500.0}])[0]
    expect(page.locator("#score-pd .kpi-value")).to_have_text(text.percent(second.pd_12m, 2))
    expect(page.locator("#pd-path-note")).to_contain_text(f"stands at {text.percent(second.pd_12m)}")
    page.locator("#what-if-credit-score [role=slider]").press("ArrowRight")
    third = scoring.score(loaded, [{**scoring.EXAMPLE, "credit_score": 505.0}])[0]
    expect(page.locator("#pd-path-note")).to_contain_text(f"to {text.percent(third.pd_12m)}")

    page = open_tab(f"{base}/model", width=1366).page
    click_mark(page, "#ratings .bars .point path")
    expect(page.locator(".chip")).to_have_text("Model rating: Very Low")

    page = open_tab(f"{base}/model?version=2", width=1366).page
    expect(page.locator("#model-version")).to_contain_text("Challenger")
    expect(page.locator("#comparison-note")).to_contain_text("significantly worse")
    expect(page.locator("#gate-table tbody tr")).to_have_count(0)  # the small lake lacks what the gate asks for
    page.locator("#model-chosen").click()
    page.get_by_role("option", name="Version 1, champion").click()
    expect(page.locator("#model-version .kpi-value")).to_have_text("v1")
    expect(page.locator("#timeline-table li")).to_have_count(4)
    expect(page.locator("#realised-note")).to_contain_text("predicted 11.00")
    assert "version" not in page.url


@pytest.mark.parametrize(("scheme", "width"), [("light", 390), ("dark", 1366)])
def test_the_pages_are_accessible_and_fit(
    scored: tuple[Portfolio, LoadedModel],  # noqa: F811
    serve: Callable[[Settings], str],
    open_tab: Callable[..., Tab],
    scheme: str,
    width: int,
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    base = serve(scored[0].settings)
    for path, ready in (("delinquency", "#migration-note"), ("score", "#pd-path-note"), ("model", "#realised-note"),
                        ("quality", "#fresh-note")):  # fmt: skip
        page = open_tab(f"{base}/{path}", width=width, scheme=scheme).page
        expect(page.locator(ready)).not_to_be_empty()
        found = [
            (violation["id"], [node["target"] for node in violation["nodes"]][:3])
            for violation in axe.Axe().run(page).response["violations"]
            if violation["impact"] in ("serious", "critical")
        ]
        assert found == [], path
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, path
