"""Pseudonyms: a keyed hash stands in for the customer id before anything is written."""

from __future__ import annotations

import hmac
from hashlib import sha256
from typing import Any

import polars as pl

MARK = "hmac-sha256:"
"""Stands before a value that is a pseudonym already, such as that of a rejected row on its way back."""
MARKED = f"^{MARK}[0-9a-f]{{64}}$"
BLOCK_BYTES = 64
"""SHA-256 takes its input in blocks of this size."""


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
    """
    inner, outer = _keyed_states(key)
    begun, finished = inner.copy, outer.copy
    hashed: list[str | None] = []
    for customer_id in customer_ids.cast(pl.Binary).to_list():
        if customer_id is None:
            hashed.append(None)
            continue
        message, digest = begun(), finished()
        message.update(customer_id)
        digest.update(message.digest())
        hashed.append(digest.hexdigest())
    pseudonyms = pl.Series(customer_ids.name, hashed, dtype=pl.String)
    kept = customer_ids.str.contains(MARKED).fill_null(value=False)
    return customer_ids.str.strip_prefix(MARK).zip_with(kept, pseudonyms) if kept.any() else pseudonyms


def _keyed_states(key: bytes) -> tuple[Any, Any]:
    """SHA-256 with the key's two pads already in it (RFC 2104): copies of them hash an id in a third of the time."""
    block = (key if len(key) <= BLOCK_BYTES else sha256(key).digest()).ljust(BLOCK_BYTES, b"\0")
    return sha256(bytes(byte ^ 0x36 for byte in block)), sha256(bytes(byte ^ 0x5C for byte in block))
