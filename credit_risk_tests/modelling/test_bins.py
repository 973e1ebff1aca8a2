"""Bins counted by an engine and by numpy are the same bins, and lose no row."""

from __future__ import annotations

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from credit_risk_assets.checks.rules import aggregates
from credit_risk_assets.modelling.bins import (
    counts_between,
    edge_bins,
    frequent_words,
    quantile_edges,
    word_bins,
)
from credit_risk_assets.modelling.population import bin_counts, bin_figures, reference_bins

NUMBERS = st.lists(
    st.one_of(st.none(), st.sampled_from([0.0, 1.0, 0.1, 0.3, -5.0, 1e9]), st.floats(-1e6, 1e6)),
    min_size=1,
    max_size=80,
)


def _array(values: list[float | None]) -> np.ndarray:
    return np.array([np.nan if value is None else value for value in values], dtype=float)


@given(NUMBERS, NUMBERS)
def test_every_row_falls_in_one_bin(reference: list[float | None], recent: list[float | None]) -> None:
    edges = quantile_edges(_array(reference))
    assert (np.diff(edges) > 0).all()
    assert bool(len(edges)) == any(value is not None for value in reference)
    if len(edges):
        counts = counts_between(_array(recent), edges)
        assert counts.sum() == len(recent)
        assert counts[-1] == sum(value is None for value in recent)


def test_many_values_make_bins_of_about_equal_count() -> None:
    values = np.random.default_rng(1).lognormal(size=10_000)
    counts = counts_between(values, quantile_edges(values))
    assert len(counts) == 11
    assert counts[:-1].max() - counts[:-1].min() <= 1


def test_a_value_that_most_rows_hold_has_a_bin_of_its_own() -> None:
    """So that loans which leave it are seen, upwards and downwards."""
    values = np.array([1.0] * 900 + [0.2] * 50 + [3.0] * 50)
    counts = counts_between(values, quantile_edges(values))
    assert sorted(counts[counts > 0].tolist()) == [50, 50, 900]
    constant = quantile_edges(np.full(100, 5.0))
    assert np.flatnonzero(counts_between(np.array([4.0, 5.0, 6.0]), constant)).tolist() == [0, 1, 2]


def test_an_engine_counts_as_numpy_does(sail: SparkSession) -> None:
    rng = np.random.default_rng(4)
    frame = pl.DataFrame(
        {
            "money": [None if n % 7 == 0 else round(float(v), 2) for n, v in enumerate(rng.lognormal(6, 2, 500))],
            "share": [[0.0, 0.1, 0.3, 1.0][n % 4] for n in range(500)],
            "months": rng.integers(0, 5, 500).tolist(),
            "gone": pl.Series([None] * 500, dtype=pl.Float64),
            "word": [["auto", "it's", "back\\slash", None, "rare", "home"][n % 6 if n % 50 else 4] for n in range(500)],
        }
    )
    bins = reference_bins(frame.head(300), frame.columns, {"word"})
    assert [binned.column for binned in bins] == frame.columns
    spark = sail.createDataFrame(frame.to_arrow())
    counted = aggregates(spark, bin_figures(bins)).row(0, named=True)
    for binned in bins[:3]:
        values = frame[binned.column].cast(pl.Float64).to_numpy()
        expected = counts_between(values, quantile_edges(values[:300]))
        assert bin_counts(counted, binned) == expected.tolist(), binned.column
    assert bin_counts(counted, bins[3]) == [0, 500]
    words = frame["word"].value_counts()
    known = frequent_words(frame["word"].head(300).to_list())
    by_word = dict(words.iter_rows())
    assert bin_counts(counted, bins[4]) == [*[by_word[word] for word in known], 0, by_word[None]]


def test_words_beyond_the_known_ones_share_a_bin(sail: SparkSession) -> None:
    spark = sail.createDataFrame([("a",), ("b",), ("new",), ("newer",), (None,)], "word string")
    binned = word_bins("word", ["a", "b"], others=True)
    assert bin_counts(aggregates(spark, bin_figures([binned])).row(0, named=True), binned) == [1, 1, 2, 1]
    assert frequent_words(["b", "a", "b", None, "c"], 2) == ["a", "b"]


def test_edges_stand_in_the_sql_to_the_last_bit(sail: SparkSession) -> None:
    values = [0.1 + 0.2, 0.3, 1 / 3, 1e-7, 123456789.123]
    spark = sail.createDataFrame([(value,) for value in values], "x double")
    for value in values:
        counted = aggregates(spark, edge_bins("x", [value]).figures).row(0, named=True)
        assert counted["bin_x_0"] == sum(other <= value for other in values)
