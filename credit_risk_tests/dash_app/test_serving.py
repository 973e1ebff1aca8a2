"""The dashboard as it is served: several workers, the first log-in, what the logs say."""

from __future__ import annotations

import contextlib
import http.cookiejar
import json
import logging
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, OpenerDirector, Request, build_opener

import pytest
from dash import Dash

from credit_risk_assets.config.settings import Settings, read_settings
from credit_risk_tests.dash_app.conftest import Visitor
from credit_risk_tests.dash_app.test_access import VALUES
from dash_app.logs import Logfmt
from dash_app.security.users import first_log_in, users_of

FIRST = re.compile(r"first log-in: user (\S+), password (\S+) \(shown this once")
MAKER = """
from credit_risk_assets.config.settings import read_settings
from dash_app.security.users import first_log_in
print(first_log_in(read_settings()))
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def served(home: Path, *words: str) -> Iterator[tuple[str, list[str], Path]]:
    """A server of two workers: its address, the lines it began with, and its log."""
    port = free_port()
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("CREDIT_RISK")},
        "CREDIT_RISK_HOME": str(home),
        "CREDIT_RISK__DASHBOARD__PORT": str(port),
    }
    log = home.parent / "server.log"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "dash_app", *words], env=environment, stdout=subprocess.PIPE, stderr=errors
        )
        assert process.stdout is not None
        try:
            lines = [process.stdout.readline().decode()]
            address = f"http://127.0.0.1:{port}"
            opener = build_opener()
            while True:  # the workers come up one after the other; a connection waits until one is there
                assert process.poll() is None, log.read_text()
                with contextlib.suppress(OSError), opener.open(f"{address}/health", timeout=60) as answer:
                    assert json.load(answer) == {"status": "ok"} or "--no-auth" in words
                    break
            os.set_blocking(process.stdout.fileno(), False)
            lines += [line.decode() for line in process.stdout.readlines()]
            yield address, lines, log
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)
            process.stdout.close()


def signed_in(address: str, name: str, password: str) -> OpenerDirector:
    opener = build_opener(HTTPCookieProcessor(http.cookiejar.CookieJar()))
    with opener.open(f"{address}/login", timeout=60) as answer:
        token = answer.read().decode().split('name="csrf_token" value="')[1].split('"')[0]
    form = urlencode({"name": name, "password": password, "csrf_token": token}).encode()
    with opener.open(Request(f"{address}/login", form), timeout=60) as answer:
        assert answer.url == f"{address}/"
    return opener


def test_the_first_start_tells_a_password_once_and_every_worker_knows_the_session(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with served(home) as (address, lines, log):
        (found,) = [match for line in lines if (match := FIRST.search(line))]
        name, password = found.groups()
        assert name == "admin"
        opener = signed_in(address, name, password)
        for _ in range(12):
            with opener.open(f"{address}/_dash-layout", timeout=60) as answer:
                assert b"Audit" in answer.read()
        with pytest.raises(HTTPError, match="401"):
            build_opener().open(f"{address}/_dash-layout", timeout=60)
    for line in log.read_text().splitlines():
        assert line.startswith("time="), line
        assert dict(pair.split("=", 1) for pair in shlex.split(line)).keys() >= {"time", "level", "logger", "message"}
    assert password not in log.read_text()
    assert "user=admin role=admin" in log.read_text()
    with served(home) as (address, lines, _):
        assert not [line for line in lines if FIRST.search(line)]
        signed_in(address, name, password)


def test_a_start_without_log_in_needs_none_and_makes_no_user(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with served(home, "--no-auth") as (address, lines, _):
        assert not [line for line in lines if FIRST.search(line)]
        with build_opener().open(f"{address}/_dash-layout", timeout=60) as answer:
            assert b"no log-in" in answer.read()
    assert users_of(read_settings(home=home)).all() == []


@pytest.mark.parametrize("command", [["dash_app", "--no-auth"], ["credit_risk_assets", "up", "--no-auth"]])
def test_a_start_without_log_in_for_others_is_refused_in_one_line(tmp_path: Path, command: list[str]) -> None:
    environment = {**os.environ, "CREDIT_RISK_HOME": str(tmp_path), "CREDIT_RISK__DASHBOARD__HOST": "0.0.0.0"}
    done = subprocess.run(
        [sys.executable, "-m", *command], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert "without log-in (auth none, --no-auth) the host must be a loopback address" in line
    assert "found 0.0.0.0" in line


def test_of_several_starts_at_once_one_makes_the_admin(tmp_path: Path) -> None:
    environment = {**os.environ, "CREDIT_RISK_HOME": str(tmp_path)}
    starts = [
        subprocess.Popen([sys.executable, "-c", MAKER], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    said = [start.communicate(timeout=120)[0].strip() for start in starts]
    assert [start.returncode for start in starts] == [0] * 4
    (line,) = [line for line in said if line]
    name, password = FIRST.search(line).groups()  # type: ignore[union-attr]
    assert users_of(read_settings(home=tmp_path)).check(name, password)
    assert [user.name for user in users_of(read_settings(home=tmp_path)).all()] == ["admin"]


def test_where_there_are_users_no_admin_is_made(guarded_app: Dash, guarded: object) -> None:
    settings: Settings = guarded.settings  # type: ignore[attr-defined]
    assert first_log_in(settings) == ""


def test_the_access_log_names_user_and_status_and_no_loan(
    visitors: dict[str, Visitor], guarded_app: Dash, caplog: pytest.LogCaptureFixture
) -> None:
    render = next(output for output in guarded_app.callback_map if output.startswith("..loan-notice"))
    with caplog.at_level(logging.INFO, "dash_app.access"):
        visitors["analyst"].client.get("/loan/L000007?search=smith")
        visitors["analyst"].client.get("/export/loans.csv?region=smith")
        visitors["viewer"].call(render, **VALUES)
        visitors["nobody"].client.get("/loans?search=smith")
        visitors["nobody"].client.post("/_dash-update-component", json={"output": "smith"})
    lines = [Logfmt().format(record) for record in caplog.records]
    said = [dict(pair.split("=", 1) for pair in shlex.split(line)) for line in lines]
    seen = [(one["path"], one["status"], one.get("user"), one.get("callback")) for one in said]
    assert seen == [
        ("/loan/<loan_id>", "200", "analyst", None),
        ("/export/loans.csv", "200", "analyst", None),
        ("/_dash-update-component", "403", "viewer", "loan-notice.children"),
        ("/loans", "302", None, None),
        ("/_dash-update-component", "401", None, None),
    ]
    assert "smith" not in "".join(lines)
    assert "L000007" not in "".join(lines)


def test_a_log_line_is_one_line_of_pairs_whatever_it_says() -> None:
    record = logging.LogRecord("a", logging.ERROR, "", 1, 'two\nlines "and" a \\ %s', ("x=y",), None)
    record.fields = {"rows": 3, "none": None, "empty": ""}
    try:
        raise ValueError("bad\nluck")
    except ValueError:
        record.exc_info = sys.exc_info()
    line = Logfmt().format(record)
    assert "\n" not in line
    assert 'message="two\\nlines \\"and\\" a \\\\ x=y" rows=3 empty=""' in line
    assert "ValueError: bad" in line
    assert "none=" not in line
