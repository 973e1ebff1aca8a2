"""A lake on an object store: the same tables as on files, safe commits, and errors that name the setting."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable
from polars.testing import assert_frame_equal
from pydantic import SecretStr
from pyspark.sql import SparkSession

from credit_risk_assets.automation.doctor import diagnose
from credit_risk_assets.config import tables
from credit_risk_assets.config.settings import Settings, SettingsError, StorageSettings, read_settings
from credit_risk_assets.config.tables import Table
from credit_risk_assets.resources.commits import IdempotenceKey
from credit_risk_assets.resources.delta_rs import DeltaRsLibrary
from credit_risk_assets.resources.lake_log import LakeLog
from credit_risk_assets.resources.lake_store import LakeStore, StorageError, object_store_options, store_of
from credit_risk_assets.resources.lakehouse import Lakehouse, open_lakehouse
from credit_risk_assets.resources.platform import Platform
from credit_risk_assets.resources.restore import restore_table
from credit_risk_assets.resources.spark import s3_jars
from credit_risk_tests.assets.test_exactly_once import OWN_TO_A_RUN, land_first_tapes, land_later_files
from credit_risk_tests.conftest import make_settings, run_job
from credit_risk_tests.dash_app.conftest import Portfolio, make_portfolio
from credit_risk_tests.object_store import SECRET, ObjectStore, running_store
from dash_app.app import create_app
from dash_app.data import rated
from dash_app.data.cube import read_cube
from dash_app.data.export import stream_csv, stream_parquet
from dash_app.data.filters import Filters
from dash_app.data.index import loan_index
from dash_app.data.lake import Lake, LakeError

ROOT = Path(__file__).parents[2]
KEY = {"privacy": {"key": "the same key for both lakes"}}
SMALL = Table("gold", "small", "A table of the test's own.", ("part",))


@pytest.fixture(scope="module")
def store() -> Iterator[ObjectStore]:
    with running_store() as running:
        yield running


@pytest.fixture(autouse=True)
def _keys_of_the_test_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine takes its keys from the environment; what a test puts there goes with it."""
    for name in (*store_options(), "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def store_options() -> dict[str, str]:
    return object_store_options(
        StorageSettings(
            lake="s3://b/p",
            endpoint="https://h",
            region="r",
            access_key=SecretStr("a"),
            secret_key=SecretStr("b"),
            allow_http=True,
        )
    )


@pytest.fixture
def remote(store: ObjectStore, tmp_path: Path) -> Settings:
    """A home whose lake is a new bucket."""
    return make_settings(tmp_path / "remote", storage=store.storage(f"s3://{store.bucket()}/portfolio"), **KEY)


def rows_of(settings: Settings, table: Table) -> pl.DataFrame:
    frame = pl.DataFrame(LakeLog.of(settings).newest(table).scan())
    kept = frame.drop(OWN_TO_A_RUN & set(frame.columns))
    kept = kept.with_columns(
        [pl.col(n).cast(pl.List(pl.String)).list.join("|") for n, t in kept.schema.items() if t == pl.List]
    )
    return kept.select(sorted(kept.columns)).sort(sorted(kept.columns), nulls_last=True)


def made_tables(settings: Settings) -> set[Table]:
    return {table for table in tables.TABLES if LakeLog.of(settings).exists(table)}


def assert_same_lake(one: Settings, other: Settings) -> None:
    made = made_tables(one)
    assert made == made_tables(other)
    assert {tables.LOANS, tables.PORTFOLIO_CUBE, tables.VINTAGE_CURVES} < made
    for table in made - {tables.QUALITY_RESULTS}:
        expected, found = rows_of(one, table), rows_of(other, table)
        assert expected.height > 0
        assert_frame_equal(expected, found, check_exact=False, rel_tol=1e-12, abs_tol=1e-9)


@pytest.mark.slow
def test_full_tapes_changes_and_upkeep_make_the_same_lake_as_on_files(
    tmp_path: Path, sail: SparkSession, remote: Settings
) -> None:
    local = make_settings(tmp_path / "local", **KEY)
    both = [Platform(local), Platform(remote)]
    for land in (land_first_tapes, land_later_files):
        for platform in both:
            land(platform.settings.landing_folder)
            assert run_job(platform).success
    assert_same_lake(local, remote)
    on_this_machine = sorted(path.name for path in remote.lake.rglob("*") if path.is_file())
    assert on_this_machine == [".writer.lock"]
    log = LakeLog.of(remote)
    versions = {table: log.version(table) for table in made_tables(remote)}
    result = run_job(both[1], "maintain_lake")
    assert result.success
    assert SECRET not in repr(
        [event.to_kwargs() if hasattr(event, "to_kwargs") else event for event in result.all_events]
    )
    assert_same_lake(local, remote)
    newest = versions[tables.LOANS]
    assert newest
    before = log.row_count_at(tables.LOANS, 0)
    restored = restore_table(log, tables.LOANS, 0)
    assert restored.now > newest
    assert log.row_count(tables.LOANS) == before == both[1].lakehouse.read(tables.LOANS).count()
    for platform in both:
        platform.close()


def frame_of(lakehouse: Lakehouse, *ids: int) -> object:
    return lakehouse.session.createDataFrame([(i, f"a b/{i}") for i in ids], "id bigint, part string")


def two_machines(settings: Settings) -> tuple[Lakehouse, Lakehouse]:
    """Two writers that know nothing of each other, as on two machines: no lock holds one of them up."""
    first, known = open_lakehouse(settings), store_of(settings)
    store = LakeStore(known.root, known.scratch, known.options)
    return first, Lakehouse(first._engine, DeltaRsLibrary(first._engine, store), store)


def test_of_two_writers_at_once_neither_loses_a_commit(
    remote: Settings, sail: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = two_machines(remote)
    first.append(SMALL, frame_of(first, 1))
    real = DeltaRsLibrary._written_files
    other_rows = iter([2, 4])

    def interrupted(library: DeltaRsLibrary, *arguments: object) -> object:
        done = real(library, *arguments)  # type: ignore[arg-type]
        if library is first._library and (row := next(other_rows, None)):
            key = IdempotenceKey("tape/4") if row == 4 else None
            second.append(SMALL, frame_of(second, row), key=key)
        return done

    monkeypatch.setattr(DeltaRsLibrary, "_written_files", interrupted)
    first.append(SMALL, frame_of(first, 3))
    found = sorted(row["id"] for row in first.rows(SMALL, ["id"]))
    assert found == [1, 2, 3]
    # The same tape taken by both: whoever commits second is refused, and finds it done when it tries again.
    with pytest.raises(Exception, match=r"(?i)conflict|transaction"):
        first.append(SMALL, frame_of(first, 4), key=IdempotenceKey("tape/4"))
    assert first.append(SMALL, frame_of(first, 4), key=IdempotenceKey("tape/4")).skipped
    assert sorted(row["id"] for row in first.rows(SMALL, ["id"])) == [1, 2, 3, 4]
    assert sorted(first.read(SMALL).toPandas()["part"]) == ["a b/1", "a b/2", "a b/3", "a b/4"]


@pytest.mark.slow
def test_a_run_that_is_killed_at_commits_leaves_whole_tables(
    tmp_path: Path, sail: SparkSession, store: ObjectStore, remote: Settings
) -> None:
    undisturbed = Platform(make_settings(tmp_path / "undisturbed", **KEY))
    died = tmp_path / "died"
    for land in (land_first_tapes, land_later_files):
        land(undisturbed.settings.landing_folder)
        assert run_job(undisturbed).success
        land(remote.landing_folder)
        only = "files of loan_tape written|^loan_tape committed|files of loans written|^loans committed"
        done = subprocess.run(
            [sys.executable, "-m", "credit_risk_tests.assets.killed_run", remote.home, died, only],
            cwd=ROOT,
            env={
                **os.environ,
                **store.environment(remote.storage.lake),
                "CREDIT_RISK__PRIVACY__KEY": KEY["privacy"]["key"],
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
    boundaries = died.read_text().splitlines()
    assert "files of loan_tape written" in boundaries
    assert any(name.startswith("loan_tape committed") for name in boundaries)
    assert any(name.startswith("loans committed") for name in boundaries)
    undisturbed.close()
    assert_same_lake(undisturbed.settings, remote)


@pytest.fixture(scope="module")
def portfolios(store: ObjectStore, tmp_path_factory: pytest.TempPathFactory) -> tuple[Portfolio, Settings]:
    """A lake of files, and a home whose lake is the same one moved to a bucket."""
    made = make_portfolio(tmp_path_factory.mktemp("dashboard"))
    place = f"s3://{store.bucket()}/moved"
    store.upload(made.settings.lake, place)
    home = tmp_path_factory.mktemp("elsewhere")
    return made, read_settings(home=home, dashboard={"auth": "none"}, storage=store.storage(place))


def test_the_dashboard_shows_the_same_numbers_from_the_store(portfolios: tuple[Portfolio, Settings]) -> None:
    local, settings = portfolios
    here, there = Lake(local.settings.lake).snapshot(), Lake(store_of(settings)).snapshot()
    assert there.versions == here.versions
    for table in (tables.PORTFOLIO_KPIS, tables.MODEL_PERFORMANCE, tables.QUALITY_RESULTS):
        assert_frame_equal(there.frame(table), here.frame(table))
    one, other = read_cube(here), read_cube(there)
    assert one is not None
    assert other is not None
    assert other.frame.equals(one.frame)
    assert loan_index(there).frame.equals(loan_index(here).frame)
    client = create_app(settings).server.test_client()
    assert client.get("/").status_code == 200
    assert client.get("/_dash-layout").status_code == 200


@pytest.mark.parametrize("query", ["", "risk=High&purpose=home", "as_of=2024-06"])
def test_exports_stream_the_same_rows_from_the_store(portfolios: tuple[Portfolio, Settings], query: str) -> None:
    local, settings = portfolios
    filters = Filters.from_query(query)
    here, there = Lake(local.settings.lake).snapshot(), Lake(store_of(settings)).snapshot()
    assert b"".join(stream_csv(there, filters)) == b"".join(stream_csv(here, filters))
    parquet = [pl.read_parquet(io.BytesIO(b"".join(stream_parquet(found, filters)))) for found in (here, there)]
    assert parquet[0].height > 0
    assert parquet[0].equals(parquet[1])


def test_a_large_lake_on_the_store_is_prepared_by_a_process_that_is_told_no_key_by_argument(
    portfolios: tuple[Portfolio, Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, settings = portfolios
    monkeypatch.setattr(rated, "is_large", lambda *_: True)
    told: list[list[str]] = []
    real = subprocess.run
    monkeypatch.setattr(rated.subprocess, "run", lambda command, **more: told.append(command) or real(command, **more))
    found = rated.rated_segments(Lake(store_of(settings), tmp_path / "cache").snapshot())
    assert found is not None
    assert found.frame["loans"].sum() > 0
    assert told
    assert SECRET not in repr(told)


def test_a_new_version_is_seen_and_a_store_that_is_gone_is_named(
    store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_store() as passing:
        storage = {**passing.storage(f"s3://{passing.bucket()}/x"), "options": {"max_retries": "0"}}
        settings = make_settings(tmp_path / "home", storage=storage)
        lake = Lake(store_of(settings))
        monkeypatch.setattr("dash_app.data.lake.LOOK_SECONDS", 0.0)
        monkeypatch.setattr("credit_risk_assets.resources.lake_store.FRESH_SECONDS", 0.0)
        assert lake.snapshot().versions == {}
        kpis = store_of(settings).path(tables.PORTFOLIO_KPIS.path)
        pl.DataFrame({"loans": [1]}).write_delta(kpis, storage_options=dict(store_of(settings).options or {}))
        seen = lake.snapshot()
        assert seen.versions == {tables.PORTFOLIO_KPIS.path: 0}
        assert seen.frame(tables.PORTFOLIO_KPIS)["loans"].to_list() == [1]
    after = lake.snapshot()
    assert after.versions == seen.versions
    assert after.frame(tables.PORTFOLIO_KPIS)["loans"].to_list() == [1]
    with pytest.raises(LakeError, match=r"CREDIT_RISK__STORAGE__ENDPOINT"):
        after.frame(tables.PORTFOLIO_CUBE)


def command(home: Path, environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "credit_risk_assets", *arguments],
        cwd=ROOT,
        env={**os.environ, "CREDIT_RISK_HOME": str(home), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"ENDPOINT": "http://127.0.0.1:9", "OPTIONS": '{"max_retries": "0"}'}, "http://127.0.0.1:9 does not answer"),
        ({"LAKE": "s3://no-such-bucket/x"}, "no bucket no-such-bucket"),
    ],
)
def test_a_store_that_is_not_there_is_one_line_that_names_it(
    store: ObjectStore, tmp_path: Path, wrong: dict[str, str], named: str
) -> None:
    environment = store.environment(f"s3://{store.bucket()}/x")
    environment |= {f"CREDIT_RISK__STORAGE__{name}": value for name, value in wrong.items()}
    done = command(tmp_path, environment, "refresh")
    assert done.returncode == 1
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert named in lines[0]
    assert "storage" in lines[0].lower()
    assert SECRET not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"lake": "ftp://x/y"}, "setting storage.lake"),
        ({"allow_http": False}, "allow_http"),
        ({"secret_key": ""}, "access_key and secret_key belong together"),
        ({"endpoint": "127.0.0.1:9000"}, "setting storage.endpoint"),
        ({"bucket": "x"}, "setting storage.bucket: no such setting"),
    ],
)
def test_settings_that_do_not_fit_are_named(
    store: ObjectStore, tmp_path: Path, wrong: dict[str, object], named: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        read_settings(home=tmp_path, storage={**store.storage("s3://b/p"), **wrong})
    assert named in str(refused.value)
    assert "\n" not in str(refused.value)
    assert SECRET not in str(refused.value)


def test_keys_that_the_store_refuses_are_named_and_not_shown(store: ObjectStore, remote: Settings) -> None:
    with store.refusing_keys(), pytest.raises(StorageError, match="CREDIT_RISK__STORAGE__ACCESS_KEY") as refused:
        LakeLog.of(remote).version(tables.LOANS)
    assert SECRET not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_doctor_tries_the_store_and_leaves_nothing(store: ObjectStore, remote: Settings) -> None:
    found = {finding.what: finding.ok for finding in diagnose(remote)}
    [said] = [what for what in found if what.startswith("storage ")]
    assert found[said]
    assert "no writer overwrites another" in said
    bucket = remote.storage.lake.split("/")[2]
    assert store.client().list_objects_v2(Bucket=bucket)["KeyCount"] == 0
    with store.refusing_keys():
        [refused] = [finding for finding in diagnose(remote) if "storage.lake" in finding.what]
    assert not refused.ok
    assert refused.needed


def test_a_store_on_which_writers_overwrite_each_other_is_refused(
    remote: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    unsafe = LakeStore(remote.storage.lake, remote.lake, store_of(remote).options)
    monkeypatch.setattr("credit_risk_assets.resources.lake_store.DeltaTable.version", lambda _: 1)
    with pytest.raises(StorageError, match="If-None-Match"):
        unsafe.probe()


def test_keys_are_never_printed(remote: Settings) -> None:
    shown = f"{remote!r} {remote} {remote.model_dump()} {remote.model_dump_json()} {store_of(remote)!r}"
    assert SECRET not in shown
    with pytest.raises(SettingsError) as wrong:
        read_settings(home=remote.home, storage={"lake": "s3://b/p", "options": {"AWS_X": [SECRET]}})
    assert SECRET not in str(wrong.value)
    with pytest.raises(SettingsError) as wrong:
        read_settings(home=remote.home, storage={"secret_key": [SECRET]})
    assert SECRET not in str(wrong.value)


def test_options_go_to_the_store_as_they_are_and_others_than_s3_get_nothing_of_s3(tmp_path: Path) -> None:
    azure = read_settings(
        home=tmp_path,
        storage={"lake": "abfss://c@account.dfs.core.windows.net/lake", "options": {"AZURE_STORAGE_ACCOUNT_KEY": "k"}},
    )
    found = store_of(azure)
    assert found.options == {"AZURE_STORAGE_ACCOUNT_KEY": "k"}
    assert found.path("gold/x") == "abfss://c@account.dfs.core.windows.net/lake/gold/x"
    assert found.scratch_of(found.path("gold/x")) == azure.lake / "gold" / "x"


@pytest.mark.slow
@pytest.mark.jvm
def test_the_jvm_makes_the_same_lake_on_the_store(
    tmp_path: Path, sail: SparkSession, store: ObjectStore, remote: Settings
) -> None:
    if not s3_jars():
        pytest.skip("no JARs of S3's: run `make jvm` with CREDIT_RISK__STORAGE__LAKE=s3://…")
    local = Platform(make_settings(tmp_path / "local", **KEY))
    environment = {
        **store.environment(remote.storage.lake),
        "CREDIT_RISK__PRIVACY__KEY": KEY["privacy"]["key"],
        "CREDIT_RISK__SPARK__ENGINE": "local",
        "CREDIT_RISK__SPARK__DRIVER_MEMORY": "2g",
        "CREDIT_RISK__LANDING__SETTLE_SECONDS": "0",
    }
    for land in (land_first_tapes, land_later_files):
        land(local.settings.landing_folder)
        assert run_job(local).success
        land(remote.landing_folder)
        done = command(remote.home, environment, "refresh")
        assert "silver__loans" in done.stdout, done.stdout + done.stderr
        assert "FAILED" not in done.stdout, done.stdout + done.stderr
        assert SECRET not in done.stdout + done.stderr
    local.close()
    assert_same_lake(local.settings, remote)
    log = DeltaTable(store_of(remote).path(tables.LOANS.path), storage_options=store_of(remote).stated()).history()
    assert any("Spark" in str(entry.get("engineInfo")) for entry in log)
