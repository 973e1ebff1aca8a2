"""Alerts: always to the log, and to e-mail, Slack or a webhook where the settings name one."""

from __future__ import annotations

import json
import logging
import smtplib
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Literal
from urllib.request import Request, urlopen

from credit_risk_assets.config.settings import AlertSettings

TIMEOUT_SECONDS = 10
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Alert:
    """What went wrong and where."""

    title: str
    text: str
    severity: Literal["ERROR", "WARN"] = "ERROR"


def _post(url: str, payload: dict[str, str]) -> None:
    if not url.startswith(("http://", "https://")):
        raise ValueError("an address that begins with http:// or https:// is expected")
    body = json.dumps(payload).encode()
    request = Request(url, data=body, headers={"Content-Type": "application/json"})
    with urlopen(request, timeout=TIMEOUT_SECONDS):
        pass


def _mail(alert: Alert, settings: AlertSettings) -> None:
    message = EmailMessage()
    # A header is one line, whatever an asset or a job is called.
    message["Subject"] = " ".join(alert.title.split())
    message["From"] = settings.email_from
    message["To"] = ", ".join(settings.email_to)
    message.set_content(alert.text)
    with smtplib.SMTP(settings.smtp_host, settings.smtp_port, timeout=TIMEOUT_SECONDS) as server:
        server.send_message(message)


def send_alert(alert: Alert, settings: AlertSettings) -> list[str]:
    """Send an alert everywhere the settings name; return the channels that took it.

    One below the settings' minimum severity goes to the log alone. A channel that fails is logged and never hides
    the failure that the alert is about.
    """
    level = logging.ERROR if alert.severity == "ERROR" else logging.WARNING
    logger.log(level, "alert %s %s: %s", alert.severity, alert.title, alert.text)
    sent = ["log"]
    if alert.severity == "WARN" and settings.minimum_severity == "ERROR":
        return sent
    text = f"{alert.title}\n{alert.text}"
    channels = {
        "webhook": (
            bool(settings.webhook_url.get_secret_value()),
            lambda: _post(settings.webhook_url.get_secret_value(), {"title": alert.title, "text": alert.text}),
        ),
        "slack": (
            bool(settings.slack_webhook_url.get_secret_value()),
            lambda: _post(settings.slack_webhook_url.get_secret_value(), {"text": text}),
        ),
        "email": (bool(settings.smtp_host and settings.email_to), lambda: _mail(alert, settings)),
    }
    for name, (configured, send) in channels.items():
        if not configured:
            continue
        try:
            send()
            sent.append(name)
        except (OSError, ValueError, smtplib.SMTPException) as error:
            logger.error("alert not sent by %s: %s", name, type(error).__name__)
    return sent
