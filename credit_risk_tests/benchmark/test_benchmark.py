"""The benchmark at a small size, as a user runs it: every stage measured, the sums tie, failures are told."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from credit_risk_assets.automation.progress import StepSpan
from credit_risk_assets.benchmark import run as benchmark_run
from credit_risk_assets.benchmark.fit import FORMAT, BenchmarkError, exponent
from credit_risk_assets.benchmark.memory import ProcessSampler, Sample, peaks
from credit_risk_assets.benchmark.run import Benchmark, Plan, latest_tape, own_home
from credit_risk_assets.benchmark.stages import STAGE_OF, TABLE_WORK, job_stages
from credit_risk_assets.config.settings import Settings
from credit_risk_assets.definitions import defs
from credit_risk_tests.conftest import Run

LOANS = 2_000


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the command leaves behind: three tapes, the peer, and a change file."""
    folder = tmp_path_factory.mktemp("benchmark")
    file = folder / "result.json"
    command = [
        *(sys.executable, "-m", "credit_risk_assets", "benchmark", "--records", str(LOANS), "--peer"),
        *("--incremental", "1", "--json", str(file), "--note", "a test"),
    ]
    environment = {"CREDIT_RISK_HOME": str(folder / "home"), "CREDIT_RISK__LANDING__SETTLE_SECONDS": "0"}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CREDIT_RISK_")}
    done = subprocess.run(command, env={**kept, **environment}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert list((folder / "home").iterdir()) == [], "the benchmark's home is removed"
    found: dict[str, Any] = json.loads(file.read_text())
    assert str(folder) not in file.read_text(), "no folder of this machine in the result"
    return found


@pytest.mark.slow
def test_every_stage_is_measured_and_the_sums_tie(result: dict[str, Any]) -> None:
    assert result["format"] == FORMAT
    assert (result["loans"], result["tapes"], result["passed"], result["failures"]) == (LOANS, 3, True, [])
    stages = {(stage["part"], stage["name"]): stage for stage in result["stages"]}
    job = {name for part, name in stages if part == "main job"}
    assert job == set(STAGE_OF.values())
    assert {name for part, name in stages if part == "preparation"} == {"simulate", "land", "simulate changes"}
    assert {name for part, name in stages if part == "peer"} == {"bronze", "silver", "gold"}
    assert len([name for part, name in stages if part == "main job, within train"]) == 3
    for stage in result["stages"]:
        assert stage["seconds"] > 0, stage
        assert stage["rows"] > 0, stage
        assert stage["peak_bytes"] >= stage["peak_own_bytes"] > 0, stage
        assert stage["peak_java_bytes"] == 0, stage
    rows = result["rows"]
    assert rows > 2 * LOANS
    assert {stages["main job", name]["rows"] for name in TABLE_WORK} == {rows}
    assert result["tables"]["bronze/loan_tape"]["rows"] == rows
    assert result["tables"]["silver/loan_history"]["rows"] == rows
    assert stages["main job", "silver"]["written_bytes"] >= sum(
        result["tables"][name]["bytes"] for name in ("silver/loans", "silver/loan_history")
    )
    totals = result["totals"]
    steps = sum(stages["main job", name]["seconds"] for name in job)
    assert totals["main_seconds"] == pytest.approx(steps + totals["between_steps_seconds"], abs=0.02)
    work = sum(stages["main job", name]["seconds"] for name in TABLE_WORK)
    assert totals["table_work_seconds"] == pytest.approx(work, abs=0.01)
    assert totals["peak_bytes"] >= max(stages["main job", name]["peak_bytes"] for name in job)
    assert result["checks"]["failed_errors"] == 0
    assert result["checks"]["evaluated"] > 50
    assert 0.7 < result["model"]["auc"] < 0.95


@pytest.mark.slow
def test_the_machine_is_described_and_nobody_is_named(result: dict[str, Any]) -> None:
    machine = result["machine"]
    assert machine["cores"] >= 1
    assert machine["memory_bytes"] > 2**30
    assert {"polars", "deltalake", "pysail"} <= set(machine["libraries"])
    assert result["engine"]["engine"] == "embedded"
    assert result["settings"] == {"landing.settle_seconds": 0.0}
    assert result["note"] == "a test"
    assert platform.node() not in json.dumps(machine)


@pytest.mark.slow
def test_the_peer_makes_the_same_tables(result: dict[str, Any]) -> None:
    peer = result["peer"]
    assert peer["differences"] == []
    assert peer["compared_rows"] > 3 * result["rows"] / 2
    assert peer["ratio"] == pytest.approx(result["totals"]["table_work_seconds"] / peer["seconds"], abs=0.01)
    assert 0 < peer["ratio_without_checks"] < peer["ratio"]


@pytest.mark.slow
def test_a_change_file_reaches_the_dashboard(result: dict[str, Any]) -> None:
    change = result["incremental"]
    assert change["changed_loans"] == LOANS // 100
    stages = {stage["name"]: stage for stage in result["stages"] if stage["part"] == "incremental"}
    assert {"land", *TABLE_WORK, "score", "dashboard: cube", "dashboard: loan index"} <= set(stages)
    work = sum(stages[name]["seconds"] for name in ("land", *TABLE_WORK, "dashboard: cube"))
    assert change["table_work_seconds"] == pytest.approx(work, abs=0.01)
    assert change["table_work_seconds"] < change["all_seconds"]


def test_every_step_of_the_main_job_has_a_stage() -> None:
    job = defs.resolve_job_def("main")
    assert {node.name for node in job.graph.nodes} == set(STAGE_OF)


def test_a_known_power_law_is_found_again(run: Run, tmp_path: Path) -> None:
    sizes = (50_000, 500_000, 5_000_000)
    files = []
    for loans in sizes:
        seconds = 0.001 * loans**0.8
        found = {
            "format": FORMAT,
            "loans": loans,
            "tapes": 3,
            "tape_format": "csv",
            "engine": {"engine": "local"},
            "totals": {"main_seconds": seconds, "table_work_seconds": seconds / 2},
            "stages": [{"name": "bronze", "part": "main job", "seconds": 2e-5 * loans**1.25}],
        }
        files.append(tmp_path / f"{loans}.json")
        files[-1].write_text(json.dumps(found))
    assert exponent(sizes, [0.001 * loans**0.8 for loans in sizes]) == pytest.approx(0.8, abs=1e-12)
    done = run("benchmark", "--fit", *reversed(files))
    assert done.exit_code == 0, done.output
    lines = [line.split() for line in done.output.splitlines()]
    assert lines[1][:3] == ["main", "job", "0.80"]
    assert lines[2][:3] == ["table", "work", "0.80"]
    assert lines[3][:2] == ["bronze", "1.25"]
    other = json.loads(files[0].read_text())
    other["engine"]["engine"] = "embedded"
    files[0].write_text(json.dumps(other))
    mixed = run("benchmark", "--fit", *files)
    assert mixed.exit_code == 1
    assert "different runs" in mixed.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--fit"], "expected two or more different ones"),
        ([], "--records"),
        (["--records", "2000", "--tapes", "2"], "--tapes 2: expected 1 or 3"),
        (["--fit", "Makefile"], "give files of"),
    ],
)
def test_a_wrong_call_is_one_line(run: Run, arguments: list[str], said: str) -> None:
    done = run("benchmark", *arguments)
    assert done.exit_code == 1
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_home_that_holds_something_is_never_touched(tmp_path: Path) -> None:
    (tmp_path / "lake").mkdir()
    with (
        pytest.raises(BenchmarkError, match="not empty"),
        own_home(tmp_path, tmp_path, keep=False, say=lambda _: None),
    ):
        pass
    assert (tmp_path / "lake").is_dir()
    with own_home(tmp_path, tmp_path / "new", keep=True, say=lambda _: None) as kept:
        assert kept.is_dir()
    assert kept.is_dir()


def test_a_part_that_dies_is_told(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark_run, "_child", lambda *_: [sys.executable, "-c", "raise SystemExit(3)"])
    with pytest.raises(BenchmarkError, match="simulate: ended with exit code 3"):
        Benchmark(settings, Plan(LOANS), tmp_path / "home", lambda _: None).run()


def test_the_newest_tape_leaves_time_for_its_changes() -> None:
    assert latest_tape(Plan(LOANS), date(2026, 11, 24)) == date(2026, 10, 31)
    assert latest_tape(Plan(LOANS, incremental_percent=1), date(2026, 11, 1)) == date(2026, 9, 30)
    assert latest_tape(Plan(LOANS, incremental_percent=1), date(2026, 11, 3)) == date(2026, 10, 31)
    assert latest_tape(Plan(LOANS, incremental_percent=20), date(2026, 11, 15)) == date(2026, 9, 30)


def test_memory_and_processor_of_a_process_tree_are_seen() -> None:
    grandchild = "b = bytearray(80_000_000); sum(range(3_000_000)); print('up', flush=True); input()"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {grandchild!r}])"
    began = time.time()
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        with ProcessSampler(process.pid, period_seconds=0.01) as sampler:
            assert process.stdout.readline() == "up\n"
            while not any(sample.own_bytes > 80_000_000 for sample in sampler.samples):
                pass
            process.stdin.write("\n")
            process.stdin.flush()
            process.wait()
    seen = peaks(sampler.samples, began, time.time())
    assert 80_000_000 < seen.peak_own_bytes <= seen.peak_bytes
    assert seen.peak_python_bytes < 80_000_000, "the child that was started is small; what it started is not"
    assert seen.processor_seconds > 0
    assert seen.peak_java_bytes == 0


def test_peaks_are_those_of_the_stretch() -> None:
    samples = [Sample(float(at), 100 * at, 10 * at, at, at, at / 2) for at in range(1, 8)]
    seen = peaks(samples, 2.5, 5.0)
    assert (seen.peak_bytes, seen.peak_own_bytes, seen.peak_java_bytes) == (500, 50, 5)
    assert seen.processor_seconds == 1.5
    assert peaks(samples, 3.1, 3.2).peak_bytes == 300, "shorter than a period: what was seen just before"
    assert peaks([], 0, 1).peak_bytes == 0


def test_files_count_for_the_step_that_wrote_them(tmp_path: Path) -> None:
    for name, at, size in (("a", 10.5, 7), ("b", 11.5, 11), ("c", 12.5, 13)):
        (tmp_path / name).write_bytes(b"x" * size)
        os.utime(tmp_path / name, (at, at))
    spans = [
        StepSpan("silver__loans", 12.0, 13.0, "done"),
        StepSpan("bronze", 10.0, 11.0, "done"),
        StepSpan("silver__loan_history", 11.0, 12.0, "done"),
        StepSpan("monitoring", 13.0, 13.0, "skipped"),
    ]
    stages = job_stages("main job", spans, [], tmp_path, {"bronze": 100})
    assert [(stage.name, stage.written_bytes, stage.seconds) for stage in stages] == [
        ("bronze", 7, 1.0),
        ("silver", 24, 2.0),
    ]
    assert stages[0].rows_per_second == 100
