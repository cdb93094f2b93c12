from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from daskaug.kernels.images import round_to_integer

INTEGERS = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]


def wanted(value: float, dtype: str) -> int:
    """Python's own round is half to even, and its integers have no end."""
    limits = np.iinfo(dtype)
    if math.isnan(value):
        return 0
    if math.isinf(value):
        return limits.max if value > 0 else limits.min
    return min(max(round(value), limits.min), limits.max)


@given(
    values=hnp.arrays(
        st.sampled_from(["float32", "float64"]),
        hnp.array_shapes(max_side=6),
        elements=st.one_of(
            st.floats(width=32),
            st.integers(-600, 600).map(lambda i: i / 2),
            st.sampled_from(
                [float(s * (2**p + d)) for s in (-1, 1) for p in (7, 8, 15, 16, 31, 32, 63, 64) for d in (0, 0.5)]
            ),
        ),
    ),
    dtype=st.sampled_from(INTEGERS),
)
def test_rounds_half_to_even_and_saturates(values: np.ndarray, dtype: str) -> None:
    found = round_to_integer(values, dtype)
    assert (found.dtype, found.shape) == (np.dtype(dtype), values.shape)
    assert found.reshape(-1).tolist() == [wanted(value, dtype) for value in values.reshape(-1).tolist()]


@pytest.mark.parametrize("name", ["channels first", "window", "backwards", "readonly"])
def test_layouts(name: str) -> None:
    values = np.linspace(-300, 300, 2 * 5 * 4 * 3).reshape(2, 5, 4, 3).astype(np.float32)
    plain = round_to_integer(values, np.int8)
    view = {
        "channels first": np.ascontiguousarray(values.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1),
        "window": np.pad(values, 1)[1:-1, 1:-1, 1:-1, 1:-1],
        "backwards": values[::-1, ::-1].copy()[::-1, ::-1],
        "readonly": values.copy(),
    }[name]
    view.flags.writeable = name != "readonly"
    np.testing.assert_array_equal(round_to_integer(view, np.int8), plain)
    for out in (
        np.empty_like(view, np.int8),
        np.empty(values.shape, np.int8),
        np.empty((4, 10, 4, 3), np.int8)[::2, ::-2],
    ):
        assert round_to_integer(view, np.int8, out=out) is out
        np.testing.assert_array_equal(out, plain)
    swapped = round_to_integer(view.astype(">f4"), ">i2")
    assert swapped.dtype == np.dtype(">i2")
    np.testing.assert_array_equal(swapped, np.rint(values))


def test_wrong_arguments_are_named() -> None:
    values = np.zeros((2, 2), np.float32)
    with pytest.raises(ValueError, match="float32 to float64"):
        round_to_integer(values, np.float64)
    with pytest.raises(ValueError, match="uint8 to uint8"):
        round_to_integer(values.astype(np.uint8), np.uint8)
    with pytest.raises(ValueError, match="out must be uint8"):
        round_to_integer(values, np.uint8, out=np.empty((2, 3), np.uint8))
