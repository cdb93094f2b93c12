"""From files to Pillow images and arrays."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray
from PIL import Image

from daskaug.errors import ConfigError, SourceError

COLOR_MODES = ("grayscale", "rgb", "rgba")

INTERPOLATIONS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "hamming": Image.Resampling.HAMMING,
    "box": Image.Resampling.BOX,
    "lanczos": Image.Resampling.LANCZOS,
}
"""Keras' names of Pillow's filters."""

_GREY_MODES = ("L", "I;16", "I")
"""Greyscale of 8, 16 and 32 bits, which is kept."""

_MASK_MODES = ("1", "L", "P", "I;16", "I")
"""One number for each pixel: yes or no, a grey level, or an index into a palette."""


def load_picture(
    path: str | bytes | os.PathLike[str] | io.BytesIO,
    color_mode: str = "rgb",
    target_size: Sequence[int] | None = None,
    interpolation: str = "nearest",
    keep_aspect_ratio: bool = False,
) -> Image.Image:
    """Read a picture from a file or from bytes in memory.

    Parameters
    ----------
    path : path or io.BytesIO
    color_mode : {"grayscale", "rgb", "rgba"}
        What the picture is converted to. Greyscale of 8, 16 or 32 bits stays what it is for ``"grayscale"``.
    target_size : (height, width), optional
        In pixels. The file's own size by default.
    interpolation : str
        One of :data:`INTERPOLATIONS`.
    keep_aspect_ratio : bool
        Cut the largest centred piece with the proportions of `target_size` before resizing.

    Raises
    ------
    ConfigError
        For a value of an option that is none.
    SourceError
        Nothing is left of the picture by `keep_aspect_ratio`.
    OSError
        The file cannot be opened, or (PIL.UnidentifiedImageError) is no picture that Pillow knows.
    TypeError
        `path` is neither a path nor an ``io.BytesIO``.

    References
    ----------
    Keras 3.15, ``load_img``.
    """
    if color_mode not in COLOR_MODES:
        raise ConfigError(f"`color_mode` must be one of {', '.join(COLOR_MODES)}. Received: {color_mode!r}.")
    size = None if target_size is None else _checked_size(target_size)
    if size is not None and interpolation not in INTERPOLATIONS:
        raise ConfigError(
            f"Invalid `interpolation` {interpolation!r}. Supported methods are {', '.join(INTERPOLATIONS)}."
        )
    picture = _in_colors(Image.open(_bytes_of(path)), color_mode)
    return _resized(picture, size, INTERPOLATIONS.get(interpolation), keep_aspect_ratio)


def load_mask(
    path: str | bytes | os.PathLike[str] | io.BytesIO,
    target_size: Sequence[int] | None = None,
    keep_aspect_ratio: bool = False,
) -> Image.Image:
    """Read a mask, whose pixels are labels: no value is changed, and none is made up where it is resized.

    Parameters
    ----------
    path : path or io.BytesIO
        A picture with one number for each pixel. With a palette it is the index, not the colour; pictures of one bit
        have 0 and 1.
    target_size, keep_aspect_ratio
        As in :func:`load_picture`.

    Raises
    ------
    SourceError
        For pictures with more than one channel, or with fractions.
    ConfigError, OSError, TypeError
        As :func:`load_picture` does.
    """
    size = None if target_size is None else _checked_size(target_size)
    picture = Image.open(_bytes_of(path))
    if picture.mode not in _MASK_MODES:
        raise SourceError(
            f"a mask has one whole number for each pixel, and this picture has Pillow's mode {picture.mode!r}; save it "
            "as PNG with a palette, or in grey levels of 8 or 16 bits"
        )
    return _resized(picture, size, Image.Resampling.NEAREST, keep_aspect_ratio)


def to_array(
    picture: Image.Image | NDArray[Any], data_format: str = "channels_last", dtype: DTypeLike = "float32"
) -> NDArray[Any]:
    """A Pillow image as an array.

    Parameters
    ----------
    picture : PIL.Image.Image
        Or an array of rank 2 or 3, channels last.
    data_format : {"channels_last", "channels_first"}
        Of the result.
    dtype : dtype
        Of the result; values are kept, not scaled.

    Returns
    -------
    (h, w, c) or (c, h, w) array

    Raises
    ------
    SourceError
        `picture` has another rank.

    References
    ----------
    Keras 3.15, ``img_to_array``.
    """
    pixels = np.asarray(picture, dtype=dtype)
    if pixels.ndim not in (2, 3):
        raise SourceError(f"A picture has two axes, or three with channels; found an array of shape {pixels.shape}.")
    if pixels.ndim == 2:
        pixels = pixels[:, :, np.newaxis]
    return pixels.transpose(2, 0, 1) if data_format == "channels_first" else pixels


def _bytes_of(path: Any) -> io.BytesIO:
    """The whole file in memory, so that it is closed before Pillow decodes it."""
    if isinstance(path, io.BytesIO):
        return path
    if not isinstance(path, str | bytes | os.PathLike):
        raise TypeError(f"path should be path-like or io.BytesIO, not {type(path)}")
    return io.BytesIO(Path(os.fsdecode(path)).read_bytes())


def _in_colors(picture: Image.Image, color_mode: str) -> Image.Image:
    if color_mode == "grayscale":
        return picture if picture.mode in _GREY_MODES else picture.convert("L")
    mode = color_mode.upper()
    return picture if picture.mode == mode else picture.convert(mode)


def _resized(
    picture: Image.Image, size: tuple[int, int] | None, resampling: Image.Resampling | None, keep_aspect_ratio: bool
) -> Image.Image:
    if size is None or picture.size == size:
        return picture
    box = _centered_box(picture.size, size) if keep_aspect_ratio else None
    return picture.resize(size, resampling, box=box)


def _checked_size(target_size: Sequence[int]) -> tuple[int, int]:
    """(width, height), as Pillow has it. More numbers than two, such as channels, are ignored, as by Keras."""
    try:
        height, width = (int(length) for length in target_size[:2])
    except (TypeError, ValueError):
        height = width = 0
    if min(height, width) < 1:
        raise ConfigError(f"`target_size` must be (height, width) in pixels, 1 or more. Received: {target_size!r}.")
    return width, height


def _centered_box(size: tuple[int, int], target: tuple[int, int]) -> tuple[int, int, int, int]:
    """(left, upper, right, lower) of the largest centred piece with the proportions of the target."""
    width, height = size
    cut_height = min(height, width * target[1] // target[0])
    cut_width = min(width, height * target[0] // target[1])
    if cut_height < 1 or cut_width < 1:
        raise SourceError(
            f"A picture of {height} × {width} pixels (height × width) has no piece with the proportions of "
            f"{target[1]} × {target[0]}. Leave out keep_aspect_ratio=True."
        )
    left, upper = (width - cut_width) // 2, (height - cut_height) // 2
    return left, upper, left + cut_width, upper + cut_height
