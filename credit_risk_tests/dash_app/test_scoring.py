"""The scoring page gives the model's own answers, says what is wrong at the field, and writes nobody down."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from credit_risk_assets.config.settings import read_settings
from credit_risk_assets.credit.families import model_features
from credit_risk_assets.modelling.score import score_new_loans
from dash_app.data import scoring
from dash_app.data.scoring import BY_FIELD, EXAMPLE, WHAT_IF
