"""Tracking and registry of the default model in MLflow; `mlflow` is imported only when it is used.

Everything lies under `<home>/mlflow`, the SQLite store and the artifacts, unless the settings name a PostgreSQL
database or an MLflow server.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import os
import platform
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

from credit_risk_assets.config.settings import Settings
from credit_risk_assets.config.tables import CHALLENGER, CHAMPION, MODEL_NAME
from credit_risk_assets.modelling.score import dump_model, load_model
from credit_risk_assets.resources.database import DatabaseError, require_databases
from credit_risk_assets.tape import contract

if TYPE_CHECKING:
    from dagster import ResourceDefinition
    from mlflow import MlflowClient

    from credit_risk_assets.modelling.encode import Encoders
    from credit_risk_assets.modelling.figures import Figure
    from credit_risk_assets.modelling.model import DefaultModel
    from credit_risk_assets.modelling.train import TrainingResult

EXPERIMENT = MODEL_NAME
FIGURES_FILE = "validation.json"
_ARTIFACT = "model"
_REQUIREMENTS = (
    "xgboost",
    "scikit-learn",
    "polars",
    "pandas",
    "numpy",
    "scipy",
    "pyarrow",
    "sqlglot",
    "pydantic-settings",
)
_OUTPUT_ONLY = ("default_flag", "default_date", "charge_off_amount", "recoveries", "customer_id")


class NoChampionError(RuntimeError):
    """No version of the default model has been promoted yet."""


@dataclass(frozen=True)
class Registered:
    """A registered version and the MLflow run that made it."""

    version: str
    run_id: str


@dataclass(frozen=True)
class LoadedModel:
    """A version ready to score."""

    model: DefaultModel
    encoders: Encoders
    version: str


def client(settings: Settings) -> MlflowClient:
    """A client of the tracking store, with the experiment and its artifact folder made where they are missing.

    Raises `DatabaseError` where the store of the settings does not answer, or is another home's.
    """
    require_databases(settings)
    from mlflow import MlflowClient, set_registry_uri, set_tracking_uri

    (settings.home / "mlflow").mkdir(parents=True, exist_ok=True)
    _make_store(settings.mlflow_uri)
    set_tracking_uri(settings.mlflow_uri)
    set_registry_uri(settings.mlflow_uri)
    found = MlflowClient(settings.mlflow_uri, settings.mlflow_uri)
    held = found.get_experiment_by_name(EXPERIMENT)
    if held is None:
        _create_experiment(found, settings)
    elif settings.mlflow_uri.startswith("postgresql") and held.artifact_location != settings.artifact_root:
        raise DatabaseError(
            f"setting mlflow.tracking_uri: this database's models lie in {held.artifact_location}: expected "
            f"{settings.artifact_root}; give each home a database of its own, or set mlflow.artifact_root to the former"
        )
    return found


def _make_store(uri: str) -> None:
    """Make the SQLite store beside its place and put it there whole.

    MLflow makes its tables in many steps, and a store that a killed run has left half made fails every later run.
    """
    from mlflow import MlflowClient

    file = Path(uri.removeprefix("sqlite:///"))
    if not uri.startswith("sqlite:///") or file.exists():
        return
    made = file.with_name(f".{file.name}-{uuid4().hex}")
    MlflowClient(f"sqlite:///{made}").search_experiments(max_results=1)
    # Another process may have been faster: its store stays.
    with contextlib.suppress(FileExistsError):
        os.link(made, file)
    made.unlink()


def _create_experiment(store: MlflowClient, settings: Settings) -> None:
    from mlflow.exceptions import MlflowException

    # A server knows its own place; a database's default would be a folder wherever the process happens to run.
    own = settings.mlflow_uri.startswith(("sqlite", "postgresql"))
    location = settings.artifact_root if own else None
    try:
        store.create_experiment(EXPERIMENT, artifact_location=location)
    except MlflowException:
        if store.get_experiment_by_name(EXPERIMENT) is None:  # not even by another process, a moment ago
            raise


class Tracking:
    """dagster-mlflow's resource, begun at its first use: a run that trains nothing needs no MLflow."""

    def __init__(self, begin: Callable[[], Any]) -> None:
        self._begin = begin
        self.begun = False

    def __getattr__(self, name: str) -> Any:
        if not self.begun:
            self._resource, self.begun = self._begin(), True
        return getattr(self._resource, name)


def mlflow_resource(settings: Settings) -> ResourceDefinition:
    """dagster-mlflow's tracking for assets with `required_resource_keys={"mlflow"}`, one MLflow run a Dagster run.

    The run begins when an asset first uses the resource and ends with the Dagster run, failed where it failed; its
    artifacts lie under the home.
    """
    from dagster import BetaWarning, InitResourceContext, resource

    @resource(description="MLflow tracking (dagster-mlflow) in the platform's experiment.")
    def tracking(context: InitResourceContext) -> Iterator[Any]:
        config: dict[str, Any] = {
            "experiment_name": EXPERIMENT,
            "mlflow_tracking_uri": settings.mlflow_uri,
            "env": {},
            "extra_tags": {},
            "parent_run_id": None,
            "mlflow_run_id": None,
            "env_to_tag": None,
        }
        begun: list[Iterator[Any]] = []

        def begin() -> Any:
            from dagster_mlflow import mlflow_tracking

            client(settings)
            warnings.filterwarnings("ignore", category=BetaWarning)  # for this code's authors, not for its users
            begun.append(cast(Any, mlflow_tracking.resource_fn)(context.replace_config(config)))
            return next(begun[0])

        try:
            yield Tracking(begin)
            for resource_of_run in begun:
                next(resource_of_run, None)
        finally:
            if begun:
                import mlflow

                mlflow.end_run()

    return tracking


def quieten() -> None:
    """Keep what MLflow and its migrations say of their every step out of a lender's log."""
    for noisy in ("alembic", "mlflow"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def prepare(settings: Settings) -> None:
    """Make the store where it is missing, and load what training, benchmarks and the document need.

    Called in a run's second process, so that neither is waited for later.
    """
    quieten()
    client(settings)
    for library in ("sklearn.linear_model", "xgboost", "optbinning", "matplotlib.pyplot"):
        import_module(library)


def preload() -> None:
    """Load what the tracking of a run needs, in a thread beside an engine at work, so that training finds it there."""
    for library in ("dagster_mlflow", "mlflow.pyfunc", "mlflow.store.tracking.sqlalchemy_store"):
        import_module(library)


def _signature() -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    from credit_risk_assets.modelling.complaints import NEEDED

    types = {"string": "string", "date": "string", "double": "double", "int": "double"}
    inputs: list[Any] = [
        ColSpec(types[column.type], column.name, required=column.name in NEEDED)
        for column in contract.COLUMNS
        if column.name not in _OUTPUT_ONLY
    ]
    outputs: list[Any] = [ColSpec("string", "loan_id", required=False)]
    outputs += [ColSpec("double", name) for name in ("default_prediction", "default_probability")]
    outputs += [
        ColSpec("string", name, required=False)
        for name in ("risk_rating", "reason", "reason_1", "reason_2", "reason_3", "reason_4", "model_version")
    ]
    return ModelSignature(Schema(inputs), Schema(outputs))


def _example() -> Any:
    import pandas as pd

    return pd.DataFrame(
        [
            {
                "loan_id": "application-1", "loan_purpose": "auto", "loan_amount": 18_000.0, "interest_rate": 9.5,
                "term_months": 60.0, "credit_score": 655.0, "credit_utilization": 0.62, "annual_income": 52_000.0,
                "existing_monthly_debt": 410.0, "employment_type": "salaried", "employment_years": 4.0,
                "collateral_value": 21_000.0,
            }
        ]
    )  # fmt: skip


def log_figures(settings: Settings, run_id: str, figures: Sequence[Figure]) -> None:
    """Keep the figures of a version's validation with the MLflow run that made it."""
    client(settings).log_dict(run_id, {"figures": [asdict(figure) for figure in figures]}, FIGURES_FILE)


def register(result: TrainingResult, settings: Settings, tags: dict[str, str] | None = None) -> Registered:
    """Log parameters, metrics and the model as one pyfunc, and register it as the new challenger.

    Works inside the active MLflow run (the Dagster asset's), or in a run of its own. Only the gate, or a person,
    makes a challenger the champion (see `resources.registry`).
    """
    store = client(settings)
    import mlflow

    own = mlflow.active_run() is None
    if own:
        mlflow.set_experiment(EXPERIMENT)
        mlflow.start_run(run_name="train")
    try:
        registered = _register(store, result, settings, tags or {})
    except BaseException:
        if own:
            mlflow.end_run("FAILED")
        raise
    if own:
        mlflow.end_run()
    return registered


def _register(
    store: MlflowClient,
    result: TrainingResult,
    settings: Settings,
    tags: dict[str, str],
) -> Registered:
    import mlflow

    run = mlflow.active_run()
    assert run is not None
    chosen = settings.model
    parameters = chosen.model_dump(exclude={"threads", "rating_pd_bounds"})
    parameters |= {f"rows_{name}": rows for name, rows in result.parts.items()}
    parameters |= {"features": len(result.model.columns), "trees": result.model.booster.num_boosted_rounds()}
    mlflow.log_params({**parameters, "test_date": str(result.test_date)})
    measured = {
        f"{data_set}_{name}": metric.value
        for data_set, metrics in result.metrics.items()
        for name, metric in metrics.items()
    }
    mlflow.log_metrics(measured)
    mlflow.log_dict(result.model.importance(), "importance.json")
    with tempfile.TemporaryDirectory() as folder:
        packed = Path(folder) / "credit_default.pkl"
        content = dump_model(result.model, result.encoders)
        packed.write_bytes(content)
        # MLflow prints what it registered to stderr, past every logger; the run's own report says it
        with contextlib.redirect_stderr(io.StringIO()):
            info = mlflow.pyfunc.log_model(
                name=_ARTIFACT,
                python_model=str(Path(__file__).with_name("pyfunc_model.py")),
                artifacts={_ARTIFACT: str(packed)},
                signature=_signature(),
                input_example=_example(),
                registered_model_name=MODEL_NAME,
                # named here, because finding them out would load the model in another process
                pip_requirements=[f"{name}=={installed(name)}" for name in _REQUIREMENTS],
            )
    number = str(info.registered_model_version)
    metrics = result.test_metrics
    facts = {
        "auc": f"{metrics['auc'].value:.6f}",
        "auc_lower": f"{metrics['auc'].lower or 0:.6f}",
        "ece": f"{metrics['ece'].value:.6f}",
        "test_set": result.test_set,
        "test_date": str(result.test_date),
        "run_id": run.info.run_id,
        "model_sha256": hashlib.sha256(content).hexdigest(),
        "platform": f"credit-risk-platform {installed('credit-risk-platform')}",
        "python": platform.python_version(),
        "packages": ", ".join(f"{name} {installed(name)}" for name in _REQUIREMENTS),
        **tags,
    }
    for key, value in facts.items():
        store.set_model_version_tag(MODEL_NAME, number, key, value)
    store.set_registered_model_alias(MODEL_NAME, CHALLENGER, number)
    return Registered(number, run.info.run_id)


def version_with(store: MlflowClient, alias: str) -> Any | None:
    """The version that has the alias, as MLflow knows it, or None."""
    from mlflow.exceptions import MlflowException

    try:
        return store.get_model_version_by_alias(MODEL_NAME, alias)
    except MlflowException:
        return None


def _version_numbered(store: MlflowClient, number: str) -> Any | None:
    from mlflow.exceptions import MlflowException

    try:
        return store.get_model_version(MODEL_NAME, number)
    except MlflowException:
        return None


def load_version(settings: Settings, alias: str = CHAMPION, *, number: str = "") -> LoadedModel:
    """The version with the alias, or with the number, ready to score; raises `NoChampionError` where there is none."""
    store = client(settings)
    found = _version_numbered(store, number) if number else version_with(store, alias)
    if found is None and number:
        raise NoChampionError(f"model {MODEL_NAME}: no version {number}; run `credit-risk refresh` to score anew")
    if found is None:
        raise NoChampionError(
            f"model {MODEL_NAME}: no version has the alias {alias} yet; run `credit-risk refresh` on tapes that "
            "are twelve months apart"
        )
    from mlflow.artifacts import download_artifacts

    with tempfile.TemporaryDirectory() as folder:
        path = download_artifacts(
            artifact_uri=f"models:/{MODEL_NAME}/{found.version}", dst_path=folder, tracking_uri=settings.mlflow_uri
        )
        packed = next(Path(path).glob("artifacts/*.pkl"), None)
        if packed is None:
            raise NoChampionError(
                f"model {MODEL_NAME} version {found.version}: its file is not under {found.source}; bring back the "
                "home's folder mlflow, or train anew with `credit-risk refresh`"
            )
        model, encoders = load_model(packed.read_bytes())
    return LoadedModel(model.named(str(found.version)), encoders, str(found.version))


def version_tags(settings: Settings, alias: str = CHAMPION) -> dict[str, str]:
    """The tags of the version with the alias (auc, gate, ...); empty where there is none."""
    found = version_with(client(settings), alias)
    return dict(found.tags) if found is not None else {}
