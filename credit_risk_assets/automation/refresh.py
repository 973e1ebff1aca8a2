"""A refresh from the shell: what is stale, in one Dagster run, told step by step and summed up at the end."""

import logging
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from importlib import import_module
from threading import Thread
from typing import Any

import dagster as dg
from rich.console import Console
from rich.table import Table as Grid

from credit_risk_assets.assets.inputs import stale_scores, stale_tables
from credit_risk_assets.automation.failures import step_reason
from credit_risk_assets.automation.jobs import MODEL_KEY
from credit_risk_assets.automation.progress import StepTimes, progress_logger
from credit_risk_assets.config.settings import Settings
from credit_risk_assets.config.tables import MODEL_PERFORMANCE, PORTFOLIO_KPIS, TABLES
from credit_risk_assets.resources.companion import Companion, enough_cores
from credit_risk_assets.resources.database import require_databases
from credit_risk_assets.resources.instance import open_for_run
from credit_risk_assets.resources.lake_log import LakeLog
from credit_risk_assets.resources.mlflow import preload, prepare, quieten
from credit_risk_assets.resources.platform import Platform
from credit_risk_assets.resources.registry import champion_of, decisions
from credit_risk_assets.resources.spark import engine_facts, start_early

LOGGER = "progress"


class SelectionError(ValueError):
    """An asset that the platform does not have was asked for."""


def refresh(settings: Settings, select: str | None, console: Console, times: StepTimes | None = None) -> bool:
    """Run the main job over what is stale; return whether every asset and every ERROR check passed.

    `times` is told when each step began and ended. Raises `DatabaseError` where a database of the settings does not
    answer.
    """
    with reserved(settings, console) as platform:
        return refresh_reserved(platform, select, console, times)


@contextmanager
def reserved(settings: Settings, console: Console) -> Iterator[Platform]:
    """The platform with the lake to itself. Raises `DatabaseError` where a database does not answer."""
    require_databases(settings)
    platform = Platform(settings)
    with closing(platform):
        # Before the look at what is stale: another run may be at it, and a new home's data bases are made once.
        platform.reserve(lambda line: console.print(line, markup=False))
        yield platform


def get_ready(platform: Platform) -> None:
    """Start the engine, load what a run needs and make a new home's data bases, before there is anything to refresh."""
    start_early(platform.settings)
    import_module("credit_risk_assets.definitions")
    _quieten()
    with open_for_run(platform.settings):
        pass


def refresh_reserved(platform: Platform, select: str | None, console: Console, times: StepTimes | None = None) -> bool:
    """`refresh` on a platform that is reserved already."""
    settings = platform.settings

    def say(line: str) -> None:
        console.print(line, markup=False)

    if select is None:
        stale = _announced(settings, say)
        if not stale:
            return True
        if enough_cores() and _trains(settings, stale):
            platform.companion = platform.companion or Companion()
            platform.companion.submit(prepare, settings)
    start_early(settings)
    facts = engine_facts(settings)
    say(f"engine {facts.engine}: {facts.computes} computes, {facts.commits} commits")
    return _run(settings, platform, select, console, times or StepTimes())


def _trains(settings: Settings, stale: Sequence[str]) -> bool:
    """Whether the run is likely to train: a full tape has come, or the model is stale itself."""
    return MODEL_PERFORMANCE.path in stale or any((settings.landing_folder / name).is_file() for name in stale)


def _announced(settings: Settings, say: Callable[[str], None]) -> list[str]:
    """Say what is stale, or that nothing is; return it."""
    lake = LakeLog.of(settings)
    lake.store.look_at(lake.path(table) for table in TABLES)
    stale = stale_tables(lake, settings)
    if not stale:
        empty = not lake.exists(PORTFOLIO_KPIS)
        say(
            f"nothing to do: no tape in {settings.landing_folder}; land one with `credit-risk land FILE`"
            if empty
            else "everything is up to date: no new file, no stale table"
        )
        return []
    shown = ", ".join(stale[:4]) + (f" and {len(stale) - 4} more" if len(stale) > 4 else "")
    say(f"refreshing: {shown}")
    return stale


def _quieten() -> None:
    # Dagster's notices about beta features are for this code's authors, not for its users.
    warnings.filterwarnings("ignore", module="dagster")
    quieten()
    # It warns of checks that a skipped asset leaves out; the steps below say so themselves.
    logging.getLogger("dagster._core.execution.plan.active").setLevel(logging.ERROR)


def _run(settings: Settings, platform: Platform, select: str | None, console: Console, times: StepTimes) -> bool:
    from credit_risk_assets.definitions import build_defs

    _quieten()
    began = time.monotonic()

    def say(line: str) -> None:
        console.print(line, markup=False)

    with open_for_run(settings) as instance:
        loggers = {LOGGER: progress_logger(say, times)}
        defs = build_defs(settings, resource_overrides={"platform": platform}, loggers=loggers)
        selected = _selected(defs, select) if select else None
        job = _job_of(defs, selected)

        def execute(job: dg.JobDefinition, selected: Sequence[dg.AssetKey] | None) -> dg.ExecuteInProcessResult:
            done = job.execute_in_process(
                instance=instance,
                raise_on_error=False,
                asset_selection=selected,
                run_config={"loggers": {LOGGER: {"config": {}}}},
            )
            for event in (event for event in done.all_events if event.is_step_failure):
                say(f"  FAILED  {event.step_key}: {step_reason(event)}")
            return done

        if platform.companion is not None:  # it is likely to train, and the engine's steps leave a core idle
            Thread(target=preload, name="preload", daemon=True).start()
        result = execute(job, selected)
        checks = list(result.get_asset_check_evaluations())
        if select is None and refused_in(checks) and stale_scores(LakeLog.of(settings)):
            say("the new version stays challenger: the champion in force scores the loans")
            checks += execute(defs.resolve_job_def("refresh_gold"), None).get_asset_check_evaluations()
    errors = [c for c in checks if not c.passed and c.severity == dg.AssetCheckSeverity.ERROR]
    _print_summary(settings, console, checks)
    say(f"\nrun {result.run_id[:8]}: {time.monotonic() - began:.1f} s, {len(checks)} checks, {len(errors)} errors")
    return bool(result.success) and not errors


def refused_in(checks: Sequence[dg.AssetCheckEvaluation]) -> bool:
    """Whether the gate kept a new version out, and with it everything after the promotion."""
    return any(
        check.asset_key == MODEL_KEY and not check.passed and check.severity == dg.AssetCheckSeverity.ERROR
        for check in checks
    )


def _selected(defs: dg.Definitions, select: str) -> list[dg.AssetKey]:
    graph = defs.resolve_asset_graph()
    known = {key.to_user_string(): key for key in graph.materializable_asset_keys}
    chosen: set[dg.AssetKey] = set()
    for part in (part.strip() for part in select.split(",")):
        name = part.strip("+")
        if name not in known:
            raise SelectionError(f"--select {part!r}: no such asset; known are {', '.join(sorted(known))}")
        selection: dg.AssetSelection = dg.AssetSelection.assets(known[name])
        selection = selection.upstream() if part.startswith("+") else selection
        selection = selection.downstream() if part.endswith("+") else selection
        chosen |= {key for key in selection.resolve(graph) if key in graph.materializable_asset_keys}
    # One step makes the tables of a multi-asset together.
    together = {other for key in chosen for other in graph.get(key).execution_set_asset_keys}
    return sorted(together, key=lambda key: key.to_user_string())


def _job_of(defs: dg.Definitions, selected: Sequence[dg.AssetKey] | None) -> dg.JobDefinition:
    """The job that holds what was selected: the main one, or maintenance, which is no part of it."""
    for name in ("main", "maintain_lake"):
        job = defs.resolve_job_def(name)
        if set(selected or []) <= set(job.asset_layer.executable_asset_keys):
            return job
    raise SelectionError("--select: maintenance assets run alone; select them without others")


def _print_summary(settings: Settings, console: Console, checks: Sequence[dg.AssetCheckEvaluation]) -> None:
    _print_kpis(settings, console)
    _print_model(settings, console)
    failed = [c for c in checks if not c.passed]
    console.print(f"\n[bold]checks[/bold] {len(checks) - len(failed)} of {len(checks)} passed")
    by_asset: dict[str, list[dg.AssetCheckEvaluation]] = {}
    for check in checks:
        by_asset.setdefault(check.asset_key.to_user_string(), []).append(check)
    for asset, group in by_asset.items():
        bad = [c for c in group if not c.passed]
        names = ", ".join(f"{c.severity.value} {c.check_name}" for c in bad)
        console.print(f"  {asset:28}{len(group) - len(bad):>3} of {len(group)} passed  {names}", markup=False)
    for check in failed:
        console.print(
            f"  {check.severity.value:6}{check.asset_key.to_user_string()} {check.check_name}: {check.description}",
            markup=False,
        )


def _print_kpis(settings: Settings, console: Console) -> None:
    def share(value: float | None) -> str:
        return "" if value is None else f"{value:.2%}"

    # One column a date: a line is read across, and fits a narrow terminal.
    lines: dict[str, tuple[str, Callable[[Any], str]]] = {
        "loans on book": ("active_loans", "{:,}".format),
        "portfolio value": ("portfolio_value", "{:,.0f}".format),
        "12-month default rate": ("default_rate", lambda v: "no tape before" if v is None else share(v)),
        "non-performing (NPL)": ("npl_ratio", share),
        "average days past due": ("average_dpd", lambda v: "" if v is None else f"{v:.1f}"),
        "high-risk loans": ("high_risk_loans", "{:,}".format),
        "expected loss": ("expected_loss", "{:,.0f}".format),
    }
    names = ["as_of_date", *[name for name, _ in lines.values()]]
    rows = sorted(LakeLog.of(settings).rows(PORTFOLIO_KPIS, names), key=lambda row: row["as_of_date"])[-4:]
    if not rows:
        return
    grid = Grid("key figures", *[str(row["as_of_date"]) for row in rows], box=None, header_style="bold")
    for column in grid.columns[1:]:
        column.justify = "right"
    for label, (name, shown) in lines.items():
        grid.add_row(label, *[shown(row[name]) for row in rows])
    console.print()
    console.print(grid)


def _print_model(settings: Settings, console: Console) -> None:
    rows = LakeLog.of(settings).rows(
        MODEL_PERFORMANCE, ["model_version", "data_set", "metric", "value", "lower", "upper", "computed_at"]
    )
    if not rows:
        return
    newest = max(rows, key=lambda row: row["computed_at"])["model_version"]
    tested = [r for r in rows if r["model_version"] == newest and r["data_set"].startswith("out_of")]
    if not tested:
        return
    champion = champion_of(decisions(LakeLog.of(settings)))
    role = "champion" if champion == newest else f"challenger of version {champion}" if champion else "no champion"
    console.print(f"\n[bold]model[/bold] credit_default version {newest} ({role}), {tested[0]['data_set']}")
    found = {row["metric"]: row for row in tested}

    def figures(*names: str) -> str:
        parts = []
        for name in (name for name in names if name in found):
            row = found[name]
            interval = f" [{row['lower']:.3f}, {row['upper']:.3f}]" if row["lower"] is not None else ""
            parts.append(f"{name.partition('_at_')[0]} {row['value']:.3f}{interval}")
        return "  ".join(parts)

    console.print("  " + figures("auc", "gini", "ks", "brier", "ece", "mean_pd", "observed_rate"), markup=False)
    at_cost = figures("accuracy", "precision", "recall")
    console.print(f"  at the cost threshold {found['threshold']['value']:.3f}: {at_cost}", markup=False)
    at_recall = figures("accuracy_at_recall_70", "precision_at_recall_70")
    console.print(f"  at recall 0.70: {at_recall}", markup=False)
