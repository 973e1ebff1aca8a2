"""How many injected defects the platform finds, by kind, through its real ingestion and its real checks.

`python -m credit_risk_assets.tape.simulation.recall docs/simulator.md [SEEDS] [LOANS]` measures over some seeds and
puts the table between the page's two markers. Only here and in the report does the simulator know the platform.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from credit_risk_assets.tape.simulation.timeline import last_month_end

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from credit_risk_assets.checks.framework import Finding
    from credit_risk_assets.config.settings import Settings
    from credit_risk_assets.resources.lakehouse import Lakehouse

BEGIN, END = "<!-- recall: begin -->", "<!-- recall: end -->"
SEEDS, LOANS = 20, 3_000
RATE = 0.03
REJECTED_KINDS = (
    "missing_value",
    "impossible_date",
    "out_of_range",
    "wrong_type",
    "unknown_category",
    "encoding_error",
    "swapped_columns",
    "malformed_profile",
    "sentinel",
)
"""Kinds that break a rule of the contract: each such row is rejected at intake."""
CHECKED_KINDS = {
    "duplicate_row": "loans_once_per_date",
    "key_conflict": "loans_once_per_date",
    "profile_against_status": "profile_fits_dpd",
    "balance_jump": "balance_fits_schedule",
    "percent_for_ratio": "ratios_not_percent",
    "rewritten_history": "profile_history_kept",
}
"""Kinds whose rows are valid, each with the WARN check that finds them."""
APART = (
    ("duplicate_row", "balance_jump", "percent_for_ratio"),
    ("key_conflict", "profile_against_status", "rewritten_history"),
)
"""Checked kinds that may share a tape because none makes a row that another's check finds."""
DRIFT, DRIFT_CHECK = "drift", "distribution_steady"
DRIFTS = (
    ("credit_utilization", {"factor": 1.6}),
    ("credit_score", {"shift": -60}),
    ("annual_income", {"factor": 1.5}),
    ("interest_rate", {"shift": 4}),
)
"""Whole columns moved on the newest tape; each seed takes one of them in turn."""


@dataclass
class Recall:
    """Rows put in and found, by kind (tapes for drift), and the alarms on clean rows: rejected ones, failed checks."""

    put_in: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    clean_rows: int = 0
    clean_rejected: int = 0
    clean_named: int = 0
    clean_failed: Counter[str] = field(default_factory=Counter)

    def add(self, other: Recall) -> None:
        """Take in the figures of another portfolio."""
        self.put_in += other.put_in
        self.found += other.found
        self.clean_rows += other.clean_rows
        self.clean_rejected += other.clean_rejected
        self.clean_named += other.clean_named
        self.clean_failed += other.clean_failed

    def share(self, kind: str) -> float:
        """Share of the rows of a kind that were found."""
        return self.found[kind] / self.put_in[kind]

    def lines(self) -> list[str]:
        """The figures as a Markdown table."""
        rows = ["| kind | found by | put in | found | recall |", "|---|---|---|---|---|"]
        for kind in (*REJECTED_KINDS, *CHECKED_KINDS, DRIFT):
            where = f"WARN `{CHECKED_KINDS[kind]}`" if kind in CHECKED_KINDS else "intake, rejected"
            unit = "rows"
            if kind == DRIFT:
                where, unit = f"WARN `{DRIFT_CHECK}`", "tapes"
            rows.append(
                f"| `{kind}` | {where} | {self.put_in[kind]:,} {unit} | {self.found[kind]:,} | {self.share(kind):.4f} |"
            )
        failed = ", ".join(f"{name} on {count}" for name, count in self.clean_failed.items()) or "none"
        rows += ["", f"Clean rows: {self.clean_rows:,}, of them rejected: {self.clean_rejected}, "]
        rows[-1] += f"named by one of these checks: {self.clean_named}. "
        rows[-1] += f"Checks that failed on a clean portfolio: {failed}."
        return rows


@dataclass(frozen=True)
class _Taken:
    """What became of one portfolio: its ledger (kind, row, loan), the rows rejected, and what the checks found.

    `named` holds the loans that each check of `CHECKED_KINDS` names.
    """

    rows: int
    ledger: list[tuple[str, int, str]]
    rejected: set[int]
    findings: list[Finding]
    named: dict[str, set[str]]


def measure_recall(folder: Path, *, seed: int, loans: int = LOANS, as_of: date | None = None) -> Recall:
    """Ingest one portfolio clean and with defects, each in a lake of its own under `folder`, and compare.

    What was found is held against the ledger row by row. The checks see two tapes a year apart, of which the
    newest is spoilt.
    """
    as_of = as_of or last_month_end()
    recall = Recall()
    clean = _take(folder / "clean", (), loans, seed, as_of)
    recall.clean_rows, recall.clean_rejected = clean.rows, len(clean.rejected)
    recall.clean_failed.update(finding.check.name for finding in clean.findings if not finding.passed)

    # Other capitals are read as they are meant: a row with them counts as clean.
    spoilt = _take(folder / "rejected", (*REJECTED_KINDS, "casing"), loans, seed, as_of, tapes=1)
    broken = [(kind, row) for kind, row, _ in spoilt.ledger if kind != "casing"]
    recall.put_in.update(kind for kind, _ in broken)
    recall.found.update(kind for kind, row in broken if row in spoilt.rejected)
    recall.clean_rows += spoilt.rows - len(broken)
    recall.clean_rejected += len(spoilt.rejected - {row for _, row in broken})

    for kinds in APART:
        checked = _take(folder / kinds[0], kinds, loans, seed, as_of)
        recall.put_in.update(kind for kind, _, _ in checked.ledger)
        for kind in kinds:
            named, hit = checked.named[CHECKED_KINDS[kind]], {loan for k, _, loan in checked.ledger if k == kind}
            recall.found[kind] += len(named & hit)
            recall.clean_named += len(named - hit)
        recall.clean_rows += checked.rows - len(checked.ledger)
        recall.clean_rejected += len(checked.rejected)

    column, change = DRIFTS[seed % len(DRIFTS)]
    drifted = _take(folder / DRIFT, (), loans, seed, as_of, drift={"columns": [column], **change})
    finding = next(finding for finding in drifted.findings if finding.check.name == DRIFT_CHECK)
    recall.put_in[DRIFT] += 1
    recall.found[DRIFT] += not finding.passed and finding.details[0]["column"] == column
    return recall


def _take(
    folder: Path,
    kinds: Sequence[str],
    loans: int,
    seed: int,
    as_of: date,
    *,
    tapes: int = 2,
    drift: dict[str, object] | None = None,
) -> _Taken:
    """Simulate, spoil and ingest; with two tapes, the checks too."""
    from credit_risk_assets.config.settings import read_settings
    from credit_risk_assets.config.tables import REJECTED_RECORDS
    from credit_risk_assets.resources.ingestion import Ingestion
    from credit_risk_assets.resources.platform import Platform
    from credit_risk_assets.tape.simulate import simulate

    settings = read_settings(home=folder / "home", landing={"settle_seconds": 0})
    settings.make_home()
    specification, noted = folder / "defects.yaml", folder / "ledger.csv"
    defects: list[dict[str, object]] = [{"kind": kind, "rate": RATE, "tapes": "latest"} for kind in kinds]
    defects += [{"kind": DRIFT, **drift}] if drift else []
    specification.write_text(json.dumps({"seed": seed, "defects": defects}), encoding="utf-8")
    made = simulate(loans, folder / "tapes", seed=seed, as_of=as_of, tapes=tapes, defects=specification, ledger=noted)
    for file in made.tapes:
        file.rename(settings.landing_folder / file.name)
    ledger = pl.read_csv(noted, infer_schema=False).filter(pl.col("kind") != DRIFT)
    entries = ledger.select("kind", pl.col("row_number").cast(pl.Int64), "loan_id").rows()
    today = as_of + timedelta(days=1)
    platform = Platform(settings)
    try:
        lakehouse = platform.lakehouse
        reports = Ingestion(lakehouse, settings, "recall", today=today).run()
        rejected = {row["_row_number"] for row in lakehouse.rows(REJECTED_RECORDS, ["_row_number"])}
        findings = _findings(lakehouse, settings, today) if tapes > 1 else []
        named = _named(lakehouse) if kinds and tapes > 1 else {}
    finally:
        platform.close()
    return _Taken(sum(report.rows_read for report in reports), entries, rejected, findings, named)


def _findings(lakehouse: Lakehouse, settings: Settings, today: date) -> list[Finding]:
    from credit_risk_assets.checks.bronze import bronze_findings
    from credit_risk_assets.checks.silver import silver_findings
    from credit_risk_assets.config.tables import LOAN_HISTORY, LOAN_TAPE, LOANS
    from credit_risk_assets.credit.loan_states import latest_states, loan_states

    lakehouse.overwrite(LOAN_HISTORY, loan_states(lakehouse.read(LOAN_TAPE), []))
    lakehouse.overwrite(LOANS, latest_states(lakehouse.read(LOAN_HISTORY)))
    return [*bronze_findings(lakehouse, settings, today), *silver_findings(lakehouse, settings)]


def _named(lakehouse: Lakehouse) -> dict[str, set[str]]:
    """Every loan that a check of `CHECKED_KINDS` finds broken, by the check's own rules."""
    from credit_risk_assets.checks import bronze, history, silver
    from credit_risk_assets.config.tables import LOAN_HISTORY, LOAN_TAPE, LOANS

    tapes = lakehouse.read(LOAN_HISTORY)
    before, now = (row[0] for row in tapes.select("as_of_date").distinct().orderBy("as_of_date").collect())
    compared, loans = history.joined(tapes, before, now), lakehouse.read(LOANS)
    named = {bronze.DUPLICATES.name: _loans(bronze.repeated_keys(lakehouse.read(LOAN_TAPE)))}
    for frame, rules in ((loans, silver.ROW_RULES), (compared, history.joined_rules(before, now))):
        for rule in rules:
            if rule.check.name in CHECKED_KINDS.values():
                named.setdefault(rule.check.name, set()).update(_loans(frame.where(rule.broken)))
    return named


def _loans(frame: DataFrame) -> set[str]:
    return {row[0] for row in frame.select("loan_id").collect()}


def document(page: Path, recall: Recall, title: str) -> None:
    """Replace the page's table."""
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        raise ValueError(f"{page}: expected the lines {BEGIN} and {END}, between which the table goes")
    text = "\n".join([title, "", *recall.lines()])
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


def main(page: Path, seeds: int, loans: int) -> None:
    """Measure over seeds 1, 2, … and write the table into the page."""
    total = Recall()
    for seed in range(1, seeds + 1):
        with tempfile.TemporaryDirectory() as folder:
            total.add(measure_recall(Path(folder), seed=seed, loans=loans))
        sys.stdout.write(f"seed {seed} of {seeds}\n")
    document(page, total, f"{seeds} seeds, {loans:,} loans each, {100 * RATE:g} % of the rows with each kind.")


if __name__ == "__main__":
    _numbers = [int(text) for text in sys.argv[2:]]
    main(Path(sys.argv[1]), *_numbers, *(SEEDS, LOANS)[len(_numbers) :])
