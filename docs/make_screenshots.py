"""Takes the pictures of the documentation: the dashboard's pages, Dagster's graph of assets, a dirty tape's checks.

    python docs/make_screenshots.py --home HOME --out docs/images
    python docs/make_screenshots.py --only dirty-tape

HOME is a home that `credit-risk demo` or `credit-risk refresh` has filled; the dirty tape has a home of its own,
filled as docs/operations.md says and removed again. Needs Chromium
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

from PIL import Image
from playwright.sync_api import Browser, Page, StorageState, sync_playwright
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from credit_risk_assets.config.settings import read_settings
from dash_app.security.roles import Role
from dash_app.security.users import new_password, users_of

ROOT = Path(__file__).resolve().parent.parent
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --force-color-profile=srgb"
)
PAGES = (
    ("portfolio", "/"),
    ("delinquency", "/delinquency"),
    ("loans", "/loans"),
    ("score", "/score"),
    ("model", "/model"),
    ("quality", "/quality"),
    ("audit", "/audit"),
)
START_SECONDS = 180
TALLEST = 1800
"""Pixels that a check's picture may be high; it ends where the metadata end."""
DEFECTS = ROOT / "docs" / "dirty_tape.yaml"
CHECKS = (
    ("loan_rules", "silver/loans", "balance_fits_amount"),
    ("drift", "silver/loan_history", "distribution_steady"),
    ("rejected_rows", "bronze/rejected_records", "rejected_share"),
    ("refused_file", "bronze/ingestion_log", "files_readable"),
)
"""Failed checks of the dirty tape: picture, asset, check."""


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


def open_page(
    browser: Browser, url: str, width: int, height: int, scheme: str, state: StorageState | None = None
) -> Page:
    """A page of its own session, so that nothing is remembered from one picture to the next but `state`, a log-in."""
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme=scheme,  # type: ignore[arg-type]
        storage_state=state,
    )
    page = context.new_page()
    page.goto(url)
    return page


@contextlib.contextmanager
def home_with_admin(home: Path, password: str) -> Iterator[Path]:
    """A home that borrows the tables and models of another, with an admin of its own; the other is not written to."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for borrowed in ("lake", "mlflow", "privacy.key"):
            if (home / borrowed).exists():
                (folder / borrowed).symlink_to(home / borrowed)
        users_of(read_settings(home=folder)).add("admin", Role.ADMIN, password)
        yield folder


def sign_in(browser: Browser, base: str, password: str, out: Path) -> StorageState:
    """Take the log-in page in both colour schemes, then sign in and keep the cookies."""
    for scheme in ("light", "dark"):
        page = open_page(browser, base, 1400, 900, scheme)
        page.get_by_label("User name").wait_for()
        file = out / f"login{'_dark' if scheme == 'dark' else ''}.png"
        page.screenshot(path=file)
        print(file)
        if scheme == "light":
            page.context.close()
    page.get_by_label("User name").fill("admin")
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    page.locator(".kpi, .notice, .stamp-date").first.wait_for()
    state = page.context.storage_state()
    page.context.close()
    return state


def first_loan(browser: Browser, base: str, state: StorageState | None) -> str:
    """The path of the first high-risk loan of the list: one that has reasons."""
    page = open_page(browser, f"{base}/loans?risk=Very+High&status=current", 1400, 900, "light", state)
    link = page.locator("#loan-grid [row-index='0'] [col-id='loan_id'] a")
    link.wait_for()
    path = str(link.get_attribute("href"))
    page.context.close()
    return path


def take_dashboard(browser: Browser, base: str, out: Path, password: str) -> None:
    """The log-in, each page in both colour schemes, and the portfolio on a telephone."""
    state = sign_in(browser, base, password, out)
    pages = [*PAGES, ("loan", first_loan(browser, base, state))]
    jobs = [(name, path, 1400, scheme) for name, path in pages for scheme in ("light", "dark")]
    jobs.append(("portfolio_phone", "/", 390, "light"))
    for name, path, width, scheme in jobs:
        page = open_page(browser, base + path, width, 900, scheme, state)
        page.locator(".kpi, .notice, .stamp-date").first.wait_for()
        page.locator('[data-dash-is-loading="true"]').first.wait_for(state="detached")
        if path == "/loans" and page.locator("#loan-grid").is_visible():
            page.locator("#loan-grid .ag-cell-value").first.wait_for()
        page.evaluate("() => document.fonts.ready")
        page.wait_for_timeout(1500)  # plotly draws after the figures have arrived
        file = out / f"{name}{'_dark' if scheme == 'dark' else ''}.png"
        page.screenshot(path=file, full_page=True)
        print(file)
        page.context.close()


def shrink(file: Path) -> None:
    """Write a picture of few colours with a palette, a third of its size."""
    with Image.open(file) as picture:
        small = picture.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    small.save(file, optimize=True)


def skip_welcome(page: Page) -> None:
    """Close the dialog that Dagster greets the first visitor of a home with."""
    with contextlib.suppress(PlaywrightTimeout):
        page.get_by_role("button", name="Skip").click(timeout=8000)


def fill_with_dirty_tape(folder: Path, environment: dict[str, str]) -> None:
    """Two sound tapes, then a dirty one and a file that is no tape; raises `RuntimeError` where a command fails."""
    sound, dirty = folder / "sound", folder / "dirty"

    def run(*words: str | Path, expected: int = 0) -> None:
        command = [sys.executable, "-m", "credit_risk_assets", *map(str, words)]
        done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
        if done.returncode != expected:
            lines = (done.stderr or done.stdout).strip().splitlines()
            raise RuntimeError(f"credit-risk {words[0]} ended with {done.returncode}: {lines[-1] if lines else ''}")

    run("simulate", "--loans", "3000", "--out", sound)
    run("simulate", "--loans", "3000", "--out", dirty, "--defects", DEFECTS)
    run("land", *sorted(sound.glob("loan_portfolio_data_*.csv")))
    run("refresh")
    tape = dirty / "loan_portfolio_data.csv"
    run("land", tape)
    copy = Path(environment["CREDIT_RISK_HOME"]) / "landing" / "loan_portfolio_copy.csv"
    copy.write_bytes(tape.read_bytes().replace(b"loan_id", b"reference", 1))
    run("refresh", expected=1)  # the refused file is an ERROR


def take_checks(browser: Browser, base: str, out: Path) -> None:
    """Each chosen check of the dirty tape, opened in Dagster, down to the end of its metadata."""
    for name, asset, check in CHECKS:
        page = open_page(browser, f"{base}/assets/{asset}?view=checks&checkDetail={check}", 1400, TALLEST, "light")
        page.get_by_text("total_rows", exact=True).first.wait_for(timeout=90_000)
        if name == CHECKS[0][0]:
            skip_welcome(page)
        page.get_by_text("Hide navigation").click()
        page.mouse.move(1390, 20)
        page.wait_for_timeout(1000)  # the navigation slides away
        box = page.get_by_text("total_rows", exact=True).first.bounding_box()
        file = out / f"dirty_tape_{name}.png"
        bottom = min(TALLEST, box["y"] + box["height"] + 24) if box else TALLEST
        page.screenshot(path=file, clip={"x": 0, "y": 0, "width": 1400, "height": bottom})
        shrink(file)
        print(file)
        page.context.close()


def take_dirty_tape(browser: Browser, webserver: list[str], out: Path) -> None:
    """Fill a home with a dirty tape and take Dagster's pictures of it."""
    with tempfile.TemporaryDirectory() as name:
        home, port = Path(name) / "home", free_port()
        environment = {
            **os.environ,
            "CREDIT_RISK_HOME": str(home),
            "DAGSTER_HOME": str(home / "dagster"),
            "DAGSTER_DISABLE_TELEMETRY": "yes",
        }
        fill_with_dirty_tape(Path(name), environment)
        base = f"http://127.0.0.1:{port}"
        with serving([*webserver, "-p", str(port)], f"{base}/server_info", environment):
            take_checks(browser, base, out)


def take_asset_graph(browser: Browser, base: str, out: Path) -> None:
    """Dagster's lineage of all assets, every group opened."""
    page = open_page(browser, f"{base}/asset-groups/", 1640, 1460, "light")
    page.locator("svg foreignObject").first.wait_for(timeout=90_000)
    skip_welcome(page)
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


def take_home(browser: Browser, webserver: list[str], home: Path, out: Path, only: str | None) -> None:
    """The dashboard's pages and Dagster's graph of a filled home, or one of the two."""
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
    if only != "dagster":
        password = new_password()
        with home_with_admin(home, password) as folder:
            guarded = {**environment, "CREDIT_RISK_HOME": str(folder)}
            with serving([sys.executable, "-m", "dash_app"], f"{dash}/health", guarded):
                take_dashboard(browser, dash, out, password)
    if only != "dashboard":
        with serving([*webserver, "-p", str(dagster_port)], f"{dagster}/server_info", environment):
            take_asset_graph(browser, dagster, out)


def main() -> int:
    """Take every picture; 1 with one line where something is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--home", type=Path, help="a filled home, for all but the dirty tape")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images")
    parser.add_argument("--only", choices=("dashboard", "dagster", "dirty-tape"), help="only one of the three")
    wanted = parser.parse_args()
    chromium = os.environ.get("CHROMIUM", "/usr/bin/chromium")
    out: Path = wanted.out.resolve()
    home: Path | None = wanted.home.resolve() if wanted.home else None
    if shutil.which(chromium) is None:
        print(f"{chromium}: no such program; apt-get install chromium, or set CHROMIUM", file=sys.stderr)
        return 1
    if wanted.only != "dirty-tape" and not (home and (home / "lake").is_dir()):
        print(f"{home or '--home'}: no home with a lake/; run `credit-risk demo` and name its home", file=sys.stderr)
        return 1
    out.mkdir(parents=True, exist_ok=True)
    webserver = [sys.executable, "-m", "dagster_webserver", "-w", "workspace.yaml", "-h", "127.0.0.1"]
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS.split())
            if home and wanted.only != "dirty-tape":
                take_home(browser, webserver, home, out, wanted.only)
            if wanted.only in (None, "dirty-tape"):
                take_dirty_tape(browser, webserver, out)
            browser.close()
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
