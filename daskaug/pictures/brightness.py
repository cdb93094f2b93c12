"""Brightness through the 8-bit levels of a picture, as Keras does it."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray
from PIL import ImageEnhance

from daskaug.pictures.decoding import to_array
from daskaug.pictures.encoding import to_picture


def brighten(
    image: ArrayLike,
    factor: float,
    data_format: str = "channels_last",
    *,
    scale: bool = False,
    dtype: DTypeLike = "float32",
) -> NDArray[np.floating]:
    """Multiply an image by a factor, by way of 8-bit levels.

    Parameters
    ----------
    image : (h, w, c) or (c, h, w), by the data format
        With 1, 3 or 4 channels (alpha, the last of 4, is left alone). Not changed. An image that leaves 0 to 255 is
        stretched to that range first.
    factor : float
        1 leaves the brightness as it is (but not fractions of levels), 0 gives black.
    data_format : {"channels_last", "channels_first"}
    scale : bool
        True: every image is stretched so that its values are from 0 to 255, and stays so. False: one that was
        stretched is put back to its own range.
    dtype : dtype
        Of the arithmetic, and of the result unless it was put back to the range of a wider type.

    Returns
    -------
    array of the same shape, float

    Raises
    ------
    SourceError
        For another rank or number of channels.

    References
    ----------
    Keras 3.15, ``apply_brightness_shift``. It always takes images for channels last, whatever their format is, unless
    keras.json says otherwise.
    """
    pixels = np.asarray(image)
    stretches = pixels.size > 0 and bool(pixels.min() < 0 or pixels.max() > 255)
    given = to_picture(pixels, data_format, scale=scale or stretches, dtype=dtype)
    result = to_array(ImageEnhance.Brightness(given).enhance(factor), data_format, dtype)
    if scale or not stretches:
        return result
    # The range in the dtype that the result is to have: the difference may not fit in the image's own.
    wide = np.result_type(result.dtype, pixels.dtype)
    lowest, highest = pixels.min().astype(wide), pixels.max().astype(wide)
    restored: NDArray[np.floating] = result / 255 * (highest - lowest) + lowest
    return restored
