"""Pseudonyms: a keyed hash stands in for the customer id before anything is written."""

from __future__ import annotations

import hmac
from hashlib import sha256

import polars as pl

MARK = "hmac-sha256:"
"""Stands before a value that is a pseudonym already, such as that of a rejected row on its way back."""
MARKED = f"^{MARK}[0-9a-f]{{64}}$"


def pseudonym(customer_id: str, key: bytes) -> str:
    """The HMAC-SHA256 of one customer id under the lender's key, 64 hexadecimal digits (RFC 2104)."""
    return hmac.digest(key, customer_id.encode(), sha256).hex()


def marked(customer_pseudonym: str) -> str:
    """A pseudonym as a tape may carry it in `customer_id`, so that it is not hashed a second time."""
    return MARK + customer_pseudonym


def badly_marked(customer_ids: pl.Expr) -> pl.Expr:
    """Whether a customer id bears the mark of a pseudonym and is none: cut short, or changed by hand."""
    return customer_ids.str.to_lowercase().str.starts_with(MARK) & ~customer_ids.str.contains(MARKED)


def pseudonymise(customer_ids: pl.Series, key: bytes) -> pl.Series:
    """Replace each customer id by its pseudonym; gaps stay gaps, a marked pseudonym stays what it is.

    Letting marked ones through is safe: what it lets into the lake is 64 hexadecimal digits, which name nobody,
    and a tape that carries the pseudonym of a customer says no more than one that carries the customer's id.
    Each distinct id is hashed once, so that a customer with many loans costs one hash a block.
    """
    distinct = customer_ids.drop_nulls().unique()
    known = distinct.str.contains(MARKED)
    hashed = pl.Series(
        [
            value.removeprefix(MARK) if is_known else pseudonym(value, key)
            for value, is_known in zip(distinct.to_list(), known.to_list(), strict=True)
        ],
        dtype=pl.String,
    )
    if distinct.is_empty():
        return customer_ids
    return customer_ids.replace_strict(distinct, hashed, default=None, return_dtype=pl.String)
