"""Spark servers on this machine: a standalone cluster with its workers, and a Spark Connect server kept warm."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from credit_risk_assets.config.settings import Settings
from credit_risk_assets.resources.spark import SERVER_LOG_CONFIG, EngineError, jvm_conf, missing_for_jvm

ServerKind = Literal["cluster", "connect"]
HOST = "127.0.0.1"
MASTER_PORT = 7077
CONNECT_PORT = 15002
START_SECONDS = 120
STOP_SECONDS = 20
_MASTER = "org.apache.spark.deploy.master.Master"
_WORKER = "org.apache.spark.deploy.worker.Worker"
_CONNECT = "org.apache.spark.sql.connect.service.SparkConnectServer"


@dataclass(frozen=True)
class Server:
    """One process that was started here: what it runs, where it listens, where its log lies."""

    name: str
    pid: int
    main_class: str
    address: str
    log: str

    def alive(self) -> bool:
        """Whether the process still runs; another one that got its number does not count."""
        try:
            return self.main_class.encode() in Path(f"/proc/{self.pid}/cmdline").read_bytes()
        except OSError:
            return False


@dataclass(frozen=True)
class ClusterSize:
    """How large a cluster on this machine is: its workers, and cores and memory of each."""

    workers: int = 2
    cores: int = 1
    memory: str = "1g"


def servers(settings: Settings, kind: ServerKind) -> list[Server]:
    """The servers of a kind that this home has started and that still run."""
    file = _folder(settings) / f"{kind}.json"
    if not file.exists():
        return []
    return [server for server in (Server(**entry) for entry in json.loads(file.read_text())) if server.alive()]


def start_cluster(settings: Settings, size: ClusterSize, port: int = MASTER_PORT) -> str:
    """Start a master and its workers on the loopback address; return the URL for `spark.master`."""
    _refuse_second(settings, "cluster", port)
    url = f"spark://{HOST}:{port}"
    started: list[Server] = []
    try:
        started.append(
            _start(settings, "master", _MASTER, ["--host", HOST, "--port", str(port), "--webui-port", "0"], url)
        )
        _remember(settings, "cluster", started)
        _wait(started[0], lambda log: "I have been elected leader" in log)
        for number in range(1, size.workers + 1):
            arguments = ["--host", HOST, "--webui-port", "0", "--cores", str(size.cores), "--memory", size.memory]
            arguments += ["--work-dir", str(_folder(settings) / "work"), url]
            started.append(_start(settings, f"worker-{number}", _WORKER, arguments, url))
            _remember(settings, "cluster", started)
        for worker in started[1:]:
            _wait(worker, lambda log: "Successfully registered with master" in log)
    except BaseException:
        stop(settings, "cluster")
        raise
    return url


def start_connect(settings: Settings, port: int = CONNECT_PORT) -> str:
    """Start a Spark Connect server on the loopback address, on `spark.master`; return the address for `spark.remote`.

    It keeps its JVM warm between runs: a run pays neither for its start nor for compiling what was run before.
    """
    _refuse_second(settings, "connect", port)
    address = f"sc://{HOST}:{port}"
    conf = {
        **jvm_conf(settings, SERVER_LOG_CONFIG),
        "spark.connect.grpc.binding.address": HOST,
        "spark.connect.grpc.binding.port": str(port),
    }
    arguments = ["--class", _CONNECT, "--name", "credit-risk connect"]
    arguments += [
        part for name, value in {**conf, **settings.spark.extra}.items() for part in ("--conf", f"{name}={value}")
    ]
    server = _start(settings, "connect", "org.apache.spark.deploy.SparkSubmit", [*arguments, "spark-internal"], address)
    _remember(settings, "connect", [server])
    try:
        _wait(server, lambda _: listens(port))
    except BaseException:
        stop(settings, "connect")
        raise
    return address


def keep_connect(settings: Settings) -> bool:
    """Start the Connect server that `spark.remote` names, where that is here and none answers; say whether."""
    address = urlsplit(settings.spark.remote)
    if settings.spark.engine != "remote" or address.hostname not in (HOST, "localhost"):
        return False
    port = address.port or CONNECT_PORT
    if listens(port):
        return False
    start_connect(settings, port)
    return True


def stop(settings: Settings, kind: ServerKind) -> list[Server]:
    """End the servers of a kind, workers before their master; return those that ran."""
    running = servers(settings, kind)
    for server in reversed(running):
        # Executors and Python workers are in the process group of the server that started them.
        os.killpg(server.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    for server in running:
        while server.alive() and time.monotonic() < deadline:
            _reap(server)
            time.sleep(0.1)
        if server.alive():
            os.killpg(server.pid, signal.SIGKILL)
        _reap(server)
    (_folder(settings) / f"{kind}.json").unlink(missing_ok=True)
    return running


def listens(port: int) -> bool:
    """Whether something answers on a port of the loopback address."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0


def _folder(settings: Settings) -> Path:
    return settings.home / "spark"


def _refuse_second(settings: Settings, kind: ServerKind, port: int) -> None:
    problem = missing_for_jvm()
    if problem:
        raise EngineError(problem)
    if running := servers(settings, kind):
        raise EngineError(f"{kind}: runs already at {running[0].address}; end it with `credit-risk spark stop {kind}`")
    if listens(port):
        raise EngineError(f"port {port} of {HOST} is busy: expected it free for {kind}; choose another with --port")


def _start(settings: Settings, name: str, main_class: str, arguments: list[str], address: str) -> Server:
    import pyspark

    folder = _folder(settings)
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"{name}.log"
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("SPARK_")},
        "SPARK_LOCAL_IP": HOST,
        "SPARK_DAEMON_MEMORY": "512m",
        "PYSPARK_PYTHON": os.environ.get("PYSPARK_PYTHON", sys.executable),
    }
    if main_class in (_MASTER, _WORKER):
        environment["SPARK_DAEMON_JAVA_OPTS"] = "-XX:+UseSerialGC"
    command = [str(Path(pyspark.__file__).parent / "bin" / "spark-class"), main_class, *arguments]
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
    _children[process.pid] = process
    return Server(name, process.pid, main_class, address, str(log))


_children: dict[int, subprocess.Popen[bytes]] = {}


def _reap(server: Server) -> None:
    if (child := _children.get(server.pid)) is not None:
        child.poll()


def _wait(server: Server, ready: Callable[[str], bool]) -> None:
    deadline = time.monotonic() + START_SECONDS
    log = Path(server.log)
    while not ready(log.read_text(errors="replace")):
        child = _children[server.pid]
        if child.poll() is not None:
            last = next((line for line in reversed(log.read_text(errors="replace").splitlines()) if line.strip()), "")
            raise EngineError(f"{server.name}: ended at once: {last.strip()[:200]} (log: {log})")
        if time.monotonic() > deadline:
            raise EngineError(f"{server.name}: did not answer in {START_SECONDS} s (log: {log})")
        time.sleep(0.1)


def _remember(settings: Settings, kind: ServerKind, started: list[Server]) -> None:
    _folder(settings).mkdir(parents=True, exist_ok=True)
    (_folder(settings) / f"{kind}.json").write_text(json.dumps([asdict(server) for server in started]))
