"""A wrong setting is one line that names its key."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from credit_risk_assets.config.settings import DEFAULTS_FILE, Settings, SettingsError, read_settings


def test_the_environment_wins_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDIT_RISK__MODEL__MAX_DEPTH", "4")
    assert read_settings().model.max_depth == 4
    assert read_settings().model.n_estimators == 200


def test_the_home_is_absolute_wherever_it_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_settings().home == tmp_path / ".credit_risk"
    monkeypatch.setenv("CREDIT_RISK_HOME", "elsewhere")
    assert read_settings().home == tmp_path / "elsewhere"


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("CREDIT_RISK__SPARK__ENGINE", "duck", "setting spark.engine: "),
        ("CREDIT_RISK__MODEL__MAX_DEPTH", "deep", "setting model.max_depth: "),
        ("CREDIT_RISK__MODEL__MAX_DEPTH", "0", "setting model.max_depth: "),
        ("CREDIT_RISK__MODEL__DEPTH", "3", "setting model.depth: no such setting"),
        ("CREDIT_RISK__MODLE__MAX_DEPTH", "3", "setting modle: no such section"),
        ("CREDIT_RISK__DASHBOARD__PORT", "99999", "setting dashboard.port: "),
        (
            "CREDIT_RISK__ECL__DOWN__WEIGHT",
            "0.9",
            "setting ecl: Value error, the weights of base, up and down sum to 1.6",
        ),
        ("CREDIT_RISK__ECL__DOWN__WEIGHT", "2", "setting ecl.down.weight: "),
        ("CREDIT_RISK__MODEL__RATING_PD_BOUNDS", "[0.5, 0.1, 0.2, 0.3]", "setting model.rating_pd_bounds: "),
    ],
)
def test_a_wrong_setting_names_its_key_in_one_line(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, says: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as refusal:
        read_settings()
    assert str(refusal.value).startswith(says)
    assert "\n" not in str(refusal.value)


def test_a_secret_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDIT_RISK__PRIVACY__KEY", "hush")
    assert "hush" not in repr(read_settings())


def test_the_file_states_every_default_that_is_no_secret() -> None:
    stated = yaml.safe_load(DEFAULTS_FILE.read_text())
    defaults = Settings.model_construct()
    for section, values in stated.items():
        model = type(getattr(defaults, section))
        open_keys = {n for n, f in model.model_fields.items() if "Secret" not in str(f.annotation) and n != "extra"}
        assert set(values) == open_keys, section
