"""The log-in and each role in a browser: what is there, what is not, and that nobody is barred."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from credit_risk_assets.config.settings import Settings
from credit_risk_tests.dash_app.conftest import PASSWORD, Portfolio, Tab
from dash_app.security.roles import Role
from dash_app.security.users import users_of

pytestmark = pytest.mark.browser
playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect
expect.set_options(timeout=30_000)  # a busy machine is slow, not wrong
PAGES = {
    "viewer": ["Portfolio", "Delinquency", "Model", "Data quality"],
    "analyst": ["Portfolio", "Delinquency", "Loans", "Score a loan", "Model", "Data quality"],
    "admin": ["Portfolio", "Delinquency", "Loans", "Score a loan", "Model", "Data quality", "Audit"],
}


@pytest.fixture(scope="module")
def address(guarded: Portfolio, serve: Callable[[Settings], str]) -> str:
    return serve(guarded.settings)


def sign_in(page: Any, name: str, password: str = PASSWORD) -> None:
    page.get_by_label("User name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()


def sign_out(page: Any) -> None:
    page.locator("#user-menu").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def serious(page: Any) -> list[str]:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    return [
        f"{violation['id']}: {node['html'][:200]}"
        for violation in axe.Axe().run(page).response["violations"]
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ]


@pytest.mark.parametrize("role", list(PAGES))
def test_each_role_finds_its_pages_and_no_others(address: str, open_tab: Callable[..., Tab], role: str) -> None:
    tab = open_tab(f"{address}/?risk=High")
    page = tab.page
    sign_in(page, role)
    expect(page.locator(".kpi").first).to_be_visible()
    assert page.url == f"{address}/?risk=High"
    assert [link.inner_text() for link in page.locator(".nav a:visible").all()] == PAGES[role]
    expect(page.locator("#export-loans:visible")).to_have_count(0 if role == "viewer" else 1)
    page.locator("#filter-purpose-pill").click()
    page.get_by_role("checkbox", name="Home", exact=True).check()  # filters work where links are missing
    page.keyboard.press("Escape")
    expect(page).to_have_url(f"{address}/?risk=High&purpose=home")
    assert serious(page) == []
    page.goto(f"{address}/audit")
    if role == "admin":
        expect(page.locator("#audit-chain .kpi-value")).to_have_text("Intact")
        expect(page.locator("#audit-grid [row-index='0']").first).to_be_visible()
        expect(page.locator("#audit-users tbody tr").first).to_be_visible()
        for width in (1366, 390):
            page.set_viewport_size({"width": width, "height": 900})
            page.wait_for_function("width => document.documentElement.scrollWidth <= width", arg=width)
        page.set_viewport_size({"width": 1400, "height": 900})
    else:
        expect(page.locator(".notice")).to_contain_text(f"Your role ({role}) does not show this page")
        # the browser itself reports the page's own status
        assert [error for error in tab.errors if "403" not in error] == []
        tab.errors.clear()
    assert serious(page) == []
    sign_out(page)


def test_a_wrong_password_is_said_and_the_form_bars_nobody(address: str, open_tab: Callable[..., Tab]) -> None:
    tab = open_tab(address)
    page = tab.page
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.reload()
        expect(page.locator("html")).to_have_attribute("data-mantine-color-scheme", scheme)
        sign_in(page, "viewer", "wrong wrong wrong")
        expect(page.get_by_role("alert")).to_have_text("The user name or the password is not right.")
        expect(page.get_by_label("User name")).to_have_value("viewer")
        expect(page.get_by_label("Password")).to_be_focused()
        assert serious(page) == []
        for width in (1366, 390):
            page.set_viewport_size({"width": width, "height": 900})
            page.wait_for_function("width => document.documentElement.scrollWidth <= width", arg=width)
    assert [error for error in tab.errors if "401" not in error] == []
    tab.errors.clear()


def test_a_session_that_ends_leads_to_the_log_in_and_back(
    address: str, open_tab: Callable[..., Tab], guarded: Portfolio
) -> None:
    users = users_of(guarded.settings)
    users.add("fay", Role.ANALYST, PASSWORD)
    tab = open_tab(f"{address}/model")
    page = tab.page
    sign_in(page, "fay")
    expect(page.locator("#model-auc")).to_be_visible()
    users.set_password("fay", PASSWORD)  # ends the sessions
    page.evaluate("window.dash_clientside.set_props('refresh-tick', {n_intervals: 1})")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    sign_in(page, "fay")
    expect(page.locator("#model-auc")).to_be_visible()
    assert page.url == f"{address}/model"
    tab.errors.clear()  # the refused request
    sign_out(page)
