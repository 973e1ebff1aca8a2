"""The guarded lake: what is written once stays once, and a frame that does not fit is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from credit_risk_assets.config.tables import Table
from credit_risk_assets.resources.commits import IdempotenceKey, MergeCounts, arrow_rows
from credit_risk_assets.resources.lake_log import LakehouseError, LakeLog
from credit_risk_assets.resources.lakehouse import Lakehouse
from credit_risk_assets.resources.platform import Platform

TABLE = Table("silver", "things", "Things.", ("kind",))


def frame(lakehouse: Lakehouse, rows: list[tuple[Any, ...]], schema: str = "id long, kind string, value double") -> Any:
    return lakehouse.session.createDataFrame(rows, schema)


def held(lakehouse: Lakehouse) -> dict[int, tuple[str, float]]:
    table = pl.DataFrame(pl.from_arrow(lakehouse.read(TABLE).toArrow()))
    assert table["id"].is_unique().all()
    return {row["id"]: (row["kind"], row["value"]) for row in table.iter_rows(named=True)}


@pytest.fixture
def lakehouse(platform: Platform) -> Lakehouse:
    return platform.lakehouse


@pytest.fixture(params=["of the engine", "computed here"])
def made(request: pytest.FixtureRequest) -> Any:
    """Makes rows of either kind that the lakehouse takes."""
    if request.param == "of the engine":
        return frame

    def rows(
        lakehouse: Lakehouse, rows: list[tuple[Any, ...]], schema: str = "id long, kind string, value double"
    ) -> Any:
        return arrow_rows(rows, frame(lakehouse, [], schema).schema)

    return rows


def parts(folder: Path, kind: str, **columns: list[Any]) -> Path:
    """A folder with a Parquet file in the table's form: the partition's value in its path."""
    (folder / f"kind={kind}").mkdir(parents=True)
    pq.write_table(pa.table(columns), folder / f"kind={kind}" / "part-0.parquet")
    return folder


def test_files_become_the_tables_own_once_a_key(lakehouse: Lakehouse, tmp_path: Path) -> None:
    lakehouse.append(TABLE, frame(lakehouse, [(1, "a", 1.0)]))
    key = IdempotenceKey("file/x")
    taken = parts(tmp_path / "taken", "b%20c", id=[2, 3], value=[2.0, None])
    first = lakehouse.append_files(TABLE, taken, key=key)
    assert (first.version, first.skipped, taken.exists()) == (1, False, False)
    again = lakehouse.append_files(TABLE, parts(tmp_path / "again", "b", id=[2]), key=key)
    assert (again.version, again.skipped) == (1, True)
    # A column that the files lack is null.
    lakehouse.append_files(TABLE, parts(tmp_path / "short", "d", id=[4]), key=IdempotenceKey("file/y"))
    rows = {1: ("a", 1.0), 2: ("b c", 2.0), 3: ("b c", None), 4: ("d", None)}
    assert held(lakehouse) == rows
    assert {row["id"]: (row["kind"], row["value"]) for row in lakehouse.rows(TABLE, ["id", "kind", "value"])} == rows
    assert lakehouse.row_count(TABLE) == len(rows)


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"id": [1], "extra": ["x"]}, "silver/things: unknown columns extra; evolve the table first"),
        ({"id": ["1"]}, "silver/things: column id is string: expected long; cast it before the write"),
    ],
)
def test_files_that_do_not_fit_are_refused_before_anything_is_moved(
    lakehouse: Lakehouse, tmp_path: Path, columns: dict[str, list[Any]], says: str
) -> None:
    lakehouse.append(TABLE, frame(lakehouse, [(1, "a", 1.0)]))
    folder = parts(tmp_path / "parts", "b", **columns)
    with pytest.raises(LakehouseError, match=says):
        lakehouse.append_files(TABLE, folder)
    assert [file.name for file in folder.rglob("*.parquet")] == ["part-0.parquet"]
    assert held(lakehouse) == {1: ("a", 1.0)}


def test_files_without_the_tables_partition_are_not_committed(lakehouse: Lakehouse, tmp_path: Path) -> None:
    lakehouse.append(TABLE, frame(lakehouse, [(1, "a", 1.0)]))
    folder = tmp_path / "parts"
    folder.mkdir()
    pq.write_table(pa.table({"id": [2]}), folder / "part-0.parquet")
    with pytest.raises(LakehouseError, match=r"is partitioned by \[\]: expected \['kind'\]; nothing was committed"):
        lakehouse.append_files(TABLE, folder)
    assert held(lakehouse) == {1: ("a", 1.0)}


def test_the_same_append_twice_lands_once(lakehouse: Lakehouse, made: Any) -> None:
    rows = made(lakehouse, [(1, "a", 1.0)])
    first = lakehouse.append(TABLE, rows, key=IdempotenceKey("file/x"))
    second = lakehouse.append(TABLE, rows, key=IdempotenceKey("file/x"))
    assert (first.version, second.version, second.skipped) == (0, 0, True)
    assert lakehouse.append(TABLE, rows, key=IdempotenceKey("file/y")).version == 1
    assert lakehouse.row_count(TABLE) == 2


def test_a_missing_an_unknown_and_a_mistyped_column_are_refused_and_nothing_is_written(
    lakehouse: Lakehouse, made: Any
) -> None:
    lakehouse.append(TABLE, made(lakehouse, [(1, "a", 1.0)]))
    with pytest.raises(LakehouseError, match="silver/things: the rows lack value"):
        lakehouse.append(TABLE, made(lakehouse, [(1, "a")], "id long, kind string"))
    with pytest.raises(LakehouseError, match="silver/things: unknown columns extra"):
        lakehouse.append(
            TABLE, made(lakehouse, [(1, "a", 1.0, "x")], "id long, kind string, value double, extra string")
        )
    with pytest.raises(LakehouseError, match="column value is string: expected double"):
        lakehouse.append(TABLE, made(lakehouse, [(1, "a", "x")], "id long, kind string, value string"))
    assert lakehouse.version(TABLE) == 0


def test_columns_are_written_by_name_whatever_their_order(lakehouse: Lakehouse, made: Any) -> None:
    lakehouse.append(TABLE, made(lakehouse, [(1, "a", 1.0)]))
    lakehouse.append(TABLE, made(lakehouse, [(2.0, 2, "b")], "value double, id long, kind string"))
    assert held(lakehouse) == {1: ("a", 1.0), 2: ("b", 2.0)}


def test_evolution_is_an_explicit_step(lakehouse: Lakehouse) -> None:
    lakehouse.append(TABLE, frame(lakehouse, [(1, "a", 1.0)]))
    wider = frame(lakehouse, [(2, "b", 2.0, "x")], "id long, kind string, value double, extra string")
    assert lakehouse.evolve(TABLE, wider.schema) == ["extra"]
    assert lakehouse.evolve(TABLE, wider.schema) == []
    lakehouse.append(TABLE, wider)
    assert sorted(row[0] or "" for row in lakehouse.read(TABLE).select("extra").collect()) == ["", "x"]


def test_partition_values_survive_odd_characters_and_gaps(lakehouse: Lakehouse) -> None:
    kinds = ["a b", "a/b", "a=b", "ä%20", None]
    lakehouse.append(TABLE, frame(lakehouse, [(n, kind, 1.0) for n, kind in enumerate(kinds)]))
    assert [held(lakehouse)[n][0] for n in range(len(kinds))] == kinds
    assert lakehouse.read(TABLE).where("kind = 'a/b'").count() == 1
    assert lakehouse.read(TABLE).where("kind is null").count() == 1


def test_statistics_let_readers_skip_files_and_never_rows(lakehouse: Lakehouse) -> None:
    for start in (0, 100, 200):
        lakehouse.append(TABLE, frame(lakehouse, [(start + n, "a", float(n)) for n in range(10)]))
    delta = DeltaTable(lakehouse.path(TABLE))
    actions = pa.table(delta.get_add_actions(flatten=True)).to_pydict()
    assert sorted(zip(actions["min.id"], actions["max.id"], strict=True)) == [(0, 9), (100, 109), (200, 209)]
    assert sum(actions["num_records"]) == 30
    assert lakehouse.read(TABLE).where("id between 105 and 202").count() == 8


def test_overwrite_from_the_same_inputs_is_skipped(lakehouse: Lakehouse, made: Any) -> None:
    rows = made(lakehouse, [(1, "a", 1.0)])
    assert lakehouse.overwrite(TABLE, rows, inputs={"silver/loans": 3}).skipped is False
    assert lakehouse.overwrite(TABLE, rows, inputs={"silver/loans": 3}).skipped is True
    assert lakehouse.version(TABLE) == 0
    other = made(lakehouse, [(7, "b", 1.0)])
    assert lakehouse.overwrite(TABLE, other, inputs={"silver/loans": 4}).version == 1
    assert held(lakehouse) == {7: ("b", 1.0)}
    assert lakehouse.inputs(TABLE) == {"silver/loans": 4}


def test_inputs_are_still_known_after_maintenance(lakehouse: Lakehouse) -> None:
    for n in range(3):
        lakehouse.append(TABLE, frame(lakehouse, [(n, "a", 1.0)]), inputs={"n": n})
    lakehouse.compact(TABLE)
    lakehouse.vacuum(TABLE, retention_hours=0)
    assert lakehouse.inputs(TABLE) == {"n": 2}
    assert lakehouse.row_count(TABLE) == 3


def test_maintenance_changes_files_and_neither_rows_nor_the_data_version(lakehouse: Lakehouse) -> None:
    lakehouse.append(TABLE, frame(lakehouse, [(9, "Very High", 1.0), (8, "a/b", 1.0), (7, None, 1.0)]))
    for n in range(4):
        lakehouse.append(TABLE, frame(lakehouse, [(n, "a", 1.0)]), key=IdempotenceKey(f"file/{n}"))
    rows, version = held(lakehouse), lakehouse.data_version(TABLE)
    orphan = Path(lakehouse.path(TABLE)) / "part-dead" / "kind=a" / "part-0.parquet"
    orphan.parent.mkdir(parents=True)
    orphan.write_bytes(b"left by a run that was killed")
    assert lakehouse.compact(TABLE) == {"files_added": 1, "files_removed": 4}
    assert lakehouse.vacuum(TABLE, retention_hours=0)["files_removed"] == 5
    assert lakehouse.vacuum(TABLE, retention_hours=0) == {"files_removed": 0}
    assert not orphan.exists()
    assert held(lakehouse) == rows
    assert lakehouse.data_version(TABLE) == version
    assert lakehouse.version(TABLE) > version
    # What was committed once stays known, also when the log is read from a checkpoint.
    DeltaTable(lakehouse.path(TABLE)).create_checkpoint()
    assert lakehouse.append(TABLE, frame(lakehouse, [(0, "a", 1.0)]), key=IdempotenceKey("file/0")).skipped


def test_files_younger_than_the_retention_are_kept(lakehouse: Lakehouse) -> None:
    lakehouse.append(TABLE, frame(lakehouse, [(1, "a", 1.0)]))
    lakehouse.overwrite(TABLE, frame(lakehouse, [(2, "a", 1.0)]))
    assert lakehouse.vacuum(TABLE, retention_hours=1) == {"files_removed": 0}
    assert [row.id for row in lakehouse.read(TABLE, version=0).collect()] == [1]


@pytest.mark.parametrize("rows", [1, 30])
def test_a_merge_whose_key_names_the_partition_leaves_the_others_alone(lakehouse: Lakehouse, rows: int) -> None:
    for kind in ("a b", "c", "d"):
        lakehouse.append(TABLE, frame(lakehouse, [(n, kind, 0.0) for n in range(20)]))

    def files() -> dict[str, str]:
        actions = pa.table(DeltaTable(lakehouse.path(TABLE)).get_add_actions(flatten=True)).to_pylist()
        return {row["path"]: row["partition.kind"] for row in actions}

    before = files()
    change = frame(lakehouse, [(n, "a b", 1.0) for n in range(rows)])
    _, counts = lakehouse.merge(TABLE, change, on=["id", "kind"], key=IdempotenceKey("silver", 1))
    assert (counts.inserted, counts.updated) == (max(rows - 20, 0), min(rows, 20))
    assert counts.files_removed == 1
    gone = set(before) - set(files())
    assert {before[path] for path in gone} == {"a b"}
    found = lakehouse.read(TABLE).groupBy("kind").agg({"value": "sum", "id": "count"}).collect()
    assert {row[0]: (row["sum(value)"], row["count(id)"]) for row in found} == {
        "a b": (float(rows), max(rows, 20)),
        "c": (0.0, 20),
        "d": (0.0, 20),
    }
    new = frame(lakehouse, [(1, "e", 5.0)])
    _, counts = lakehouse.merge(TABLE, new, on=["id", "kind"], key=IdempotenceKey("silver", 2))
    assert (counts.inserted, counts.updated, counts.files_removed) == (1, 0, 0)


def test_a_killed_merge_leaves_nothing_behind_for_good(lakehouse: Lakehouse) -> None:
    lakehouse.append(TABLE, frame(lakehouse, [(1, "a", 1.0)]))
    left = Path(lakehouse.path(TABLE)).parent / ".merge-things-dead"
    left.mkdir()
    lakehouse.merge(TABLE, frame(lakehouse, [(1, "b", 2.0)]), on=["id"])
    assert sorted(path.name for path in left.parent.iterdir()) == ["things"]


def test_an_older_release_table_gets_the_columns_it_lacks(lakehouse: Lakehouse) -> None:
    schema = frame(lakehouse, []).schema
    lakehouse.ensure(TABLE, schema)
    lakehouse.append(TABLE, frame(lakehouse, [(1, "a", 1.0)]))
    wider = frame(lakehouse, [], "id long, kind string, value double, action string").schema
    lakehouse.ensure(TABLE, wider)
    version = lakehouse.version(TABLE)
    lakehouse.ensure(TABLE, wider)
    assert lakehouse.version(TABLE) == version
    assert lakehouse.columns(TABLE) == ["id", "kind", "value", "action"]
    assert held(lakehouse) == {1: ("a", 1.0)}


def test_a_merge_with_a_known_sequence_changes_nothing(lakehouse: Lakehouse) -> None:
    lakehouse.merge(TABLE, frame(lakehouse, [(1, "a", 1.0)]), on=["id"], key=IdempotenceKey("silver", 5))
    commit, counts = lakehouse.merge(
        TABLE, frame(lakehouse, [(1, "b", 9.0)]), on=["id"], key=IdempotenceKey("silver", 5)
    )
    assert commit.skipped
    assert counts == MergeCounts()
    assert held(lakehouse) == {1: ("a", 1.0)}


def test_what_is_known_of_a_table_is_looked_for_once_a_version(lakehouse: Lakehouse) -> None:
    looks = iter(range(9))
    lakehouse.append(TABLE, frame(lakehouse, [(1, "a", 1.0)]))
    assert [lakehouse.known(TABLE, "figure", lambda: next(looks)) for _ in range(2)] == [0, 0]
    assert lakehouse.known(TABLE, "another", lambda: next(looks)) == 1
    lakehouse.append(TABLE, frame(lakehouse, [(2, "a", 1.0)]))
    assert lakehouse.known(TABLE, "figure", lambda: next(looks)) == 2


def test_a_table_that_is_not_there_says_what_to_run(lakehouse: Lakehouse) -> None:
    with pytest.raises(LakehouseError, match="silver/things: no such table yet; run `credit-risk refresh`"):
        lakehouse.read(TABLE)
    assert LakeLog(lakehouse.store).rows(TABLE, ["id"]) == []
    assert LakeLog(lakehouse.store).version(TABLE) is None


changes = st.lists(
    st.dictionaries(
        st.integers(0, 12),
        st.tuples(st.sampled_from("abc"), st.integers(-40, 40).map(lambda n: n / 8)),
        min_size=1,
        max_size=13,
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=changes)
def test_merges_leave_what_a_dictionary_would_hold(
    platform: Platform, tmp_path_factory: pytest.TempPathFactory, changes: list[dict[int, tuple[str, float]]]
) -> None:
    """Small merges copy the touched files, large ones rewrite the table: both are the same upsert."""
    real = platform.lakehouse
    lakehouse = Lakehouse(real._engine, real._library, tmp_path_factory.mktemp("lake"))
    seed = dict.fromkeys(range(100, 140), ("z", 0.0))
    expected: dict[int, tuple[str, float]] = {}
    for number, change in enumerate([seed, *changes]):
        rows = [(key, kind, value) for key, (kind, value) in change.items()]
        _, counts = lakehouse.merge(TABLE, frame(lakehouse, rows), on=["id"], key=IdempotenceKey("silver", number))
        new = set(change) - set(expected)
        assert (counts.inserted, counts.updated) == (len(new), len(change) - len(new))
        expected.update(change)
        assert held(lakehouse) == expected
        assert lakehouse.sequence(TABLE, "silver") == number
