"""What the tests of the image kernels share: pieces of a photograph, and one digest over everything they compute.

Run as a program it prints the digest, which must be the same on every CPU.
"""

from __future__ import annotations

import functools
import hashlib

import numpy as np
import skimage.data

from daskaug.kernels import images as kernels


@functools.cache
def photograph() -> np.ndarray:
    """(512, 512, 3) uint8."""
    return skimage.data.astronaut()


def picture(height: int, width: int, channels: int, dtype: str, count: int = 1) -> np.ndarray:
    """(count, height, width, channels) pieces of a photograph; grey levels 0 to 255, with fractions where they fit."""
    pieces = np.empty((count, height, width, channels), dtype)
    for i in range(count):
        for channel in range(channels):
            top, left = 100 + 13 * i + 7 * channel, 150 + 11 * i
            pieces[i, :, :, channel] = photograph()[top : top + height, left : left + width, channel % 3]
    return pieces + pieces.dtype.type(0.37) if pieces.dtype.kind == "f" else pieces


def assert_same_bits(found: np.ndarray, wanted: np.ndarray) -> None:
    """Equal dtype, shape and bits: signs of zeros count, and one NaN is like another."""
    assert found.dtype == wanted.dtype
    np.testing.assert_array_equal(found, wanted, strict=True)
    number = ~np.isnan(wanted)
    np.testing.assert_array_equal(np.signbit(found[number]), np.signbit(wanted[number]))


def parameters(count: int, size: int) -> dict[str, np.ndarray]:
    """Moderate warps and changes of level for each of `count` images of size × size pixels."""
    state = np.random.RandomState(7)
    matrices = np.zeros((count, 2, 3))
    matrices[:, :, :2] = np.eye(2) + state.uniform(-0.3, 0.3, (count, 2, 2))
    matrices[:, :, 2] = state.uniform(-0.2, 0.2, (count, 2)) * size
    return {
        "matrices": matrices,
        "flips": state.uniform(size=(count, 2)) < 0.5,
        "channel_shift": state.uniform(-20, 20, count),
        "brightness": state.uniform(0.8, 1.2, count),
    }


def digest() -> str:
    """Hash of the bits of all fill modes, orders and standardisations."""
    result = hashlib.sha256()
    for dtype, out_dtype in (("uint8", "float32"), ("uint16", "float64")):
        for channels in (1, 3, 4):
            block = picture(48, 48, channels, dtype, count=4)
            standardization = kernels.Standardization(
                1 / 255, True, True, np.linspace(0.1, 0.2, channels), np.linspace(0.3, 0.4, channels)
            )
            for fill_mode in kernels.FILL_MODES:
                for order, double in ((0, False), (1, False), (1, True)):
                    out = np.empty(block.shape, out_dtype)
                    kernels.transform_images(
                        block,
                        np.arange(4),
                        **parameters(4, 48),
                        value_range=(0, 255),
                        resampling=kernels.Resampling(order, fill_mode, 12.5, double),
                        standardization=standardization,
                        out=out,
                    )
                    result.update(out.tobytes())
                    result.update(kernels.round_to_integer(out * 40, np.int16).tobytes())
    return result.hexdigest()


if __name__ == "__main__":
    print(digest())
