"""Between arrays and Pillow images."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from daskaug.errors import SourceError

_MODES = {3: "RGB", 4: "RGBA"}


def to_picture(image: NDArray[Any], data_format: str = "channels_last", *, scale: bool = True) -> Image.Image:
    """A Pillow image of one array.

    Parameters
    ----------
    image : (h, w, c) or (c, h, w)
        With 1, 3 or 4 channels.
    data_format : {"channels_last", "channels_first"}
    scale : bool
        Stretch the values to 0 to 255, as Keras' ``array_to_img`` does; otherwise they are taken as grey levels.

    Raises
    ------
    SourceError
        For another rank or number of channels.
    """
    if image.ndim != 3:
        raise SourceError(f"A picture needs an array of rank 3 (height, width, channels); found shape {image.shape}.")
    pixels = np.moveaxis(image, 0, 2) if data_format == "channels_first" else image
    if scale:
        pixels = pixels.astype(np.float32)
        pixels = pixels - pixels.min()
        highest = pixels.max()
        pixels = pixels / highest * 255 if highest else pixels
    channels = pixels.shape[2]
    if channels == 1:
        grey = pixels[:, :, 0]
        if grey.max() > 255:
            return Image.fromarray(grey.astype(np.int32), "I")
        return Image.fromarray(grey.astype(np.uint8), "L")
    if channels not in _MODES:
        raise SourceError(f"A picture has 1, 3 or 4 channels; found {channels} in an array of shape {image.shape}.")
    return Image.fromarray(np.ascontiguousarray(pixels.astype(np.uint8)), _MODES[channels])
