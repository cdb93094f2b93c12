"""From arrays to Pillow images and files."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray
from PIL import Image

from daskaug.errors import ConfigError, SourceError


def to_picture(
    image: ArrayLike, data_format: str = "channels_last", *, scale: bool = True, dtype: DTypeLike = "float32"
) -> Image.Image:
    """A Pillow image of one array.

    Parameters
    ----------
    image : (h, w, c) or (c, h, w)
        With 1, 3 or 4 channels. Not changed.
    data_format : {"channels_last", "channels_first"}
    scale : bool
        Stretch the values to 0 to 255, as Keras' ``array_to_img`` does; otherwise they are taken as grey levels, cut
        off after the decimal point and clipped to what the picture can hold.
    dtype : dtype
        Of the arithmetic; scaling is done in float32 where it is an integer type.

    Returns
    -------
    PIL.Image.Image
        Of mode RGB or RGBA; of mode L for one channel, or I (32 bits) where that one has values above 255.

    Raises
    ------
    SourceError
        For another rank or number of channels, or an image without pixels.

    References
    ----------
    Keras 3.15, ``array_to_img``. There, values that the picture cannot hold wrap around or are undefined.
    """
    pixels = np.asarray(image, dtype=dtype)
    if pixels.ndim != 3:
        raise SourceError(f"A picture needs an array of rank 3 (height, width, channels); found shape {pixels.shape}.")
    if data_format == "channels_first":
        pixels = np.moveaxis(pixels, 0, 2)
    channels = pixels.shape[2]
    if channels not in (1, 3, 4):
        raise SourceError(
            f"A picture has 1, 3 or 4 channels; found {channels} in an array of shape {np.shape(image)} "
            f"({data_format}). Pick channels first, or pass the other `data_format`."
        )
    if pixels.size == 0:
        raise SourceError(f"A picture needs pixels; found an array of shape {np.shape(image)}.")
    if scale:
        pixels = _stretched(pixels)
    if channels == 1:
        grey = pixels[:, :, 0]
        if grey.max() > 255:
            limits = np.iinfo(np.int32)
            return Image.fromarray(np.clip(grey.astype(np.float64), limits.min, limits.max).astype(np.int32))
        return Image.fromarray(_levels(grey))
    return Image.fromarray(_levels(pixels))


def _stretched(pixels: NDArray[Any]) -> NDArray[Any]:
    """Values from 0 to 255; all 0 where they do not differ."""
    if pixels.dtype.kind != "f":
        pixels = pixels.astype(np.float32)
    pixels = pixels - pixels.min()
    highest = pixels.max()
    if highest != 0:
        pixels = pixels / highest
    return pixels * 255


def _levels(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(np.clip(pixels, 0, 255).astype(np.uint8))


def save_picture(
    path: str | os.PathLike[str] | IO[bytes],
    picture: Image.Image,
    file_format: str | None = None,
    **options: Any,
) -> None:
    """Write a picture to a file.

    Parameters
    ----------
    path : path or binary file object
    picture : PIL.Image.Image
    file_format : str, optional
        A name or ending that Pillow knows, in any case; the ending of `path` by default.
    **options
        For Pillow's writer, for instance ``quality`` of a JPEG.

    Raises
    ------
    ConfigError
        The format is not known, or there is none.

    Warns
    -----
    UserWarning
        A picture with an alpha channel loses it in a JPEG file.
    """
    name = _pillow_format(path, file_format)
    if name == "JPEG" and picture.mode == "RGBA":
        warnings.warn("The JPEG format does not support RGBA images, converting to RGB.", UserWarning, stacklevel=3)
        picture = picture.convert("RGB")
    if name == "PNG" and picture.mode == "I":
        # Pillow 13 no longer writes 32-bit pictures as 16-bit PNG by itself; what it wrote before was this.
        levels = np.clip(np.asarray(picture), 0, 2**16 - 1).astype(np.uint16)
        picture = Image.fromarray(levels)
    picture.save(path, format=name, **options)


def _pillow_format(path: Any, file_format: str | None) -> str:
    """Pillow's own name of a file format, such as JPEG for jpg."""
    endings = Image.registered_extensions()
    asked = file_format
    if not asked and isinstance(path, str | os.PathLike):
        asked = Path(os.fspath(path)).suffix[1:]
    if not asked:
        raise ConfigError(
            f"`file_format` must be given, since {path!r} has no ending that tells it; for instance file_format='png'."
        )
    name = endings.get(f".{asked.lower()}", asked.upper())
    if name not in Image.SAVE:
        known = ", ".join(sorted(ending[1:] for ending, n in endings.items() if n in Image.SAVE))
        raise ConfigError(f"`file_format` {asked!r} is not one that Pillow can write here; it knows {known}.")
    return name
