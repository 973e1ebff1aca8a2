"""`credit-risk audit`: look at the dashboard's audit log, and prove that nobody has changed it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated

import typer

from credit_risk_assets.commands.console import console, current_settings, fail

app = typer.Typer(help="The dashboard's audit log: list it, verify its chain.", no_args_is_help=True)


@app.command()
def verify() -> None:
    """Follow the chain of hashes; exit 1 with the first broken line where a record was changed, moved or cut out."""
    from dash_app.security.audit import audit_log

    log = audit_log(current_settings())
    verdict = log.verify()
    if not verdict.holds:
        raise fail(f"{log.file}: line {verdict.broken_line}: {verdict.reason}")
    console.print(f"{verdict.records:,} records, unbroken; the last has the hash {verdict.head}", markup=False)


@app.command("list")
def show(
    since: Annotated[str | None, typer.Option(help="Only records from this time on (UTC), such as 2026-01-31.")] = None,
    loan: Annotated[str | None, typer.Option(help="Only views of this loan.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many of the newest.")] = None,
) -> None:
    """Print the records as JSON lines, oldest first."""
    from dash_app.security.audit import audit_log

    log = audit_log(current_settings())
    mark = log.fingerprint(loan) if loan else None
    records = [entry for entry in log.records(_time(since)) if mark is None or entry.get("loan") == mark]
    for entry in reversed(records[:limit]):
        typer.echo(json.dumps(entry, ensure_ascii=False))


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise fail(f"--since {text!r}: expected a time such as 2026-01-31 or 2026-01-31T08:00") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
