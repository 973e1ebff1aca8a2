"""Log-in and log-out of local users, by a form that needs no script."""

from __future__ import annotations

from urllib.parse import urlsplit

from dash import Dash
from flask import current_app, g, jsonify, redirect, render_template, request, session, url_for
from flask_limiter import Limiter
from flask_login import LoginManager, UserMixin, current_user, login_user, logout_user
from flask_wtf.csrf import CSRFError
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.wrappers import Response as AnyResponse

from dash_app.components import ids
from dash_app.security.access import Security, current_access, record, security
from dash_app.security.limits import LoginLimit
from dash_app.security.roles import Permission
from dash_app.security.users import User, normalized

LIMIT = "credit_risk_login_limit"
WRONG = "The user name or the password is not right."
STALE = "The form was open for too long, or cookies are off. Please try again."
BY_ITSELF = frozenset({f"{ids.TICK}.n_intervals", f"{ids.VERSIONS}.data"})
"""What an open page sends while nobody touches it: it does not keep a session alive."""


class SignedIn(UserMixin):
    """A user with the token of the session, as Flask-Login wants it."""

    def __init__(self, user: User, token: str) -> None:
        self.user = user
        self.token = token

    def get_id(self) -> str:
        """What the cookie carries."""
        return self.token


def install(app: Dash, guarded: Security, limiter: Limiter) -> None:
    """Add the log-in page and the log-out, and tell Flask-Login where sessions are kept."""
    server = app.server
    dashboard = guarded.settings.dashboard
    server.extensions[LIMIT] = LoginLimit(
        limiter.limiter, dashboard.login_attempts_per_user, dashboard.login_attempts_per_address
    )
    manager = LoginManager()
    manager.session_protection = None  # a session is bound to its token; addresses of telephones change
    manager.init_app(server)

    @manager.user_loader
    def load(token: str) -> SignedIn | None:
        user = guarded.session_user(token, used=not _by_itself())
        return SignedIn(user, token) if user else None

    prefix = app.config.routes_pathname_prefix
    registry = guarded.registry
    registry.add_route(server, f"{prefix}login", "login", login, Permission.PUBLIC, ("GET", "POST"))
    registry.add_route(server, f"{prefix}logout", "logout", logout, Permission.PUBLIC, ("POST",))
    server.register_error_handler(CSRFError, _csrf_missing)


def login() -> AnyResponse | str | tuple[str, int] | tuple[str, int, dict[str, str]]:
    """The form, and what it sends."""
    where = safe_path(request.args.get("next", ""))
    if current_access() is not None:
        return redirect(where)
    if request.method != "POST":
        return _form()
    name, password = normalized(request.form.get("name", ""))[:64], request.form.get("password", "")
    address = request.remote_addr or "unknown"
    limit: LoginLimit = current_app.extensions[LIMIT]
    guarded = security()
    wait = limit.seconds_to_wait(name, address)
    if wait:
        if limit.first_refusal(address):
            _record("login_limited", name)
        minutes = -(-wait // 60)
        words = f"Too many attempts. Try again in {minutes} minute{'s' if minutes > 1 else ''}."
        return _form(words), 429, {"Retry-After": str(wait)}
    user = guarded.users.check(name, password)
    if user is None:
        _record("login_failed", name)
        return _form(WRONG), 401
    limit.forgive(name, address)
    session.clear()  # nothing of the time before the log-in goes on
    g.pop("csrf_token", None)
    login_user(SignedIn(user, guarded.users.begin_session(user, guarded.lifetime)))
    guarded.audit.append("login", user.name, user.role)
    return redirect(where)


def logout() -> AnyResponse:
    """End the session, here and wherever its cookie was copied to."""
    if current_user.is_authenticated:
        record("logout")
        security().users.end_session(current_user.token)
        logout_user()
    session.clear()
    return redirect(url_for("login"))


def safe_path(text: str) -> str:
    """A path of this site to go on to; `/` for anything that could lead to another."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return "/"
    inside = text.startswith("/") and not text.startswith("//") and not parts.scheme and not parts.netloc
    plain = text.isprintable() and "\\" not in text
    own = parts.path not in (url_for("login"), url_for("logout"))
    return text if inside and plain and own else "/"


def _form(problem: str = "") -> str:
    return render_template("login.html", problem=problem, name=request.form.get("name", "")[:64] if problem else "")


def _record(action: str, name: str) -> None:
    """Write down a log-in that did not succeed; what is no user's name may be anything, a password too."""
    user = security().users.get(name)
    security().audit.append(action, user.name if user else "unknown user", user.role if user else "none")


def _by_itself() -> bool:
    try:
        body = request.get_json(silent=True) if request.is_json else None
    except RequestEntityTooLarge:  # the guard says so
        return False
    causes = body.get("changedPropIds") if isinstance(body, dict) else None
    return isinstance(causes, list) and bool(causes) and all(cause in BY_ITSELF for cause in map(str, causes))


def _csrf_missing(_error: CSRFError) -> tuple[AnyResponse | str, int]:
    if request.endpoint == "login":
        return _form(STALE), 400
    if request.endpoint == "logout":
        return redirect(url_for("login")), 302
    return jsonify({"error": "the request does not come from a page of this dashboard: no valid CSRF token"}), 400
