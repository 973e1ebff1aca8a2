"""Default deny: every callback and every route, called as every role and as nobody."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from dash import Dash, Input, Output, html
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from credit_risk_tests.dash_app import small_lake
from credit_risk_tests.dash_app.conftest import PASSWORD, Portfolio, Visitor, callback_body
from dash_app.app import create_app
from dash_app.security.access import EXTENSION, Security
from dash_app.security.columns import PROTECTED, PSEUDONYM
from dash_app.security.registry import MissingPermissionError, Registry
from dash_app.security.roles import GRANTS, Permission, Role
from dash_app.security.secure import registry_of

VISITORS = ("nobody", *(role.value for role in Role))
# What callbacks are called with; one that cannot do with None is given something here.
VALUES: dict[str, Any] = {
    "filter-state__data": "",
    "heat-measure__value": "balance",
    "loan-only__value": "",
    "loan-id__data": "L000007",
    "loan-grid__getRowsRequest": {"startRow": 0, "endRow": 20, "filterModel": {}, "sortModel": []},
    "_pages_location__pathname": "/",
    "_pages_location__search": "",
}
PATHS = {"path": "nothing/here", "filename": "app.js", "package_name": "dash", "fingerprinted_path": "nothing.js"}


def holds(visitor: str, permission: Permission) -> bool:
    if permission is Permission.PUBLIC:
        return True
    return visitor != "nobody" and Role(visitor).permits(permission)


def hrefs(component: Any) -> Iterator[str]:
    """Where the links of a layout lead."""
    if isinstance(component, list):
        for part in component:
            yield from hrefs(part)
    elif isinstance(component, dict):
        props = component.get("props", {})
        if "href" in props:
            yield props["href"]
        for part in props.values():
            yield from hrefs(part)


def audited(app: Dash, action: str) -> list[dict[str, Any]]:
    guarded: Security = app.server.extensions[EXTENSION]
    return [record for record in guarded.audit.records() if record["action"] == action]


@pytest.mark.parametrize("name", VISITORS)
def test_every_callback_answers_those_alone_who_hold_its_permission(
    guarded_app: Dash, visitors: dict[str, Visitor], name: str
) -> None:
    registry = registry_of(guarded_app.server)
    assert len(guarded_app.callback_map) > 12
    for output, entry in guarded_app.callback_map.items():
        before = len(audited(guarded_app, "refused"))
        status = visitors[name].call(output, **VALUES).status_code
        refused = len(audited(guarded_app, "refused")) - before
        if name == "nobody":
            assert status == 401, output
        elif not holds(name, registry.callbacks[output]):
            assert (status, refused) == (403, 1), output
        elif "callback" not in entry:
            assert (status, refused) == (400, 0), output  # it runs in the browser
        else:
            assert status in (200, 204), f"{output}: {status}; give its inputs a value in VALUES"
            assert refused == 0, output


@pytest.mark.parametrize("name", VISITORS)
def test_every_route_answers_those_alone_who_hold_its_permission(
    guarded_app: Dash, visitors: dict[str, Visitor], name: str
) -> None:
    registry = registry_of(guarded_app.server)
    client = visitors[name].client
    for rule in guarded_app.server.url_map.iter_rules():
        if rule.endpoint == "logout":
            continue  # would end the session; see test_login.py
        with guarded_app.server.test_request_context():
            _, path = rule.build({key: PATHS[key] for key in rule.arguments}) or ("", "")
        for method in sorted(rule.methods or ()):
            answer = client.open(path, method=method)
            permission = registry.endpoints[rule.endpoint]
            page = rule.endpoint in ("/", "/<path:path>") and method in ("GET", "HEAD")
            if holds(name, permission):
                assert answer.status_code not in (401, 403), f"{method} {path}"
                assert "/login" not in answer.headers.get("Location", ""), f"{method} {path}"
            elif name == "nobody" and page:
                assert (answer.status_code, answer.headers["Location"][:6]) == (302, "/login"), path
            else:
                assert answer.status_code == (401 if name == "nobody" else 403), f"{method} {path}"
                assert small_lake.SCHOOL not in answer.text


@pytest.mark.parametrize("name", VISITORS[1:])
def test_every_page_is_laid_out_for_those_alone_who_may_see_it(
    guarded_app: Dash, visitors: dict[str, Visitor], name: str
) -> None:
    registry = registry_of(guarded_app.server)
    (router,) = (output for output in guarded_app.callback_map if "_pages_content" in output)
    links = set(hrefs(visitors[name].client.get("/_dash-layout").json))
    assert len(registry.pages) >= 6
    for path, permission in registry.pages.items():
        path = path.replace("<loan_id>", "L000007")
        laid_out = visitors[name].call(router, _pages_location__pathname=path, _pages_location__search="")
        may = holds(name, permission)
        assert visitors[name].client.get(path).status_code == (200 if may else 403)
        assert ("Not permitted" in laid_out.text) is not may
        assert laid_out.status_code == 200
        if path in ("/", "/loans", "/model", "/quality", "/audit"):
            assert (path in links) is may


def test_the_roles_hold_what_they_should() -> None:
    assert GRANTS[Role.VIEWER] < GRANTS[Role.ANALYST] < GRANTS[Role.ADMIN] == frozenset(Permission)
    for permission in (Permission.VIEW_LOANS, Permission.VIEW_LOAN, Permission.SCORE_LOANS, Permission.EXPORT_LOANS):
        assert not Role.VIEWER.permits(permission)
        assert Role.ANALYST.permits(permission)
    for permission in (Permission.VIEW_AUDIT, Permission.LIST_USERS):
        assert not Role.ANALYST.permits(permission)


def test_the_documented_roles_are_those_of_the_code() -> None:
    text = (Path(__file__).parents[2] / "docs" / "security.md").read_text()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")]
    held = {row[0]: [cell == "✓" for cell in row[1:]] for row in rows if row[0] in set(Permission)}
    assert held == {
        permission.value: [role.permits(permission) for role in Role]
        for permission in Permission
        if permission not in (Permission.PUBLIC, Permission.SIGNED_IN)
    }
    for column in PROTECTED | PSEUDONYM:
        assert f"`{column}`" in text


MALFORMED: tuple[Any, ...] = (
    None,
    [],
    "text",
    {},
    {"output": 7},
    {"output": ["loan-grid.getRowsResponse"]},
    {"output": "kpis.children", "inputs": "no list"},
)


@pytest.mark.parametrize("body", MALFORMED, ids=str)
def test_a_body_that_is_no_callback_is_malformed(visitors: dict[str, Visitor], body: Any) -> None:
    assert visitors["admin"].post(body).status_code in ((403,) if "inputs" in str(body) else (400,))


def test_a_callback_is_called_with_its_own_components_alone(guarded_app: Dash, visitors: dict[str, Visitor]) -> None:
    (output,) = (output for output in guarded_app.callback_map if output.startswith("..portfolio-notice"))
    sound = callback_body(guarded_app, output, VALUES)
    assert visitors["viewer"].post(sound).status_code == 200
    for damage in (
        {"inputs": sound["inputs"][:-1]},
        {"inputs": [{**sound["inputs"][0], "id": "loan-search"}, *sound["inputs"][1:]]},
        {"state": [{"id": "a", "property": "b", "value": 1}]},
        {"outputs": sound["outputs"][:3]},
        {"outputs": None},
        {"outputs": [{} for _ in sound["outputs"]]},
        {"outputs": sound["outputs"][0]},
    ):
        assert visitors["viewer"].post({**sound, **damage}).status_code == 400, damage


def test_a_body_that_is_too_long_is_not_read(visitors: dict[str, Visitor]) -> None:
    body = {"output": "x" * 9 * 2**20}
    assert visitors["nobody"].post(body).status_code == 401
    assert visitors["viewer"].post(body).status_code == 413


def test_an_output_that_is_not_known_is_refused_and_not_written_down(
    guarded_app: Dash, visitors: dict[str, Visitor]
) -> None:
    for output in ("secret-name.children", "..loan-grid.getRowsResponse...", "loan-grid.getRowsResponse "):
        answer = visitors["viewer"].post({"output": output, "outputs": {}, "inputs": [], "state": []})
        assert answer.status_code == 403
    assert audited(guarded_app, "refused")[0]["name"] == "unknown"
    assert "secret-name" not in json.dumps(audited(guarded_app, "refused"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=JSON, parts=st.fixed_dictionaries({"inputs": JSON, "state": JSON, "outputs": JSON}))
def test_no_made_up_request_gets_at_the_loans_of_a_viewer(visitors: dict[str, Visitor], body: Any, parts: Any) -> None:
    viewer = visitors["viewer"]
    assert viewer.post(body).status_code in (400, 403)
    assert viewer.post({"output": "loan-grid.getRowsResponse", **parts}).status_code == 403


def empty_app() -> tuple[Dash, Registry]:
    app = Dash("bare", server=Flask("bare"))  # type: ignore[arg-type]
    registry = Registry()
    registry.add_dash_routes(app)
    registry.endpoints["static"] = Permission.PUBLIC
    return app, registry


def test_a_callback_without_a_permission_stops_the_start() -> None:
    app, registry = empty_app()
    with registry.granting(app, Permission.VIEW_LOANS):
        app.callback(Output("a", "children"), Input("b", "value"))(lambda value: value)
        with registry.granting(app, Permission.VIEW_AUDIT):
            app.callback(Output("c", "children"), Input("b", "value"))(lambda value: value)
    registry.check(app)
    assert registry.callbacks["a.children"] is Permission.VIEW_LOANS
    assert registry.callbacks["c.children"] is Permission.VIEW_AUDIT
    app.callback(Output("d", "children"), Input("b", "value"))(lambda value: value)
    with pytest.raises(MissingPermissionError, match=r"callback d\.children: states no permission"):
        registry.check(app)


def test_a_route_without_a_permission_stops_the_start() -> None:
    app, registry = empty_app()
    registry.add_route(app.server, "/known", "known", lambda: "yes", Permission.SIGNED_IN)
    registry.check(app)
    app.server.add_url_rule("/forgotten", "forgotten", lambda: "oh")
    with pytest.raises(MissingPermissionError, match="route /forgotten: states no permission"):
        registry.check(app)


def test_a_page_without_a_permission_stops_the_start(guarded: Portfolio, monkeypatch: pytest.MonkeyPatch) -> None:
    page = ModuleType("dash_app.pages.forgotten")
    vars(page).update(
        PATH="/forgotten", NAME="forgotten", TITLE="Forgotten", layout=html.Div, register=lambda app: None
    )
    monkeypatch.setattr("dash_app.app.PAGES", (page,))
    with pytest.raises(MissingPermissionError, match=r"page dash_app\.pages\.forgotten: states no permission"):
        create_app(guarded.settings)


def test_what_comes_after_the_start_is_refused(guarded: Portfolio) -> None:
    app = create_app(guarded.settings)
    app.server.add_url_rule("/late", "late", lambda: "data")
    app.callback(Output("late", "children"), Input("refresh-tick", "n_intervals"))(lambda ticks: "data")
    admin = Visitor.of(app)
    admin.sign_in("admin", PASSWORD)
    admin.client.get("/")
    assert admin.client.get("/late").status_code == 403
    assert admin.call("late.children").status_code == 403
    assert Visitor.of(app).client.get("/late").status_code == 401
