"""The signed-in user at the end of the header: name, role, and the way out."""

from __future__ import annotations

import dash_mantine_components as dmc
from dash import dcc, html
from flask import url_for
from flask_wtf.csrf import generate_csrf

from dash_app.components.aria import aria
from dash_app.security.access import current_access, security


def user_menu() -> dmc.Popover | html.Span | None:
    """Opens by a click on the user's initial; a dashboard without log-in says so instead."""
    if not security().signs_in:
        return html.Span("no log-in", className="no-login", title="Everybody on this machine is its administrator.")
    access = current_access()
    if access is None:
        return None
    button = html.Button(
        access.name[:1].upper(),
        id="user-menu",
        className="user-button",
        type="button",
        title=f"{access.name}, {access.role}",
        **aria(label=f"Signed in as {access.name}", haspopup="dialog"),
    )
    way_out = html.Form(
        [
            dcc.Input(type="hidden", name="csrf_token", value=generate_csrf()),
            html.Button("Sign out", type="submit", className="button", id="sign-out"),
        ],
        action=url_for("logout"),
        method="POST",
    )
    content = [html.Div(access.name, className="user-name"), html.Div(access.role, className="user-role"), way_out]
    return dmc.Popover(
        [dmc.PopoverTarget(button), dmc.PopoverDropdown(content, p="md")],
        position="bottom-end",
        shadow="md",
        width=200,
        trapFocus=True,
        withRoles=False,  # they would go to a wrapper of the button
        withinPortal=False,  # what stands outside the header belongs to no landmark
        keepMounted=True,
        transitionProps={"duration": 0},
    )
