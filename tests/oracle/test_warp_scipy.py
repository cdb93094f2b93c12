"""SciPy as oracle of the affine warp, for every order, fill mode, dtype and layout."""

from __future__ import annotations

import numpy as np
import pytest
import scipy
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import ndimage

from daskaug.kernels import images as kernels
from tests.kernels.cases import assert_same_bits, picture

# SciPy 1.17 changed the order in which it adds up a coordinate; older ones differ in the last bits, and where a
# coordinate falls exactly on a border, in whole pixels.
pytestmark = pytest.mark.skipif(
    tuple(map(int, scipy.__version__.split(".")[:2])) < (1, 17), reason="the rules are those of SciPy 1.17"
)

modes = pytest.mark.parametrize("fill_mode", kernels.FILL_MODES)
shapes = st.one_of(
    st.tuples(st.integers(2, 40), st.integers(2, 40)),
    st.tuples(st.sampled_from([1, 2, 3]), st.sampled_from([1, 2, 3, 9])),
)
factors = st.one_of(st.floats(-3, 3), st.sampled_from([-1.0, 0.0, 0.5, 1.0, 2.0, 1e-9, -1e-300]))
# Whole and half steps hit the borders exactly; the others come as close to them as a float can.
offsets = st.one_of(
    st.floats(-100, 100),
    st.integers(-12, 40).map(float),
    st.integers(-24, 80).map(lambda i: i / 2),
    st.sampled_from([-1e-16, -1e-15, -5e-324, np.nextafter(1.0, 0), np.nextafter(1.0, 2), 1e6, -12345.678]),
)
matrices = st.tuples(factors, factors, offsets, factors, factors, offsets).map(lambda m: np.reshape(m, (2, 3)))
channels_and_layout = st.tuples(st.sampled_from([1, 2, 3, 4, 7]), st.booleans())
dtypes = st.sampled_from(["uint8", "uint16", "float32", "float64"])
out_dtypes = st.sampled_from(["float32", "float64"])


def scipy_warp(image: np.ndarray, matrix: np.ndarray, order: int, fill_mode: str, out_dtype: str) -> np.ndarray:
    """Every channel of an (h, w, c) image by SciPy."""
    channels = [
        ndimage.affine_transform(
            channel, matrix[:, :2], matrix[:, 2], order=order, mode=fill_mode, cval=7.5, output=out_dtype
        )
        for channel in np.moveaxis(image, 2, 0)
    ]
    return np.stack(channels, axis=2)


def warp(
    block: np.ndarray, matrix: np.ndarray, resampling: kernels.Resampling, out_dtype: str, channels_first: bool
) -> np.ndarray:
    """The second image of a block through the kernel, if wanted between channels-first memory."""
    count, height, width, channels = block.shape
    out = np.full((1, height, width, channels), np.nan, out_dtype)
    if channels_first:
        block = np.ascontiguousarray(block.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1)
        out = np.full((1, channels, height, width), np.nan, out_dtype).transpose(0, 2, 3, 1)
    assert count == 2
    return kernels.transform_images(block, [1], matrices=matrix[None], resampling=resampling, out=out)[0]


@modes
@pytest.mark.parametrize("order", [0, 1])
@given(shape=shapes, matrix=matrices, layout=channels_and_layout, dtype=dtypes, out_dtype=out_dtypes)
@example(
    shape=(5, 4), matrix=np.array([[1, 0, -1e-17], [0, 1, 0]]), layout=(3, False), dtype="uint8", out_dtype="float32"
)
@example(shape=(5, 4), matrix=np.array([[0, 1, 0], [1, 0, 0]]), layout=(3, True), dtype="uint8", out_dtype="float64")
def test_double_arithmetic_equals_scipy_bit_for_bit(
    fill_mode: str,
    order: int,
    shape: tuple[int, int],
    matrix: np.ndarray,
    layout: tuple[int, bool],
    dtype: str,
    out_dtype: str,
) -> None:
    channels, channels_first = layout
    block = picture(*shape, channels, dtype, count=2)
    found = warp(block, matrix, kernels.Resampling(order, fill_mode, 7.5, True), out_dtype, channels_first)
    assert_same_bits(found, scipy_warp(block[1], matrix, order, fill_mode, out_dtype))


@modes
@pytest.mark.parametrize("order", [0, 1])
@given(shape=shapes, matrix=matrices, seed=st.integers(0, 99))
def test_infinite_and_missing_pixels_spread_as_in_scipy(
    fill_mode: str, order: int, shape: tuple[int, int], matrix: np.ndarray, seed: int
) -> None:
    block = picture(*shape, 1, "float32", count=2)
    state = np.random.RandomState(seed)
    block[state.uniform(size=block.shape) < 0.2] = state.choice([np.nan, np.inf, -np.inf])
    found = warp(block, matrix, kernels.Resampling(order, fill_mode, 7.5, True), "float64", False)
    assert_same_bits(found, scipy_warp(block[1], matrix, order, fill_mode, "float64"))


@modes
@given(shape=shapes, matrix=matrices, layout=channels_and_layout, dtype=dtypes, out_dtype=out_dtypes)
def test_quick_arithmetic_is_close_to_scipy(
    fill_mode: str, shape: tuple[int, int], matrix: np.ndarray, layout: tuple[int, bool], dtype: str, out_dtype: str
) -> None:
    channels, channels_first = layout
    block = picture(*shape, channels, dtype, count=2)
    found = warp(block, matrix, kernels.Resampling(1, fill_mode, 7.5), out_dtype, channels_first)
    wanted = scipy_warp(block[1], matrix, 1, fill_mode, "float64")
    assert np.abs(found - wanted).max() <= (1e-3 if out_dtype == "float32" else 1e-10)


@modes
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_whole_photographs_equal_scipy(fill_mode: str, channels: int) -> None:
    block = picture(224, 224, channels, "uint8", count=2)
    matrix = np.array([[0.93, 0.41, -52.3], [-0.37, 1.12, 30.9]])
    for order, double in ((0, False), (1, True), (1, False)):
        found = warp(block, matrix, kernels.Resampling(order, fill_mode, 7.5, double), "float32", False)
        wanted = scipy_warp(block[1], matrix, order, fill_mode, "float32")
        assert np.abs(found - wanted).max() <= (1e-3 if order == 1 and not double else 0)


@modes
@pytest.mark.parametrize("order", [2, 3, 4, 5])
def test_splines_are_those_of_scipy(fill_mode: str, order: int) -> None:
    block = picture(19, 23, 3, "uint8", count=2)
    warps = np.array([[[0.9, 0.2, -1.5], [-0.3, 1.1, 3.0]], [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
    out = kernels.affine_spline(block, [1, 0], warps, order, fill_mode, 7.5, np.empty((2, 19, 23, 3), np.float32))
    wanted = scipy_warp(block[1].astype(np.float64), warps[0], order, fill_mode, "float64")
    np.testing.assert_allclose(out[0], wanted, atol=1e-4)
    np.testing.assert_array_equal(out[1], block[0])
