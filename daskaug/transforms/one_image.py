"""Keras' functions of one image, on arrays of any dtype; results have the dtype that Keras and SciPy give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from daskaug.errors import ConfigError, SourceError
from daskaug.kernels import images as kernels
from daskaug.transforms import like_keras
from daskaug.transforms.draws import Draws

FILL_MODES = (*kernels.FILL_MODES, "mirror", "grid-mirror", "grid-constant", "grid-wrap")
"""Those that Keras documents, then the others that SciPy knows."""


def warp(
    x: ArrayLike,
    parameters: Mapping[str, float],
    axes: tuple[int, int, int],
    *,
    fill_mode: str,
    cval: float,
    order: int,
) -> NDArray[Any]:
    """Rotate, shift, shear and zoom one image.

    Parameters
    ----------
    x : array of rank 3
        Not changed.
    parameters : mapping
        ``theta``, ``tx``, ``ty``, ``shear``, ``zx``, ``zy`` in Keras' units.
    axes : (row, column, channel)
        Which axis is what: 0, 1 and 2 in an order that has the channels first or last.
    fill_mode : str
        One of :data:`FILL_MODES`.
    cval : float
        Beside the image with ``fill_mode="constant"``.
    order : int
        Of the spline, 0 to 5.

    Returns
    -------
    array of the same shape and dtype
        `x` itself where the parameters move nothing. Integers are rounded as SciPy rounds them, half away from zero,
        and saturate.

    Raises
    ------
    ConfigError
        For axes, a fill mode or an order that is none.
    SourceError
        `x` is not an image of real numbers.
    """
    image = np.asarray(x)
    _check_axes(image, axes)
    _check_resampling(fill_mode, order)
    rows, columns, channels = axes
    draws = Draws.from_dicts([parameters])
    matrices = like_keras.matrices(draws, (image.shape[rows], image.shape[columns]))
    if matrices is None or image.size == 0:
        return image
    if columns < rows:
        # The matrices are for arrays whose rows come first; Keras leaves out the exchange of the axes here.
        matrices = matrices[:, ::-1][:, :, [1, 0, 2]]
    view = np.moveaxis(image, channels, 2)
    work = np.dtype(np.float32 if image.dtype == np.float32 else np.float64)
    out = np.empty(view.shape, work)
    if fill_mode not in kernels.FILL_MODES:
        _by_scipy(view, matrices[0], order, fill_mode, cval, out)
    elif order > 1:
        kernels.affine_spline(view[np.newaxis], [0], matrices, order, fill_mode, cval, out[np.newaxis])
    else:
        resampling = kernels.Resampling(order, fill_mode, cval, double=True)
        kernels.transform_images(view[np.newaxis], [0], matrices=matrices, resampling=resampling, out=out[np.newaxis])
    return np.moveaxis(_as_scipy_rounds(out, image.dtype), 2, channels)


def size_of(x: ArrayLike, axes: tuple[int, int, int]) -> tuple[int, int]:
    """(height, width) of an image whose (row, column, channel) axes are given; errors as of :func:`warp`."""
    image = np.asarray(x)
    _check_axes(image, axes)
    return image.shape[axes[0]], image.shape[axes[1]]


def _check_axes(image: NDArray[Any], axes: tuple[int, int, int]) -> None:
    names = "'row_axis', 'col_axis', and 'channel_axis'"
    if len(set(axes)) != 3:
        raise ConfigError(f"{names} must be distinct. Received: {axes}.")
    if set(axes) != {0, 1, 2}:
        raise ConfigError(f"Invalid axis' indices: {set(axes) - {0, 1, 2}}; {names} are 0, 1 and 2 in some order.")
    if image.ndim != 3 or image.dtype.kind not in "buif":
        raise SourceError(
            "Input arrays must be multi-channel 2D images, that is of rank 3, of real numbers; found "
            f"{image.dtype} of shape {image.shape}."
        )
    if axes[2] == 1:
        raise ConfigError("Channels are allowed at the first and last dimensions. Received: channel_axis=1.")


def _check_resampling(fill_mode: str, order: int) -> None:
    if fill_mode not in FILL_MODES:
        raise ConfigError(f"`fill_mode` must be one of {', '.join(FILL_MODES)}. Received: {fill_mode!r}.")
    if order not in range(6):
        raise ConfigError(f"The order of interpolation must be an int from 0 to 5. Received: {order!r}.")


def _by_scipy(
    image: NDArray[Any], matrix: NDArray[np.float64], order: int, fill_mode: str, cval: float, out: NDArray[Any]
) -> None:
    """image, out : (h, w, c)."""
    from scipy import ndimage

    options: dict[str, Any] = {"order": order, "mode": fill_mode, "cval": cval}
    for channel in range(image.shape[2]):
        pixels = image[:, :, channel].astype(np.float64)
        out[:, :, channel] = ndimage.affine_transform(pixels, matrix[:, :2], matrix[:, 2], **options)


def _as_scipy_rounds(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Floats in another dtype: integers half away from zero and saturating, bool whatever is not 0."""
    if dtype.kind == "b":
        return values.astype(bool)
    if dtype.kind == "f":
        return values.astype(dtype, copy=False)
    limits = np.iinfo(dtype)
    whole = np.trunc(values + np.copysign(0.5, values))
    with np.errstate(invalid="ignore"):
        rounded = np.clip(whole, limits.min, limits.max).astype(dtype)
    # 2**63 - 1 and 2**64 - 1 are no doubles: the clip ends one above, which the cast wraps around.
    return np.where(whole >= float(limits.max), limits.max, rounded).astype(dtype, copy=False)


def flip(x: ArrayLike, axis: int) -> NDArray[Any]:
    """A view with one axis reversed."""
    image = np.asarray(x)
    return np.flip(image, int(axis))


def shift_channels(x: ArrayLike, intensity: float, channel_axis: int) -> NDArray[Any]:
    """Add a number to every channel, clipped to the range that the image had over all channels.

    Parameters
    ----------
    x : array of rank 3
        Not changed.
    intensity : float
        In the units of the image. Every channel gets the same.
    channel_axis : int
        Is checked and otherwise makes no difference.

    Returns
    -------
    array of the same shape
        Of the dtype that NumPy gives the sum: integers and a float make float64. An integer image stays of its dtype
        with an `intensity` of Python's int, and does not wrap around.

    Raises
    ------
    ConfigError
        There is no such axis.
    SourceError
        The image has no pixels.
    """
    image = np.asarray(x)
    if not -image.ndim <= channel_axis < image.ndim:
        raise ConfigError(f"`channel_axis` {channel_axis} does not exist in an image of shape {image.shape}.")
    if image.size == 0:
        raise SourceError(f"An image needs pixels; found an array of shape {image.shape}.")
    low, high = image.min(), image.max()
    if image.dtype.kind in "iu" and isinstance(intensity, int):
        extent = int(high) - int(low)
        step = min(max(intensity, -extent), extent)
        return np.clip(image.astype(np.int64) + step, int(low), int(high)).astype(image.dtype)
    shifted: NDArray[Any] = np.clip(image + intensity, low, high)
    return shifted
