"""Exact sums of integer blocks, against Python's own integers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daskaug.errors import SourceError
from daskaug.kernels.moments import EXACT_DTYPES, IntegerSums, integer_moments


def by_python_integers(block: np.ndarray) -> IntegerSums:
    channels = [[int(value) for value in block[..., k].ravel()] for k in range(block.shape[3])]
    return IntegerSums(
        tuple(sum(values) for values in channels),
        tuple(sum(value * value for value in values) for values in channels),
        tuple(min(values) for values in channels),
        tuple(max(values) for values in channels),
    )


def extremes(dtype: str) -> tuple[int, int]:
    return (0, 1) if dtype == "bool" else (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))


def noise(shape: tuple[int, ...], dtype: str, seed: int = 0) -> np.ndarray:
    low, high = extremes(dtype)
    return np.random.RandomState(seed).randint(low, high + 1, shape).astype(dtype)


@settings(deadline=None, max_examples=150)
@given(
    dtype=st.sampled_from(EXACT_DTYPES),
    shape=st.tuples(st.integers(1, 5), st.integers(1, 40), st.integers(1, 40), st.integers(1, 5)),
    seed=st.integers(0, 1000),
    order=st.permutations(range(4)),
    step=st.sampled_from([1, -1, 2]),
    swapped=st.booleans(),
)
def test_any_dtype_shape_and_strides(dtype, shape, seed, order, step, swapped):
    block = noise(shape, dtype, seed)
    block = block.transpose(order).copy().transpose(np.argsort(order))[:, ::step, ::-step]
    if swapped:
        block = block.astype(block.dtype.newbyteorder("S"))
    block.flags.writeable = False
    assert integer_moments(block) == by_python_integers(block)


@pytest.mark.parametrize("dtype", EXACT_DTYPES)
@pytest.mark.parametrize("value", ["low", "high"])
def test_no_accumulator_overflows(dtype, value):
    """Twice as many small planes of extreme values as a 32-bit accumulator can hold; the answer is a product."""
    extreme = extremes(dtype)[value == "high"]
    planes = np.full((140_000, 2, 3, 4), extreme, dtype)
    for block in (planes.transpose(0, 2, 3, 1), np.ascontiguousarray(planes.transpose(0, 2, 3, 1))):
        found = integer_moments(block)
        assert found.sums == (extreme * 140_000 * 12,) * 2
        assert found.squares == (extreme * extreme * 140_000 * 12,) * 2
        assert found.low == found.high == (extreme,) * 2


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_no_accumulator_overflows_in_a_long_block(dtype):
    block = np.full((1, 10_500, 10_500, 1), extremes(dtype)[1], dtype)
    assert integer_moments(block).sums == (extremes(dtype)[1] * block.size,)
    assert integer_moments(block).squares == (extremes(dtype)[1] ** 2 * block.size,)


def test_photographs(photographs):
    for picture in photographs:
        assert integer_moments(picture[None, :96, :96]) == by_python_integers(picture[None, :96, :96])
        sums = integer_moments(picture[None]).sums
        assert sums == tuple(int(value) for value in picture.sum(axis=(0, 1), dtype=np.int64))


def test_many_channels():
    block = noise((2, 3, 4, 2000), "int16")
    assert integer_moments(block) == by_python_integers(block)


@pytest.mark.parametrize("dtype", ["int32", "uint64", "float32"])
def test_other_dtypes_are_refused(dtype):
    with pytest.raises(SourceError, match=dtype):
        integer_moments(np.zeros((1, 2, 2, 1), dtype))
