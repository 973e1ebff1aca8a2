"""The main job on a Spark cluster and through a Spark Connect server: by settings alone, with embedded's results."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable
from polars.testing import assert_frame_equal

from credit_risk_assets.config import tables
from credit_risk_assets.config.settings import Settings
from credit_risk_assets.resources import spark_servers
from credit_risk_assets.resources.spark import EngineError, spark_session, start_early
from credit_risk_tests.conftest import make_settings
from credit_risk_tests.test_conformance import rows, run

# The first compiler alone: a small tape ends before the second one pays.
QUICK_JVM = "-XX:TieredStopAtLevel=1 -XX:ReservedCodeCacheSize=256m"
EXTRA = {
    "spark.driver.defaultJavaOptions": QUICK_JVM,
    "spark.executor.defaultJavaOptions": QUICK_JVM,
    "spark.cores.max": "2",
}
SPARK: dict[str, Any] = {"driver_memory": "1g", "shuffle_partitions": 2, "extra": EXTRA}
SMALL_MODEL = {"CREDIT_RISK__MODEL__BENCHMARKS": "[]", "CREDIT_RISK__MODEL__N_ESTIMATORS": "40"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def small_settings() -> Iterator[None]:
    """The settings of both engines, for the processes that run the job."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SMALL_MODEL.items():
            patch.setenv(name, value)
        patch.setenv("CREDIT_RISK__SPARK__DRIVER_MEMORY", "1g")
        patch.setenv("CREDIT_RISK__SPARK__SHUFFLE_PARTITIONS", "2")
        patch.setenv("CREDIT_RISK__SPARK__EXTRA", json.dumps(EXTRA))
        yield


SILVER = "+silver/loans,+silver/loan_history"


@pytest.fixture(scope="module")
def changes(tmp_path_factory: pytest.TempPathFactory, simulated_tapes: list[Path]) -> Path:
    """Forty loans half a month later, one of them new: what silver merges."""
    header, *lines = simulated_tapes[-1].read_text().splitlines()
    file = tmp_path_factory.mktemp("changes") / "changes.csv"
    changed = [line.replace("2026-10-31", "2026-11-15", 1) for line in lines[:40]]
    changed[0] = changed[0].replace("L", "N", 1)
    file.write_text("\n".join([header, *changed]) + "\n")
    return file


@pytest.fixture(scope="module")
def merged(tmp_path_factory: pytest.TempPathFactory, embedded: Path, changes: Path) -> Path:
    """The embedded home after the changes."""
    home = tmp_path_factory.mktemp("merged") / "embedded"
    shutil.copytree(embedded, home)
    run(home, "embedded", "land", "--kind", "changes", str(changes))
    run(home, "embedded", "refresh", "--select", SILVER)
    return home


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory, simulated_tapes: list[Path]) -> Path:
    home = tmp_path_factory.mktemp("engines") / "embedded"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SMALL_MODEL.items():
            patch.setenv(name, value)
        run(home, "embedded", "land", *[str(tape) for tape in simulated_tapes])
        run(home, "embedded", "refresh")
    return home


COMPUTED = (
    tables.LOAN_HISTORY,
    tables.LOANS,
    tables.PORTFOLIO_KPIS,
    tables.PORTFOLIO_CUBE,
    tables.DEVELOPMENT_SAMPLE,
    tables.LOAN_SCORES,
    tables.EXPECTED_CREDIT_LOSS,
)
"""Tables whose rows the engine computes, and so commits."""


def assert_same_lake(home: Path, embedded: Path) -> None:
    for table in tables.TABLES:
        found, expected = rows(home, table), rows(embedded, table)
        assert (expected.height > 0) is (table not in (tables.CHALLENGER_SCORES, tables.REJECTED_RECORDS))
        assert_frame_equal(found, expected, check_exact=False, rel_tol=1e-12, abs_tol=1e-9)
        engines = {entry.get("engineInfo", "") for entry in DeltaTable(str(home / "lake" / table.path)).history()}
        # Rows computed in the process itself, `evolve` and constraints are delta-rs's on every engine.
        if table in COMPUTED:
            assert any("Delta-Lake" in engine for engine in engines), table.path


def land_and_refresh(home: Path, engine: str, tapes: list[Path]) -> None:
    with small_settings():
        run(home, engine, "land", *[str(tape) for tape in tapes])
        run(home, engine, "refresh")


@pytest.mark.slow
@pytest.mark.jvm
def test_a_cluster_of_two_workers_makes_the_same_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, simulated_tapes: list[Path], embedded: Path
) -> None:
    settings = make_settings(tmp_path / "servers", spark=SPARK)
    try:
        url = spark_servers.start_cluster(settings, spark_servers.ClusterSize(workers=2), free_port())
        monkeypatch.setenv("CREDIT_RISK__SPARK__MASTER", url)
        land_and_refresh(tmp_path / "home", "cluster", simulated_tapes)
        # Both workers ran an executor of the job.
        executors = {path.parent.name for path in (settings.home / "spark" / "work").glob("app-*/*/stderr")}
        assert executors == {"0", "1"}
    finally:
        ended = spark_servers.stop(settings, "cluster")
    assert len(ended) == 3
    assert spark_servers.servers(settings, "cluster") == []
    assert_same_lake(tmp_path / "home", embedded)


@pytest.mark.slow
@pytest.mark.jvm
def test_a_connect_server_makes_the_same_tables(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    simulated_tapes: list[Path],
    embedded: Path,
    merged: Path,
    changes: Path,
) -> None:
    settings = make_settings(tmp_path / "servers", spark={**SPARK, "master": "local[2]"})
    try:
        address = spark_servers.start_connect(settings, free_port())
        with pytest.raises(EngineError, match="runs already at sc://"):
            spark_servers.start_connect(settings, free_port())
        monkeypatch.setenv("CREDIT_RISK__SPARK__REMOTE", address)
        land_and_refresh(tmp_path / "home", "remote", simulated_tapes)
        assert_same_lake(tmp_path / "home", embedded)
        with small_settings():
            run(tmp_path / "home", "remote", "land", "--kind", "changes", str(changes))
            run(tmp_path / "home", "remote", "refresh", "--select", SILVER)
    finally:
        ended = spark_servers.stop(settings, "connect")
    assert [server.name for server in ended] == ["connect"]
    assert spark_servers.servers(settings, "connect") == []
    for table in (tables.LOAN_TAPE, tables.LOANS, tables.LOAN_HISTORY):
        assert_frame_equal(rows(tmp_path / "home", table), rows(merged, table), check_exact=False, rel_tol=1e-12)
    # A collation that Spark Connect names is no type that other readers know.
    for table in tables.TABLES:
        assert "collate" not in {
            str(field.type) for field in DeltaTable(str(tmp_path / "home" / "lake" / table.path)).schema().fields
        }


@pytest.mark.parametrize(
    ("spark", "message"),
    [
        ({"engine": "remote"}, "spark.remote: '': expected sc://host:port"),
        ({"engine": "cluster"}, "spark.master: 'local\\[\\*\\]' is no cluster: expected spark://host:port"),
    ],
)
def test_an_engine_without_its_address_is_refused_in_one_line(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, spark: dict[str, Any], message: str
) -> None:
    monkeypatch.setattr("credit_risk_assets.resources.spark._sessions", {})
    chosen = make_settings(settings.home, spark=spark)
    start_early(chosen)
    with pytest.raises(EngineError, match=message):
        spark_session(chosen)


def test_another_process_with_the_number_of_a_server_is_left_alone(settings: Settings) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        server = spark_servers.Server("connect", other.pid, "SparkSubmit", "sc://127.0.0.1:1", "none.log")
        spark_servers._remember(settings, "connect", [server])
        assert spark_servers.servers(settings, "connect") == []
        assert spark_servers.stop(settings, "connect") == []
        assert other.poll() is None
        other.communicate(b"\n")


@pytest.mark.parametrize(
    ("remote", "answers", "started"),
    [
        ("sc://127.0.0.1:15999", False, [15999]),
        ("sc://localhost", False, [spark_servers.CONNECT_PORT]),
        ("sc://127.0.0.1:15999", True, []),
        ("sc://spark.example:15002", False, []),
    ],
)
def test_a_connect_server_is_kept_only_where_the_settings_name_one_of_this_machine(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, remote: str, answers: bool, started: list[int]
) -> None:
    ports: list[int] = []
    monkeypatch.setattr(spark_servers, "listens", lambda _: answers)
    monkeypatch.setattr(spark_servers, "start_connect", lambda _, port: ports.append(port))
    named = make_settings(settings.home, spark={"engine": "remote", "remote": remote})
    assert spark_servers.keep_connect(named) is (started != [])
    assert ports == started
    assert not spark_servers.keep_connect(settings)
