"""Takes the pictures of the documentation: each page of the dashboard, and Dagster's graph of all assets.

    python docs/make_screenshots.py --home HOME --out docs/images

HOME is a home that `credit-risk demo` or `credit-risk refresh` has filled. Needs Chromium
(`apt-get install chromium`, or CHROMIUM=/path/to/it) and the development dependencies. Both servers are
started on free ports and stopped again.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --force-color-profile=srgb"
)
PAGES = (("portfolio", "/"), ("loans", "/loans"), ("model", "/model"), ("quality", "/quality"))
START_SECONDS = 180


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def serving(command: list[str], ready: str, environment: dict[str, str]) -> Iterator[None]:
    """Run a server until the block ends; raises `RuntimeError` with its last line where it does not answer."""
    with tempfile.NamedTemporaryFile(suffix=".log") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, env=environment, cwd=ROOT, start_new_session=True
        )
        try:
            deadline = time.monotonic() + START_SECONDS
            while True:
                if process.poll() is not None or time.monotonic() > deadline:
                    lines = Path(log.name).read_text(errors="replace").strip().splitlines()
                    raise RuntimeError(f"{command[2]} does not answer: {lines[-1] if lines else 'no output'}")
                with contextlib.suppress(URLError, OSError), urlopen(ready, timeout=5) as answer:
                    if answer.status == 200:
                        break
                time.sleep(0.5)
            yield
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)  # its workers and code servers too
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)


def open_page(browser: Browser, url: str, width: int, height: int, scheme: str) -> Page:
    """A page of its own session, so that nothing is remembered from one picture to the next."""
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(url)
    return page


def take_dashboard(browser: Browser, base: str, out: Path) -> None:
    """Each page in both colour schemes, and the portfolio on a telephone."""
    jobs = [(name, path, 1400, scheme) for name, path in PAGES for scheme in ("light", "dark")]
    jobs.append(("portfolio_phone", "/", 390, "light"))
    for name, path, width, scheme in jobs:
        page = open_page(browser, base + path, width, 900, scheme)
        page.locator(".kpi, .notice").first.wait_for()
        page.locator('[data-dash-is-loading="true"]').first.wait_for(state="detached")
        if path == "/loans" and page.locator("#loan-grid").is_visible():
            page.locator("#loan-grid .ag-cell-value").first.wait_for()
        page.evaluate("() => document.fonts.ready")
        page.wait_for_timeout(1500)  # plotly draws after the figures have arrived
        file = out / f"{name}{'_dark' if scheme == 'dark' else ''}.png"
        page.screenshot(path=file, full_page=True)
        print(file)
        page.context.close()


def take_asset_graph(browser: Browser, base: str, out: Path) -> None:
    """Dagster's lineage of all assets, every group opened."""
    page = open_page(browser, f"{base}/asset-groups/", 1640, 1290, "light")
    page.locator("svg foreignObject").first.wait_for(timeout=90_000)
    page.get_by_text("Hide navigation").click()
    page.keyboard.press("Alt+e")  # opens every group
    page.get_by_text("loan_scores").first.wait_for()
    page.reload()  # the camera fits the graph once, when it opens
    page.get_by_text("loan_scores").first.wait_for()
    page.wait_for_timeout(4000)  # the layout is computed in a worker
    file = out / "dagster_assets.png"
    page.screenshot(path=file)
    print(file)
    page.context.close()


def main() -> int:
    """Take every picture; 1 with one line where something is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--home", type=Path, required=True, help="a filled home")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images")
    parser.add_argument("--only", choices=("dashboard", "dagster"), help="only one of the two")
    wanted = parser.parse_args()
    chromium = os.environ.get("CHROMIUM", "/usr/bin/chromium")
    home, out = wanted.home.resolve(), wanted.out.resolve()
    if shutil.which(chromium) is None:
        print(f"{chromium}: no such program; apt-get install chromium, or set CHROMIUM", file=sys.stderr)
        return 1
    if not (home / "lake").is_dir():
        print(f"{home}: no lake/ in this home; run `credit-risk demo` first", file=sys.stderr)
        return 1
    out.mkdir(parents=True, exist_ok=True)
    dash_port, dagster_port = free_port(), free_port()
    environment = {
        **os.environ,
        "CREDIT_RISK_HOME": str(home),
        "CREDIT_RISK__DASHBOARD__PORT": str(dash_port),
        "CREDIT_RISK__DASHBOARD__WORKERS": "1",
        "DAGSTER_HOME": str(home / "dagster"),
        "DAGSTER_DISABLE_TELEMETRY": "yes",
    }
    dash, dagster = f"http://127.0.0.1:{dash_port}", f"http://127.0.0.1:{dagster_port}"
    webserver = [sys.executable, "-m", "dagster_webserver", "-w", "workspace.yaml", "-h", "127.0.0.1"]
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS.split())
            if wanted.only != "dagster":
                with serving([sys.executable, "-m", "dash_app"], f"{dash}/health", environment):
                    take_dashboard(browser, dash, out)
            if wanted.only != "dashboard":
                command = [*webserver, "-p", str(dagster_port)]
                with serving(command, f"{dagster}/server_info", environment):
                    take_asset_graph(browser, dagster, out)
            browser.close()
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
