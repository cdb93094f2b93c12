"""Operations as Keras does them, for ``compat="keras"``."""

from __future__ import annotations

import functools
import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from daskaug import stopping
from daskaug.config import Config
from daskaug.errors import ConfigError
from daskaug.pictures import brighten
from daskaug.transforms.draws import Draws
from daskaug.transforms.whitening import Factors


def brightness_shift(block: NDArray[Any], factors: NDArray[np.float64]) -> None:
    """Change brightness through 8-bit levels.

    An image that leaves 0 to 255 is first stretched to that range, and back afterwards.

    Parameters
    ----------
    block : (b, h, w, c) view, float
        Changed in place; 1, 3 or 4 channels.
    factors : (b,) float64
        NaN: left alone.

    Raises
    ------
    ConfigError
        For another number of channels.

    References
    ----------
    Keras 3.15, ``apply_brightness_shift`` with ``scale=False``.
    """
    if block.shape[3] not in (1, 3, 4):
        raise ConfigError(
            f"Keras' brightness knows images of 1, 3 or 4 channels; this one has {block.shape[3]}. "
            'Leave out compat="keras" for brightness on any number of channels.'
        )
    for image, factor in zip(block, factors, strict=True):
        if not np.isnan(factor):
            image[...] = brighten(image, float(factor))


def matrices(draws: Draws, size: tuple[int, int]) -> NDArray[np.float64] | None:
    """Where each output pixel is read, composed in Keras' steps with NumPy's sine and cosine.

    Parameters
    ----------
    draws : Draws
        Of b samples.
    size : (height, width)

    Returns
    -------
    (b, 2, 3) float64 or None
        As :func:`daskaug.transforms.affine.matrices` gives them, to the last bits of this machine's C library.

    References
    ----------
    Keras 3.15, ``apply_affine_transform``.
    """
    found = np.tile(np.eye(2, 3), (len(draws), 1, 1))
    moved = False
    for i in range(len(draws)):
        matrix = _compose(*(float(getattr(draws, name)[i]) for name in ("theta", "tx", "ty", "shear", "zx", "zy")))
        if matrix is None:
            continue
        moved = True
        found[i] = about_center(matrix, *size)[np.ix_([1, 0], [1, 0, 2])]
    return found if moved else None


def about_center(matrix: ArrayLike, x: float, y: float) -> NDArray[np.float64]:
    """A transform whose origin is the centre of an image instead of its first pixel.

    Parameters
    ----------
    matrix : (3, 3)
        Of homogeneous coordinates (x, y, 1).
    x, y : float
        Extent of the image along the first and the second coordinate, in pixels.

    Returns
    -------
    (3, 3) float64

    References
    ----------
    Keras 3.15, ``transform_matrix_offset_center``.
    """
    to_center, back = np.eye(3), np.eye(3)
    to_center[:2, 2] = float(x) / 2 - 0.5, float(y) / 2 - 0.5
    back[:2, 2] = -to_center[:2, 2]
    moved: NDArray[np.float64] = np.dot(np.dot(to_center, matrix), back)
    return moved


def _compose(theta: float, tx: float, ty: float, shear: float, zx: float, zy: float) -> NDArray[np.float64] | None:
    """Rotation, shift, shear, zoom, as far as they do anything; None if none of them does."""
    steps = []
    if theta != 0:
        angle = np.deg2rad(theta)
        steps.append([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    if tx != 0 or ty != 0:
        steps.append([[1, 0, tx], [0, 1, ty], [0, 0, 1]])
    if shear != 0:
        angle = np.deg2rad(shear)
        steps.append([[1, -np.sin(angle), 0], [0, np.cos(angle), 0], [0, 0, 1]])
    if zx != 1 or zy != 1:
        steps.append([[zx, 0, 0], [0, zy, 0], [0, 0, 1]])
    return functools.reduce(np.dot, map(np.array, steps)) if steps else None


def warn_unfitted(option: str) -> None:
    """Keras' warning for statistics that are missing."""
    warnings.warn(
        f"This ImageDataGenerator specifies `{option}`, but it hasn't been fit on any training data. "
        "Fit it first by calling `.fit(numpy_data)`.",
        UserWarning,
        stacklevel=2,
    )


def standardize_block(
    block: NDArray[Any],
    draws: Draws | None,
    config: Config,
    mean: NDArray[Any] | None,
    std: NDArray[Any] | None,
    whitening: NDArray[Any] | Factors | None,
) -> None:
    """Standardise images one by one, each laid out in memory as Keras' operations leave it.

    NumPy adds up an image in the order of its memory, so the layout decides the last bits of a float32 mean: resampling
    and shifting channels leave the channels apart, a flip leaves a reversed view, brightness a new array.

    Parameters
    ----------
    block : (b, ...) float, in the data format
        Changed in place.
    draws : Draws or None
        What was done to the images.
    """
    channel_axis = config.channel_axis - 1
    moved = np.zeros(len(block), np.bool_)
    if draws is not None:
        unit = (draws.theta, draws.tx, draws.ty, draws.shear, draws.zx - 1, draws.zy - 1)
        moved = np.any([column != 0 for column in unit], axis=0)
        if draws.channel_shift_intensity is not None:
            moved |= ~np.isnan(draws.channel_shift_intensity)
    for i, image in enumerate(block):
        stopping.check()
        back: list[slice] = [slice(None)] * 3
        if draws is not None and (draws.brightness is None or np.isnan(draws.brightness[i])):
            if draws.flip_horizontal[i]:
                back[config.col_axis - 1] = slice(None, None, -1)
            if draws.flip_vertical[i]:
                back[config.row_axis - 1] = slice(None, None, -1)
            if moved[i]:
                apart = np.ascontiguousarray(np.moveaxis(image[tuple(back)], channel_axis, 0))
                image = np.moveaxis(apart, 0, channel_axis)[tuple(back)]
            else:
                image = np.ascontiguousarray(image[tuple(back)])[tuple(back)]
        block[i] = standardize(image, config, mean, std, whitening)


def standardize(
    x: NDArray[Any],
    config: Config,
    mean: NDArray[Any] | None,
    std: NDArray[Any] | None,
    whitening: NDArray[Any] | Factors | None,
) -> NDArray[Any]:
    """Standardise as Keras does: in place, with samplewise moments over the whole of `x`.

    References
    ----------
    Keras 3.15, ``ImageDataGenerator.standardize``.
    """
    if config.preprocessing_function is not None:
        x = config.preprocessing_function(x)
    if config.rescale:
        x *= config.rescale
    if config.samplewise_center:
        x -= np.mean(x, keepdims=True)
    if config.samplewise_std_normalization:
        x /= np.std(x, keepdims=True) + 1e-6
    if config.featurewise_center:
        if mean is None:
            warn_unfitted("featurewise_center")
        else:
            x -= mean
    if config.featurewise_std_normalization:
        if std is None:
            warn_unfitted("featurewise_std_normalization")
        else:
            x /= std + 1e-6
    if config.zca_whitening:
        if whitening is None:
            warn_unfitted("zca_whitening")
        else:
            matrix = whitening.matrix() if isinstance(whitening, Factors) else whitening
            x = (x.reshape(-1, int(np.prod(x.shape[-3:]))) @ matrix).reshape(x.shape)
    return x
