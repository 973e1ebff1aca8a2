"""A benchmark from the shell: a home of its own, a fresh process a part, one result."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from credit_risk_assets.automation.progress import StepSpan
from credit_risk_assets.benchmark.fit import FORMAT, BenchmarkError
from credit_risk_assets.benchmark.machine import REPOSITORY, changed_settings, machine_facts
from credit_risk_assets.benchmark.memory import ProcessSampler, Sample, peaks
from credit_risk_assets.benchmark.stages import PHASE_MARK, TABLE_WORK, Stage, job_stages, stage_of
from credit_risk_assets.config.settings import Settings, read_settings
from credit_risk_assets.config.tables import (
    DEVELOPMENT_SAMPLE,
    LOAN_HISTORY,
    LOAN_SCORES,
    LOANS,
    MODEL_PERFORMANCE,
    QUALITY_RESULTS,
    TABLES,
)
from credit_risk_assets.resources.lake_log import LakeLog

PEER = REPOSITORY / "docs" / "benchmarks" / "polars_peer.py"
HOURS_A_PERCENT = 20
"""Hours of a portfolio's life that surely change one per cent of its loans."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What to measure: loans on the newest tape, how many yearly tapes, and which parts beside the main job."""

    loans: int
    tapes: Literal[1, 3] = 3
    format: Literal["csv", "parquet"] = "parquet"
    incremental_percent: float | None = None
    peer: bool = False
    note: str = ""


@dataclass
class _Part:
    """A part that ran: its own account, and what was seen of it from outside."""

    found: dict[str, Any]
    samples: list[Sample]
    began: float
    ended: float
    passed: bool


def latest_tape(plan: Plan, today: date | None = None) -> date:
    """The month-end that the newest tape stands for: far enough back for the change file's hours to have passed."""
    today = today or datetime.now(UTC).date()
    days = 1 + math.ceil((plan.incremental_percent or 0) * HOURS_A_PERCENT / 24)
    return (today - timedelta(days=days - 1)).replace(day=1) - timedelta(days=1)


@contextmanager
def own_home(parent: Path, home: Path | None, *, keep: bool, say: Say) -> Iterator[Path]:
    """A new home for the benchmark; it is removed afterwards unless it is to be kept.

    Raises `BenchmarkError` where the folder that was asked for holds something.
    """
    if home is not None and home.exists() and (not home.is_dir() or any(home.iterdir())):
        raise BenchmarkError(f"--home {home}: not empty: expected a new folder, so that nobody's lake is measured")
    if home is None:
        parent.mkdir(parents=True, exist_ok=True)
        home = Path(tempfile.mkdtemp(prefix="benchmark-", dir=parent))
    home = home.resolve()
    try:
        home.mkdir(parents=True, exist_ok=True)
        yield home
    finally:
        if keep:
            say(f"the home stays in {home}")
        else:
            shutil.rmtree(home, ignore_errors=True)


class Benchmark:
    """One run of a plan in one home."""

    def __init__(self, settings: Settings, plan: Plan, home: Path, say: Say) -> None:
        self._plan = plan
        self._home = home
        self._say = say
        self._scratch = home / "benchmark"
        self._settings = settings.model_copy(update={"home": home})
        self._stages: list[Stage] = []
        self._failures: list[str] = []
        self._lake = LakeLog(self._settings.lake)

    def run(self) -> dict[str, Any]:
        """Every part in order; what failed is in `failures`, and what needs it is left out."""
        plan = self._plan
        self._scratch.mkdir(parents=True, exist_ok=True)
        rows = self._simulate_and_land()
        main = self._main_job(rows)
        result = {
            "format": FORMAT,
            "note": plan.note,
            "loans": plan.loans,
            "tapes": plan.tapes,
            "tape_format": plan.format,
            "rows": rows,
            "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": machine_facts(),
            "engine": self._engine(),
            "settings": changed_settings(self._settings),
            "totals": main,
            "checks": self._checks(),
            "model": self._model(),
            "tables": self._tables(),
        }
        if plan.peer:
            result["peer"] = self._peer(main)
        if plan.incremental_percent is not None:
            result["incremental"] = self._incremental(plan.incremental_percent)
        result["stages"] = [stage.to_json() for stage in self._stages]
        result["failures"] = self._failures
        result["passed"] = not self._failures
        return result

    def _part(self, name: str, command: list[str] | None = None, **arguments: Any) -> _Part:
        """Run a part in a process of its own, with its progress on this one's output."""
        file = self._scratch / f"{name}.json"
        file.unlink(missing_ok=True)
        command = command or _child(name, file, arguments)
        began = time.time()
        with subprocess.Popen(command, env=self._environment()) as process, ProcessSampler(process.pid) as sampler:
            code = process.wait()
        found = json.loads(file.read_text(encoding="utf-8")) if code == 0 and file.exists() else {}
        if not found:
            raise BenchmarkError(f"{name}: ended with exit code {code} before it was done; what it said stands above")
        return _Part(found, sampler.samples, began, time.time(), bool(found.get("passed", True)))

    def _environment(self) -> dict[str, str]:
        # A home of its own in every respect: what points at another instance or store is left out.
        kept = {
            name: value for name, value in os.environ.items() if name not in ("DAGSTER_HOME", "MLFLOW_TRACKING_URI")
        }
        return {**kept, "CREDIT_RISK_HOME": str(self._home), "COLUMNS": os.environ.get("COLUMNS", "120")}

    def _add(self, part: _Part, group: str, name: str, rows: int, written: int = 0) -> Stage:
        """A stage that is a whole part, by its own account of when the work began and ended."""
        times = (part.found["began"], part.found["ended"])
        stage = stage_of(group, name, [times], part.samples, rows, written)
        self._stages.append(stage)
        self._say(stage_line(stage))
        return stage

    def _simulate_and_land(self) -> int:
        plan = self._plan
        out = self._scratch / "tapes"
        self._say(f"simulating {plan.loans:,} loans, {plan.tapes} tapes as {plan.format} …")
        made = self._part(
            "simulate",
            loans=plan.loans,
            tapes=plan.tapes,
            format=plan.format,
            out=str(out),
            as_of=latest_tape(plan).isoformat(),
        )
        files = [Path(file) for file in made.found["files"]]
        size = sum(file.stat().st_size for file in files)
        rows: int = made.found["rows"]
        self._add(made, "preparation", "simulate", rows, size)
        landed = self._part("land", files=made.found["files"], kind="full")
        self._add(landed, "preparation", "land", rows, size)
        shutil.rmtree(out)
        return rows

    def _main_job(self, rows: int) -> dict[str, Any]:
        self._say("main job …")
        done = self._part("refresh")
        if not done.passed:
            self._failures.append("main job: an asset or an ERROR check failed; its lines stand above")
        stages = self._job_stages("main job", done, rows)
        self._check_ties(rows)
        whole = peaks(done.samples, done.began, done.ended)
        work = [stage for stage in stages if stage.name in TABLE_WORK]
        return {
            "main_seconds": round(done.ended - done.began, 3),
            "main_processor_seconds": round(whole.processor_seconds, 3),
            "table_work_seconds": round(sum(stage.seconds for stage in work), 3),
            "table_work_processor_seconds": round(sum(stage.processor_seconds for stage in work), 3),
            "between_steps_seconds": round(done.ended - done.began - _busy(done), 3),
            "peak_bytes": whole.peak_bytes,
            "peak_own_bytes": whole.peak_own_bytes,
            "peak_python_bytes": whole.peak_python_bytes,
            "peak_java_bytes": whole.peak_java_bytes,
            "lake_bytes": sum(self._lake.size_bytes(table)[1] for table in TABLES if self._lake.exists(table)),
        }

    def _job_stages(self, group: str, done: _Part, rows: int) -> list[Stage]:
        spans = [StepSpan(**span) for span in done.found["spans"]]
        loans, sampled = self._lake.row_count(LOANS), self._lake.row_count(DEVELOPMENT_SAMPLE)
        scored = self._lake.row_count(LOAN_SCORES)
        by_stage = {
            **dict.fromkeys(TABLE_WORK, rows),
            "sample": sampled,
            "train": sampled,
            "score": scored,
            "expected loss": scored,
            "monitoring": loans,
            "model checks": scored,
        }
        stages = job_stages(group, spans, done.samples, Path(self._settings.lake), by_stage)
        for span in [StepSpan(**span) for span in done.found["phases"]]:
            name = f"{PHASE_MARK}{span.step}"
            stages.append(
                stage_of(f"{group}, within train", name, [(span.began, span.ended)], done.samples, sampled, 0)
            )
        self._stages += stages
        for stage in stages:
            self._say(stage_line(stage))
        return [stage for stage in stages if stage.part == group]

    def _check_ties(self, rows: int) -> None:
        """The sums that hold whatever was simulated: nothing lost between tapes, history and loans."""
        history, loans = self._lake.row_count(LOAN_HISTORY), self._lake.row_count(LOANS)
        if history != rows:
            self._failures.append(f"{LOAN_HISTORY.path}: {history:,} rows: expected the {rows:,} of the tapes")
        if not self._plan.loans <= loans <= rows:
            self._failures.append(f"{LOANS.path}: {loans:,} rows: expected {self._plan.loans:,} to {rows:,}")

    def _peer(self, main: dict[str, Any]) -> dict[str, Any]:
        if not PEER.is_file():
            raise BenchmarkError(f"--peer: {PEER.name} not found: it lies in docs/benchmarks of a checkout")
        self._say("peer: the same table work with polars and delta-rs …")
        out = self._scratch / "peer"
        done = self._part("peer", peer_command(self._settings, out, self._scratch / "peer.json"))
        for name, stage in done.found["stages"].items():
            times = (stage["began"], stage["ended"])
            written = _size_written(out, *times)
            self._stages.append(stage_of("peer", name, [times], done.samples, done.found["rows"], written))
            self._say(stage_line(self._stages[-1]))
        self._say("comparing the peer's tables with the platform's …")
        held = self._part("compare", peer=str(out))
        differences = held.found["differences"]
        self._failures += [f"peer: {line}" for line in differences]
        whole = peaks(done.samples, done.began, done.ended)
        seconds = sum(stage.seconds for stage in self._stages if stage.part == "peer")
        own = sum(s.seconds for s in self._stages if s.part == "main job" and s.name in TABLE_WORK[:3])
        shutil.rmtree(out, ignore_errors=True)
        return {
            "seconds": round(seconds, 3),
            "processor_seconds": round(whole.processor_seconds, 3),
            "peak_bytes": whole.peak_bytes,
            "peak_own_bytes": whole.peak_own_bytes,
            "ratio": round(main["table_work_seconds"] / seconds, 3),
            "ratio_without_checks": round(own / seconds, 3),
            "compare_seconds": round(held.found["ended"] - held.found["began"], 3),
            "compared_rows": held.found["rows"],
            "differences": differences,
        }

    def _incremental(self, percent: float) -> dict[str, Any]:
        wanted = max(1, round(self._plan.loans * percent / 100))
        self._say(f"incremental: a change file of {wanted:,} loans ({percent:g} %) …")
        made = self._part("changes", rows=wanted, out=str(self._scratch / "changes"))
        if made.found["rows"] < wanted:
            self._failures.append(f"change file: {made.found['rows']:,} loans changed: expected {wanted:,}")
        self._add(made, "preparation", "simulate changes", made.found["rows"])
        before = {table.path: self._lake.data_version(table) for table in (LOANS, LOAN_HISTORY)}
        file = self._scratch / "dashboard.json"
        command = _child("dashboard", file, {"result": str(file)})
        with (
            subprocess.Popen(
                command, env=self._environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            ) as worker,
            ProcessSampler(worker.pid) as sampler,
        ):
            assert worker.stdin is not None
            assert worker.stdout is not None
            if worker.stdout.readline().strip() != "ready":
                raise BenchmarkError("dashboard: its worker cannot read the lake; what it said stands above")
            landed = self._part("land", files=made.found["files"], kind="changes")
            done = self._part("refresh")
            expected = {name: made.found[name] for name in ("as_of_month", "loans")}
            worker.stdin.write(json.dumps(expected) + "\n")
            worker.stdin.flush()
            worker.wait()
        if worker.returncode or not file.exists():
            raise BenchmarkError("dashboard: its worker died; what it said stands above")
        seen = json.loads(file.read_text(encoding="utf-8"))
        if not done.passed:
            self._failures.append("incremental: an asset or an ERROR check failed; its lines stand above")
        if any(self._lake.data_version(table) == before[table.path] for table in (LOANS, LOAN_HISTORY)):
            self._failures.append("incremental: silver has not moved")
        if not seen["shows"]:
            self._failures.append("incremental: the dashboard does not show the changed loans and their month")
        self._add(landed, "incremental", "land", wanted)
        stages = self._job_stages("incremental", done, wanted)
        cube = seen["changed"]["cube"] - seen["changed"]["began"]
        for name, began, ended in (
            ("dashboard: cube", seen["changed"]["began"], seen["changed"]["cube"]),
            ("dashboard: loan index", seen["changed"]["cube"], seen["changed"]["ended"]),
        ):
            stage = stage_of("incremental", name, [(began, ended)], sampler.samples, seen["changed"]["rows"], 0)
            self._stages.append(stage)
            self._say(stage_line(stage))
        table_work = landed.found["ended"] - landed.found["began"] + cube
        table_work += sum(stage.seconds for stage in stages if stage.name in TABLE_WORK)
        return {
            "percent": percent,
            "changed_loans": made.found["rows"],
            "table_work_seconds": round(table_work, 3),
            "all_seconds": round(seen["changed"]["ended"] - landed.began, 3),
            "dashboard_cold_seconds": round(seen["cold"]["ended"] - seen["cold"]["began"], 3),
            "dashboard_peak_own_bytes": max((sample.own_bytes for sample in sampler.samples), default=0),
        }

    def _engine(self) -> dict[str, str]:
        from credit_risk_assets.resources.spark import engine_facts

        facts = engine_facts(self._settings)
        return {"engine": facts.engine, "computes": facts.computes, "commits": facts.commits}

    def _checks(self) -> dict[str, int]:
        rows = self._lake.rows(QUALITY_RESULTS, ["passed", "severity"])
        failed = [row for row in rows if not row["passed"]]
        errors = sum(row["severity"] == "ERROR" for row in failed)
        return {"evaluated": len(rows), "failed": len(failed), "failed_errors": errors}

    def _model(self) -> dict[str, float]:
        rows = self._lake.rows(MODEL_PERFORMANCE, ["data_set", "metric", "value"])
        shown = ("auc", "gini", "ks", "brier", "ece")
        return {r["metric"]: r["value"] for r in rows if r["data_set"] == "out_of_time" and r["metric"] in shown}

    def _tables(self) -> dict[str, dict[str, int]]:
        found = {}
        for table in TABLES:
            if self._lake.exists(table):
                files, size = self._lake.size_bytes(table)
                found[table.path] = {"rows": self._lake.row_count(table), "files": files, "bytes": size}
        return found


def _child(part: str, file: Path, arguments: dict[str, Any]) -> list[str]:
    return [sys.executable, "-m", "credit_risk_assets.benchmark.children", part, str(file), json.dumps(arguments)]


def peer_command(settings: Settings, out: Path, result: Path) -> list[str]:
    """How the peer is called: the same landing folder and pseudonyms, a lake and a process of its own."""
    from credit_risk_assets.resources.privacy import KEY_FILE

    key_file = settings.home / KEY_FILE
    if stated := settings.privacy.key.get_secret_value():
        key_file = out.parent / "peer.key"
        key_file.write_text(stated, encoding="utf-8")
        key_file.chmod(0o600)
    landing = str(settings.landing_folder)
    return [
        sys.executable,
        str(PEER),
        "--landing",
        landing,
        "--lake",
        str(out),
        "--key",
        str(key_file),
        "--json",
        str(result),
    ]


def _busy(done: _Part) -> float:
    return float(sum(span["ended"] - span["began"] for span in done.found["spans"]))


def _size_written(folder: Path, began: float, ended: float) -> int:
    states = [file.stat() for file in folder.rglob("*") if file.is_file()]
    return sum(state.st_size for state in states if began <= state.st_mtime <= ended)


def stage_line(stage: Stage) -> str:
    """A stage as one line of the shell."""
    memory = f"peak {stage.peak_bytes / 1e9:5.2f} GB" if stage.peak_bytes else ""
    java = f" (JVM {stage.peak_java_bytes / 1e9:.2f})" if stage.peak_java_bytes else ""
    written = f"  {stage.written_bytes / 1e6:,.1f} MB written" if stage.written_bytes else ""
    rate = f"{stage.rows_per_second:>12,.0f} rows/s" if stage.rows else " " * 19
    spent = f"{stage.seconds:8.2f} s {stage.processor_seconds:8.2f} cpu s"
    return f"  {stage.name:32}{spent} {rate}  {memory}{java}{written}"


def run_benchmark(
    plan: Plan, *, home: Path | None = None, keep: bool = False, json_file: Path | None = None, say: Say = print
) -> dict[str, Any]:
    """Measure the plan and return what the JSON file holds.

    Raises `BenchmarkError` where a part dies or the home is in use.
    """
    settings = read_settings()
    if settings.spark.engine in ("cluster", "remote"):
        say("memory and processor of the cluster's own processes are not counted: only what this machine starts here")
    with own_home(settings.home, home, keep=keep, say=say) as folder:
        result = Benchmark(settings, plan, folder, say).run()
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return result
