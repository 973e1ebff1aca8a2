"""Columns and rows by role: what a role may not see reaches no cache, page or export."""

from __future__ import annotations

import pytest
from dash import Dash

from credit_risk_assets.config import tables as t
from credit_risk_assets.credit.features import FEATURES
from credit_risk_tests.dash_app import small_lake
from credit_risk_tests.dash_app.conftest import Portfolio, Visitor
from credit_risk_tests.dash_app.test_access import VALUES
from dash_app.data.export import stream_parquet
from dash_app.data.filters import Filters
from dash_app.data.index import loan_index
from dash_app.data.lake import Lake, LakeError, NotPermittedError
from dash_app.data.loan import read_loan
from dash_app.data.loans import LoanRequest, loan_block, loan_sums
from dash_app.security.columns import POLICIES, PROTECTED
from dash_app.security.registry import PAGE_CALLBACKS
from dash_app.security.roles import Role
from dash_app.security.secure import registry_of


def answers(app: Dash, visitor: Visitor, role: Role) -> str:
    """Everything that the callbacks of a role answer, for every page and every state of it."""
    registry = registry_of(app.server)
    (router,) = (output for output in PAGE_CALLBACKS if "_pages_content" in output)
    texts = [visitor.client.get("/_dash-layout").text, visitor.client.get("/health").text]
    for path in registry.pages:
        place = {"_pages_location__pathname": path.replace("<loan_id>", "L000007"), "_pages_location__search": ""}
        texts.append(visitor.call(router, **place).text)
    for output, entry in app.callback_map.items():
        if "callback" in entry and role.permits(registry.callbacks[output]):
            for more in ({}, {"filter-state__data": "as_of=2024-06"}, {"loan-only__value": "high"}):
                texts.append(visitor.call(output, **{**VALUES, **more}).text)
    return "\n".join(texts)


def test_the_protected_columns_are_those_of_the_features_but_for_the_region() -> None:
    assert {feature.name for feature in FEATURES if feature.protected} - {"region"} == PROTECTED


def test_no_answer_to_a_viewer_holds_a_single_loan(guarded_app: Dash, visitors: dict[str, Visitor]) -> None:
    said = answers(guarded_app, visitors["viewer"], Role.VIEWER).replace("/loan/L000007", "")
    assert "Portfolio value" in said
    for secret in ("L0000", "pseudonym", small_lake.SCHOOL):
        assert secret not in said, secret


def test_no_answer_to_an_analyst_holds_a_pseudonym_or_a_protected_value(
    guarded_app: Dash, visitors: dict[str, Visitor]
) -> None:
    said = answers(guarded_app, visitors["analyst"], Role.ANALYST)
    assert "L000007" in said
    for secret in ("pseudonym", small_lake.SCHOOL):
        assert secret not in said, secret


def test_an_export_holds_the_columns_of_the_role(visitors: dict[str, Visitor]) -> None:
    for name, sees in (("analyst", False), ("admin", True)):
        for path in ("/export/loans.csv", "/export/loans.csv?as_of=2024-06", "/export/high-risk.csv"):
            text = visitors[name].client.get(path).text
            header = text.splitlines()[0].split(",")
            assert {"loan_id", "region", "loan_amount"} <= set(header)
            assert ({"age", "education"} <= set(header)) is sees
            assert (small_lake.SCHOOL in text) is sees
            assert "pseudonym" not in text
            assert "customer_id" not in header


def test_a_viewer_reads_no_single_loan_whatever_page_asks(guarded: Portfolio) -> None:
    lake = Lake(guarded.settings.lake)
    snapshot = lake.seen_by(POLICIES[Role.VIEWER]).snapshot()
    for ask in (
        lambda: loan_block(snapshot, LoanRequest(Filters())),
        lambda: loan_sums(snapshot, LoanRequest(Filters())),
        lambda: read_loan(snapshot, "L000007"),
        lambda: next(stream_parquet(snapshot, Filters())),
    ):
        with pytest.raises(NotPermittedError, match="single loans"):
            ask()
    assert snapshot.frame(t.PORTFOLIO_CUBE).height > 0


def test_hidden_columns_are_hidden_in_every_way_to_read(guarded: Portfolio) -> None:
    lake = Lake(guarded.settings.lake)
    for role, hidden in (
        (Role.VIEWER, {"customer_id", "age", "education"}),
        (Role.ANALYST, {"customer_id", "age", "education"}),
        (Role.ADMIN, {"customer_id"}),
    ):
        snapshot = lake.seen_by(POLICIES[role]).snapshot()
        raw = set(Lake(guarded.settings.lake).snapshot()._open(t.LOANS).schema().to_arrow().names)
        assert hidden < raw
        assert raw - set(snapshot.columns(t.LOANS)) == hidden
        assert raw - set(snapshot.scan(t.LOANS).collect().columns) == hidden
        assert "raw" not in snapshot.columns(t.REJECTED_RECORDS)
        assert ("examples" in snapshot.frame(t.QUALITY_RESULTS).columns) is (role is not Role.VIEWER)
        with pytest.raises(LakeError, match="customer_id"):
            next(snapshot.stream(t.LOANS, snapshot.scan(t.LOANS).select("loan_id", "customer_id"), 10))
        assert set(loan_index(snapshot).frame.columns).isdisjoint(hidden)
    stranger = Lake(guarded.settings.lake).snapshot()
    assert "age" not in stranger.columns(t.LOANS)


def test_what_roles_see_alike_is_remembered_once_and_the_rest_apart(guarded: Portfolio) -> None:
    lake = Lake(guarded.settings.lake)
    made: list[str] = []

    def compute(role: Role) -> list[str]:
        made.append(role.value)
        return [role.value]

    def ask(*tables: t.Table, reads: tuple[str, ...] | None = None) -> list[str]:
        made.clear()
        for role in Role:
            snapshot = lake.seen_by(POLICIES[role]).snapshot()
            snapshot.cached(f"test {tables} {reads}", lambda role=role: compute(role), *tables, reads=reads)
        return list(made)

    assert ask(t.PORTFOLIO_CUBE) == ["viewer"]
    assert ask(t.LOANS) == ["viewer", "admin"]
    assert ask(t.QUALITY_RESULTS) == ["viewer", "analyst"]
    assert ask(t.LOANS, reads=("loan_id", "region")) == ["viewer"]
