"""A small lake, the app over it, and a browser that looks at it."""

from __future__ import annotations

import logging
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from dash import Dash
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.serving import make_server
from werkzeug.test import TestResponse

from credit_risk_assets.config.settings import Settings, read_settings
from credit_risk_tests.dash_app.small_lake import write_lake
from dash_app.app import create_app
from dash_app.data.lake import Lake, Snapshot
from dash_app.security.roles import Role
from dash_app.security.secure import csrf_cookie
from dash_app.security.users import users_of

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@dataclass(frozen=True)
class Portfolio:
    """A home with a lake, and the loan states that the lake was made from."""

    settings: Settings
    states: pl.DataFrame


OPEN = {"auth": "none"}
"""The dashboard's settings in tests that are about something else than who may see what."""


def make_portfolio(home: Path, dashboard: dict[str, Any] | None = None, **lake: object) -> Portfolio:
    settings = read_settings(home=home, dashboard=OPEN if dashboard is None else dashboard)
    return Portfolio(settings, write_lake(settings.lake, **lake))  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def portfolio(tmp_path_factory: pytest.TempPathFactory) -> Portfolio:
    """Three yearly tapes of some 900 loans, with a model."""
    return make_portfolio(tmp_path_factory.mktemp("portfolio"))


@pytest.fixture
def snapshot(portfolio: Portfolio) -> Snapshot:
    return Lake(portfolio.settings.lake).snapshot()


@pytest.fixture(scope="session")
def server(portfolio: Portfolio) -> Flask:
    return create_app(portfolio.settings).server


@pytest.fixture
def empty_home(tmp_path: Path) -> Settings:
    return read_settings(home=tmp_path / "home", dashboard=OPEN)


PASSWORD = "a horse, nine batteries"


@dataclass
class Visitor:
    """Somebody with a browser's cookies, signed in or not."""

    app: Dash
    client: FlaskClient

    @classmethod
    def of(cls, app: Dash) -> Visitor:
        return cls(app, app.server.test_client())

    def sign_in(self, name: str, password: str = PASSWORD, where: str = "/login", **more: Any) -> TestResponse:
        found = re.search(r'name="csrf_token" value="([^"]+)"', self.client.get("/login").text)
        token = found.group(1) if found else ""
        return self.client.post(where, data={"name": name, "password": password, "csrf_token": token}, **more)

    @property
    def csrf(self) -> str:
        cookie = self.client.get_cookie(csrf_cookie(self.app.server))
        return cookie.value if cookie else ""

    def call(self, output: str, **values: Any) -> TestResponse:
        """A callback as the renderer calls it; `values` are by component and property, such as `x__value`."""
        return self.post(callback_body(self.app, output, values))

    def post(self, body: Any, **headers: str) -> TestResponse:
        return self.client.post("/_dash-update-component", json=body, headers={"X-CSRFToken": self.csrf, **headers})


def callback_body(app: Dash, output: str, values: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What the renderer sends for a callback: its components with their values, None where no value is given."""
    entry, given = app.callback_map[output], values or {}

    def filled(declared: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{**part, "value": given.get(f"{part['id']}__{part['property']}")} for part in declared]

    outputs = entry["output"]
    made = [{"id": o.component_id, "property": o.component_property} for o in flat(outputs)]
    return {
        "output": output,
        "outputs": made if isinstance(outputs, list | tuple) else made[0],
        "inputs": filled(entry["inputs"]),
        "state": filled(entry["state"]),
        "changedPropIds": [f"{part['id']}.{part['property']}" for part in entry["inputs"]],
    }


def flat(outputs: Any) -> list[Any]:
    return list(outputs) if isinstance(outputs, list | tuple) else [outputs]


@pytest.fixture(scope="session")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Portfolio:
    """A small portfolio whose dashboard asks to sign in; the users are called as their roles."""
    made = make_portfolio(tmp_path_factory.mktemp("guarded"), dashboard={}, loans=150)
    users = users_of(made.settings)
    for role in Role:
        users.add(role.value, role, PASSWORD)
    return made


@pytest.fixture(scope="session")
def guarded_app(guarded: Portfolio) -> Dash:
    app = create_app(guarded.settings)
    app.server.test_client().get("/")  # with the first request Dash adds its router
    return app


@pytest.fixture(scope="session")
def visitors(guarded_app: Dash) -> dict[str, Visitor]:
    """Nobody, and a signed-in user of each role."""
    found = {"nobody": Visitor.of(guarded_app)}
    for role in Role:
        visitor = found[role.value] = Visitor.of(guarded_app)
        assert visitor.sign_in(role.value).status_code == 302
        visitor.client.get("/")  # brings the CSRF cookie
    return found


@pytest.fixture(scope="session")
def serve() -> Iterator[Callable[[Settings], str]]:
    """Serves a home on a free port and gives its address."""
    running = []
    logging.getLogger("werkzeug").setLevel(logging.ERROR)

    def start(settings: Settings) -> str:
        web = make_server("127.0.0.1", 0, create_app(settings).server, threaded=True)
        thread = threading.Thread(target=web.serve_forever, daemon=True)
        thread.start()
        running.append((web, thread))
        return f"http://127.0.0.1:{web.server_port}"

    yield start
    for web, thread in running:
        web.shutdown()
        thread.join(5)


@dataclass
class Tab:
    """A browser tab that remembers what a page must never do."""

    page: Any
    errors: list[str] = field(default_factory=list)
    strays: list[str] = field(default_factory=list)


@pytest.fixture(scope="session")
def browser() -> Iterator[object]:
    if shutil.which(CHROMIUM) is None:
        pytest.skip(f"no Chromium at {CHROMIUM}: apt-get install chromium, or set CHROMIUM to its path")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as p:
        chromium = p.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def context(browser) -> Iterator[object]:  # type: ignore[no-untyped-def]
    """One context for every tab, so that the libraries are loaded and compiled once."""
    shared = browser.new_context()
    yield shared
    shared.close()


@pytest.fixture
def open_tab(context) -> Iterator[Callable[..., Tab]]:  # type: ignore[no-untyped-def]
    """Opens tabs; afterwards no console error may have been seen, and no request to another host."""
    tabs: list[Tab] = []
    context.clear_cookies()  # nobody is signed in

    def start(address: str, *, width: int = 1400, scheme: str = "light") -> Tab:
        page = context.new_page()
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme)
        page.set_default_timeout(30_000)
        tab = Tab(page)
        tabs.append(tab)
        page.on("console", lambda m: tab.errors.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda e: tab.errors.append(str(e)))
        inside = ("http://127.0.0.1:", "data:", "blob:")
        page.on("request", lambda r: None if r.url.startswith(inside) else tab.strays.append(r.url))
        page.goto(address)
        return tab

    yield start
    for tab in tabs:
        tab.page.close()
    assert [error for tab in tabs for error in tab.errors] == []
    assert [stray for tab in tabs for stray in tab.strays] == []
