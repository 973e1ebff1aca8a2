"""The dashboard: a Dash app over the gold and silver tables, read without Spark or a JVM."""

from __future__ import annotations

from dash import Dash, register_page

from credit_risk_assets.config.settings import Settings
from credit_risk_assets.resources.lake_store import store_of
from dash_app import logs, refresh, routes
from dash_app.components.shell import shell
from dash_app.data.lake import Lake
from dash_app.data.rated import prepare
from dash_app.pages import audit, delinquency, loan, loans, model, portfolio, quality, score
from dash_app.pages.refused import permitted
from dash_app.security.roles import Permission
from dash_app.security.secure import csrf_cookie, make_server, registry_of, secure
from dash_app.services import EXTENSION, Services

PAGES = (portfolio, delinquency, loans, loan, score, model, quality, audit)
INDEX = """<!DOCTYPE html>
<html lang="en">
<head>
{%metas%}
<title>{%title%}</title>
{%favicon%}
{%css%}
<script src="PREFIXassets/scheme.js"></script>
</head>
<body>
{%app_entry%}
<footer>{%config%}{%scripts%}{%renderer%}</footer>
</body>
</html>"""


def create_app(settings: Settings) -> Dash:
    """The app for one portfolio; its Flask server is `.server`.

    Nothing is read until a page is asked for, so that the app starts on an empty home too. Raises
    `MissingPermissionError` where a page, a callback or a route states no permission.
    """
    server = make_server(settings)
    app = Dash(
        __name__,
        server=server,  # type: ignore[arg-type]  # it takes one, whatever its annotation says
        csrf_token_name=csrf_cookie(server),
        use_pages=True,
        pages_folder="",
        title="Credit Risk",
        update_title="",
        # without it every page's layout would be embedded in the first answer
        suppress_callback_exceptions=True,
        assets_ignore=r"scheme\.js|login\.css",  # the one is loaded in the head, the other by the log-in page
        compress=False,
        serve_locally=True,
    )
    app.index_string = INDEX.replace("PREFIX", app.config.requests_pathname_prefix)
    server.extensions[EXTENSION] = Services(settings, Lake(store_of(settings), settings.home / "cache", prepare))
    logs.install(app)
    registry, limiter = registry_of(server), secure(app)
    for place, module in enumerate(PAGES):
        permission = registry.add_page(module)
        register_page(
            module.__name__,
            path=getattr(module, "PATH", None),
            path_template=getattr(module, "PATH_TEMPLATE", None),
            name=module.TITLE,
            title=f"{module.TITLE} · Credit Risk",
            layout=permitted(module.layout, permission, module.TITLE),
            order=place,
        )
        with registry.granting(app, permission):
            module.register(app)
    app.layout = lambda: shell(settings.dashboard.refresh_seconds)  # the navigation is the user's
    with registry.granting(app, Permission.SIGNED_IN):
        refresh.register(app)
    routes.register(server, registry, limiter)
    registry.check(app)
    return app
