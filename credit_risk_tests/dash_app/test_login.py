"""Log-in, log-out, sessions, cookies, forged requests and limits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from dash import Dash
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from credit_risk_assets.config.settings import Settings, SettingsError, read_settings
from credit_risk_tests.dash_app.conftest import PASSWORD, Portfolio, Visitor, callback_body
from dash_app.app import create_app
from dash_app.security import users as users_module
from dash_app.security.audit import audit_log
from dash_app.security.login import safe_path
from dash_app.security.roles import Role
from dash_app.security.users import users_of

PROBE = "..table-versions.data...filter-bar.children.."


def made(home: Path, **dashboard: Any) -> Dash:
    settings = read_settings(home=home, dashboard=dashboard)
    users_of(settings).add("ada", Role.ANALYST, PASSWORD)
    return create_app(settings)


@pytest.fixture
def app(tmp_path: Path) -> Dash:
    return made(tmp_path)


def cookies(answer: TestResponse) -> dict[str, str]:
    return {cookie.split("=")[0]: cookie for cookie in answer.headers.getlist("Set-Cookie")}


def actions(app: Dash) -> list[str]:
    from dash_app.security.access import EXTENSION

    return [record["action"] for record in reversed(app.server.extensions[EXTENSION].audit.records())]


def test_a_right_password_opens_the_page_that_was_asked_for(app: Dash) -> None:
    visitor = Visitor.of(app)
    asked = visitor.client.get("/loans?risk=High")
    assert asked.headers["Location"] == "/login?next=%2Floans%3Frisk%3DHigh"
    answer = visitor.sign_in(" Ada ", where=asked.headers["Location"])
    assert (answer.status_code, answer.headers["Location"]) == (302, "/loans?risk=High")
    assert visitor.client.get("/loans").status_code == 200
    assert visitor.client.get("/login").headers["Location"] == "/"
    assert actions(app) == ["login"]


def test_a_wrong_name_and_a_wrong_password_get_the_same_answer_for_the_same_work(
    app: Dash, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = []
    real = users_module.check_password_hash
    monkeypatch.setattr(
        users_module,
        "check_password_hash",
        lambda kept, typed: (checked.append((kept.split("$")[0], len(kept.split("$")[2]))), real(kept, typed))[1],
    )
    answers = []
    for name in ("ada", "nobody-of-that-name"):
        answer = Visitor.of(app).sign_in(name, "wrong wrong wrong")
        answers.append((answer.status_code, answer.text.replace(name, "").split("csrf_token")[0]))
    assert answers[0] == answers[1]
    assert answers[0][0] == 401
    assert checked == [("scrypt:32768:8:1", 128)] * 2
    assert actions(app) == ["login_failed"] * 2


def test_what_was_typed_as_an_unknown_name_is_kept_nowhere(app: Dash, tmp_path: Path) -> None:
    typed = "my-secret-typed-in-the-wrong-field"
    assert Visitor.of(app).sign_in(typed, "whatever it is").status_code == 401
    kept = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert len(kept) >= 4
    assert not [file for file in kept if typed.encode() in file.read_bytes()]


def test_logging_out_ends_the_session_wherever_its_cookie_is(app: Dash) -> None:
    visitor = Visitor.of(app)
    visitor.sign_in("ada")
    visitor.client.get("/")
    stolen = app.server.test_client()
    name = app.server.config["SESSION_COOKIE_NAME"]
    stolen.set_cookie(name, visitor.client.get_cookie(name).value)
    assert stolen.get("/").status_code == 200
    visitor.client.get("/logout")  # what a picture on another site could make a browser send
    assert stolen.get("/").status_code == 200
    assert visitor.client.post("/logout", data={"csrf_token": visitor.csrf}).headers["Location"] == "/login"
    assert stolen.get("/").status_code == 302
    assert visitor.client.get("/").status_code == 302
    assert actions(app) == ["login", "logout"]


def test_another_site_cannot_log_a_user_out(app: Dash) -> None:
    visitor = Visitor.of(app)
    visitor.sign_in("ada")
    visitor.client.post("/logout")
    assert visitor.client.get("/").status_code == 200


def test_a_session_begins_anew_with_the_log_in(app: Dash) -> None:
    visitor = Visitor.of(app)
    name = app.server.config["SESSION_COOKIE_NAME"]
    visitor.client.get("/login")
    before = visitor.client.get_cookie(name).value
    visitor.sign_in("ada")
    visitor.client.get("/")
    fixed = app.server.test_client()
    fixed.set_cookie(name, before)
    assert fixed.get("/").status_code == 302


@pytest.mark.parametrize("https", [False, True])
def test_no_script_and_no_other_site_gets_at_the_cookies(tmp_path: Path, https: bool) -> None:
    app = made(tmp_path, https=https)
    visitor = Visitor.of(app)
    base = {"base_url": "https://localhost"} if https else {}
    token = visitor.client.get("/login", **base).text.split('name="csrf_token" value="')[1].split('"')[0]
    headers = {"Referer": "https://localhost/login"} if https else {}
    form = {"name": "ada", "password": PASSWORD, "csrf_token": token}
    answer = visitor.client.post("/login", data=form, headers=headers, **base)
    assert answer.status_code == 302
    found = cookies(answer)
    session = found[app.server.config["SESSION_COOKIE_NAME"]]
    assert "HttpOnly" in session
    assert len(found) == 2
    for cookie in found.values():
        assert "SameSite=Lax" in cookie
        assert ("Secure" in cookie) is https
    assert (answer.headers.get("Strict-Transport-Security") is not None) is https


def test_a_request_without_the_token_of_its_session_is_forged(app: Dash) -> None:
    visitor, other = Visitor.of(app), Visitor.of(app)
    for one in (visitor, other):
        one.sign_in("ada")
        one.client.get("/")
    body = callback_body(app, PROBE)
    assert visitor.post(body).status_code in (200, 204)
    assert visitor.client.post("/_dash-update-component", json=body).status_code == 400
    assert visitor.post(body, **{"X-CSRFToken": other.csrf}).status_code == 400
    assert visitor.post(body, **{"X-CSRFToken": "made up"}).status_code == 400
    assert "CSRF" in visitor.client.post("/_dash-update-component", json=body).text


def test_a_log_in_form_that_is_not_ours_opens_nothing(app: Dash) -> None:
    visitor = Visitor.of(app)
    answer = visitor.client.post("/login", data={"name": "ada", "password": PASSWORD})
    assert answer.status_code == 400
    assert "Please try again" in answer.text
    assert visitor.client.get("/").status_code == 302


def test_too_many_failed_log_ins_of_a_name_lock_it_for_a_while(tmp_path: Path) -> None:
    app = made(tmp_path, login_attempts_per_user=3, login_attempts_per_address=100)
    users_of(read_settings(home=tmp_path)).add("bob", Role.VIEWER, PASSWORD)
    second_worker = create_app(read_settings(home=tmp_path, dashboard={"login_attempts_per_user": 3}))
    assert [Visitor.of(app).sign_in("ada", "wrong wrong wrong").status_code for _ in range(2)] == [401] * 2
    assert Visitor.of(app).sign_in("ada").status_code == 302  # a right one in between: the count begins anew
    statuses = [Visitor.of(which).sign_in("ada", "wrong wrong wrong").status_code for which in (app, second_worker) * 2]
    assert statuses == [401, 401, 401, 429]  # counted across the workers
    locked = Visitor.of(app).sign_in("ADA")
    assert locked.status_code == 429  # the right password too
    assert 0 < int(locked.headers["Retry-After"]) <= 901
    assert "Too many attempts. Try again in 15 minutes." in locked.text
    assert Visitor.of(app).sign_in("bob").status_code == 302
    assert actions(app).count("login_limited") == 1  # a flood of them fills no log


def test_too_many_failed_log_ins_from_an_address_lock_it_for_every_name(tmp_path: Path) -> None:
    app = made(tmp_path, login_attempts_per_address=3)
    for _ in range(4):
        assert Visitor.of(app).sign_in("ada").status_code == 302  # right ones do not count
    statuses = [Visitor.of(app).sign_in(f"guess{n}", "wrong wrong wrong").status_code for n in range(4)]
    assert statuses == [401, 401, 401, 429]
    assert Visitor.of(app).sign_in("ada").status_code == 429
    elsewhere = Visitor.of(app)
    elsewhere.client.environ_base["REMOTE_ADDR"] = "192.0.2.7"
    assert elsewhere.sign_in("ada").status_code == 302


def test_the_address_behind_a_proxy_is_believed_where_a_proxy_is_stated_alone(tmp_path: Path) -> None:
    for proxies, statuses in ((0, [401, 429]), (1, [401, 401])):
        app = made(tmp_path / str(proxies), proxies=proxies, login_attempts_per_address=1)
        found = []
        for client in ("192.0.2.1", "192.0.2.2"):
            visitor = Visitor.of(app)
            visitor.client.environ_base["HTTP_X_FORWARDED_FOR"] = client
            found.append(visitor.sign_in("nobody", "wrong wrong wrong").status_code)
        assert found == statuses


def test_exports_are_limited_for_each_user(guarded: Portfolio) -> None:
    settings = guarded.settings.model_copy(
        update={"dashboard": guarded.settings.dashboard.model_copy(update={"exports_per_hour": 2})}
    )
    users = users_of(settings)
    for name in ("cara", "dan"):
        users.add(name, Role.ANALYST, PASSWORD)
    app = create_app(settings)
    cara, dan = Visitor.of(app), Visitor.of(app)
    for visitor, name in ((cara, "cara"), (dan, "dan")):
        visitor.sign_in(name)
    paths = ("/export/loans.csv", "/export/high-risk.csv", "/export/loans.csv")
    assert [cara.client.get(path).status_code for path in paths] == [200, 200, 429]
    assert dan.client.get("/export/loans.csv").status_code == 200
    assert "Too many exports" in cara.client.get("/export/loans.csv").text


def test_a_session_ends_by_its_age_and_by_idleness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = made(tmp_path, session_hours=2, session_idle_minutes=30)
    start = datetime(2026, 1, 5, 9, tzinfo=UTC)
    now = [start]
    monkeypatch.setattr(users_module, "_now", lambda: now[0])

    def signed_in(visitor: Visitor, minutes: float) -> bool:
        now[0] = start + timedelta(minutes=minutes)
        return visitor.client.get("/").status_code == 200

    busy, idle = Visitor.of(app), Visitor.of(app)
    busy.sign_in("ada")
    idle.sign_in("ada")
    assert [signed_in(busy, minutes) for minutes in (25, 50, 75, 100, 119)] == [True] * 5
    assert not signed_in(busy, 121)
    assert signed_in(idle, 29) is True
    assert not signed_in(idle, 29 + 31)


def test_an_open_page_that_nobody_touches_keeps_no_session_alive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = made(tmp_path, session_idle_minutes=30)
    start = datetime(2026, 1, 5, 9, tzinfo=UTC)
    now = [start]
    monkeypatch.setattr(users_module, "_now", lambda: now[0])
    visitor = Visitor.of(app)
    visitor.sign_in("ada")
    visitor.client.get("/")
    for minutes in (10, 20, 29):
        now[0] = start + timedelta(minutes=minutes)
        assert visitor.call(PROBE).status_code in (200, 204)  # what the page asks by itself
    now[0] = start + timedelta(minutes=31)
    assert visitor.call(PROBE).status_code == 401


def test_another_password_or_role_ends_the_sessions(app: Dash, tmp_path: Path) -> None:
    users = users_of(read_settings(home=tmp_path))
    users.add("root", Role.ADMIN, PASSWORD)

    def change_role() -> None:
        users.set_role("ada", Role.VIEWER)

    def change_password() -> None:
        users.set_password("ada", PASSWORD + "!")
        users.set_password("ada", PASSWORD)

    for change in (change_role, change_password, lambda: users.remove("ada")):
        visitor = Visitor.of(app)
        visitor.sign_in("ada")
        assert visitor.client.get("/").status_code == 200
        change()
        assert visitor.client.get("/").status_code == 302


SITES = ("evil.example", "//evil.example", "/\\evil.example", "https://evil.example/", "javascript:alert(1)")


@pytest.mark.parametrize("where", [*SITES, "/\t/evil.example", "http:///evil.example", "//[", "", "/login", "/logout"])
def test_the_log_in_leads_to_no_other_site(app: Dash, where: str) -> None:
    visitor = Visitor.of(app)
    visitor.client.get("/login")
    with app.server.test_request_context():
        assert safe_path(where) == "/"
        assert safe_path("/loans?risk=High") == "/loans?risk=High"


@given(st.text(max_size=30))
def test_whatever_is_asked_for_the_way_leads_to_this_site(text: str) -> None:
    from urllib.parse import urljoin, urlsplit

    from flask import Flask

    server = Flask("bare")
    server.add_url_rule("/login", "login")
    server.add_url_rule("/logout", "logout")
    with server.test_request_context():
        for asked in (text, f"/{text}", f"//{text}"):
            parts = urlsplit(urljoin("https://here.example/", safe_path(asked)))
            assert (parts.scheme, parts.netloc) == ("https", "here.example")


def test_health_says_nothing_but_that_it_is_up_to_strangers(guarded_app: Dash, visitors: dict[str, Visitor]) -> None:
    assert visitors["nobody"].client.get("/health").json == {"status": "ok"}
    assert visitors["viewer"].client.get("/health").json["gold"]["readable"] is True


def test_without_log_in_only_this_machine_is_served(empty_home: Settings) -> None:
    client = create_app(empty_home).server.test_client()
    assert client.get("/audit").status_code == 200
    assert client.get("/login").headers["Location"] == "/"
    for host, status in (("127.0.0.1:8050", 200), ("[::1]:8050", 200), ("evil.example", 400), ("127.0.0.1.evil", 400)):
        assert client.get("/", headers={"Host": host}).status_code == status, host


@pytest.mark.parametrize(
    "wrong", [{"host": "0.0.0.0"}, {"host": "192.0.2.1"}, {"host": "risk.example"}, {"host": "::"}, {"proxies": 1}]
)
def test_without_log_in_nothing_is_served_to_others(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="without log-in") as refusal:
        read_settings(dashboard={"auth": "none", **wrong})
    assert "\n" not in str(refusal.value)
    for host in ("localhost", "127.0.0.1", "127.8.8.8", "::1"):
        assert read_settings(dashboard={"auth": "none", "host": host}).dashboard.auth == "none"


def test_secrets_are_readable_by_their_owner_alone(app: Dash, tmp_path: Path) -> None:
    Visitor.of(app).sign_in("ada")
    audit_log(read_settings(home=tmp_path)).fingerprint("L1")
    files = [file for folder in ("dashboard", "audit") for file in (tmp_path / folder).iterdir()]
    assert {"users.db", "session.key", "limits.db", "dashboard.jsonl", "loan.key"} <= {file.name for file in files}
    assert {file.name: oct(file.stat().st_mode & 0o777) for file in files} == {file.name: "0o600" for file in files}
    assert PASSWORD.encode() not in b"".join(file.read_bytes() for file in files)
