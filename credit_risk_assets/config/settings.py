"""The platform's settings: one YAML file of defaults, each overridable by an environment variable."""

from __future__ import annotations

import os
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    NestedSecretsSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    YamlConfigSettingsSource,
)

DEFAULTS_FILE = Path(__file__).with_name("pipeline_config.yaml")
ENV_PREFIX = "CREDIT_RISK__"
SECRETS_VARIABLE = "CREDIT_RISK_SECRETS"
"""Names a folder of files that each hold one setting, called `section__key`: how supervisors hand out secrets."""


class SettingsError(ValueError):
    """A setting is missing, misspelt or out of range; the message is one line that names the key."""


Benchmark = Literal["logistic_regression", "scorecard", "unconstrained", "protected"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SparkSettings(_Section):
    """Which engine computes, and how large it may grow."""

    engine: Literal["embedded", "local", "cluster", "remote"] = "embedded"
    master: str = "local[*]"
    remote: str = ""
    driver_memory: str = "4g"
    shuffle_partitions: int = Field(4, ge=1, le=10_000)
    extra: dict[str, str] = {}


STORE_SCHEMES = ("s3", "abfss", "az", "gs")


class StorageSettings(_Section):
    """Where the Delta tables lie: under the home where left empty, else on an object store with its address and keys.

    Keys left empty are those of the environment, or of the machine's role. `options` go to the store as they are.
    """

    lake: str = ""
    endpoint: str = ""
    region: str = ""
    access_key: SecretStr = SecretStr("")
    secret_key: SecretStr = SecretStr("")
    allow_http: bool = False
    path_style: bool = True
    options: dict[str, SecretStr] = {}

    @property
    def is_s3(self) -> bool:
        """Whether the lake lies on Amazon's S3, or a store that speaks as it does."""
        return self.lake.startswith("s3://")

    @field_validator("lake")
    @classmethod
    def _is_a_store(cls, lake: str) -> str:
        scheme, mark, place = lake.partition("://")
        if lake and (scheme not in STORE_SCHEMES or not mark or not place.strip("/")):
            raise ValueError(f"s3://bucket/prefix is expected (or {', '.join(STORE_SCHEMES[1:])}), or nothing")
        return lake.rstrip("/")

    @field_validator("endpoint")
    @classmethod
    def _is_an_address(cls, endpoint: str) -> str:
        if endpoint and not endpoint.startswith(("http://", "https://")):
            raise ValueError("an address such as https://host:port is expected")
        return endpoint.rstrip("/")

    @model_validator(mode="after")
    def _fits_together(self) -> StorageSettings:
        if self.endpoint.startswith("http://") and not self.allow_http:
            raise ValueError("endpoint is not encrypted: expected https://, or allow_http true")
        if bool(self.access_key.get_secret_value()) != bool(self.secret_key.get_secret_value()):
            raise ValueError("access_key and secret_key belong together: expected both or neither")
        return self


class LandingSettings(_Section):
    """How files are taken from the landing folder."""

    after_ingestion: Literal["keep", "remove"] = "keep"
    settle_seconds: float = Field(2.0, ge=0, le=3600)
    block_bytes: int = Field(16 * 2**20, ge=2**16, le=2**30)


class PrivacySettings(_Section):
    """The key that turns a customer id into a pseudonym; made once under the home where left empty."""

    key: SecretStr = SecretStr("")


class QualitySettings(_Section):
    """Thresholds of the asset checks."""

    max_rejected_share: float = Field(0.05, ge=0, le=1)
    max_duplicate_share: float = Field(0.01, ge=0, le=1)
    max_tape_age_days: int = Field(35, ge=1)
    max_volume_change_share: float = Field(0.5, gt=0)
    max_stability_index: float = Field(0.25, gt=0)
    max_gap_rise: float = Field(0.10, gt=0, le=1)


class ModelSettings(_Section):
    """Hyper-parameters, splits and gates of the default model."""

    max_depth: int = Field(6, ge=1, le=16)
    learning_rate: float = Field(0.1, gt=0, le=1)
    n_estimators: int = Field(200, ge=1, le=10_000)
    early_stopping_rounds: int = Field(20, ge=1)
    min_child_weight: float = Field(40.0, ge=0)
    reg_lambda: float = Field(10.0, ge=0)
    gamma: float = Field(0.5, ge=0)
    subsample: float = Field(0.9, gt=0, le=1)
    colsample_bytree: float = Field(0.8, gt=0, le=1)
    balance_classes: bool = True
    monotone: Literal["business", "none"] = "business"
    calibration: Literal["platt", "isotonic"] = "platt"
    seed: int = 20_240_131
    threads: int = Field(2, ge=1)
    minimum_auc: float = Field(0.70, ge=0.5, le=1)
    maximum_auc: float = Field(0.95, ge=0.5, le=1)
    maximum_single_feature_auc: float = Field(0.95, ge=0.5, le=1)
    cost_lgd: float = Field(0.55, gt=0, le=1)
    cost_margin: float = Field(0.10, gt=0, le=1)
    minimum_sample_loans: int = Field(2_000, ge=100)
    minimum_defaults: int = Field(100, ge=10)
    maximum_sample_rows: int = Field(1_500_000, ge=10_000)
    maximum_ece: float = Field(0.03, gt=0, le=1)
    maximum_pd_error: float = Field(0.05, gt=0, le=1)
    maximum_score_psi: float = Field(0.25, gt=0)
    maximum_auc_drop: float = Field(0.06, gt=0, le=0.5)
    maximum_opportunity_gap: float = Field(0.10, gt=0, le=1)
    rating_pd_bounds: tuple[float, float, float, float] = (0.02, 0.05, 0.12, 0.30)
    benchmarks: tuple[Benchmark, ...] = ("logistic_regression", "scorecard", "unconstrained", "protected")

    @field_validator("rating_pd_bounds")
    @classmethod
    def _bounds_rise(cls, bounds: tuple[float, ...]) -> tuple[float, ...]:
        if list(bounds) != sorted(set(bounds)) or bounds[0] <= 0 or bounds[-1] >= 1:
            raise ValueError("four rising probabilities between 0 and 1 are expected")
        return bounds


class MonitoringSettings(_Section):
    """From where on a model in use has drifted or is no longer calibrated."""

    maximum_psi: float = Field(0.10, gt=0)
    shifted_psi: float = Field(0.25, gt=0)
    maximum_pd_error: float = Field(0.05, gt=0)
    broken_pd_error: float = Field(0.20, gt=0)
    maximum_ece: float = Field(0.03, gt=0, le=1)
    maximum_slope_error: float = Field(0.20, gt=0)
    maximum_auc_drop: float = Field(0.03, gt=0, le=1)
    sample_loans: int = Field(1_000_000, ge=10_000)


class ScenarioSettings(_Section):
    """One economic scenario of the expected credit loss: its probability, and what it does to PD and LGD."""

    weight: float = Field(ge=0, le=1)
    pd_factor: float = Field(gt=0, le=20)
    lgd_factor: float = Field(gt=0, le=10)


class EclSettings(_Section):
    """Scenarios of the expected credit loss, and when credit risk has risen significantly (IFRS 9, 5.5.9)."""

    base: ScenarioSettings = ScenarioSettings(weight=0.5, pd_factor=1.0, lgd_factor=1.0)
    up: ScenarioSettings = ScenarioSettings(weight=0.2, pd_factor=0.8, lgd_factor=0.95)
    down: ScenarioSettings = ScenarioSettings(weight=0.3, pd_factor=1.4, lgd_factor=1.1)
    later_hazard: float = Field(1.0, gt=0, le=2)
    significant_ratio: float = Field(2.0, gt=1)
    significant_rise: float = Field(0.005, ge=0, le=1)

    @property
    def scenarios(self) -> tuple[ScenarioSettings, ...]:
        """Base, upturn and downturn."""
        return self.base, self.up, self.down

    @model_validator(mode="after")
    def _weights_sum_to_one(self) -> EclSettings:
        total = sum(scenario.weight for scenario in self.scenarios)
        if abs(total - 1) > 1e-9:
            raise ValueError(f"the weights of base, up and down sum to {total:g}: expected 1")
        return self


POSTGRES_SCHEMES = ("postgresql", "postgresql+psycopg2")


def with_driver(url: str) -> str:
    """The address of a PostgreSQL database with the driver that is installed; any other address as it is.

    Without it SQLAlchemy's releases disagree about which one they load.
    """
    scheme, found, rest = url.partition("://")
    return f"{POSTGRES_SCHEMES[1]}://{rest}" if found and scheme == POSTGRES_SCHEMES[0] else url


def _need_postgres(url: SecretStr) -> SecretStr:
    """The address of a PostgreSQL database, or none. No message repeats it: it may hold a password."""
    value = url.get_secret_value()
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        parts = urlsplit("")
    if value and (parts.scheme not in POSTGRES_SCHEMES or not parts.path.strip("/") or parts.fragment):
        raise ValueError(
            "expected postgresql://user:password@host:port/database, special characters of the password as %XX"
        )
    return url


class MlflowSettings(_Section):
    """Where runs and models are tracked, and what the platform's own MLflow server serves.

    `tracking_uri` is what all processes ask: a server (http://), a database (postgresql://), or SQLite under the
    home where it is empty. `backend_url` is the server's own database.
    """

    tracking_uri: SecretStr = SecretStr("")
    backend_url: SecretStr = SecretStr("")
    artifact_root: str = ""
    host: str = "127.0.0.1"
    port: int = Field(5000, ge=1, le=65_535)
    allowed_hosts: list[str] = []
    public_url: str = ""

    _backend_is_postgres = field_validator("backend_url")(_need_postgres)


class ScheduleSettings(_Section):
    """When the lake and the model are refreshed (cron, in the time zone named)."""

    timezone: str = "UTC"
    lake_cron: str = "0 */4 * * *"
    gold_cron: str = "30 5 * * *"
    model_cron: str = "0 6 * * *"
    landing_interval_seconds: int = Field(30, ge=5)
    watch_interval_seconds: int = Field(30, ge=5)
    lake_fresh_hours: float = Field(5, gt=0)
    gold_fresh_hours: float = Field(25, gt=0)
    model_fresh_hours: float = Field(25, gt=0)


class MaintenanceSettings(_Section):
    """When small files are compacted, and how long files that no newer version needs are kept."""

    cron: str = "0 3 * * 0"
    retention_hours: int = Field(168, ge=168)


class AlertSettings(_Section):
    """Where failures are reported beside the log, and from which severity on."""

    minimum_severity: Literal["ERROR", "WARN"] = "ERROR"
    webhook_url: SecretStr = SecretStr("")
    slack_webhook_url: SecretStr = SecretStr("")
    smtp_host: str = ""
    smtp_port: int = 25
    email_from: str = ""
    email_to: list[str] = []


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class DashboardSettings(_Section):
    """The dashboard's address, who may use it, and the lines that it draws."""

    host: str = "127.0.0.1"
    port: int = Field(8050, ge=1, le=65_535)
    target_default_rate: float = Field(0.10, ge=0, le=1)
    refresh_seconds: int = Field(60, ge=5)
    currency: str = "USD"
    workers: int = Field(2, ge=1)
    auth: Literal["local", "none"] = "local"
    https: bool = False
    proxies: int = Field(0, ge=0, le=10)
    session_hours: float = Field(12, gt=0, le=720)
    session_idle_minutes: float = Field(60, gt=0, le=43_200)
    login_attempts_per_user: int = Field(10, ge=1)
    login_attempts_per_address: int = Field(50, ge=1)
    exports_per_hour: int = Field(60, ge=1)

    @model_validator(mode="after")
    def _open_on_this_machine_only(self) -> DashboardSettings:
        if self.auth == "none" and not is_loopback(self.host):
            raise ValueError(
                f"without log-in (auth none, --no-auth) the host must be a loopback address such as 127.0.0.1, "
                f"found {self.host}"
            )
        if self.auth == "none" and self.proxies:
            raise ValueError("without log-in (auth none, --no-auth) no proxy may stand before the dashboard")
        return self


class DagsterSettings(_Section):
    """The addresses of the Dagster UI and of the code server, and where the run history is kept.

    `postgres_url` is the database of runs, schedules and events; SQLite under the home where it is empty.
    """

    host: str = "127.0.0.1"
    port: int = Field(3000, ge=1, le=65_535)
    code_server_host: str = "127.0.0.1"
    code_server_port: int = Field(4000, ge=1, le=65_535)
    postgres_url: SecretStr = SecretStr("")

    _storage_is_postgres = field_validator("postgres_url")(_need_postgres)


class Settings(BaseSettings):
    """Every setting of the platform, validated; see pipeline_config.yaml for the defaults.

    Raises `SettingsError` through `load_settings` for an unknown key or a value out of range.
    """

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_nested_delimiter="__", extra="forbid", yaml_file=DEFAULTS_FILE, frozen=True
    )

    home: Path = Path(".credit_risk")
    spark: SparkSettings = SparkSettings()
    storage: StorageSettings = StorageSettings()
    landing: LandingSettings = LandingSettings()
    privacy: PrivacySettings = PrivacySettings()
    quality: QualitySettings = QualitySettings()
    model: ModelSettings = ModelSettings()
    monitoring: MonitoringSettings = MonitoringSettings()
    ecl: EclSettings = EclSettings()
    mlflow: MlflowSettings = MlflowSettings()
    schedules: ScheduleSettings = ScheduleSettings()
    maintenance: MaintenanceSettings = MaintenanceSettings()
    alerts: AlertSettings = AlertSettings()
    dashboard: DashboardSettings = DashboardSettings()
    dagster: DagsterSettings = DagsterSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments win over the environment, the environment over secret files, those over the YAML file."""
        secrets = NestedSecretsSettingsSource(
            file_secret_settings,
            secrets_dir=os.environ.get(SECRETS_VARIABLE) or None,
            secrets_dir_missing="error",
            secrets_prefix="",
            secrets_nested_delimiter="__",
        )
        return init_settings, env_settings, secrets, YamlConfigSettingsSource(settings_cls)

    @property
    def lake(self) -> Path:
        """The folder of the Delta tables, unless `storage.lake` names another place; the writer lock always."""
        return self.home / "lake"

    @property
    def landing_folder(self) -> Path:
        """Where full tapes are dropped; `changes/` below it takes change files."""
        return self.home / "landing"

    @property
    def changes_folder(self) -> Path:
        """Where tapes of new and changed loans only are dropped."""
        return self.landing_folder / "changes"

    @property
    def quarantine_folder(self) -> Path:
        """Refused files and lines that could not be split; as protected as the landing folder."""
        return self.landing_folder / "quarantine"

    @property
    def staging_folder(self) -> Path:
        """Typed, pseudonymised parts of the file being ingested; emptied after each commit."""
        return self.landing_folder / ".staging"

    @property
    def mlflow_uri(self) -> str:
        """The MLflow tracking store: SQLite under the home unless the settings name another; may hold a password.

        Not MLFLOW_TRACKING_URI: MLflow sets that variable itself, and a second home in the same process would
        then write into the first one's store.
        """
        stated = with_driver(self.mlflow.tracking_uri.get_secret_value())
        return stated or f"sqlite:///{self.home / 'mlflow' / 'mlflow.db'}"

    @property
    def artifact_root(self) -> str:
        """Where the files of models and runs lie: under the home unless the settings name another place."""
        return self.mlflow.artifact_root or (self.home / "mlflow" / "artifacts").as_uri()

    @property
    def dagster_home(self) -> Path:
        """Dagster's instance folder: run history, schedules, logs."""
        return self.home / "dagster"

    @property
    def audit_folder(self) -> Path:
        """Where audit logs are kept."""
        return self.home / "audit"

    @property
    def dashboard_folder(self) -> Path:
        """What the dashboard keeps: its users and sessions, its signing key, its limits' counts."""
        return self.home / "dashboard"

    def make_home(self) -> None:
        """Make the folders of the home where they are missing; the landing folder is its owner's alone."""
        self.landing_folder.mkdir(parents=True, exist_ok=True)
        # Raw customer ids lie here and nowhere else.
        self.landing_folder.chmod(0o700)
        for folder in (
            self.lake,
            self.changes_folder,
            self.quarantine_folder,
            self.home / "mlflow",
            self.dagster_home,
            self.audit_folder,
        ):
            folder.mkdir(parents=True, exist_ok=True)


def _first_problem(error: ValidationError) -> str:
    problem: Any = error.errors()[0]
    path = [str(part) for part in problem["loc"]]
    key = ".".join(path) or "settings"
    found = problem.get("input")
    secret = (
        "url" in key
        or "uri" in key
        or path[:2] == ["storage", "options"]
        or any(part.endswith("key") for part in path)
        or isinstance(found, SecretStr)
    )
    shown = "" if secret or isinstance(found, dict | BaseModel) else f", found {found!r}"
    variable = ENV_PREFIX + "__".join(path).upper()
    advice = "no such setting" if problem["type"] == "extra_forbidden" else problem["msg"]
    return f"setting {key}: {advice}{shown}; set it in {DEFAULTS_FILE.name} or through {variable}"


def _secret_files() -> list[Path]:
    folder = Path(os.environ.get(SECRETS_VARIABLE) or "/nonexistent")
    found = folder.iterdir() if folder.is_dir() else iter(())
    return sorted(file for file in found if file.is_file() and not file.name.startswith("."))


def read_settings(**overrides: Any) -> Settings:
    """Read the settings afresh from YAML, secret files, environment and the overrides given.

    The home comes from CREDIT_RISK_HOME and is made absolute. Raises `SettingsError` (one line naming the
    key) where a value does not fit.
    """
    home = overrides.pop("home", None) or os.environ.get("CREDIT_RISK_HOME") or ".credit_risk"
    known = {name.upper() for name in Settings.model_fields}
    for variable in os.environ:
        if variable.upper().startswith(ENV_PREFIX):
            section = variable[len(ENV_PREFIX) :].split("__")[0].upper()
            if section not in known:
                raise SettingsError(
                    f"setting {section.lower()}: no such section; {variable} should start with "
                    f"{ENV_PREFIX} and one of {', '.join(sorted(known))}"
                )
    for file in _secret_files():
        if file.name.split("__")[0].upper() not in known:
            raise SettingsError(
                f"setting {file.name}: no such section; a file in {SECRETS_VARIABLE} ({file.parent}) is called "
                "section__key, such as privacy__key"
            )
    try:
        return Settings(home=Path(home).expanduser().resolve(), **overrides)
    except ValidationError as error:
        raise SettingsError(_first_problem(error)) from None
    except Exception as error:  # a YAML file that cannot be parsed, a list that is no JSON
        raise SettingsError(f"settings: {str(error).splitlines()[0]}; see {DEFAULTS_FILE.name}") from None


@lru_cache(maxsize=1)
def load_settings() -> Settings:
    """The settings of this process, read once."""
    return read_settings()
