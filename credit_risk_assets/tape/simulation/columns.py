"""Arrow columns built straight from bytes: identifiers, labels and payment history profiles."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from credit_risk_assets.tape import contract


def profiles(codes: np.ndarray, age_months: np.ndarray) -> pa.Array:
    """Payment history, latest month first, one code per month on book; B in the month of origination.

    `codes` holds a loan a row, at most 84 code bytes, the latest first.
    """
    flat = np.ascontiguousarray(codes[:, : contract.PROFILE_MAX_MONTHS])
    depth = flat.shape[1]
    length = np.clip(age_months, 1, depth)
    flat[age_months == 0, 0] = ord("B")
    kept = flat[np.arange(depth) < length[:, None]]
    offsets = np.zeros(len(flat) + 1, np.int32)
    np.cumsum(length, out=offsets[1:])
    return pa.StringArray.from_buffers(len(flat), pa.py_buffer(offsets), pa.py_buffer(kept))


def identifiers(prefix: str, numbers: np.ndarray) -> pa.Array:
    """Identifiers of a fixed width: the prefix and ten digits."""
    lead = len(prefix)
    digits = np.empty((len(numbers), lead + 10), np.uint8)
    digits[:, :lead] = np.frombuffer(prefix.encode(), np.uint8)
    rest = numbers.astype(np.int64)
    for place in range(lead + 9, lead - 1, -1):
        rest, digits[:, place] = np.divmod(rest, 10)
    digits[:, lead:] += ord("0")
    offsets = np.arange(0, digits.size + 1, lead + 10, dtype=np.int32)
    return pa.StringArray.from_buffers(len(numbers), pa.py_buffer(offsets), pa.py_buffer(digits))


def labels(values: Sequence[str], index: np.ndarray) -> pa.Array:
    """The values at these indices as an Arrow string column."""
    return pa.array(values, pa.string()).take(pa.array(index.astype(np.int32)))
