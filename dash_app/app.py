"""The dashboard: a Dash app over the gold and silver tables, read without Spark or a JVM."""

from __future__ import annotations

from dash import Dash, register_page

from credit_risk_assets.config.settings import Settings
from dash_app import refresh, routes
from dash_app.components.shell import shell
from dash_app.data.lake import Lake
from dash_app.pages import loan, loans, model, portfolio, quality
from dash_app.security.headers import protect
from dash_app.services import EXTENSION, Services

PAGES = (portfolio, loans, loan, model, quality)
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

    Nothing is read until a page is asked for, so that the app starts on an empty home too.
    """
    app = Dash(
        __name__,
        use_pages=True,
        pages_folder="",
        title="Credit Risk",
        update_title="",
        # without it every page's layout would be embedded in the first answer
        suppress_callback_exceptions=True,
        assets_ignore=r"scheme\.js",  # loaded in the head, before anything is painted
        compress=False,
        serve_locally=True,
    )
    app.index_string = INDEX.replace("PREFIX", app.config.requests_pathname_prefix)
    app.server.extensions[EXTENSION] = Services(settings, Lake(settings.lake))
    for place, module in enumerate(PAGES):
        register_page(
            module.__name__,
            path=getattr(module, "PATH", None),
            path_template=getattr(module, "PATH_TEMPLATE", None),
            name=module.TITLE,
            title=f"{module.TITLE} · Credit Risk",
            layout=module.layout,
            order=place,
        )
        module.register(app)
    app.layout = shell(settings.dashboard.refresh_seconds)
    refresh.register(app)
    routes.register(app.server)
    protect(app.server, app.csp_hashes)
    return app
