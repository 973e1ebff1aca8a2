"""Main jobs that are ended by SIGKILL at random moments of their writes, and run again: what do the tables hold?

`python -m credit_risk_tests.assets.random_kills --engine local --kills 100 --json OUT`

After each kill every table must be whole: each file of its newest version is there with the rows that the log says,
no key is there twice, and the number of rows is one of those that an undisturbed lake had. As soon as a run gets
through, every table must equal the undisturbed lake's, row for row. The first finding ends the program with its line.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable

from credit_risk_assets.config import tables
from credit_risk_assets.resources.platform import Platform
from credit_risk_assets.resources.privacy import KEY_FILE, privacy_key
from credit_risk_tests.assets.test_exactly_once import land_first_tapes, land_later_files, rows_of
from credit_risk_tests.conftest import make_settings, run_job
from credit_risk_tests.test_conformance import KEYS

PHASES: tuple[Callable[[Path], None], ...] = (land_first_tapes, land_later_files)
States = list[dict[str, pl.DataFrame]]
"""After each phase, the rows of each table but quality_results, whose rows are each run's own."""


class Finding(AssertionError):
    """A table is half, or a row is lost or there twice."""


def in_child(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a forked process: this one stays free of threads, so that it can fork again."""
    source, sink = os.pipe()
    child = os.fork()
    if not child:
        os.close(source)
        try:
            done: Any = function(*arguments)
        except BaseException as error:
            done = error
        with os.fdopen(sink, "wb") as out:
            pickle.dump(done, out)
        os._exit(0)
    os.close(sink)
    with os.fdopen(source, "rb") as given:
        done = pickle.load(given)
    os.waitpid(child, 0)
    if isinstance(done, BaseException):
        raise done
    return done


def start_run(home: Path, spark: dict[str, Any], log: Path) -> int:
    """The main job in a process group of its own, with the JVM that it starts; return its number."""
    child = os.fork()
    if child:
        return child
    os.setsid()
    with log.open("ab") as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    platform = Platform(make_settings(home, spark=spark))
    succeeded = run_job(platform).success
    platform.close()
    os._exit(0 if succeeded else 1)


def run_through(home: Path, spark: dict[str, Any], log: Path) -> tuple[float, float]:
    """Run to the end; return the seconds until the first commit or file of this run, and until the end."""
    before = _written(home)
    began = time.monotonic()
    child = start_run(home, spark, log)
    first = None
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if first is None and _written(home) != before:
            first = time.monotonic() - began
        if ended:
            break
        time.sleep(0.05)
    if os.waitstatus_to_exitcode(status):
        raise Finding(f"an undisturbed run failed; see {log}")
    end(child)
    return first or 0.0, time.monotonic() - began


def end(group: int) -> None:
    """End what is left of a run's process group: the JVM of a driver that is gone."""
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return


def killed(home: Path, spark: dict[str, Any], log: Path, after_seconds: float) -> bool:
    """Run and kill some seconds after this run's first write; return whether the run was still at it."""
    before = _written(home)
    child = start_run(home, spark, log)
    deadline = None
    while deadline is None or time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            end(child)
            if os.waitstatus_to_exitcode(status):
                raise Finding(f"the run after a killed one failed; see {log}")
            return False
        if deadline is None and _written(home) != before:
            deadline = time.monotonic() + after_seconds
        time.sleep(0.005)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True


def _written(home: Path) -> int:
    return sum(1 for _ in (home / "lake").rglob("*"))


def _tables(home: Path) -> list[tables.Table]:
    return [table for table in tables.TABLES if DeltaTable.is_deltatable(str(home / "lake" / table.path))]


def state(home: Path) -> dict[str, pl.DataFrame]:
    """The rows of every table, without what a run stamps on them."""
    return {table.path: rows_of(home, table) for table in _tables(home) if table != tables.QUALITY_RESULTS}


def look(home: Path, states: States) -> dict[str, int]:
    """Look at a lake whose run was killed; return its commits and its files that no commit names."""
    commits = orphans = 0
    for table in _tables(home):
        folder = home / "lake" / table.path
        delta = DeltaTable(str(folder))
        commits += delta.version() + 1
        named = pa.table(delta.get_add_actions(flatten=True)).to_pylist()
        rows = 0
        for file in named:
            path = folder / file["path"]
            if not path.exists():
                raise Finding(f"{table.path}: version {delta.version()} names {file['path']}, which is not there")
            held = pq.read_metadata(path).num_rows
            if held != file["num_records"]:
                raise Finding(f"{table.path}: {file['path']} holds {held} rows, the log says {file['num_records']}")
            rows += held
        orphans += sum(1 for _ in folder.rglob("*.parquet") if "_delta_log" not in _.parts) - len(named)
        if table == tables.QUALITY_RESULTS:
            continue
        frame = pl.DataFrame(delta.scan())
        if frame.height != rows:
            raise Finding(f"{table.path}: reads {frame.height} rows of {rows}")
        keys = [key for key in KEYS[table.path] if key in frame.columns]
        if twice := frame.height - frame.select(keys).n_unique():
            raise Finding(f"{table.path}: {twice} rows are there twice")
        if table in (tables.LOAN_TAPE, tables.REJECTED_RECORDS):
            whole = {
                (row["_source_file"], row["len"])
                for rows_then in states
                if table.path in rows_then
                for row in rows_then[table.path].group_by("_source_file").len().to_dicts()
            }
            found = {(row["_source_file"], row["len"]) for row in frame.group_by("_source_file").len().to_dicts()}
            if half := found - whole:
                raise Finding(f"{table.path}: {sorted(half)}: a file is there in part")
        elif table != tables.INGESTION_LOG:
            heights = {0, *(rows_then[table.path].height for rows_then in states if table.path in rows_then)}
            if frame.height not in heights:
                raise Finding(f"{table.path}: {frame.height} rows: an undisturbed lake had one of {sorted(heights)}")
    return {"commits": commits, "orphans": orphans}


def compare(home: Path, expected: dict[str, pl.DataFrame]) -> int:
    """Compare a lake whose killed runs are made good with the undisturbed one; return the rows compared."""
    found = state(home)
    if sorted(found) != sorted(expected):
        raise Finding(f"tables {sorted(set(found) ^ set(expected))} are in one lake alone")
    for path, frame in expected.items():
        if not frame.equals(found[path]):
            raise Finding(f"{path}: {found[path].height} rows, not the {frame.height} of the undisturbed lake")
    return sum(frame.height for frame in found.values())


def undisturbed(folder: Path, spark: dict[str, Any], log: Path) -> tuple[States, list[tuple[float, float]]]:
    """The states that a lake without any kill goes through, and when its runs begin to write and end."""
    home = folder / "undisturbed"
    privacy_key(make_settings(home))
    states, spans = [], []
    for land in PHASES:
        land(home / "landing")
        spans.append(run_through(home, spark, log))
        states.append(in_child(state, home))
    return states, spans


def main() -> None:
    """Kill as often as asked for, look after each kill, and say how it ended."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", default="embedded", choices=["embedded", "local"])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--minutes", type=float, default=24 * 60, help="Kill no more after this time.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--java-options", default="", help="Added to the driver's JVM, such as -XX:TieredStopAtLevel=1."
    )
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    spark: dict[str, Any] = {"engine": asked.engine, "driver_memory": "1g", "shuffle_partitions": 2}
    if asked.java_options:
        spark["extra"] = {"spark.driver.defaultJavaOptions": asked.java_options}
    moments = random.Random(asked.seed)
    report: dict[str, Any] = {"engine": asked.engine, "seed": asked.seed, "kills": 0, "recovered": 0, "homes": 0}
    report |= {"rows_compared": 0, "with_uncommitted_files": 0, "states": []}
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="credit-risk-kills-") as named:
        folder = Path(named)
        log = folder / "runs.log"
        try:
            states, spans = undisturbed(folder, spark, log)
            print(f"undisturbed: writes from {spans[0][0]:.1f} to {spans[0][1]:.1f} s, "
                  f"then from {spans[1][0]:.1f} to {spans[1][1]:.1f} s", flush=True)  # fmt: skip

            def enough() -> bool:
                return bool(report["kills"] >= asked.kills or time.monotonic() - began > asked.minutes * 60)

            while not enough():
                report["homes"] += 1
                home = folder / f"killed-{report['homes']}"
                make_settings(home)
                # One key: the same customer has the same pseudonym in both lakes.
                shutil.copy(folder / "undisturbed" / KEY_FILE, home / KEY_FILE)
                for land, (first, last), expected in zip(PHASES, spans, states, strict=True):
                    land(home / "landing")
                    through = False
                    while not enough():
                        through = not killed(home, spark, log, moments.uniform(0, last - first))
                        if through:
                            break
                        report["kills"] += 1
                        seen = in_child(look, home, states)
                        report["with_uncommitted_files"] += seen["orphans"] > 0
                        report["states"].append(seen["commits"])
                        print(f"kill {report['kills']}: {seen['commits']} commits whole, "
                              f"{seen['orphans']} files that none names", flush=True)  # fmt: skip
                    if not through:
                        run_through(home, spark, log)
                    report["recovered"] += 1
                    report["rows_compared"] += in_child(compare, home, expected)
                shutil.rmtree(home)
        except Finding as finding:
            kept = Path(tempfile.mkdtemp(prefix="credit-risk-kills-kept-"))
            shutil.copytree(folder, kept, dirs_exist_ok=True)
            sys.exit(f"FOUND after {report['kills']} kills: {finding} (kept in {kept})")
    report["seconds"] = round(time.monotonic() - began)
    report["different_states"] = len(set(report.pop("states")))
    print(json.dumps(report))
    if asked.json:
        asked.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
