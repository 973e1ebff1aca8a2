"""Puts everything that guards the dashboard around one app."""

from __future__ import annotations

import hashlib
from urllib.parse import urlsplit

from dash import Dash
from flask import Flask, Response, abort, request
from flask_limiter import Limiter, RateLimitExceeded
from flask_wtf.csrf import CSRFProtect, generate_csrf
from werkzeug.middleware.proxy_fix import ProxyFix

from credit_risk_assets.config.settings import Settings, is_loopback
from dash_app.security import guard, login
from dash_app.security.access import EXTENSION, LOCAL, Security, current_access, refuse
from dash_app.security.headers import protect
from dash_app.security.keys import secret
from dash_app.security.limits import storage_address
from dash_app.security.registry import Registry

MAXIMUM_BODY_BYTES = 8 * 2**20
"""What a request may bring along; a callback's inputs are a few kilobytes."""


def make_server(settings: Settings) -> Flask:
    """A Flask server with the home's signing key and cookies that no script and no other site gets at."""
    server = Flask("dash_app", static_folder=None, template_folder="security/templates")
    key = secret(settings.dashboard_folder / "session.key").decode()
    dashboard = settings.dashboard
    server.config.update(
        SECRET_KEY=key,
        # cookies know no ports: each home's has a name of its own
        SESSION_COOKIE_NAME=f"credit_risk_{_suffix(key)}",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=dashboard.https,
        WTF_CSRF_CHECK_DEFAULT=False,  # the guard asks, once it knows who is there
        WTF_CSRF_TIME_LIMIT=None,  # a token lives as long as its session
        MAX_CONTENT_LENGTH=MAXIMUM_BODY_BYTES,
        MAX_FORM_MEMORY_SIZE=64 * 1024,
    )
    if dashboard.auth == "none":
        server.before_request(_only_under_its_own_name)
    if dashboard.proxies:
        count = dashboard.proxies
        server.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            server.wsgi_app, x_for=count, x_proto=count, x_host=count, x_prefix=0
        )
    server.extensions[EXTENSION] = Security.of(settings)
    return server


def csrf_cookie(server: Flask) -> str:
    """The cookie whose value the pages send back in a header; only a page of this site can read it."""
    return f"credit_risk_csrf_{_suffix(server.config['SECRET_KEY'])}"


def registry_of(server: Flask) -> Registry:
    """The permissions of the app on a server."""
    found: Security = server.extensions[EXTENSION]
    return found.registry


def secure(app: Dash) -> Limiter:
    """Guard, CSRF check, log-in, response headers and limits; gives the limiter that routes use."""
    server = app.server
    guarded: Security = server.extensions[EXTENSION]
    settings = guarded.settings
    guarded.registry.add_dash_routes(app)
    csrf = CSRFProtect(server)
    guard.install(app, guarded.registry, csrf)
    limiter = Limiter(
        _who,
        app=server,
        storage_uri=storage_address(settings.dashboard_folder),
        strategy="fixed-window",
        headers_enabled=False,
    )
    server.register_error_handler(RateLimitExceeded, _limited)
    login.install(app, guarded, limiter)
    name, https = csrf_cookie(server), settings.dashboard.https

    @server.after_request
    def hand_out_token(response: Response) -> Response:
        if response.mimetype == "text/html" and current_access() is not None:
            response.set_cookie(name, generate_csrf(), samesite="Lax", secure=https)
        return response

    protect(server, app.csp_hashes, https=https)
    return limiter


def _only_under_its_own_name() -> None:
    """Refuse a page of another site whose name was made to point at this machine: it brings its own name along."""
    try:
        name = urlsplit(f"//{request.host}").hostname
    except ValueError:
        name = None
    if name is None or not is_loopback(name):
        abort(400)


def _suffix(key: str) -> str:
    return hashlib.sha256(f"cookie {key}".encode()).hexdigest()[:8]


def _who() -> str:
    access = current_access()
    return access.name if access else LOCAL


def _limited(error: RateLimitExceeded) -> Response:
    refuse("limit", str(error.limit.limit))
    words = f"Too many exports: {error.limit.limit} are allowed. Try again later.\n"
    return Response(words, status=429, mimetype="text/plain")
