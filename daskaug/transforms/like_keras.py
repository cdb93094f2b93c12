"""Operations as Keras does them, for ``compat="keras"``."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from daskaug.config import Config
from daskaug.errors import ConfigError


def brightness_shift(block: NDArray[Any], factors: NDArray[np.float64]) -> None:
    """Change brightness through 8-bit levels.

    An image that leaves 0 to 255 is first stretched to that range, and back afterwards.

    Parameters
    ----------
    block : (b, h, w, c) view, float
        Changed in place; 1, 3 or 4 channels.
    factors : (b,) float64
        NaN: left alone.

    References
    ----------
    Keras 3.15, ``apply_brightness_shift`` with ``scale=False``.
    """
    for image, factor in zip(block, factors, strict=True):
        if not np.isnan(factor):
            image[...] = _brighten(image, float(factor))


def _brighten(image: NDArray[Any], factor: float) -> NDArray[Any]:
    low, high = np.min(image), np.max(image)
    stretches = bool(low < 0 or high > 255)
    levels = np.asarray(image, np.float32)
    if stretches:
        levels = levels - np.min(levels)
        if np.max(levels) != 0:
            levels = levels / np.max(levels)
        levels = levels * 255
    modes = {1: "L", 3: "RGB", 4: "RGBA"}
    if image.shape[2] not in modes:
        raise ConfigError(
            f"Keras' brightness knows images of 1, 3 or 4 channels; this one has {image.shape[2]}. "
            'Leave out compat="keras" for brightness on any number of channels.'
        )
    squeezed = levels[:, :, 0] if image.shape[2] == 1 else levels
    picture = Image.fromarray(squeezed.astype(np.uint8), modes[image.shape[2]])
    result = np.asarray(ImageEnhance.Brightness(picture).enhance(factor), np.float32).reshape(image.shape)
    return result / 255 * (high - low) + low if stretches else result


def warn_unfitted(option: str) -> None:
    """Keras' warning for statistics that are missing."""
    warnings.warn(
        f"This ImageDataGenerator specifies `{option}`, but it hasn't been fit on any training data. "
        "Fit it first by calling `.fit(numpy_data)`.",
        UserWarning,
        stacklevel=2,
    )


def standardize(
    x: NDArray[Any],
    config: Config,
    mean: NDArray[Any] | None,
    std: NDArray[Any] | None,
    whitening: NDArray[Any] | None,
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
            x = (x.reshape(-1, int(np.prod(x.shape[-3:]))) @ whitening).reshape(x.shape)
    return x
