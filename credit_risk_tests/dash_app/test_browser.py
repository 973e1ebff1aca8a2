"""The dashboard as people meet it: in a browser, over a real lake, with every number compared to its tables."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from PIL import Image

from credit_risk_assets.config import tables as t
from credit_risk_assets.config.settings import Settings
from credit_risk_assets.tape.contract import LOAN_STATUSES, ON_BOOK_STATUSES
from credit_risk_tests.dash_app import small_lake
from credit_risk_tests.dash_app.conftest import Portfolio, Tab, make_portfolio
from credit_risk_tests.dash_app.marks import click_mark, drawn, marks, plot
from dash_app.components import text
from dash_app.data.filters import BY_KEY, Filters
from dash_app.pages.portfolio import CHARTS

pytestmark = pytest.mark.browser
playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect
expect.set_options(timeout=30_000)  # a busy machine is slow, not wrong

HIGH = pl.col("risk_category").is_in(["High", "Very High"])
DPD = pl.col("current_dpd")


@pytest.fixture(scope="session")
def address(portfolio: Portfolio, serve: Callable[[Settings], str]) -> str:
    return serve(portfolio.settings)


def shown(states: pl.DataFrame, filters: Filters) -> dict[str, str]:
    """What the cards must say, computed from the loans themselves."""
    loans = small_lake.in_view(states, filters)
    return {
        "portfolio_value": text.money(loans["outstanding_balance"].sum()),
        "active_loans": text.count(loans.height),
        "average_dpd": text.days(loans["current_dpd"].mean()),
        "high_risk_loans": text.count(loans.filter(HIGH, pl.col("loan_status").is_in(ON_BOOK_STATUSES)).height),
        "expected_loss": text.money(loans["expected_loss_proxy"].sum()),
        "delinquent_30_share": text.percent(loans.select((DPD >= 30).mean()).item()),
        "delinquent_90_share": text.percent(loans.select((DPD >= 90).mean()).item()),
    }


def expect_cards(page: Any, values: dict[str, str]) -> None:
    for key, value in values.items():
        expect(page.locator(f"#kpi-{key}-value")).to_have_text(value)


def closed_too(states: pl.DataFrame, query: str) -> int:
    """How many loans the chart of originations counts: where no status is chosen, closed loans too."""
    view = Filters.from_query(query).with_values("status", LOAN_STATUSES)
    quarters = small_lake.in_view(states, view)["origination_quarter"]
    return quarters.is_in(sorted(quarters.unique())[-24:]).sum()


def saved(page: Any, button: str) -> tuple[str, bytes]:
    """The name and content of what a click downloads."""
    with page.expect_download() as download:
        page.locator(button).click()
    return download.value.suggested_filename, Path(download.value.path()).read_bytes()


def choose(page: Any, key: str, *labels: str) -> None:
    page.locator(f"#filter-{key}-pill").click()
    for label in labels:
        page.get_by_role("checkbox", name=label, exact=True).check()
    page.keyboard.press("Escape")


def test_the_cards_say_what_the_gold_table_says(
    address: str, open_tab: Callable[..., Tab], portfolio: Portfolio
) -> None:
    page = open_tab(address).page
    gold = pl.read_delta(str(portfolio.settings.lake / t.PORTFOLIO_KPIS.path)).sort("as_of_date").row(-1, named=True)
    expected = {
        "portfolio_value": text.money(gold["portfolio_value"]),
        "active_loans": text.count(gold["active_loans"]),
        "default_rate": text.percent(gold["default_rate"]),
        "average_dpd": text.days(gold["average_dpd"]),
        "high_risk_loans": text.count(gold["high_risk_loans"]),
        "expected_loss": text.money(gold["expected_loss"]),
        "delinquent_30_share": text.percent(gold["delinquent_30_share"]),
        "delinquent_90_share": text.percent(gold["delinquent_90_share"]),
    }
    expect_cards(page, expected)
    expect(page.locator("#kpi-portfolio_value-value")).to_have_attribute("title", f"{gold['portfolio_value']:,.2f}")
    assert sum(marks(page, "risk-donut", ".values")) == pytest.approx(gold["portfolio_value"])
    assert sum(marks(page, "dpd", ".x")) == gold["active_loans"]
    assert marks(page, "default-trend", ".y")[-1] == pytest.approx(gold["default_rate"])
    assert sum(marks(page, "score", ".y")) == gold["active_loans"]
    assert sum(marks(page, "purpose", ".x")) == pytest.approx(gold["portfolio_value"])
    expect(page.locator(".stamp-date")).to_have_text("Data as of 30 Jun 2026")
    assert page.locator("html").get_attribute("lang") == "en"


CHOICES = {
    "risk": (("High", "Very High"), "risk=High&risk=Very+High"),
    "rating": (("Very Low", "Medium"), "rating=Very+Low&rating=Medium"),
    "purpose": (("Debt consolidation",), "purpose=debt_consolidation"),
    "status": (("Delinquent",), "status=delinquent"),
    "score": (("300–579", "Unknown"), "score=300-579&score=unknown"),
    "dpd": (("90-119 days",), "dpd=90-119"),
    "region": (("North",), "region=North"),
}


def test_every_filter_changes_every_number_and_the_address(
    address: str, open_tab: Callable[..., Tab], portfolio: Portfolio
) -> None:
    page = open_tab(address).page
    whole = shown(portfolio.states, Filters())
    expect_cards(page, whole)
    assert sorted(CHOICES) == sorted(BY_KEY)
    for key, (labels, query) in CHOICES.items():
        choose(page, key, *labels)
        filtered = shown(portfolio.states, Filters.from_query(query))
        assert filtered != whole
        expect_cards(page, filtered)
        assert page.url.split("?")[1] == query
        loans = small_lake.in_view(portfolio.states, Filters.from_query(query))
        assert sum(marks(page, "dpd", ".x")) == loans.height
        balance = pytest.approx(loans["outstanding_balance"].sum())
        assert sum(marks(page, "risk-donut", ".values")) == balance
        for graph, numbers in (("purpose", "x"), ("regions", "values")):
            assert sum(marks(page, graph, f".{numbers}")) == balance
        assert sum(sum(filter(None, row)) for row in marks(page, "risk-purpose", ".z")) == balance
        assert sum(marks(page, "score", ".y")) == loans.height
        growth = page.evaluate(f"{plot('growth')}.data.map(trace => trace.y.at(-1)).reduce((a, b) => a + b)")
        assert growth == balance
        born = loans.height if key == "status" else closed_too(portfolio.states, query)
        assert page.evaluate(f"{plot('originations')}.data.flatMap(t => t.y).reduce((a, b) => a + b)") == born
        expect(page.locator(".chip")).to_have_count(len(labels))
        page.locator("#filter-reset").click()
        expect(page.locator(".chip")).to_have_count(0)
    expect_cards(page, whole)
    assert "?" not in page.url


def test_dates_filter_too_and_a_shared_address_opens_the_same_view(
    address: str, open_tab: Callable[..., Tab], portfolio: Portfolio
) -> None:
    page = open_tab(address).page
    expect_cards(page, shown(portfolio.states, Filters()))
    page.locator("#filter-as_of").click()
    page.get_by_role("option", name="30 Jun 2025").click()
    expect_cards(page, shown(portfolio.states, Filters(as_of="2025-06")))
    page.locator("#filter-originated-pill").click()
    page.locator("#filter-from").click()
    page.get_by_role("option", name="2024 Q1").click()
    view = Filters(as_of="2025-06", since="2024-Q1")
    expect_cards(page, shown(portfolio.states, view))
    shared = open_tab(page.url).page
    expect_cards(shared, shown(portfolio.states, view))
    expect(shared.locator(".chip")).to_have_text(["As of: Jun 2025", "Originated: from 2024 Q1"])
    shared.locator("#nav-loans").click()
    expect(shared.locator("#loans-in-view .kpi-value")).to_have_text(shown(portfolio.states, view)["active_loans"])


def test_a_click_on_a_mark_drills_down_and_a_second_one_back(
    address: str, open_tab: Callable[..., Tab], portfolio: Portfolio
) -> None:
    page = open_tab(address).page
    expect_cards(page, shown(portfolio.states, Filters()))
    largest = marks(page, "purpose", ".customdata[0].at(-1)").removeprefix("purpose=")
    click_mark(page, "#purpose .bars .point path")
    expect_cards(page, shown(portfolio.states, Filters(chosen={"purpose": (largest,)})))
    expect(page.locator(".chip")).to_have_text(f"Purpose: {text.label(largest)}")
    click_mark(page, "#purpose .bars .point path")
    expect_cards(page, shown(portfolio.states, Filters()))
    # one mark on another: the charts filter one another through one state, and each chip undoes its own part
    click_mark(page, "#rating-loss .bars .point:nth-child(5) path")
    expect_cards(page, shown(portfolio.states, Filters.from_query("rating=Very+High")))
    click_mark(page, "#score .bars .point path")
    both = Filters.from_query("rating=Very+High&score=300-579")
    expect_cards(page, shown(portfolio.states, both))
    expect(page.locator(".chip")).to_have_text(["Model rating: Very High", "Score band: 300–579"])
    page.get_by_role("button", name="Remove filter Model rating: Very High").press("Enter")
    expect_cards(page, shown(portfolio.states, Filters.from_query("score=300-579")))
    page.locator(".chip").click()
    expect_cards(page, shown(portfolio.states, Filters()))
    click_mark(page, "#risk-purpose .heatmap-label")
    expect(page.locator(".chip")).to_have_count(2)
    page.locator("#filter-reset").click()
    expect_cards(page, shown(portfolio.states, Filters()))
    # Until the chart is drawn anew, its one bar with a height is the heat map's category.
    page.wait_for_function(f"() => {plot('growth')}.data[0].y[0] > 0")
    click_mark(page, "#growth .bars .point path")
    expect(page.locator(".chip")).to_have_text(["As of: Jun 2024", "Risk category: Low"])
    expect_cards(page, shown(portfolio.states, Filters.from_query("as_of=2024-06&risk=Low")))
    page.locator("#filter-reset").click()
    click_mark(page, "#risk-donut .pielayer", (0.95, 0.5))
    expect(page.locator(".chip")).to_have_text("Risk category: Low")


def test_the_export_downloads_the_loans_in_view(
    address: str, open_tab: Callable[..., Tab], portfolio: Portfolio
) -> None:
    page = open_tab(f"{address}/?purpose=auto").page
    filters = Filters(chosen={"purpose": ("auto",)})
    expect_cards(page, shown(portfolio.states, filters))
    wanted = small_lake.in_view(portfolio.states, filters)
    for link, loans in (("#export-loans", wanted), ("#export-high-risk", wanted.filter(HIGH))):
        for suffix, kind in (("", "csv"), ("-parquet", "parquet")):
            name, content = saved(page, link + suffix)
            read = pl.read_parquet if kind == "parquet" else partial(pl.read_csv, infer_schema_length=None)
            assert sorted(read(io.BytesIO(content))["loan_id"]) == sorted(loans["loan_id"])
            assert name.endswith(f"loans_2026-06-30_filtered.{kind}")


def test_every_chart_is_saved_as_a_picture_and_as_its_numbers(
    address: str, open_tab: Callable[..., Tab], portfolio: Portfolio
) -> None:
    page = open_tab(f"{address}/?status=current").page
    filters = Filters(chosen={"status": ("current",)})
    expect_cards(page, shown(portfolio.states, filters))
    loans = small_lake.in_view(portfolio.states, filters)
    charts = set(CHARTS) - {"default-trend"}  # which has none of a status
    drawn(page, *charts)
    name, content = saved(page, "#purpose-csv")
    assert name == "purpose_30_jun_2026.csv"
    numbers = pl.read_csv(io.BytesIO(content))
    assert numbers["loans"].sum() == loans.height
    assert numbers["balance"].sum() == pytest.approx(loans["outstanding_balance"].sum())
    for chart in charts:  # a browser lets nobody download ten files at once, so the others are asked what they hold
        assert page.evaluate(f"{plot(chart)}.layout.meta.table.rows.length") > 0, chart
        expect(page.locator(f"#{chart}-csv")).to_be_visible()
    assert pl.read_csv(io.BytesIO(saved(page, "#originations-csv")[1]))["loans"].sum() == loans.height
    for chart in ("risk-donut", "regions"):
        name, content = saved(page, f"#{chart}-png")
        with Image.open(io.BytesIO(content)) as picture:
            assert picture.format == "PNG"
            assert picture.width >= 1280  # at least 640 pixels, drawn twice as fine
            assert len(picture.convert("RGB").getcolors(1_000_000)) > 20


def test_the_refresh_is_as_often_as_the_user_says_and_remembered(address: str, open_tab: Callable[..., Tab]) -> None:
    page = open_tab(address).page
    tick = "window.dash_clientside.creditRisk.pace"
    assert page.evaluate(f"{tick}('0')[1]") is True
    assert page.evaluate(f"{tick}('15')") == [15_000, False]
    choice = page.locator("#refresh-pace")
    expect(choice).to_have_value("1 min")
    expect(page.locator(".kpi").first).to_be_visible()
    choice.click()
    page.get_by_role("option", name="Off").click()
    expect(choice).to_have_value("Off")
    page.reload()
    expect(page.locator("#refresh-pace")).to_have_value("Off")
    page.locator("#refresh-pace").click()
    page.get_by_role("option", name="1 min").click()  # the tabs of a test share the browser's memory


def test_a_new_table_version_shows_by_itself(
    tmp_path: Path, open_tab: Callable[..., Tab], serve: Callable[[Settings], str]
) -> None:
    made = make_portfolio(tmp_path, loans=200, tapes=small_lake.TAPES[:2])
    page = open_tab(serve(made.settings) + "/?risk=Low").page
    low = Filters(chosen={"risk": ("Low",)})
    expect_cards(page, shown(made.states, Filters("2025-06", low.chosen)))
    states = small_lake.loan_states(400)
    small_lake.write_portfolio(made.settings.lake, states)
    page.evaluate("window.dash_clientside.set_props('refresh-tick', {n_intervals: 1})")
    expect_cards(page, shown(states, low))
    expect(page.locator(".stamp-date")).to_have_text("Data as of 30 Jun 2026")
    expect(page.locator("#filter-as_of")).to_have_value("30 Jun 2026 · newest")
    expect(page.locator(".chip")).to_have_text("Risk category: Low")


def test_a_server_that_does_not_answer_is_said_until_it_does(
    address: str, open_tab: Callable[..., Tab], portfolio: Portfolio
) -> None:
    tab = open_tab(address)
    page, banner = tab.page, tab.page.locator("#unreachable")
    expect_cards(page, shown(portfolio.states, Filters()))
    expect(banner).to_be_hidden()
    tick = "window.dash_clientside.set_props('refresh-tick', {n_intervals: %d})"
    page.route("**/_dash-update-component*", lambda route: route.abort())
    page.evaluate(tick % 1)
    expect(banner).to_contain_text("does not answer")
    expect_cards(page, shown(portfolio.states, Filters()))
    page.unroute("**/_dash-update-component*")
    page.evaluate(tick % 2)
    expect(banner).to_be_hidden()
    tab.errors.clear()  # the browser's own words about the request that failed


def test_the_loan_list_pages_sorts_and_searches_on_the_server(
    address: str, open_tab: Callable[..., Tab], portfolio: Portfolio
) -> None:
    book = small_lake.latest(portfolio.states).filter(pl.col("loan_status").is_in(ON_BOOK_STATUSES))
    page = open_tab(f"{address}/loans").page
    first = page.locator("#loan-grid [row-index='0'] [col-id='loan_id']")
    expect(page.locator("#loans-in-view .kpi-value")).to_have_text(text.count(book.height))
    by_balance = book.sort("outstanding_balance", "loan_id", descending=[True, False])
    expect(first).to_have_text(by_balance["loan_id"][0])
    page.locator("#loan-grid .ag-header-cell[col-id='loan_id']").click()
    expect(first).to_have_text(book["loan_id"].min())
    first.get_by_role("link").click()
    expect(page.locator("h1")).to_have_text(f"Loan {book['loan_id'].min()}")
    expect(page.locator("#loan-facts tbody tr").first).to_be_visible()
    expect(page.locator("#loan-loss tbody tr")).to_have_count(9)
    # the small lake has scores, and no registered model to explain them
    expect(page.locator("#loan-waterfall-note")).to_contain_text("no model is registered")
    page.get_by_role("link", name="All loans").click()
    wanted = book["loan_id"][book.height // 2]
    page.locator("#loan-search").fill(wanted)
    expect(first).to_have_text(wanted)
    expect(page.locator("#loans-in-view .kpi-value")).to_have_text("1")
    page.locator("#loan-search").fill("")
    page.get_by_text("High risk", exact=True).click()
    expect(page.locator("#loans-in-view .kpi-value")).to_have_text(text.count(book.filter(HIGH).height))


def test_the_model_page_shows_the_metrics_with_their_intervals(address: str, open_tab: Callable[..., Tab]) -> None:
    page = open_tab(f"{address}/model").page
    expect(page.locator("#model-auc .kpi-value")).to_have_text("0.812")
    expect(page.locator("#model-auc .kpi-foot")).to_contain_text("0.795 to 0.829")
    expect(page.locator("[id^=metrics-] tbody tr")).to_have_count(6)


def test_the_quality_page_shows_checks_ties_reasons_and_files(address: str, open_tab: Callable[..., Tab]) -> None:
    page = open_tab(f"{address}/quality").page
    expect(page.locator("#checks-table tbody tr")).to_have_count(3)
    expect(page.locator("#checks-table tbody tr").first).to_contain_text("Balance not above amount")
    expect(page.locator("#checks-table tbody tr").first).to_contain_text("Warning")
    expect(page.locator("#ties-table .state.pass")).to_have_count(10)
    expect(page.locator("#reasons-table li")).to_have_count(2)
    expect(page.locator("#files-table tbody tr")).to_have_count(3)


def test_an_empty_home_says_what_to_run_and_fills_itself(
    empty_home: Settings, open_tab: Callable[..., Tab], serve: Callable[[Settings], str]
) -> None:
    base = serve(empty_home)
    page = open_tab(base).page
    expect(page.locator(".notice")).to_contain_text("make demo")
    expect(page.locator("#portfolio-body")).to_be_hidden()
    for path in ("/loans", "/quality"):
        expect(open_tab(base + path).page.locator(".notice")).to_contain_text("No portfolio yet")
    states = small_lake.write_lake(empty_home.lake, loans=150)
    page.evaluate("window.dash_clientside.set_props('refresh-tick', {n_intervals: 1})")
    expect_cards(page, shown(states, Filters()))
    expect(page.locator(".notice")).to_have_count(0)


def test_a_portfolio_without_a_model_is_no_error(
    tmp_path: Path, open_tab: Callable[..., Tab], serve: Callable[[Settings], str]
) -> None:
    made = make_portfolio(tmp_path, loans=150, tapes=(date(2026, 6, 30),))
    base = serve(made.settings)
    page = open_tab(base).page
    expect_cards(page, shown(made.states, Filters()))
    expect(page.locator("#kpi-default_rate")).to_contain_text("Needs a tape from 12 months before")
    expect(open_tab(f"{base}/model").page.locator(".notice")).to_contain_text("one tape")
    expect(open_tab(f"{base}/loans").page.locator("#loan-stats")).to_contain_text("No model for this portfolio yet")


def test_a_broken_table_is_said_and_not_hidden(
    tmp_path: Path, open_tab: Callable[..., Tab], serve: Callable[[Settings], str]
) -> None:
    made = make_portfolio(tmp_path, loans=60)
    (made.settings.lake / t.PORTFOLIO_CUBE.path / "_delta_log" / f"{0:020d}.json").write_text("{broken")
    page = open_tab(serve(made.settings)).page
    expect(page.locator(".notice.error")).to_contain_text("gold/portfolio_cube")


@pytest.mark.parametrize("path", ["/", "/loans", "/model", "/quality"])
def test_a_page_fits_small_screens_and_bars_nobody(address: str, open_tab: Callable[..., Tab], path: str) -> None:
    page = open_tab(address + path).page
    expect(page.locator(".kpi").first).to_be_visible()
    expect(page.locator("[data-dash-is-loading=true]")).to_have_count(0)
    for width in (1366, 390):
        page.set_viewport_size({"width": width, "height": 900})
        # plotly redraws a moment after the window has changed
        page.wait_for_function("width => document.documentElement.scrollWidth <= width", arg=width)
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    page.set_viewport_size({"width": 1400, "height": 900})
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        expect(page.locator("html")).to_have_attribute("data-mantine-color-scheme", scheme)
        serious = [
            f"{scheme} {violation['id']}: {node['html'][:200]}"
            for violation in axe.Axe().run(page).response["violations"]
            if violation["impact"] in ("serious", "critical")
            for node in violation["nodes"]
        ]
        assert serious == []
