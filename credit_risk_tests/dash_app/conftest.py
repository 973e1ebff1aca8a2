"""A small lake, the app over it, and a browser that looks at it."""

from __future__ import annotations

import logging
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from flask import Flask
from werkzeug.serving import make_server

from credit_risk_assets.config.settings import Settings, read_settings
from credit_risk_tests.dash_app.small_lake import write_lake
from dash_app.app import create_app
from dash_app.data.lake import Lake, Snapshot

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


def make_portfolio(home: Path, **lake: object) -> Portfolio:
    settings = read_settings(home=home)
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
    return read_settings(home=tmp_path / "home")


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
