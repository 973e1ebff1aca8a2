"""Default deny: every request is refused unless its route, page and callback state a permission that its user holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from dash import Dash
from flask import Response, g, jsonify, redirect, request, url_for
from flask_wtf.csrf import CSRFProtect
from werkzeug.wrappers import Response as AnyResponse

from dash_app.security.access import current_access, refuse, security
from dash_app.security.registry import Registry, short_name
from dash_app.security.roles import Permission

CALLBACK = "_dash-update-component"
NAVIGATES = ("GET", "HEAD")


def install(app: Dash, registry: Registry, csrf: CSRFProtect) -> None:
    """Put the guard before every request of the app."""
    prefix = app.config.routes_pathname_prefix
    callback, pages = f"{prefix}{CALLBACK}", {prefix, f"{prefix}<path:path>"}

    @app.server.before_request
    def guard() -> AnyResponse | None:
        endpoint = request.endpoint
        permission = registry.endpoints.get(endpoint) if endpoint else Permission.SIGNED_IN
        if permission is Permission.PUBLIC:
            csrf.protect()
            return None
        access = current_access()
        if access is None:
            return _sign_in(endpoint in pages)
        csrf.protect()
        if endpoint is None:  # Flask says 404 or 405
            return None
        if permission is None or not access.permits(permission):
            refuse("route", endpoint)
            return _refused()
        if endpoint == callback and request.method == "POST":
            return _callback(app, registry)
        if endpoint in pages:
            wanted = registry.page("/" + request.path.removeprefix(prefix).strip("/"))
            g.page_refused = wanted is not None and not access.permits(wanted)
        return None

    @app.server.after_request
    def mark(response: Response) -> Response:
        # the shell holds no data; it comes back so that the page can say what is the matter
        if g.get("page_refused") and response.status_code == 200:
            response.status_code = 403
        return response


def _callback(app: Dash, registry: Registry) -> AnyResponse | None:
    body = request.get_json(silent=True)
    if not isinstance(body, dict) or not isinstance(body.get("output"), str):
        return _malformed("the body names no output")
    output = body["output"]
    known = app.callback_map.get(output)
    g.callback = short_name(output) if known else "unknown"  # for the access log
    permission = registry.callbacks.get(output)
    access = current_access()
    if known is None or permission is None or access is None or not access.permits(permission):
        refuse("callback", g.callback)
        return _refused()
    if "callback" not in known:
        return _malformed("the callback runs in the browser")
    for name, declared in (("inputs", known["inputs"]), ("state", known["state"])):
        if not _fits(declared, body.get(name) or []):
            return _malformed(f"{name} are not those of the callback")
    outputs: Any = [] if known["no_output"] else known["output"]
    sent = body.get("outputs") or []
    several = isinstance(outputs, Sequence)
    declared = [
        {"id": part.component_id_str(), "property": part.component_property}
        for part in (outputs if several else [outputs])
    ]
    if not _fits(declared, sent if several else [sent]):
        return _malformed("outputs are not those of the callback")
    return None


def _fits(declared: Sequence[Mapping[str, Any]], sent: Any) -> bool:
    """Whether the values sent are those of the components that the callback was written for."""
    if not isinstance(sent, list) or len(sent) != len(declared):
        return False
    return all(
        isinstance(value, dict | list)
        if str(wanted["id"]).startswith("{")  # a pattern: one component or several
        else isinstance(value, dict) and value.get("id") == wanted["id"] and value.get("property") == wanted["property"]
        for wanted, value in zip(declared, sent, strict=True)
    )


def _sign_in(page: bool) -> AnyResponse:
    """To the log-in page for who opens a page; for a script 401, upon which the page goes there itself."""
    if page and request.method in NAVIGATES and security().signs_in:
        asked = request.full_path.rstrip("?")
        query = f"?{urlencode({'next': asked})}" if asked != "/" else ""
        return redirect(url_for("login") + query)
    response = jsonify({"error": "sign in first"})
    response.status_code = 401
    return response


def _refused() -> AnyResponse:
    response = jsonify({"error": "your role does not permit this"})
    response.status_code = 403
    return response


def _malformed(reason: str) -> AnyResponse:
    response = jsonify({"error": f"malformed callback: {reason}"})
    response.status_code = 400
    return response
