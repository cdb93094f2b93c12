"""Counts of values, against NumPy's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskaug.errors import SourceError
from daskaug.statistics import Histogram, IntegerMoments, StatisticsRecipe

DTYPES = ["bool", "int8", "uint8", "int16", "uint16"]


def noise(shape, dtype, seed=0):
    low, high = (0, 1) if dtype == "bool" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return np.random.RandomState(seed).randint(low, int(high) + 1, shape).astype(dtype)


def counted(block):
    low, high = int(block.min()), int(block.max())
    shifted = block.astype(np.int64) - low
    return low, np.stack(
        [np.bincount(shifted[..., k].ravel(), minlength=high - low + 1) for k in range(block.shape[3])]
    )


@given(
    dtype=st.sampled_from(DTYPES),
    shape=st.tuples(st.integers(1, 4), st.integers(1, 20), st.integers(1, 20), st.integers(1, 7)),
    order=st.permutations(range(4)),
    seed=st.integers(0, 99),
)
def test_any_dtype_and_layout(dtype, shape, order, seed):
    block = noise(shape, dtype, seed).transpose(order).copy().transpose(np.argsort(order))
    found = Histogram.partial(block)
    low, counts = counted(block)
    assert found.start == low
    assert np.array_equal(found.counts, counts)
    assert np.array_equal(found.values, np.arange(low, int(block.max()) + 1))
    assert found.moments(len(block)) == IntegerMoments.partial(block)


@given(dtype=st.sampled_from(DTYPES), cut=st.integers(0, 9))
def test_merging_and_withdrawing(dtype, cut):
    x = noise((9, 4, 5, 2), dtype)
    a, b, whole = Histogram.partial(x[:cut]), Histogram.partial(x[cut:]), Histogram.partial(x)
    for found, expected in ((a.merge(b), whole), (whole.withdraw(b), a), (whole.withdraw(a), b)):
        assert np.array_equal(found.counts, expected.counts)
        assert found.start == expected.start
    if 0 < cut < 9 and dtype == "uint8":
        with pytest.raises(SourceError, match="more pixels of one value"):
            a.withdraw(whole)


def test_only_integers_can_be_counted():
    with pytest.raises(SourceError, match="histogram"):
        StatisticsRecipe((4, 4, 1), "channels_last", "float32", histogram=True)
