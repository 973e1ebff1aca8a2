"""The audit log: what it holds, what it never holds, and that nobody changes it unnoticed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from dash import Dash
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from credit_risk_assets.cli import app as cli
from credit_risk_assets.config.settings import load_settings
from credit_risk_tests.dash_app.conftest import PASSWORD, Portfolio, Visitor
from credit_risk_tests.dash_app.test_access import VALUES
from dash_app.app import create_app
from dash_app.security.audit import ACTIONS, HEAD, LOG, START, AuditLog, Verdict
from dash_app.security.roles import Role
from dash_app.security.users import users_of

WRITER = """
import sys
from pathlib import Path
from dash_app.security.audit import AuditLog
log = AuditLog(Path(sys.argv[1]))
for number in range(int(sys.argv[3])):
    log.append("login", sys.argv[2], "viewer", turn=number)
"""


def filled(folder: Path, records: int) -> AuditLog:
    log = AuditLog(folder)
    for number in range(records):
        log.append("export", f"user{number % 3}", "analyst", rows=number, what="Größe")
    return log


def test_an_unbroken_chain_holds(tmp_path: Path) -> None:
    assert AuditLog(tmp_path).verify() == Verdict(0, START)
    log = filled(tmp_path, 5)
    verdict = log.verify()
    assert (verdict.holds, verdict.records) == (True, 5)
    assert (tmp_path / HEAD).read_text() == f"5 {verdict.head}\n"
    assert [record["rows"] for record in log.records()] == [4, 3, 2, 1, 0]
    assert log.records()[-1]["previous"] == START
    assert [record["number"] for record in log.records(limit=2)] == [5, 4]


def test_records_since_a_time_are_found_from_the_end(tmp_path: Path) -> None:
    log = filled(tmp_path, 300)  # more than one read from the end: 65,536 bytes
    assert len(log.records()) == 300
    third = log.records()[2]["at"]
    assert log.records(since=datetime.fromisoformat(third)) == [r for r in log.records() if r["at"] >= third]
    assert log.records(since=datetime.now(UTC) + timedelta(days=1)) == []


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_whatever_is_changed_in_the_log_is_found(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    log = filled(tmp_path_factory.mktemp("log"), 6)
    lines = log.file.read_bytes().splitlines(keepends=True)
    place = data.draw(st.integers(0, 5))
    kind = data.draw(st.sampled_from(["byte", "cut", "swap", "repeat", "truncate", "forge", "append"]))
    first = place + 1
    if kind == "byte":
        line = bytearray(lines[place])
        at = data.draw(st.integers(0, len(line) - 2))
        line[at] ^= data.draw(st.integers(1, 255))
        lines[place] = bytes(line)
    elif kind == "cut":
        del lines[place]
    elif kind == "swap":
        other = data.draw(st.integers(0, 5).filter(lambda number: number != place))
        lines[place], lines[other] = lines[other], lines[place]
        first = min(place, other) + 1
    elif kind == "repeat":
        lines.insert(place, lines[place])
        first = place + 2
    elif kind == "truncate":
        lines = lines[:place]
    elif kind == "forge":  # with a fitting hash of the line before
        record = json.loads(lines[place])
        lines[place] = json.dumps({**record, "user": "somebody"}, separators=(",", ":")).encode() + b"\n"
    else:
        lines.append(lines[-1])
        first = 7
    log.file.write_bytes(b"".join(lines))
    verdict = log.verify()
    assert not verdict.holds
    # a change inside a record shows at the next one at the latest, that of the last by the head
    assert verdict.broken_line in (first, min(first + 1, 6), 7 if kind in ("append", "repeat") else first)
    assert verdict.reason


def test_a_log_that_is_gone_is_missed(tmp_path: Path) -> None:
    log = filled(tmp_path, 3)
    log.file.unlink()
    assert log.verify().broken_line == 1
    assert "3 records" in log.verify().reason


def test_a_record_that_was_being_written_when_its_process_died_is_mended(tmp_path: Path) -> None:
    log = filled(tmp_path, 3)
    with log.file.open("ab") as out:
        out.write(b'{"number":4,"at":"2026')
    assert log.verify().reason == "the line is cut off"
    log.append("login", "ada", "viewer")
    assert log.verify() == Verdict(5, log.verify().head)
    assert [record["action"] for record in log.records(limit=2)] == ["login", "log_mended"]
    assert log.records(limit=2)[1]["bytes_dropped"] == 22


def test_a_record_written_just_before_the_head_counts(tmp_path: Path) -> None:
    log = filled(tmp_path, 3)
    head = (tmp_path / HEAD).read_text()
    log.append("login", "ada", "viewer")
    (tmp_path / HEAD).write_text(head)  # the process died between the two
    assert log.verify().records == 4
    assert log.verify().holds
    log.append("login", "ada", "viewer")
    assert log.verify().holds


def test_several_processes_write_one_chain(tmp_path: Path) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), f"user{n}", "25"], stderr=subprocess.PIPE)
        for n in range(4)
    ]
    for writer in writers:
        _, errors = writer.communicate(timeout=120)
        assert writer.returncode == 0, errors
    log = AuditLog(tmp_path)
    assert log.verify().holds
    records = log.records()
    assert [record["number"] for record in records] == list(range(100, 0, -1))
    for n in range(4):
        assert [r["turn"] for r in records if r["user"] == f"user{n}"] == list(range(24, -1, -1))


def test_what_people_do_is_written_down_and_nothing_about_persons(guarded: Portfolio, tmp_path: Path) -> None:
    settings = guarded.settings
    users = users_of(settings)
    users.add("eve", Role.ANALYST, PASSWORD)
    app = create_app(settings)
    log = AuditLog(settings.audit_folder)
    before = len(log.records())
    eve = Visitor.of(app)
    eve.sign_in("eve")
    eve.client.get("/")
    render = next(output for output in app.callback_map if output.startswith("..loan-notice"))
    eve.call(render, **VALUES)
    asked = {
        "startRow": 0,
        "endRow": 10,
        "sortModel": [],
        "filterModel": {"loan_id": {"filterType": "text", "type": "contains", "filter": "L0000"}},
    }
    given_values = {
        "loan-grid__getRowsRequest": asked,
        "filter-state__data": "risk=High&region=Mr+Smith&region=North&as_of=2019-01&from=Jones",
        "loan-search__value": "smith L000007",
    }
    eve.call("loan-grid.getRowsResponse", **given_values)
    eve.call("loan-grid.getRowsResponse", **{**given_values, "loan-grid__getRowsRequest": {**asked, "startRow": 100}})
    rows = eve.client.get("/export/loans.csv?purpose=home&region=Mr+Smith").data.count(b"\n") - 1
    eve.client.get("/audit")
    router = next(output for output in app.callback_map if "_pages_content" in output)
    eve.call(router, _pages_location__pathname="/audit", _pages_location__search="?x=smith")
    found = log.records()[: len(log.records()) - before][::-1]
    assert [record["action"] for record in found] == [
        "login",
        "loan_view",
        "loan_list",
        "export_started",
        "export",
        "refused",
    ]
    assert {(record["user"], record["role"]) for record in found} == {("eve", "analyst")}
    _, view, listed, _, export, refused = found
    assert view["loan"] == log.fingerprint("L000007")
    assert view["versions"]["silver/loans"] == 0
    assert (listed["filter"], listed["searched"], listed["columns"]) == ("risk=High&region=North", True, ["loan_id"])
    assert (export["filter"], export["rows"], export["complete"]) == ("purpose=home", rows, True)
    assert export["versions"] == {"silver/loans": 0}
    assert (refused["what"], refused["name"]) == ("page", "Audit")
    text = log.file.read_text().lower()
    for secret in ("l000007", "l0000", "smith", "jones", "pseudonym", PASSWORD):
        assert secret not in text, secret
    assert {record["action"] for record in log.records()} <= set(ACTIONS)
    assert log.verify().holds


def test_an_export_that_is_broken_off_says_how_far_it_came(guarded: Portfolio, guarded_app: Dash) -> None:
    visitor = Visitor.of(guarded_app)
    visitor.sign_in("analyst")
    answer = visitor.client.get("/export/loans.csv", buffered=False)
    next(iter(answer.response))  # the heading
    answer.close()
    record = AuditLog(guarded.settings.audit_folder).records(limit=1)[0]
    assert (record["action"], record["complete"]) == ("export", False)


def test_the_admin_reads_the_log_on_a_page(visitors: dict[str, Visitor], guarded_app: Dash) -> None:
    render = next(output for output in guarded_app.callback_map if output.startswith("..audit-stamp"))
    shown = visitors["admin"].call(render).json["response"]
    assert "Intact" in json.dumps(shown["audit-stats"])
    rows = shown["audit-grid"]["rowData"]
    assert {"Log-in"} <= {row["action"] for row in rows}
    chosen = {"audit-action__value": "login", "audit-user__value": "viewer"}
    some = visitors["admin"].call(render, **chosen).json["response"]["audit-grid"]["rowData"]
    assert {(row["action"], row["user"]) for row in some} == {("Log-in", "viewer")}
    listed = visitors["admin"].call("audit-users.children").text
    assert all(role.value in listed for role in Role)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("CREDIT_RISK_HOME", str(tmp_path))
    load_settings.cache_clear()
    yield tmp_path
    load_settings.cache_clear()


def run(*words: str, typed: str | None = None) -> tuple[int, str]:
    done = CliRunner().invoke(cli, list(words), input=typed)
    return done.exit_code, done.output


def test_the_shell_verifies_and_lists_the_log(home: Path) -> None:
    log = filled(home / "audit", 3)
    log.append("loan_view", "ada", "analyst", loan=log.fingerprint("L7"))
    code, said = run("audit", "verify")
    assert (code, said.split(",")[0]) == (0, "4 records")
    code, said = run("audit", "list", "--since", "2026-01-01", "--limit", "2")
    assert [json.loads(line)["number"] for line in said.splitlines()] == [3, 4]
    assert json.loads(run("audit", "list", "--loan", "L7")[1])["user"] == "ada"
    assert run("audit", "list", "--loan", "L8") == (0, "")
    assert run("audit", "list", "--since", "soon")[0] == 1
    text = (home / "audit" / LOG).read_text()
    (home / "audit" / LOG).write_text(text.replace("user1", "user9"))
    code, said = run("audit", "verify")
    assert code == 1
    assert re.search(r"error .*dashboard\.jsonl: line 3: the hash of the line before is another", said)


def test_users_are_kept_from_the_shell_and_every_change_is_written_down(home: Path) -> None:
    assert "no users yet" in run("user", "list")[1]
    assert run("user", "add", "ada", "--role", "admin", typed=f"{PASSWORD}\n") == (0, "added ada, admin\n")
    assert run("user", "add", "Ada", typed=f"{PASSWORD}\n")[0] == 1
    code, said = run("user", "add", "bob", "--generate")
    assert code == 0
    password = re.search(r"password (\S+)", said).group(1)  # type: ignore[union-attr]
    users = users_of(load_settings())
    assert users.check("bob", password).role is Role.VIEWER  # type: ignore[union-attr]
    assert run("user", "role", "bob", "analyst") == (0, "bob is analyst now; the sessions have ended\n")
    assert run("user", "password", "bob", typed="another password\n")[0] == 0
    assert users.check("bob", "another password")
    assert users.check("bob", password) is None
    assert [line.split()[:2] for line in run("user", "list")[1].splitlines()] == [["ada", "admin"], ["bob", "analyst"]]
    for words in (("remove", "ada"), ("role", "ada", "viewer")):
        code, said = run("user", *words)
        assert (code, said) == (1, "error user ada: the last admin; make another one first\n")
    assert run("user", "remove", "bob") == (0, "removed bob\n")
    for words, says in (
        (("remove", "bob"), "no such user"),
        (("role", "bob", "admin"), "no such user"),
        (("password", "bob"), "no such user"),
        (("add", "../x"), "expected up to 64 letters"),
        (("add", "cara"), "expected at least 12 characters, found 5"),
    ):
        code, said = run("user", *words, typed="short\n")
        assert code == 1
        assert says in said
        assert said.count("\n") == 1
    records = AuditLog(home / "audit").records()
    made = [(record["action"], record["name"], record["role"]) for record in reversed(records)]
    assert made == [
        ("user_added", "ada", "operator"),
        ("user_added", "bob", "operator"),
        ("user_role", "bob", "operator"),
        ("user_password", "bob", "operator"),
        ("user_removed", "bob", "operator"),
    ]
    assert {record["user"].split(":")[0] for record in records} == {"shell"}
    kept = b"".join(file.read_bytes() for file in home.rglob("*") if file.is_file())
    assert not [secret for secret in (PASSWORD, password, "another password") if secret.encode() in kept]
