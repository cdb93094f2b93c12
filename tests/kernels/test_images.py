from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskaug.errors import ConfigError
from daskaug.kernels import images as kernels
from tests.kernels.cases import assert_same_bits, parameters, picture

IDENTITY = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
SPECIAL = np.array([np.nan, np.inf, -np.inf, -0.0, 0.0, 1e-40, 3e38, 1.5], np.float32)


def transformed(block: np.ndarray, dtype: str = "float32", **operations: object) -> np.ndarray:
    """All images of a block, in their order."""
    out = np.empty(block.shape, dtype)
    return kernels.transform_images(block, np.arange(len(block)), out=out, **operations)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("dtype", ["bool", "int8", "uint8", "int16", "uint16", "float16", "float32"])
def test_identity_parameters_return_the_input_bit_for_bit(dtype: str, channels: int) -> None:
    block = picture(9, 11, channels, "uint8", count=3).astype(dtype)
    if dtype == "float32":
        block.reshape(-1)[: len(SPECIAL)] = SPECIAL
    for order, fill_mode, double in ((0, "constant", False), (1, "wrap", False), (1, "reflect", True)):
        found = transformed(
            block,
            matrices=[IDENTITY] * 3,
            flips=np.zeros((3, 2), bool),
            channel_shift=[0.0, math.nan, -0.0],
            brightness=[1.0, math.nan, 1.0],
            value_range=(10, 20),
            resampling=kernels.Resampling(order, fill_mode, 7.0, double),
            standardization=kernels.Standardization(rescale=1.0),
        )
        assert_same_bits(found, block.astype(np.float32))


def test_wide_integers_are_exact_in_float64() -> None:
    block = np.array([2**31 - 1, -(2**31), 2**24 + 1, 5], np.int64).reshape(1, 2, 2, 1)
    for dtype in ("int32", "int64"):
        assert_same_bits(transformed(block.astype(dtype), "float64"), block.astype(np.float64))


@pytest.mark.parametrize("channels", [1, 3, 4, 5])
@pytest.mark.parametrize("warped", [False, True])
def test_flips_index_the_warped_image_backwards(channels: int, warped: bool) -> None:
    block = picture(13, 10, channels, "uint8", count=4)
    matrices = parameters(4, 10)["matrices"] if warped else None
    plain = transformed(block, matrices=matrices)
    found = transformed(block, matrices=matrices, flips=[(False, False), (True, False), (False, True), (True, True)])
    wanted = np.stack([plain[0], plain[1][:, ::-1], plain[2][::-1], plain[3][::-1, ::-1]])
    assert_same_bits(found, wanted)


@given(amount=st.floats(-300, 300), channels=st.integers(1, 5), dtype=st.sampled_from(["float32", "float64"]))
def test_channel_shift_clips_to_the_range_of_the_image(amount: float, channels: int, dtype: str) -> None:
    block = picture(8, 9, channels, "uint8", count=2)
    block[1] //= 2
    plain = block.astype(dtype)
    shifted = plain + plain.dtype.type(amount) if amount else plain
    wanted = np.stack([np.clip(shifted[i], plain[i].min(), plain[i].max()) for i in range(2)])
    assert_same_bits(transformed(block, dtype, channel_shift=[amount, amount]), wanted)


def test_channel_shift_clips_to_the_range_after_the_warp() -> None:
    block = picture(20, 20, 3, "float32", count=1)
    matrices = [[[0.3, 0.0, 5.0], [0.0, 0.3, 5.0]]]
    warped = transformed(block, matrices=matrices)
    assert np.ptp(warped) < np.ptp(block)
    wanted = np.clip(warped + np.float32(30.0), warped.min(), warped.max())
    assert_same_bits(transformed(block, matrices=matrices, channel_shift=[30.0]), wanted)


def test_channel_shift_passes_over_nan() -> None:
    block = picture(6, 6, 3, "float32", count=1)
    block[0, 2, 3] = np.nan
    shifted = transformed(block, channel_shift=[40.0])
    wanted = np.clip(block + np.float32(40.0), np.nanmin(block), np.nanmax(block))
    assert_same_bits(shifted, wanted)


@given(
    factor=st.floats(0, 3),
    channels=st.sampled_from([1, 2, 3, 4, 5]),
    value_range=st.sampled_from([(0, 255), (-math.inf, math.inf), (20, math.inf), (0, 1e300)]),
    dtype=st.sampled_from(["float32", "float64"]),
)
def test_brightness_multiplies_and_clips_but_for_alpha(
    factor: float, channels: int, value_range: tuple[float, float], dtype: str
) -> None:
    block = picture(7, 9, channels, "uint8", count=2)
    plain = block.astype(dtype)
    low, high = (bound if abs(bound) < 1e38 else math.copysign(math.inf, bound) for bound in value_range)
    wanted = plain if factor == 1 else np.clip(plain * plain.dtype.type(factor), low, high)
    if channels == 4:
        wanted = np.concatenate([wanted[..., :3], plain[..., 3:]], axis=3)
    wanted = np.concatenate([wanted[:1], plain[1:]])
    assert_same_bits(transformed(block, dtype, brightness=[factor, math.nan], value_range=value_range), wanted)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rescale", [None, 1 / 255])
@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("featurewise", [False, True])
def test_standardisation_is_that_of_keras(
    dtype: str, rescale: float | None, center: bool, normalize: bool, featurewise: bool
) -> None:
    block = picture(15, 12, 3, "uint8", count=3)
    mean, divisor = (np.array([0.1, 0.2, 0.3]), np.array([0.5, 1.0, 2.0])) if featurewise else (None, None)
    found = transformed(
        block, dtype, standardization=kernels.Standardization(rescale, center, normalize, mean, divisor)
    )
    wanted = block.astype(np.float64)
    if rescale:
        wanted *= rescale
    if center:
        wanted -= wanted.mean((1, 2, 3), keepdims=True)
    if normalize:
        wanted /= wanted.std((1, 2, 3), keepdims=True) + 1e-6
    if featurewise:
        wanted = (wanted - mean) / divisor
    np.testing.assert_allclose(found, wanted, rtol=1e-12 if dtype == "float64" else 2e-6, atol=3e-5)


def test_featurewise_standardisation_divides_truly() -> None:
    block = picture(9, 8, 3, "uint8", count=2)
    mean, divisor = np.float32([1.1, 2.2, 3.3]), np.float32([7.7, 9.1, 3.0])
    found = transformed(block, standardization=kernels.Standardization(mean=mean, divisor=divisor))
    assert_same_bits(found, (block.astype(np.float32) - mean) / divisor)


def test_constant_images_standardise_to_zero() -> None:
    block = np.full((2, 5, 4, 3), 0.1, np.float32)
    found = transformed(block, standardization=kernels.Standardization(None, True, True))
    assert np.abs(found).max() < 0.01
    found = transformed(block, standardization=kernels.Standardization(None, False, True))
    np.testing.assert_allclose(found, 0.1 / 1e-6, rtol=1e-5)


def test_all_at_once_is_one_after_the_other() -> None:
    block, each = picture(24, 24, 3, "uint8", count=4), parameters(4, 24)
    standardization = kernels.Standardization(0.01, True, True, np.arange(3.0), np.arange(1.0, 4.0))
    steps = transformed(block, matrices=each["matrices"])
    for name in ("channel_shift", "flips", "brightness"):
        steps = transformed(steps, **{name: each[name]}, value_range=(0, 255))
    kernels.standardize_images(steps, standardization)
    assert_same_bits(transformed(block, **each, value_range=(0, 255), standardization=standardization), steps)


def readonly(block: np.ndarray) -> np.ndarray:
    copy = block.copy()
    copy.flags.writeable = False
    return copy


def inside_records(block: np.ndarray) -> np.ndarray:
    records = np.zeros(block.shape, [("pad", "u1"), ("value", block.dtype)])
    records["value"] = block
    return records["value"]


LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "readonly": readonly,
    "channels first": lambda block: np.ascontiguousarray(block.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1),
    "backwards": lambda block: block[::-1, ::-1, ::-1, ::-1].copy()[::-1, ::-1, ::-1, ::-1],
    "rows backwards": lambda block: block[:, ::-1].copy()[:, ::-1],
    "every other column": lambda block: np.repeat(block, 2, axis=2)[:, :, ::2],
    "window": lambda block: np.pad(block, ((1, 2), (3, 1), (2, 2), (1, 0)))[1:-2, 3:-1, 2:-2, 1:],
    "other byte order": lambda block: block.astype(block.dtype.newbyteorder("S")),
    "Fortran": np.asfortranarray,
    "misaligned": inside_records,
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize(("dtype", "channels"), [("uint8", 3), ("uint16", 4), ("float32", 2), ("float64", 3)])
def test_memory_layout_of_the_input_does_not_matter(
    layout: Callable[[np.ndarray], np.ndarray], dtype: str, channels: int
) -> None:
    block, each = picture(16, 12, channels, dtype, count=3), parameters(3, 14)
    view = layout(block)
    np.testing.assert_array_equal(view, block)
    assert_same_bits(transformed(view, **each), transformed(block, **each))
    np.testing.assert_array_equal(view, block)


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name not in {"readonly", "other byte order"}])
def test_memory_layout_of_the_output_does_not_matter(layout: str) -> None:
    block, each = picture(16, 12, 3, "uint8", count=3), parameters(3, 14)
    out = LAYOUTS[layout](np.full(block.shape, np.nan, np.float32))
    assert kernels.transform_images(block, np.arange(3), **each, out=out) is out
    assert_same_bits(out, transformed(block, **each))


def test_nothing_beside_the_output_is_written() -> None:
    block, each = picture(16, 12, 3, "uint8", count=2), parameters(2, 14)
    around = np.full((4, 18, 14, 5), 99.0, np.float32)
    window = np.zeros(around.shape, bool)
    window[1:3, 1:-1, 1:-1, 1:-1] = True
    kernels.transform_images(block, [0, 1], **each, out=around[1:3, 1:-1, 1:-1, 1:-1])
    assert (around[~window] == 99.0).all()


@given(index=st.lists(st.integers(0, 4), max_size=7), channels=st.sampled_from([1, 3, 4, 6]))
def test_an_image_does_not_depend_on_its_batch(index: list[int], channels: int) -> None:
    block, each = picture(11, 14, channels, "uint8", count=5), parameters(7, 12)
    standardization = kernels.Standardization(None, True, True)
    out = np.empty((len(index), 11, 14, channels), np.float32)
    batch = {name: values[: len(index)] for name, values in each.items()}
    kernels.transform_images(block, np.array(index, np.int64), **batch, standardization=standardization, out=out)
    for k, i in enumerate(index):
        alone = np.empty((1, 11, 14, channels), np.float32)
        own = {name: values[k : k + 1] for name, values in each.items()}
        kernels.transform_images(block[i : i + 1], [0], **own, standardization=standardization, out=alone)
        assert_same_bits(out[k], alone[0])


@pytest.mark.parametrize("shape", [(0, 4, 5, 3), (2, 0, 5, 3), (2, 4, 0, 3), (2, 4, 5, 0)])
def test_empty_blocks(shape: tuple[int, ...]) -> None:
    found = transformed(np.empty(shape, np.uint8), **parameters(shape[0], 4))
    assert found.shape == shape


def test_an_empty_index_takes_nothing() -> None:
    out = np.empty((0, 4, 5, 3), np.float32)
    assert kernels.transform_images(picture(4, 5, 3, "uint8"), [], out=out) is out


def test_in_place_equals_out_of_place() -> None:
    block, each = picture(10, 10, 3, "float32", count=4), parameters(4, 10)
    wanted = transformed(block, **each)
    kernels.transform_images(block, np.arange(4), **each, out=block)
    assert_same_bits(block, wanted)


@pytest.mark.parametrize("index", [[3, 2, 1, 0], [1, 1, 0, 3]])
def test_overlapping_memory_is_read_before_it_is_written(index: list[int]) -> None:
    block, each = picture(10, 10, 3, "float32", count=4), parameters(4, 10)
    wanted = kernels.transform_images(block, index, **each, out=np.empty_like(block))
    assert_same_bits(kernels.transform_images(block, index, **each, out=block), wanted)
    longer = np.concatenate([picture(10, 10, 3, "float32", count=4), np.zeros((1, 10, 10, 3), np.float32)])
    assert_same_bits(kernels.transform_images(longer[:4], index, **each, out=longer[1:]), wanted)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_standardize_images_works_in_place(dtype: str) -> None:
    block = picture(9, 7, 3, dtype, count=3)
    standardization = kernels.Standardization(1 / 255, True, False, None, np.array([2.0, 3.0, 4.0]))
    wanted = transformed(block, dtype, standardization=standardization)
    kernels.standardize_images(block, standardization)
    assert_same_bits(block, wanted)


BLOCK = np.zeros((2, 4, 5, 3), np.uint8)
OUT = np.zeros((2, 4, 5, 3), np.float32)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"index": [0, 2]}, IndexError, "between 0 and 1"),
        ({"index": [-1, 0]}, IndexError, "found -1"),
        ({"index": [0.0, 1.0]}, ValueError, "index must be a row of integers"),
        ({"images": BLOCK[0]}, ValueError, "four axes"),
        ({"images": BLOCK.astype(complex)}, ValueError, "complex128"),
        ({"out": OUT[:1]}, ValueError, r"out must have shape \(2, 4, 5, 3\)"),
        ({"out": OUT.astype(np.float16)}, ValueError, "float16"),
        ({"out": readonly(OUT)}, ValueError, "writable"),
        ({"matrices": np.zeros((1, 2, 3))}, ValueError, "matrices must have shape"),
        ({"matrices": np.full((2, 2, 3), np.nan)}, ValueError, "finite"),
        ({"matrices": np.full((2, 2, 3), 1e308)}, ValueError, "finite"),
        ({"flips": [True, False]}, ValueError, "flips must have shape"),
        ({"channel_shift": [1.0]}, ValueError, "channel_shift must have shape"),
        ({"brightness": 1.0}, ValueError, "brightness must have shape"),
        ({"value_range": (255, 0)}, ValueError, "value_range"),
        ({"standardization": kernels.Standardization(mean=np.zeros(2))}, ValueError, "mean must have shape"),
    ],
    ids=str,
)
def test_wrong_arguments_are_named(wrong: dict[str, object], error: type[Exception], message: str) -> None:
    arguments = {"images": BLOCK, "index": [0, 1], "out": OUT} | wrong
    with pytest.raises(error, match=message):
        kernels.transform_images(**arguments)


def test_wrong_resampling_is_named() -> None:
    with pytest.raises(ConfigError, match="order must be 0 or 1"):
        kernels.Resampling(order=2)
    with pytest.raises(ConfigError, match="constant, nearest, reflect, wrap"):
        kernels.Resampling(fill_mode="mirror")
    with pytest.raises(ConfigError, match="order must be 2, 3, 4 or 5"):
        kernels.affine_spline(BLOCK, [0, 1], [IDENTITY] * 2, 1, "nearest", 0.0, OUT)
    with pytest.raises(ConfigError, match="constant, nearest, reflect, wrap"):
        kernels.affine_spline(BLOCK, [0, 1], [IDENTITY] * 2, 3, "mirror", 0.0, OUT)
