"""Alerts reach what the settings name, and a channel that fails hides nothing."""

from __future__ import annotations

import json
import logging
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Literal

import pytest

from credit_risk_assets.config.settings import AlertSettings
from credit_risk_assets.resources.notifications import Alert, send_alert

ALERT = Alert("run 1234 failed", "bronze: disk full")


class Web(BaseHTTPRequestHandler):
    """A receiver of JSON alerts."""

    received: list[dict[str, str]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        type(self).received.append(json.loads(body))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


class _Mail(socketserver.StreamRequestHandler):
    received: list[str]

    def handle(self) -> None:
        def say(line: str) -> None:
            self.wfile.write(f"{line}\r\n".encode())

        say("220 ready")
        data: list[str] = []
        while line := self.rfile.readline().decode().strip():
            verb = line.split(":")[0].upper()
            if verb.startswith("DATA"):
                say("354 go on")
                while (text := self.rfile.readline().decode().rstrip("\r\n")) != ".":
                    data.append(text)
                type(self).received.append("\n".join(data))
                say("250 kept")
            elif verb.startswith("QUIT"):
                say("221 bye")
                return
            else:
                say("250 fine")


@contextmanager
def listening(server: socketserver.BaseServer) -> Iterator[int]:
    """The server at work in a thread; yields its port."""
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_without_settings_an_alert_goes_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        assert send_alert(ALERT, AlertSettings()) == ["log"]
    assert "run 1234 failed: bronze: disk full" in caplog.text


def test_an_alert_reaches_webhook_slack_and_mail() -> None:
    Web.received, _Mail.received = [], []
    with (
        listening(HTTPServer(("127.0.0.1", 0), Web)) as web,
        listening(socketserver.TCPServer(("127.0.0.1", 0), _Mail)) as mail,
    ):
        sent = send_alert(
            ALERT,
            AlertSettings(
                webhook_url=f"http://127.0.0.1:{web}/hook",
                slack_webhook_url=f"http://127.0.0.1:{web}/slack",
                smtp_host="127.0.0.1",
                smtp_port=mail,
                email_from="platform@example.org",
                email_to=["desk@example.org"],
            ),
        )
    assert sent == ["log", "webhook", "slack", "email"]
    assert Web.received == [
        {"title": ALERT.title, "text": ALERT.text},
        {"text": f"{ALERT.title}\n{ALERT.text}"},
    ]
    assert "Subject: run 1234 failed" in _Mail.received[0]
    assert "bronze: disk full" in _Mail.received[0]


@pytest.mark.parametrize(("minimum", "channels"), [("ERROR", ["log"]), ("WARN", ["log", "webhook"])])
def test_a_warning_goes_beyond_the_log_only_where_the_settings_ask(
    minimum: Literal["ERROR", "WARN"], channels: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    Web.received = []
    with caplog.at_level(logging.INFO), listening(HTTPServer(("127.0.0.1", 0), Web)) as web:
        hook = f"http://127.0.0.1:{web}/hook"
        settings = AlertSettings(webhook_url=hook, minimum_severity=minimum)  # type: ignore[arg-type]
        assert send_alert(Alert("late", "1 day", "WARN"), settings) == channels
    assert len(Web.received) == len(channels) - 1
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_a_channel_that_fails_is_logged_without_its_address(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        sent = send_alert(ALERT, AlertSettings(webhook_url="http://127.0.0.1:9/secret-token"))
    assert sent == ["log"]
    assert "alert not sent by webhook" in caplog.text
    assert "secret-token" not in caplog.text
