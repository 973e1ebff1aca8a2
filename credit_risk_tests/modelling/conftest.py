"""A Sail session, a simulated portfolio and a model trained on it, shared by the tests of this folder."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest

from credit_risk_assets.config.settings import ModelSettings, read_settings
from credit_risk_assets.modelling.train import TrainingResult, train_default_model
from credit_risk_tests.credit.conftest import sail  # noqa: F401
from credit_risk_tests.modelling.portfolios import development, simulated_tapes


@pytest.fixture(scope="session")
def model_settings() -> ModelSettings:
    return read_settings().model


@pytest.fixture(scope="session")
def tapes(tmp_path_factory: pytest.TempPathFactory) -> dict[dt.date, pl.DataFrame]:
    return simulated_tapes(12_000, tmp_path_factory.mktemp("tapes"))


@pytest.fixture(scope="session")
def sample(tapes: dict[dt.date, pl.DataFrame]) -> pl.DataFrame:
    return development(tapes)


@pytest.fixture(scope="session")
def trained(sample: pl.DataFrame, model_settings: ModelSettings) -> TrainingResult:
    return train_default_model(sample, model_settings)
