"""What a page shows when it has nothing to show: no lake yet, a table that cannot be read, no model."""

from __future__ import annotations

from typing import Any

from dash import html


def notice(title: str, *lines: Any, tone: str = "info", command: str = "") -> html.Div:
    """A card that says what is the matter and what to do about it."""
    return html.Div(
        [
            html.H2(title, className="notice-title"),
            *[html.P(line) for line in lines],
            html.Pre(html.Code(command), className="command") if command else None,
        ],
        className=f"card notice {tone}",
        role="alert" if tone == "error" else "status",
    )


def no_lake() -> html.Div:
    """The lake has no gold tables yet."""
    return notice(
        "No portfolio yet",
        "The lake has no gold tables. Simulate a portfolio and refresh it, or land your own loan tape. "
        "This page fills itself when the tables are there.",
        command="make demo\n\n# or, with your own tape\ncredit-risk land tape.csv\ncredit-risk refresh",
    )


def unreadable(reason: str) -> html.Div:
    """A table cannot be read."""
    return notice(
        "The data cannot be read",
        reason,
        "The page tries again at the next refresh.",
        tone="error",
        command="credit-risk doctor",
    )


def missing(title: str, reason: str) -> html.Div:
    """Something that this portfolio does not have, and why."""
    return notice(title, reason)


def not_permitted(role: str) -> html.Div:
    """The user's role may not see the page."""
    return notice(
        "Not permitted",
        f"Your role ({role}) does not show this page. An administrator can give you another role.",
    )
