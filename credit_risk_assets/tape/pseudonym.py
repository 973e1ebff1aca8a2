"""Pseudonyms: a keyed hash stands in for the customer id before anything is written."""

from __future__ import annotations

import hmac
from hashlib import sha256

import polars as pl


def pseudonym(customer_id: str, key: bytes) -> str:
    """The HMAC-SHA256 of one customer id under the lender's key, 64 hexadecimal digits (RFC 2104)."""
    return hmac.digest(key, customer_id.encode(), sha256).hex()


def pseudonymise(customer_ids: pl.Series, key: bytes) -> pl.Series:
    """Replace each customer id by its pseudonym; gaps stay gaps.

    Each distinct id is hashed once, so that a customer with many loans costs one hash a block.
    """
    distinct = customer_ids.drop_nulls().unique()
    hashed = pl.Series([pseudonym(value, key) for value in distinct.to_list()], dtype=pl.String)
    if distinct.is_empty():
        return customer_ids
    return customer_ids.replace_strict(distinct, hashed, default=None, return_dtype=pl.String)
