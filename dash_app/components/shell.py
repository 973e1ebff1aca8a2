"""The frame around every page: header, navigation, colour scheme, and what watches for new table versions."""

from __future__ import annotations

import dash_mantine_components as dmc
from dash import dcc, html, page_container

from dash_app.components import ids
from dash_app.components.aria import aria
from dash_app.components.user_menu import user_menu
from dash_app.security.access import permits, security

NAVIGATION = (
    ("portfolio", "/", "Portfolio"),
    ("delinquency", "/delinquency", "Delinquency"),
    ("loans", "/loans", "Loans"),
    ("score", "/score", "Score a loan"),
    ("model", "/model", "Model"),
    ("quality", "/quality", "Data quality"),
    ("audit", "/audit", "Audit"),
)


def shell(refresh_seconds: int) -> dmc.MantineProvider:
    """The application's layout for the current user; pages appear in its main part."""
    links = [_link(name, path, label) for name, path, label in NAVIGATION]
    scheme = dmc.ColorSchemeToggle(
        id=ids.SCHEME,
        lightIcon=html.Span(className="icon sun"),
        darkIcon=html.Span(className="icon moon"),
        variant="subtle",
        color="gray",
        size="lg",
        **aria(label="Change between light and dark"),
    )
    header = html.Header(
        html.Div(
            [
                dcc.Link(
                    [
                        html.Span(className="logo", **aria(hidden="true")),
                        html.Span("Credit Risk", className="brand-name"),
                    ],
                    href="/",
                    className="brand",
                ),
                html.Nav(links, className="nav", **aria(label="Pages")),
                html.Div([_pace(refresh_seconds), scheme, user_menu()], className="header-end"),
            ],
            className="header-inner",
        ),
        className="header",
    )
    return dmc.MantineProvider(
        [
            html.A("Skip to content", href="#main", className="skip"),
            header,
            html.Div(className="progress", **aria(hidden="true")),
            html.Div(id="unreachable", className="unreachable", role="alert", hidden=True),
            html.Main(page_container, id="main", className="main", tabIndex=-1),
            dcc.Interval(id=ids.TICK, interval=refresh_seconds * 1000),
            dcc.Store(id=ids.DRILLED),
            dcc.Store(id=ids.FOLLOWED),
        ],
        defaultColorScheme="auto",
        theme={
            "primaryColor": "blue",
            "fontFamily": 'Inter, "Segoe UI", system-ui, -apple-system, Roboto, "Helvetica Neue", Arial, sans-serif',
            "defaultRadius": "md",
        },
    )


def _link(name: str, path: str, label: str) -> dcc.Link | html.A:
    permission = security().registry.pages.get(path)
    if permission is not None and permits(permission):
        return dcc.Link(label, id=ids.nav(name), href=path, className="nav-link")
    # callbacks write to every link's place, so an empty one stands where the role has none
    return html.A(id=ids.nav(name), hidden=True)


PACES = ((0, "Off"), (15, "15 s"), (60, "1 min"), (300, "5 min"))


def _pace(usual: int) -> dmc.Select:
    """How often the page asks for new tables; the browser remembers the choice."""
    known = dict(PACES)
    paces = PACES if usual in known else sorted([*PACES, (usual, f"{usual} s")])
    return dmc.Select(
        id=ids.PACE,
        data=[{"value": str(seconds), "label": label} for seconds, label in paces],
        value=str(usual),
        allowDeselect=False,
        persistence=True,
        persistence_type="local",
        size="xs",
        w=146,
        leftSection=html.Span("Refresh", className="select-prefix"),
        leftSectionWidth=72,
        className="pace",
        comboboxProps={"shadow": "md"},
        **aria(label="Refresh"),
    )
