"""A small portfolio whose champion, trained on a small simulated one, stands loaded in this process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from credit_risk_assets.config.settings import read_settings
from credit_risk_assets.modelling.train import train_default_model
from credit_risk_assets.resources.mlflow import LoadedModel
from credit_risk_tests.dash_app.conftest import Portfolio, make_portfolio
from credit_risk_tests.modelling.portfolios import development, simulated_tapes
from dash_app.data import explain


@pytest.fixture(scope="session")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Portfolio, LoadedModel]]:
    """The portfolio and the model of version 1, which its decisions name as the champion."""
    made = make_portfolio(tmp_path_factory.mktemp("scored"), loans=150)
    sample = development(simulated_tapes(4_000, tmp_path_factory.mktemp("scored-tapes")))
    settings = read_settings(model={"benchmarks": []}).model
    trained = train_default_model(sample, settings)
    loaded = LoadedModel(trained.model.named("1"), trained.encoders, "1")
    key = (str(made.settings.home), "1")
    explain._LOADED[key] = loaded
    yield made, loaded
    explain._LOADED.pop(key, None)
