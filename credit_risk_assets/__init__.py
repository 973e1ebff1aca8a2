"""A lender's loan tapes as Delta tables, checks, a default model and scores, built from Dagster assets."""

__version__ = "0.1.0"
