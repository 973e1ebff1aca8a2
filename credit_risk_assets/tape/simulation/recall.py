"""How many injected defects the platform finds, by kind, through its real ingestion and its real checks.

`python -m credit_risk_assets.tape.simulation.recall docs/simulator.md [SEEDS] [LOANS]` measures over some seeds and
puts the table between the page's two markers. Only here and in the report does the simulator know the platform.
"""

from __future__ import annotations

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
    "balance_jump": "balance_fits_amount",
}
"""Kinds whose rows are valid, each with the WARN check that counts them."""
APART = (("duplicate_row", "balance_jump"), ("key_conflict", "profile_against_status"))
"""Checked kinds that may share a tape because neither makes a row that the other's check counts."""


@dataclass
class Recall:
    """Rows put in and found, by kind, and the alarms on clean rows: rejected ones, and failed checks."""

    put_in: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    clean_rows: int = 0
    clean_rejected: int = 0
    clean_failed: Counter[str] = field(default_factory=Counter)

    def add(self, other: Recall) -> None:
        """Take in the figures of another portfolio."""
        self.put_in += other.put_in
        self.found += other.found
        self.clean_rows += other.clean_rows
        self.clean_rejected += other.clean_rejected
        self.clean_failed += other.clean_failed

    def share(self, kind: str) -> float:
        """Share of the rows of a kind that were found."""
        return self.found[kind] / self.put_in[kind]

    def lines(self) -> list[str]:
        """The figures as a Markdown table."""
        rows = ["| kind | found by | rows put in | found | recall |", "|---|---|---|---|---|"]
        for kind in (*REJECTED_KINDS, *CHECKED_KINDS):
            where = f"WARN `{CHECKED_KINDS[kind]}`" if kind in CHECKED_KINDS else "intake, rejected"
            rows.append(
                f"| `{kind}` | {where} | {self.put_in[kind]:,} | {self.found[kind]:,} | {self.share(kind):.4f} |"
            )
        failed = ", ".join(f"{name} on {count}" for name, count in self.clean_failed.items()) or "none"
        rows += ["", f"Clean rows: {self.clean_rows:,}, of them rejected: {self.clean_rejected}. "]
        rows[-1] += f"Checks that failed on a clean tape: {failed}."
        return rows


@dataclass(frozen=True)
class _Taken:
    """What became of one spoilt tape: its ledger (kind, row), the rows rejected, and what the checks count."""

    rows: int
    ledger: list[tuple[str, int]]
    rejected: set[int]
    findings: dict[str, Finding]


def measure_recall(folder: Path, *, seed: int, loans: int = LOANS, as_of: date | None = None) -> Recall:
    """Ingest one portfolio clean and with defects, each in a lake of its own under `folder`, and compare.

    What was found is held against the ledger row by row for rejected rows, by count for the checks.
    """
    as_of = as_of or last_month_end()
    recall = Recall()
    clean = _take(folder / "clean", (), loans, seed, as_of)
    recall.clean_rows, recall.clean_rejected = clean.rows, len(clean.rejected)
    recall.clean_failed.update(name for name, finding in clean.findings.items() if not finding.passed)

    # Other capitals are read as they are meant: a row with them counts as clean.
    spoilt = _take(folder / "rejected", (*REJECTED_KINDS, "casing"), loans, seed, as_of, checks=False)
    broken = [(kind, row) for kind, row in spoilt.ledger if kind != "casing"]
    recall.put_in.update(kind for kind, _ in broken)
    recall.found.update(kind for kind, row in broken if row in spoilt.rejected)
    recall.clean_rows += spoilt.rows - len(broken)
    recall.clean_rejected += len(spoilt.rejected - {row for _, row in broken})

    for kinds in APART:
        checked = _take(folder / kinds[0], kinds, loans, seed, as_of)
        counts = Counter(kind for kind, _ in checked.ledger)
        recall.put_in.update(counts)
        recall.found.update({kind: checked.findings[CHECKED_KINDS[kind]].failed_rows for kind in kinds})
        recall.clean_rows += checked.rows
        recall.clean_rejected += len(checked.rejected)
    return recall


def _take(folder: Path, kinds: Sequence[str], loans: int, seed: int, as_of: date, *, checks: bool = True) -> _Taken:
    from credit_risk_assets.config.settings import read_settings
    from credit_risk_assets.config.tables import REJECTED_RECORDS
    from credit_risk_assets.resources.ingestion import Ingestion
    from credit_risk_assets.resources.platform import Platform
    from credit_risk_assets.tape.simulate import simulate

    settings = read_settings(home=folder / "home", landing={"settle_seconds": 0})
    settings.make_home()
    specification, noted = folder / "defects.yaml", folder / "ledger.csv"
    lines = "".join(f"\n- {{kind: {kind}, rate: {RATE}}}" for kind in kinds)
    specification.write_text(f"seed: {seed}\ndefects: {lines or '[]'}\n", encoding="utf-8")
    tapes = folder / "tapes"
    made = simulate(loans, tapes, seed=seed, as_of=as_of, tapes=1, defects=specification, ledger=noted)
    made.files[0].rename(settings.landing_folder / made.files[0].name)
    ledger = pl.read_csv(noted, infer_schema=False).select("kind", pl.col("row_number").cast(pl.Int64)).rows()
    today = as_of + timedelta(days=1)
    platform = Platform(settings)
    try:
        lakehouse = platform.lakehouse
        report = Ingestion(lakehouse, settings, "recall", today=today).run()[0]
        rejected = {row["_row_number"] for row in lakehouse.rows(REJECTED_RECORDS, ["_row_number"])}
        findings = _findings(lakehouse, settings, today) if checks else {}
    finally:
        platform.close()
    return _Taken(report.rows_read, ledger, rejected, findings)


def _findings(lakehouse: Lakehouse, settings: Settings, today: date) -> dict[str, Finding]:
    from credit_risk_assets.checks.bronze import bronze_findings
    from credit_risk_assets.checks.silver import silver_findings
    from credit_risk_assets.config.tables import LOAN_HISTORY, LOAN_TAPE, LOANS
    from credit_risk_assets.credit.loan_states import loan_states, newest_rows

    lakehouse.overwrite(LOAN_HISTORY, loan_states(lakehouse.read(LOAN_TAPE), []))
    lakehouse.overwrite(LOANS, newest_rows(lakehouse.read(LOAN_HISTORY), ["loan_id"]))
    found = [*bronze_findings(lakehouse, settings, today), *silver_findings(lakehouse, settings)]
    return {finding.check.name: finding for finding in found}


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
