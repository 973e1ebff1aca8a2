"""A small tape for a first look: few loans, every status and purpose among them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

LOANS_PER_SEGMENT = 5


class Sample:
    """Gathers the first loans of the latest tape, a few of each status and purpose before all others."""

    def __init__(self, loans: int) -> None:
        self.loans = loans
        self._blocks: list[pa.Table] = []

    def offer(self, block: pa.Table) -> None:
        """Take note of a block of the latest tape; the first few blocks are enough."""
        if sum(table.num_rows for table in self._blocks) < 4 * self.loans:
            self._blocks.append(block)

    def rows(self) -> pa.Table:
        """The sample in the tape's order."""
        table = pa.concat_tables(self._blocks)
        if table.num_rows <= self.loans:
            return table
        keys = pc.binary_join_element_wise(table["loan_status"], table["loan_purpose"], "/").to_numpy()
        _, segment = np.unique(keys.astype(str), return_inverse=True)
        order = np.argsort(segment, kind="stable")
        begins = np.searchsorted(segment[order], np.arange(segment.max() + 1))
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order)) - begins[segment[order]]
        chosen = np.argsort(rank >= LOANS_PER_SEGMENT, kind="stable")[: self.loans]
        return table.take(pa.array(np.sort(chosen)))
