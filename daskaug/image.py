"""The names of ``keras.preprocessing.image``: change the import, and an old script goes on.

::

    from daskaug.image import ImageDataGenerator, img_to_array, load_img

Arguments, defaults, axes and dtypes are those of Keras 3.15 (``keras.utils`` and ``keras.src.legacy.preprocessing``).
``data_format=None`` and ``dtype=None`` read the user's keras.json, as Keras does; neither Keras nor TensorFlow is
imported. The random functions take a keyword ``rng``, and leave NumPy's global generator alone: what
``np.random.seed(5)`` before the call did, ``rng=5`` does, with the same numbers.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Sequence
from typing import IO, Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray
from PIL import Image

from daskaug import pictures
from daskaug.config import DATA_FORMATS, keras_default
from daskaug.errors import ConfigError
from daskaug.generator import ImageDataGenerator
from daskaug.iterators import BatchIterator as Iterator
from daskaug.iterators import DataFrameIterator, DirectoryIterator, NumpyArrayIterator
from daskaug.seeding import given_generator
from daskaug.transforms import like_keras, one_image

__all__ = [
    "DataFrameIterator",
    "DirectoryIterator",
    "ImageDataGenerator",
    "Iterator",
    "NumpyArrayIterator",
    "apply_affine_transform",
    "apply_brightness_shift",
    "apply_channel_shift",
    "array_to_img",
    "flip_axis",
    "img_to_array",
    "list_pictures",
    "load_img",
    "random_brightness",
    "random_channel_shift",
    "random_rotation",
    "random_shear",
    "random_shift",
    "random_zoom",
    "save_img",
    "smart_resize",
    "transform_matrix_offset_center",
    "validate_filename",
]

Rng = int | np.random.RandomState | np.random.Generator | None
"""Where the random functions take their numbers from; see :func:`daskaug.seeding.given_generator`."""


# --- files and pictures ------------------------------------------------------------------------------------------


def load_img(
    path: str | bytes | os.PathLike[str] | io.BytesIO,
    color_mode: str = "rgb",
    target_size: Sequence[int] | None = None,
    interpolation: str = "nearest",
    keep_aspect_ratio: bool = False,
) -> Image.Image:
    """Load an image into Pillow's format.

    Parameters
    ----------
    path : str, pathlib.Path or io.BytesIO
        Of any format that Pillow reads.
    color_mode : {"rgb", "rgba", "grayscale"}
        Greyscale of 8, 16 or 32 bits (modes L, I;16 and I) keeps its bits with ``"grayscale"``; everything else
        becomes 8-bit grey, red-green-blue, or that with alpha.
    target_size : (height, width), optional
        In pixels. The size of the file by default.
    interpolation : {"nearest", "bilinear", "bicubic", "box", "lanczos", "hamming"}
        Pillow's filter for resizing.
    keep_aspect_ratio : bool
        Cut the largest centred piece with the proportions of `target_size` before resizing, instead of distorting.

    Returns
    -------
    PIL.Image.Image

    Raises
    ------
    ConfigError
        `color_mode`, `target_size` or `interpolation` is none that is known.
    SourceError
        The picture is so narrow that `keep_aspect_ratio` leaves nothing of it.
    OSError
        The file is not there or cannot be opened; ``PIL.UnidentifiedImageError`` if it is no picture.
    TypeError
        `path` is neither a path nor an ``io.BytesIO``.

    See Also
    --------
    img_to_array : From the result to an array.
    """
    return pictures.load_picture(path, color_mode, target_size, interpolation, keep_aspect_ratio)


def save_img(
    path: str | os.PathLike[str] | IO[bytes],
    x: ArrayLike,
    data_format: str | None = None,
    file_format: str | None = None,
    scale: bool = True,
    **kwargs: Any,
) -> None:
    """Save an array as a picture.

    Parameters
    ----------
    path : path or binary file object
    x : (h, w, c) or (c, h, w)
        With 1, 3 or 4 channels.
    data_format : {"channels_last", "channels_first"}, optional
    file_format : str, optional
        Such as ``"png"``; the ending of `path` by default. Needed for a file object.
    scale : bool
        Stretch the values to 0 to 255; see :func:`array_to_img`.
    **kwargs
        For Pillow's ``Image.save``, for instance ``quality=95``.

    Raises
    ------
    ConfigError
        The data format or file format is not known.
    SourceError
        `x` cannot be a picture.
    OSError
        The file cannot be written, or the format cannot hold such pictures.

    Warns
    -----
    UserWarning
        Four channels as JPEG: the file has no alpha.

    Notes
    -----
    One channel with values above 255 makes a 16-bit PNG. Pillow's endings count as formats in upper and lower case;
    Keras stumbles over ``tif`` and with Pillow 13 over 16-bit PNG.
    """
    pictures.save_picture(path, array_to_img(x, data_format, scale), file_format, **kwargs)


def img_to_array(
    img: Image.Image | NDArray[Any], data_format: str | None = None, dtype: DTypeLike | None = None
) -> NDArray[Any]:
    """Convert a Pillow image to an array.

    Parameters
    ----------
    img : PIL.Image.Image, or array of rank 2 or 3
    data_format : {"channels_last", "channels_first"}, optional
        Of the result.
    dtype : dtype, optional
        Of the result; Keras' ``floatx`` by default, mostly float32. Values are kept.

    Returns
    -------
    (h, w, c) or (c, h, w) array
        Greyscale has one channel.

    Raises
    ------
    ConfigError
        The data format is not known.
    SourceError
        `img` is an array of a rank other than 2 and 3.
    """
    return pictures.to_array(img, _data_format(data_format), _dtype(dtype))


def array_to_img(
    x: ArrayLike, data_format: str | None = None, scale: bool = True, dtype: DTypeLike | None = None
) -> Image.Image:
    """Convert an array to a Pillow image.

    Parameters
    ----------
    x : (h, w, c) or (c, h, w)
        With 1, 3 or 4 channels. Not changed.
    data_format : {"channels_last", "channels_first"}, optional
    scale : bool
        Stretch the values so that the lowest is 0 and the highest 255; an image of one value becomes black. With
        False, values are taken as grey levels: cut off after the decimal point, and clipped to 0 to 255 (Keras lets
        them wrap around).
    dtype : dtype, optional
        Of the arithmetic; Keras' ``floatx`` by default.

    Returns
    -------
    PIL.Image.Image
        Mode RGB, RGBA or L; one channel with values above 255 gives mode I, which has 32 bits.

    Raises
    ------
    ConfigError
        The data format is not known.
    SourceError
        `x` has another rank, another number of channels or no pixels.
    """
    return pictures.to_picture(x, _data_format(data_format), scale=scale, dtype=_dtype(dtype))


def smart_resize(
    x: ArrayLike, size: Sequence[int], interpolation: str = "bilinear", data_format: str | None = "channels_last"
) -> NDArray[Any]:
    """Resize images without distorting them: what does not fit the target's proportions is cut off at the edges.

    Parameters
    ----------
    x : (h, w, c) or (b, h, w, c), with channels first (c, h, w) or (b, c, h, w)
        Of any real dtype. Not changed.
    size : (height, width)
        In pixels.
    interpolation : {"bilinear", "nearest", "bicubic", "lanczos3", "lanczos5"}
        Without antialiasing.
    data_format : {"channels_last", "channels_first"}, optional

    Returns
    -------
    array
        A NumPy array, whatever `x` is. float32 (float16 for float16); with ``"nearest"`` of the dtype of `x`. Types of
        64 bits become those of 32, as on Keras' JAX backend.

    Raises
    ------
    ConfigError
        The size, interpolation or data format is none that is known.
    SourceError
        `x` is neither an image nor a batch, or has no pixels.

    Notes
    -----
    ``"nearest"`` gives Keras' pixels; the others differ from Keras on JAX by less than 0.005 on a scale of 0 to 255,
    for images of up to 1,024 pixels a side.
    """
    return pictures.crop_and_resize(x, size, interpolation, _data_format(data_format))


def list_pictures(
    directory: str | os.PathLike[str], ext: str | Iterable[str] = ("jpg", "jpeg", "bmp", "png", "ppm", "tif", "tiff")
) -> list[str]:
    """Paths of the pictures in a folder and the folders below it.

    Parameters
    ----------
    directory : path
        One that does not exist has no pictures.
    ext : str or iterable of str
        Endings in lower case without the dot, which match upper case too; also in one string, ``"jpg|png"``.

    Returns
    -------
    list of str
        In alphabetic order within each folder.
    """
    return pictures.list_files(directory, ext)


def validate_filename(filename: str | os.PathLike[str], white_list_formats: str | Iterable[str]) -> bool:
    """Whether there is such a file, and its name ends as a picture's.

    Parameters
    ----------
    filename : path
    white_list_formats : str or iterable of str
        Endings in lower case; the name may have them in upper case.

    Returns
    -------
    bool
    """
    return pictures.has_ending(filename, white_list_formats)


# --- operations with parameters ----------------------------------------------------------------------------------


def flip_axis(x: ArrayLike, axis: int) -> NDArray[Any]:
    """Reverse one axis of an array.

    Parameters
    ----------
    x : array of any rank
        Not changed.
    axis : int

    Returns
    -------
    array of the same shape
        A view of `x`.

    Raises
    ------
    ValueError
        ``numpy.exceptions.AxisError``: there is no such axis.
    """
    return one_image.flip(x, axis)


def transform_matrix_offset_center(matrix: ArrayLike, x: float, y: float) -> NDArray[np.float64]:
    """Move the origin of a transform to the centre of an image.

    Parameters
    ----------
    matrix : (3, 3)
        Transform of homogeneous coordinates (x, y, 1) about the origin.
    x, y : float
        Extent of the image along the first and second coordinate, in pixels.

    Returns
    -------
    (3, 3) float64
        The same transform about ``(x / 2 - 1/2, y / 2 - 1/2)``.
    """
    return like_keras.about_center(matrix, x, y)


def apply_affine_transform(
    x: ArrayLike,
    theta: float = 0,
    tx: float = 0,
    ty: float = 0,
    shear: float = 0,
    zx: float = 1,
    zy: float = 1,
    row_axis: int = 1,
    col_axis: int = 2,
    channel_axis: int = 0,
    fill_mode: str = "nearest",
    cval: float = 0.0,
    order: int = 1,
) -> NDArray[Any]:
    """Rotate, shift, shear and zoom one image.

    Parameters
    ----------
    x : array of rank 3
        Any number of channels. Not changed.
    theta : float
        Angle in degrees.
    tx, ty : float
        Shifts in pixels; as in Keras, `tx` moves along the rows' axis and `ty` along the columns'.
    shear : float
        Angle in degrees.
    zx, zy : float
        Factors by which the sampling grid is stretched: above 1 the picture shrinks.
    row_axis, col_axis, channel_axis : int
        Which axis is what: 0, 1 and 2 in an order that has the channels first or last. Keras' default is channels
        first; channels last are ``row_axis=0, col_axis=1, channel_axis=2``.
    fill_mode : {"nearest", "constant", "reflect", "wrap"}
        What lies beside the image, in SciPy's words. SciPy's other modes (mirror, grid-wrap ...) work too.
    cval : float
        Beside the image with ``fill_mode="constant"``.
    order : int
        Of the spline, 0 (nearest pixel) over 1 (linear) to 5.

    Returns
    -------
    array of the same shape and dtype
        `x` itself where the parameters do nothing. Integers are rounded half away from zero and saturate.

    Raises
    ------
    ConfigError
        The axes, the fill mode or the order are none.
    SourceError
        `x` is not an image of rank 3 of real numbers.

    Notes
    -----
    The arithmetic is SciPy's in float64, rounded once to the dtype of `x`.
    """
    parameters = {"theta": theta, "tx": tx, "ty": ty, "shear": shear, "zx": zx, "zy": zy}
    axes = row_axis, col_axis, channel_axis
    return one_image.warp(x, parameters, axes, fill_mode=fill_mode, cval=cval, order=order)


def apply_channel_shift(x: ArrayLike, intensity: float, channel_axis: int = 0) -> NDArray[Any]:
    """Add a number to every channel, clipped to the range that the image has over all channels.

    Parameters
    ----------
    x : array of rank 3
        Not changed.
    intensity : float
        In the units of the image.
    channel_axis : int
        Where the channels are, which makes no difference: they all get the same.

    Returns
    -------
    array of the same shape
        Of the dtype of the sum: an integer image and a float give float64. With an `intensity` of Python's int, an
        integer image keeps its dtype, and does not wrap around as it does in Keras.

    Raises
    ------
    ConfigError
        There is no axis `channel_axis`.
    SourceError
        The image has no pixels.
    """
    return one_image.shift_channels(x, intensity, channel_axis)


def apply_brightness_shift(x: ArrayLike, brightness: float, scale: bool = True) -> NDArray[np.floating]:
    """Change the brightness of one image, through the 256 levels of a picture.

    Parameters
    ----------
    x : array of rank 3
        In the data format of keras.json, which is channels last unless somebody has changed it; 1, 3 or 4 channels,
        the last of 4 being alpha. Not changed.
    brightness : float
        Factor: 0 is black, 1 leaves the brightness.
    scale : bool
        Stretch the values to 0 to 255 before. With False only an image that leaves this range is stretched, and put
        back afterwards.

    Returns
    -------
    array of the same shape
        Of Keras' ``floatx``, mostly float32; an image of a wider type that was put back has that type.

    Raises
    ------
    SourceError
        `x` has another rank, another number of channels or no pixels.

    See Also
    --------
    daskaug.ImageDataGenerator : Its ``brightness_range`` keeps fractions, all channels, and images from 0 to 1.
    """
    return pictures.brighten(x, brightness, _data_format(None), scale=scale, dtype=_dtype(None))


# --- operations with random parameters ---------------------------------------------------------------------------


def random_rotation(
    x: ArrayLike,
    rg: float,
    row_axis: int = 1,
    col_axis: int = 2,
    channel_axis: int = 0,
    fill_mode: str = "nearest",
    cval: float = 0.0,
    interpolation_order: int = 1,
    *,
    rng: Rng = None,
) -> NDArray[Any]:
    """Rotate one image by a random angle.

    Parameters
    ----------
    x : array of rank 3
    rg : float
        The angle is drawn uniformly from -`rg` to `rg` degrees.
    row_axis, col_axis, channel_axis, fill_mode, cval, interpolation_order
        As in :func:`apply_affine_transform`, the last one being its `order`.
    rng : RandomState, Generator, int or None
        Source of the random number: a NumPy generator, which is advanced, or a seed. None is fresh entropy.

    Returns
    -------
    array of the same shape and dtype

    Raises
    ------
    ConfigError, SourceError
        As in :func:`apply_affine_transform`; ConfigError also for an `rng` that is none.
    """
    theta = given_generator(rng).uniform(-rg, rg)
    axes = row_axis, col_axis, channel_axis
    return one_image.warp(x, {"theta": theta}, axes, fill_mode=fill_mode, cval=cval, order=interpolation_order)


def random_shift(
    x: ArrayLike,
    wrg: float,
    hrg: float,
    row_axis: int = 1,
    col_axis: int = 2,
    channel_axis: int = 0,
    fill_mode: str = "nearest",
    cval: float = 0.0,
    interpolation_order: int = 1,
    *,
    rng: Rng = None,
) -> NDArray[Any]:
    """Shift one image by a random part of its size.

    Parameters
    ----------
    x : array of rank 3
    wrg, hrg : float
        Shifts are drawn uniformly from -`wrg` to `wrg` times the width and -`hrg` to `hrg` times the height, the
        height's first.
    row_axis, col_axis, channel_axis, fill_mode, cval, interpolation_order, rng
        As in :func:`random_rotation`.

    Returns
    -------
    array of the same shape and dtype

    Raises
    ------
    ConfigError, SourceError
        As in :func:`random_rotation`.
    """
    axes = row_axis, col_axis, channel_axis
    height, width = one_image.size_of(x, axes)
    generator = given_generator(rng)
    tx = generator.uniform(-hrg, hrg) * height
    ty = generator.uniform(-wrg, wrg) * width
    return one_image.warp(x, {"tx": tx, "ty": ty}, axes, fill_mode=fill_mode, cval=cval, order=interpolation_order)


def random_shear(
    x: ArrayLike,
    intensity: float,
    row_axis: int = 1,
    col_axis: int = 2,
    channel_axis: int = 0,
    fill_mode: str = "nearest",
    cval: float = 0.0,
    interpolation_order: int = 1,
    *,
    rng: Rng = None,
) -> NDArray[Any]:
    """Shear one image by a random angle.

    Parameters
    ----------
    x : array of rank 3
    intensity : float
        The angle is drawn uniformly from -`intensity` to `intensity` degrees.
    row_axis, col_axis, channel_axis, fill_mode, cval, interpolation_order, rng
        As in :func:`random_rotation`.

    Returns
    -------
    array of the same shape and dtype

    Raises
    ------
    ConfigError, SourceError
        As in :func:`random_rotation`.
    """
    shear = given_generator(rng).uniform(-intensity, intensity)
    axes = row_axis, col_axis, channel_axis
    return one_image.warp(x, {"shear": shear}, axes, fill_mode=fill_mode, cval=cval, order=interpolation_order)


def random_zoom(
    x: ArrayLike,
    zoom_range: Sequence[float],
    row_axis: int = 1,
    col_axis: int = 2,
    channel_axis: int = 0,
    fill_mode: str = "nearest",
    cval: float = 0.0,
    interpolation_order: int = 1,
    *,
    rng: Rng = None,
) -> NDArray[Any]:
    """Zoom one image by two random factors, one for each direction.

    Parameters
    ----------
    x : array of rank 3
    zoom_range : (lowest, highest)
        The factors are drawn uniformly from it; above 1 the picture shrinks. Nothing is drawn for (1, 1).
    row_axis, col_axis, channel_axis, fill_mode, cval, interpolation_order, rng
        As in :func:`random_rotation`.

    Returns
    -------
    array of the same shape and dtype

    Raises
    ------
    ConfigError, SourceError
        As in :func:`random_rotation`; ConfigError also for a `zoom_range` that is no pair.
    """
    low, high = _pair("zoom_range", zoom_range)
    generator = given_generator(rng)
    zx, zy = (1, 1) if low == high == 1 else generator.uniform(low, high, 2)
    axes = row_axis, col_axis, channel_axis
    return one_image.warp(x, {"zx": zx, "zy": zy}, axes, fill_mode=fill_mode, cval=cval, order=interpolation_order)


def random_channel_shift(
    x: ArrayLike, intensity_range: float, channel_axis: int = 0, *, rng: Rng = None
) -> NDArray[Any]:
    """Add a random number to every channel; see :func:`apply_channel_shift`.

    Parameters
    ----------
    x : array of rank 3
    intensity_range : float
        The number is drawn uniformly from -`intensity_range` to `intensity_range`, in the units of the image.
    channel_axis : int
    rng : RandomState, Generator, int or None
        As in :func:`random_rotation`.

    Returns
    -------
    array of the same shape
        float64 for integers.

    Raises
    ------
    ConfigError, SourceError
        As in :func:`apply_channel_shift`; ConfigError also for an `rng` that is none.
    """
    intensity = given_generator(rng).uniform(-intensity_range, intensity_range)
    return one_image.shift_channels(x, intensity, channel_axis)


def random_brightness(
    x: ArrayLike, brightness_range: Sequence[float], scale: bool = True, *, rng: Rng = None
) -> NDArray[np.floating]:
    """Change the brightness of one image by a random factor; see :func:`apply_brightness_shift`.

    Parameters
    ----------
    x : array of rank 3
    brightness_range : (lowest, highest)
        The factor is drawn uniformly from it.
    scale : bool
        As in :func:`apply_brightness_shift`.
    rng : RandomState, Generator, int or None
        As in :func:`random_rotation`.

    Returns
    -------
    array of the same shape, float

    Raises
    ------
    ConfigError, SourceError
        As in :func:`apply_brightness_shift`; ConfigError also for a `brightness_range` that is no pair or an `rng`
        that is none.
    """
    low, high = _pair("brightness_range", brightness_range)
    return apply_brightness_shift(x, given_generator(rng).uniform(low, high), scale)


# --- Keras' defaults ---------------------------------------------------------------------------------------------


def _data_format(given: str | None) -> str:
    """In lower case, as Keras takes it; None asks keras.json."""
    if given is None:
        return keras_default("image_data_format", "channels_last")
    chosen = str(given).lower()
    if chosen not in DATA_FORMATS:
        raise ConfigError(f"`data_format` must be one of {', '.join(DATA_FORMATS)}. Received: {given!r}.")
    return chosen


def _dtype(given: DTypeLike | None) -> DTypeLike:
    return keras_default("floatx", "float32") if given is None else given


def _pair(name: str, given: Sequence[float]) -> tuple[float, float]:
    try:
        low, high = given
    except (TypeError, ValueError):
        raise ConfigError(f"`{name}` should be a tuple or list of two floats. Received: {given!r}.") from None
    return low, high
