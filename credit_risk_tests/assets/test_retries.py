"""A step that meets what passes by itself is tried again; bad data ends it at once, in one line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from deltalake.exceptions import CommitFailedError

from credit_risk_assets.automation.failures import step_reason
from credit_risk_assets.config.tables import LOAN_HISTORY, LOAN_TAPE
from credit_risk_assets.definitions import build_defs
from credit_risk_assets.resources.lake_log import LakehouseError
from credit_risk_assets.resources.lakehouse import Lakehouse
from credit_risk_assets.resources.platform import Platform
from credit_risk_tests.conftest import Run, run_job, write_tape

Tape = Callable[..., Path]


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dg.RetryPolicy, "calculate_delay", lambda *_, **__: 0)


@pytest.fixture
def trouble(monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception, int], list[str]]:
    """Let the first writes to the loan history fail; returns the list of tries."""

    def make(error: Exception, times: int) -> list[str]:
        merge, tried = Lakehouse.merge, []

        def failing(self: Lakehouse, table: Any, *arguments: Any, **options: Any) -> Any:
            if table == LOAN_HISTORY:
                tried.append(table.path)
                if len(tried) <= times:
                    raise error
            return merge(self, table, *arguments, **options)

        monkeypatch.setattr(Lakehouse, "merge", failing)
        return tried

    return make


def step_events(result: dg.ExecuteInProcessResult, step: str) -> tuple[int, list[dg.DagsterEvent]]:
    """How often a step was put up for retry, and its failures."""
    mine = [event for event in result.all_events if event.step_key == step]
    return sum(event.is_step_up_for_retry for event in mine), [event for event in mine if event.is_step_failure]


def test_a_conflict_is_tried_again_and_the_run_succeeds(
    platform: Platform, tape: Tape, trouble: Callable[[Exception, int], list[str]]
) -> None:
    tried = trouble(CommitFailedError("another writer was first"), 2)
    tape("a.csv", [{}])
    result = run_job(platform, "refresh_lake")
    assert result.success
    assert step_events(result, "silver__loan_history") == (2, [])
    assert len(tried) == 3
    assert platform.lake_log.row_count(LOAN_HISTORY) == 1


def test_trouble_that_does_not_pass_fails_with_its_reason(
    platform: Platform, tape: Tape, trouble: Callable[[Exception, int], list[str]]
) -> None:
    tried = trouble(ConnectionError("the store does not answer"), 99)
    tape("a.csv", [{}])
    result = run_job(platform, "refresh_lake")
    retries, (failure,) = step_events(result, "silver__loan_history")
    assert (retries, len(tried)) == (3, 4)
    assert step_reason(failure) == "ConnectionError: the store does not answer"


def test_bad_data_is_not_tried_again(
    platform: Platform, tape: Tape, trouble: Callable[[Exception, int], list[str]]
) -> None:
    tried = trouble(LakehouseError("silver/loan_history: column x is text: expected double"), 99)
    tape("a.csv", [{}])
    result = run_job(platform, "refresh_lake")
    retries, (failure,) = step_events(result, "silver__loan_history")
    assert (retries, len(tried)) == (0, 1)
    assert step_reason(failure).endswith("silver/loan_history: column x is text: expected double")
    assert platform.lake_log.row_count(LOAN_TAPE) == 1


def test_every_asset_that_is_computed_is_tried_again(platform: Platform) -> None:
    graph = build_defs(platform.settings)
    for definition in graph.resolve_all_asset_specs():
        if definition.group_name == "landing":
            continue
        node = graph.resolve_assets_def(definition.key)
        assert node.op.retry_policy, definition.key
        compute = node.op.compute_fn.decorated_fn  # type: ignore[union-attr]
        assert hasattr(compute, "__wrapped__"), definition.key


def test_the_shell_tells_the_reason_in_one_line(
    run: Run, tmp_path: Path, trouble: Callable[[Exception, int], list[str]]
) -> None:
    trouble(LakehouseError("silver/loan_history: column x is text: expected double"), 99)
    assert run("land", write_tape(tmp_path / "a.csv", [{}])).exit_code == 0
    done = run("refresh")
    assert done.exit_code == 1
    told = [line for line in done.output.splitlines() if "silver__loan_history: " in line]
    assert len(told) == 1
    assert told[0].endswith("silver/loan_history: column x is text: expected double")
    assert "Traceback" not in done.output
