"""The Spark session of this process, on whichever engine the settings name."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock, Thread
from typing import Any

from pyspark.sql import SparkSession

from credit_risk_assets.config.settings import Settings
from credit_risk_assets.credit.features import DERIVED
from credit_risk_assets.resources.delta_spark import TABLE_PROPERTIES
from credit_risk_assets.resources.jvm_s3 import LEFT_OUT, s3_conf, s3_keys, s3_packages
from credit_risk_assets.tape import contract

MINIMUM_JAVA = 17
LOG_CONFIG = Path(__file__).parent.parent / "config" / "log4j2.properties"
SERVER_LOG_CONFIG = LOG_CONFIG.with_name("log4j2_server.properties")
_CONNECT_MARKS = ("SPARK_CONNECT_MODE_ENABLED", "SPARK_REMOTE", "SPARK_LOCAL_REMOTE")
_DELTA_CONF = {
    f"spark.databricks.delta.properties.defaults.{name.removeprefix('delta.')}": value
    for name, value in TABLE_PROPERTIES.items()
}
_JAVA_OPTIONS = (
    # Sums and sets of millions of keys reach all over the memory: with small pages each reach is looked up first.
    "-XX:+UseParallelGC -XX:+UseTransparentHugePages "
    # What Spark generates for a hundred features is larger than the methods that Java compiles of itself.
    "-XX:-DontCompileHugeMethods"
)
_AMOUNTS = [column.name for column in contract.COLUMNS if column.type == "double"] + [
    feature.name for feature in DERIVED if feature.type == "double"
]
_JVM_WRITER_CONF = {
    # A tape has few months: a file open for each spares the sorting of whole rows by month.
    "spark.sql.maxConcurrentOutputFileWriters": "8",
    # Parts of a file that two cores can read, and that a small driver can hold while they are written.
    "spark.hadoop.parquet.block.size": str(32 * 2**20),
    # Amounts and ratios repeat too seldom for a dictionary: filling one that is given up is a tenth of a write.
    "spark.hadoop.parquet.dictionary.page.size": "65536",
    **{f"spark.hadoop.parquet.enable.dictionary#{name}": "false" for name in _AMOUNTS},
}
_COMMON_CONF = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.sources.partitionColumnTypeInference.enabled": "false",
}

_SAIL_SETTINGS = {
    # A batch is parted among the partitions of the table that is written: small ones leave a few rows to each.
    "SAIL_EXECUTION__BATCH_SIZE": "65536",
    # Level 3 takes a fifth longer to write and makes files 3 % smaller.
    "SAIL_PARQUET__COMPRESSION": "zstd(1)",
    # Amounts and ratios repeat too seldom for a dictionary: a small one is given up soon, and they are written plain.
    "SAIL_PARQUET__DICTIONARY_PAGE_SIZE_LIMIT": "65536",
    "SAIL_PARQUET__WRITE_BATCH_SIZE": "8192",
}
_UNCOMPRESSED = ("grpc.compression_enabled_algorithms_bitset", 1)
"""Results of an engine in this very process come as they are: to compress them takes six times as long as the rest."""


class EngineError(RuntimeError):
    """The engine cannot start; the message says what is missing and the one command that mends it."""


def jar_folder() -> Path:
    """Where `make jvm` keeps Delta's JARs: beside the installed packages, shared by every home."""
    return Path(sys.prefix) / "share" / "credit-risk" / "jars"


def delta_jars() -> list[Path]:
    """The JARs that the JVM engines put on Spark's class path."""
    return sorted(jar_folder().glob("*.jar"))


def s3_jars() -> list[Path]:
    """The JARs that go beside Delta's where the lake lies on S3."""
    return sorted((jar_folder() / "s3").glob("*.jar"))


def java_version() -> int | None:
    """The major version of the Java that Spark would start, or None where there is none."""
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    if not java:
        return None
    try:
        shown = subprocess.run([java, "-version"], capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return None
    quoted = shown.stderr.split('"')
    if len(quoted) < 2:
        return None
    parts = quoted[1].split(".")
    return int(parts[1] if parts[0] == "1" else parts[0])


def missing_for_jvm() -> str | None:
    """One line saying what the JVM engines lack on this machine, or None where they can start."""
    version = java_version()
    if version is None:
        return (
            f"Java: none found on the PATH or in JAVA_HOME: expected Java {MINIMUM_JAVA} or later; "
            "install it, or use CREDIT_RISK__SPARK__ENGINE=embedded"
        )
    if version < MINIMUM_JAVA:
        return (
            f"Java: version {version} found: expected {MINIMUM_JAVA} or later; point JAVA_HOME at it, "
            "or use CREDIT_RISK__SPARK__ENGINE=embedded"
        )
    if not delta_jars():
        return f"Delta's JARs: none in {jar_folder()}: run `make jvm` once, with a network"
    return None


def resolve_jars(*, s3: bool = False) -> list[Path]:
    """Fetch Delta's JARs once through Spark's own resolver, and S3's where asked for: sessions need no network.

    JARs that PySpark ships already are left out. Raises `EngineError` without Java or a network.
    """
    from importlib.metadata import version

    import pyspark

    problem = missing_for_jvm()
    if problem and not problem.startswith("Delta"):
        raise EngineError(problem)
    spark_jars = Path(pyspark.__file__).parent / "jars"
    scala = ".".join(pyspark.__version__.split(".")[:2])
    _resolve("Delta's", [f"io.delta:delta-spark_{scala}_2.13:{version('delta-spark')}"], "", jar_folder(), spark_jars)
    if s3:
        _resolve("S3's", s3_packages(spark_jars), LEFT_OUT, jar_folder() / "s3", spark_jars)
    return [*delta_jars(), *(s3_jars() if s3 else [])]


def _resolve(whose: str, packages: list[str], left_out: str, target: Path, spark_jars: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    ivy = target / ".ivy"
    code = (
        "from pyspark.sql import SparkSession\n"
        "SparkSession.builder.master('local[1]').config('spark.ui.enabled', 'false')"
        f".config('spark.jars.packages', {','.join(packages)!r}).config('spark.jars.ivy', {str(ivy)!r})"
        f".config('spark.jars.excludes', {left_out!r}).getOrCreate().stop()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    fetched = sorted((ivy / "jars").glob("*.jar"))
    if done.returncode or not fetched:
        reason = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "no reason given")
        raise EngineError(f"{whose} JARs: {packages[0]} not resolved ({reason.strip()[:160]}); check the network")
    shipped = {jar.name.rsplit("-", 1)[0] for jar in spark_jars.glob("*.jar")}
    for jar in fetched:
        group_less = jar.name.split("_", 1)[1]
        if group_less.rsplit("-", 1)[0] not in shipped:
            shutil.move(jar, target / group_less)
    shutil.rmtree(ivy, ignore_errors=True)


def _embedded_conf() -> dict[str, str]:
    # Sail's log goes to stderr at INFO; its warnings at shutdown would frighten a user.
    os.environ.setdefault("RUST_LOG", "error")
    for name, value in _SAIL_SETTINGS.items():
        os.environ.setdefault(name, value)
    from pysail.spark import SparkConnectServer
    from pyspark.sql.connect.client import ChannelBuilder

    if _UNCOMPRESSED not in ChannelBuilder.GRPC_DEFAULT_OPTIONS:
        ChannelBuilder.GRPC_DEFAULT_OPTIONS.append(_UNCOMPRESSED)
    server = SparkConnectServer(port=0)
    server.start(background=True)
    _started.append(server)
    _, port = server.listening_address
    return {"spark.remote": f"sc://localhost:{port}"}


def jvm_conf(chosen: Settings, log_config: Path = LOG_CONFIG) -> dict[str, str]:
    """How Spark's JVM is set up on a driver or a Connect server. Raises `EngineError` where it cannot start."""
    settings, storage = chosen.spark, chosen.storage
    problem = missing_for_jvm()
    if problem:
        raise EngineError(problem)
    jars = [*delta_jars(), *(s3_jars() if storage.is_s3 else [])]
    if storage.is_s3 and not s3_jars():
        raise EngineError(
            f"S3's JARs: none in {jar_folder() / 's3'}: run `make jvm` once, with a network and the same storage.lake"
        )
    return {
        "spark.master": settings.master,
        "spark.app.name": "credit-risk",
        "spark.jars": ",".join(str(jar) for jar in jars),
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        "spark.driver.memory": settings.driver_memory,
        "spark.driver.extraJavaOptions": f"{_JAVA_OPTIONS} -Dlog4j2.configurationFile=file:{log_config}",
        "spark.executor.extraJavaOptions": f"{_JAVA_OPTIONS} -Dlog4j2.configurationFile=file:{SERVER_LOG_CONFIG}",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.shuffle.partitions": str(settings.shuffle_partitions),
        "spark.databricks.delta.snapshotPartitions": "1",
        # The partitions tell a reader all that it needs here: looking at each file's statistics is a job a query.
        "spark.databricks.delta.stats.skipping": "false",
        **_DELTA_CONF,
        **_JVM_WRITER_CONF,
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        "spark.log.level": "ERROR",
        **s3_conf(storage),
    }


def _conf(chosen: Settings) -> dict[str, str]:
    """What this process asks of its engine; the environment that PySpark reads is set with it."""
    settings = chosen.spark
    if settings.engine == "embedded":
        return {**_embedded_conf(), **settings.extra}
    if settings.engine == "remote":
        if not settings.remote.startswith("sc://"):
            raise EngineError(
                f"spark.remote: {settings.remote!r}: expected sc://host:port; set CREDIT_RISK__SPARK__REMOTE, or "
                "start a server here with `credit-risk spark start connect`"
            )
        return {"spark.remote": settings.remote, **settings.extra}
    if settings.engine == "cluster" and settings.master.startswith("local"):
        raise EngineError(
            f"spark.master: {settings.master!r} is no cluster: expected spark://host:port or another master's URL; set "
            "CREDIT_RISK__SPARK__MASTER, or start one here with `credit-risk spark start cluster`"
        )
    conf = jvm_conf(chosen)
    # PySpark marks a Connect session in the environment, and a process started from one would take the mark
    # for its own: the setting decides, not the parent.
    for name in _CONNECT_MARKS:
        os.environ.pop(name, None)
    # Workers start the Python of this environment, which on another machine lies at the same path.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    if settings.engine == "local" or settings.master.startswith(_MASTERS_HERE):
        # Without it Spark asks the network for this machine's name, and listens on all its addresses.
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    return {**conf, **settings.extra}


_MASTERS_HERE = ("spark://127.0.0.1:", "spark://localhost:")
_started: list[Any] = []
_sessions: dict[str, SparkSession] = {}
_starting = Lock()


def spark_session(settings: Settings) -> SparkSession:
    """The one session of this process, made by dagster-pyspark's lazy resource at first use.

    A process holds either a Connect session or a classic one, so a second engine is refused with
    `EngineError`; so is an engine whose Java or JARs are missing.
    """
    with _starting:
        return _session_of(settings)


def start_early(settings: Settings) -> None:
    """Begin to start the engine beside what comes before its first use; that use waits for it, or says what failed."""

    def start() -> None:
        with suppress(Exception):
            spark_session(settings)

    Thread(target=start, name="engine", daemon=True).start()


def _session_of(settings: Settings) -> SparkSession:
    engine = settings.spark.engine
    if engine == "embedded" and settings.storage.lake:
        from credit_risk_assets.resources.lake_store import store_of

        store_of(settings).lend_to_engine()
    if engine in _sessions:
        return _sessions[engine]
    if _sessions:
        raise EngineError(
            f"spark.engine: this process already runs {next(iter(_sessions))!r}, asked for {engine!r}; "
            "start a new process for another engine"
        )
    from dagster_pyspark import LazyPySparkResource

    session = LazyPySparkResource(spark_config=_conf(settings)).spark_session
    told = dict(_COMMON_CONF)
    if engine == "remote":
        told |= _DELTA_CONF
    if engine != "embedded":
        told |= s3_keys(settings.storage)
    for key, value in told.items():
        session.conf.set(key, value)
    _sessions[engine] = session
    return session


def uses_delta_rs(settings: Settings) -> bool:
    """Whether delta-rs commits (embedded) or Spark's own Delta library does (JVM engines, remote)."""
    return settings.spark.engine == "embedded"


@dataclass(frozen=True)
class EngineFacts:
    """What computes and what commits, for logs and metadata."""

    engine: str
    computes: str
    commits: str


def engine_facts(settings: Settings) -> EngineFacts:
    """Name the engine, the computing library and the committing library of these settings."""
    from importlib.metadata import version

    if uses_delta_rs(settings):
        return EngineFacts("embedded", f"Sail {version('pysail')}", f"delta-rs {version('deltalake')}")
    return EngineFacts(settings.spark.engine, f"Spark {version('pyspark')}", f"delta-spark {version('delta-spark')}")
