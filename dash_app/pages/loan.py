"""One loan: where it stands, how it paid, what the champion says and why, and how it compares with its peers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

from dash import Dash, Input, Output, State, dcc, html

from credit_risk_assets.config.tables import EXPECTED_CREDIT_LOSS, LOAN_HISTORY, LOAN_SCORES, LOANS
from dash_app.charts.graph import chart_card
from dash_app.charts.style import Chart, blank
from dash_app.charts.waterfall import contribution_waterfall
from dash_app.components import ids, text
from dash_app.components.aria import aria
from dash_app.components.cards import stat_card
from dash_app.components.stamp import stamp
from dash_app.components.table import Column, table
from dash_app.data.explain import explain
from dash_app.data.lake import LakeError
from dash_app.data.loan import COMPARED, Loan, Month, Peer, find_loan, payment_months, read_loan, read_score
from dash_app.pages.frame import NotAvailableError, guarded, needed_cube, page
from dash_app.security.access import record, security
from dash_app.security.roles import Permission
from dash_app.services import services

PATH_TEMPLATE, NAME, TITLE = "/loan/<loan_id>", "loan", "Loan"
PERMISSION = Permission.VIEW_LOAN
ASKED, WATERFALL = "loan-id", "loan-waterfall"
SAME_PD = 1e-6
"""PDs that differ by less are the same, computed in another order."""
CODES = {
    **{"0": ("on time", "good"), "1": ("30 to 59 days past due", "late-1"), "2": ("60 to 89 days past due", "late-2")},
    **{str(n): (f"{30 * n} days past due or more", "late-3") for n in range(3, 7)},
    **dict.fromkeys("GHJK", ("in collection or repossession", "late-3")),
    "L": ("charged off", "late-3"),
    "B": ("no history yet", "none"),
    "D": ("no data", "none"),
    "E": ("zero balance", "none"),
}
MONEY = {"loan_amount", "outstanding_balance", "installment", "collateral_value", "total_paid", "expected_loss_proxy"}
SHARES = {"debt_to_income", "installment_to_income", "credit_utilization", "loan_to_value", "balance_to_amount"}
FACTS = (
    "loan_purpose",
    "loan_status",
    "loan_amount",
    "outstanding_balance",
    "installment",
    "interest_rate",
    "term_months",
    "origination_date",
    "maturity_date",
    "months_on_book",
    "remaining_months",
    "collateral_value",
    "total_paid",
    "region",
    "lgd_estimate",
)
NAMES = {
    "loan_purpose": "Purpose",
    "loan_status": "Status",
    "interest_rate": "Interest rate",
    "term_months": "Term, months",
    "origination_date": "Originated",
    "maturity_date": "Matures",
    "lgd_estimate": "Loss given default",
    "current_dpd": "Days past due",
    "late_months_12m": "Late months of the last 12",
}


def layout(loan_id: str = "", **_query: Any) -> html.Div:
    """The page of the loan that the address names."""
    body = [
        dcc.Store(id=ASKED, data=unquote(loan_id)),
        html.Div(id="loan-cards", className="kpi-grid slim"),
        html.Div(
            [
                _section("Payment history", "loan-payments", 7),
                _section("Why this rating", "loan-reasons", 5),
                chart_card(WATERFALL, "What makes its PD", width=7, height=360),
                _section("Expected credit loss", "loan-loss", 5),
                _section("Against its peers", "loan-peers", 7),
                _section("The loan", "loan-facts", 5),
                _section("On each tape", "loan-tapes", 12),
            ],
            className="grid",
        ),
    ]
    back = dcc.Link("← All loans", href="/loans", className="button")
    return page(NAME, f"Loan {unquote(loan_id)}", body, actions=back)


def _section(title: str, name: str, width: int) -> html.Section:
    return html.Section(
        [
            html.Div(html.H2(title, className="card-title"), className="card-heading"),
            html.P(id=f"{name}-note", className="card-note"),
            html.Div(id=name, className="table-scroll", tabIndex=0, role="region", **aria(label=title)),
        ],
        className=f"card tall-card span-{width}",
    )


PARTS = ("loan-payments", "loan-reasons", "loan-loss", "loan-peers", "loan-facts", "loan-tapes")


def register(app: Dash) -> None:
    """The callbacks of the page."""

    @app.callback(
        Output(f"{NAME}-notice", "children"),
        Output(f"{NAME}-body", "className"),
        Output(f"{NAME}-stamp", "children"),
        Output("loan-cards", "children"),
        *[Output(f"{part}{end}", "children") for part in PARTS for end in ("-note", "")],
        Input(ids.VERSIONS, "data"),
        State(ASKED, "data"),
    )
    def render(_token: str, loan_id: str) -> list[Any]:
        return guarded(lambda: _render(loan_id), 2 + 2 * len(PARTS))

    @app.callback(
        Output(WATERFALL, "figure"),
        Output(f"{WATERFALL}-note", "children"),
        Input(ids.VERSIONS, "data"),
        State(ASKED, "data"),
    )
    def why(_token: str, loan_id: str) -> tuple[Any, str]:
        chart = _explained(loan_id)
        return chart.figure, chart.note


def _explained(loan_id: str) -> Chart:
    """The waterfall; a call of its own, because the model is loaded when the first loan is explained."""
    app = services()
    snapshot = app.lake.snapshot()
    try:
        listed = find_loan(snapshot, loan_id) if snapshot.has(LOANS) else None
        score = read_score(snapshot, listed) if listed else None
        if listed is None or score is None:
            reason = "Closed loans, and loans that came after the last scoring, have no PD."
            return Chart(blank("Not scored."), reason)
        if score["pd_12m"] >= 1:
            return Chart(blank("In default."), "A loan in default has a PD of 100 % by definition: no model is asked.")
        record(
            "loan_view",
            what="explanation",
            loan=security().audit.fingerprint(loan_id),
            rows=1,
            versions=snapshot.known(LOANS, LOAN_SCORES),
        )
        found = explain(snapshot, app.settings, loan_id, str(score["model_version"]), listed.partition)
    except LakeError as error:
        return Chart(blank("The model cannot be asked."), str(error))
    chart = contribution_waterfall(found)
    if abs(found.pd_12m - score["pd_12m"]) > SAME_PD:
        then = text.percent(score["pd_12m"])
        return replace(chart, note=f"{chart.note} The loan has changed since it was scored ({then}).")
    return chart


def _render(loan_id: str) -> list[Any]:
    app = services()
    snapshot = app.lake.snapshot()
    needed_cube(snapshot)
    loan = read_loan(snapshot, loan_id)
    record(
        "loan_view",
        loan=security().audit.fingerprint(loan_id),
        rows=int(loan is not None),
        versions=snapshot.known(LOANS, LOAN_HISTORY, LOAN_SCORES, EXPECTED_CREDIT_LOSS),
    )
    if loan is None:
        raise NotAvailableError(
            "No such loan", f"silver/loans holds no loan {loan_id!r}; search for it on the Loans page."
        )
    limit = app.settings.quality.max_tape_age_days
    mark = stamp(snapshot, loan.state["as_of_date"], (LOANS, LOAN_SCORES, EXPECTED_CREDIT_LOSS), limit, app.today())
    return [
        mark,
        _cards(loan, app.currency),
        *_payments(loan),
        *_reasons(loan),
        *_loss(loan, app.currency),
        *_peers(loan),
        *_facts(loan.state, app.currency),
        *_tapes(loan, app.currency),
    ]


def _cards(loan: Loan, currency: str) -> list[html.Article]:
    state = loan.state
    score = loan.score
    model = f"model v{score['model_version']}" if score else "not scored: closed, or no model yet"
    owed = state["outstanding_balance"] / state["loan_amount"] if state["loan_amount"] else None
    return [
        stat_card("Balance", text.money(state["outstanding_balance"], currency), f"{text.percent(owed)} of the amount"),
        stat_card("Days past due", text.count(state["current_dpd"]), text.label(state["loan_status"])),
        stat_card("Risk category", state["risk_category"], f"rule-based score {state['risk_score']:.0f} of 100"),
        stat_card(
            "PD, 12 months",
            text.percent(score["pd_12m"] if score else None),
            f"{score['risk_rating']}, {model}" if score else model,
        ),
    ]


def _payments(loan: Loan) -> tuple[Any, Any]:
    months = payment_months(loan.state.get("payment_history_profile"), loan.state["as_of_date"])
    if not months:
        return "The tape brings no payment history.", None
    late = sum(CODES.get(month.code, ("", ""))[1].startswith("late") for month in months)
    years: dict[int, list[Month]] = {}
    for month in months:
        years.setdefault(month.start.year, []).append(month)
    rows = [
        html.Div(
            [
                html.Span(str(year), className="pay-year"),
                *[html.Span(className="pay blank") for _ in range(part[0].start.month - 1)],
                *[_month(month) for month in part],
            ],
            className="pay-row",
        )
        for year, part in years.items()
    ]
    note = f"{late} of {len(months)} months 30 or more days past due. 0 is on time; 1 is 30 to 59 days, 2 is 60 to 89."
    return note, html.Div(rows, className="pay-grid")


def _month(month: Month) -> html.Span:
    meaning, tone = CODES.get(month.code, ("unknown code", "none"))
    return html.Span(month.code, className=f"pay {tone}", title=f"{month.start:%b %Y}: {meaning}")


def _reasons(loan: Loan) -> tuple[Any, Any]:
    if not loan.reasons:
        return "Reasons are given for loans rated High or Very High; the chart shows what weighs in this one.", None
    return "What weighed most in the champion's score.", html.Ol([html.Li(reason) for reason in loan.reasons])


LOSS_FACTS = (
    ("stage", "Stage (IFRS 9)"),
    ("significant_increase", "Why not stage 1"),
    ("pd_12m", "PD, 12 months"),
    ("pd_lifetime", "PD, remaining term"),
    ("lgd", "Loss given default"),
    ("ead", "Exposure at default"),
    ("expected_loss_12m", "PD × LGD × exposure"),
    ("ecl_12m", "Expected credit loss, 12 months"),
    ("ecl_lifetime", "Expected credit loss, remaining term"),
    ("ecl", "Loss allowance"),
)


def _loss(loan: Loan, currency: str) -> tuple[Any, Any]:
    state, score = loan.state, loan.score
    if score is None:
        return "Only scored loans have an expected credit loss.", None
    if loan.loss is None:  # a lake without the table
        lgd, ead = state.get("lgd_estimate"), state.get("exposure_at_default")
        known = {"pd_12m": score["pd_12m"], "lgd": lgd, "ead": ead}
        if lgd is not None and ead is not None:
            known["expected_loss_12m"] = score["pd_12m"] * lgd * ead
    else:
        known = dict(loan.loss)
    rows = [
        {"what": name, "value": _loss_value(key, known[key], currency)}
        for key, name in LOSS_FACTS
        if known.get(key) is not None
    ]
    note = f"By model v{score['model_version']}, scored {text.moment(score.get('scored_at'))}."
    return note, table([Column("", "what"), Column("Value", "value", right=True)], rows)


def _loss_value(key: str, value: Any, currency: str) -> str:
    if key.startswith("pd_") or key == "lgd":
        return text.percent(value, 2)
    if key == "stage":
        return str(value)
    return text.label(value) if isinstance(value, str) else text.exact_money(value, currency)


def _shown(name: str, value: Any, currency: str = "USD") -> str:
    if value is None:
        return text.NONE
    if name in MONEY:
        return text.money(value, currency)
    if name in SHARES or name == "lgd_estimate":
        return text.percent(value)
    if name == "interest_rate":
        return text.percent(value / 100, 2)
    if hasattr(value, "strftime"):
        return text.day(value)
    return text.label(value) if isinstance(value, str) else f"{value:,.0f}"


def _name(column: str) -> str:
    return NAMES.get(column) or text.label(column)


def _peers(loan: Loan) -> tuple[Any, Any]:
    rows = []
    for name in COMPARED:
        value, peer = loan.state.get(name), loan.compared.get(name)
        if value is None or peer is None:
            continue
        middle = f"{_shown(name, peer.low)} to {_shown(name, peer.high)}" if peer.low is not None else text.NONE
        rows.append(
            {
                "what": _name(name),
                "loan": _shown(name, value),
                "where": _place(value, peer),
                "peers": _shown(name, peer.median),
                "middle": html.Span(middle, className="one-line"),
            }
        )
    columns = [
        Column("", "what"),
        Column("This loan", "loan", right=True),
        Column("", "where"),
        Column("Peers’ median", "peers", right=True),
        Column("Middle half", "middle", right=True),
    ]
    return f"{text.count(loan.peers)} loans on book of the same purpose and score band.", table(columns, rows)


def _place(value: float, peer: Peer) -> html.Span | None:
    """Whether the loan lies outside the middle half of its peers."""
    if peer.low is None or peer.high is None or peer.low <= value <= peer.high:
        return None
    above = value > peer.high
    return html.Span(
        ["▲" if above else "▼", html.Span(" above most" if above else " below most", className="words")],
        className="badge same one-line",
    )


def _facts(state: Mapping[str, Any], currency: str) -> tuple[Any, Any]:
    rows = [
        {"what": _name(name), "value": _shown(name, state[name], currency)}
        for name in FACTS
        if state.get(name) is not None
    ]
    note = f"As reported on {text.day(state['as_of_date'])}."
    return note, table([Column("", "what"), Column("Value", "value", right=True)], rows)


def _tapes(loan: Loan, currency: str) -> tuple[Any, Any]:
    if not loan.history.height:
        return "The lake keeps no history.", None
    rows = [
        {
            "as_of": text.day(row["as_of_date"]),
            "status": text.label(row["loan_status"]),
            "balance": text.money(row["outstanding_balance"], currency),
            "dpd": text.count(row["current_dpd"]),
            "risk": row["risk_category"],
            "score": f"{row['risk_score']:.0f}",
        }
        for row in loan.history.iter_rows(named=True)
    ]
    columns = [
        Column("As of", "as_of"),
        Column("Status", "status"),
        Column("Risk category", "risk"),
        Column("Risk score", "score", right=True),
        Column("Days past due", "dpd", right=True),
        Column("Balance", "balance", right=True),
    ]
    return "Its state on every tape that reported it, oldest first.", table(columns, rows)
