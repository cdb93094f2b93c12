"""Small pictures of images, for looking at many of them."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from daskaug.pictures.encoding import to_picture

SIDES = (64, 48, 32, 16)
"""Pixels of the longer side: the first with which a thumbnail is small enough."""

MOST_NBYTES = 9_000


def thumbnail(image: NDArray[Any], data_format: str) -> bytes:
    """An image as a small PNG file.

    Parameters
    ----------
    image : (h, w, c) or (c, h, w)
        8-bit grey levels as they are; any other type is stretched from its lowest value to its highest. Of 2 channels,
        or more than 4, the first is shown.
    data_format : {"channels_last", "channels_first"}

    Returns
    -------
    bytes
        At most :data:`MOST_NBYTES`, and at most 64 pixels on a side; a smaller image keeps its size.
    """
    pixels = np.moveaxis(image, 0, 2) if data_format == "channels_first" else image
    if pixels.shape[2] not in (1, 3, 4):
        pixels = pixels[:, :, :1]
    if pixels.dtype != np.uint8:
        pixels = np.nan_to_num(pixels.astype(np.float64), posinf=0.0, neginf=0.0)
    picture = to_picture(pixels, scale=pixels.dtype != np.uint8)
    for side in SIDES:
        small = picture.copy()
        small.thumbnail((side, side), Image.Resampling.BILINEAR)
        file = io.BytesIO()
        small.save(file, format="PNG")
        if file.tell() <= MOST_NBYTES:
            break
    return file.getvalue()
