"""A lender's loan tapes as Delta tables, checks, a default model and scores, built from Dagster assets."""

import os

__version__ = "0.1.0"

# Read when OpenMP is loaded, so it must stand before any library that brings it. Threads that spin while they wait
# for each other make training 15 times slower on a machine with one other busy process; sleeping ones do not.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# MLflow's progress bars, notices and usage reports have no place in a lender's log.
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
