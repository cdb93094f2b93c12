"""Standardising arrays that are at hand, as ``ImageDataGenerator.standardize`` does."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskaug import seeding
from daskaug.config import Config
from daskaug.errors import SourceError
from daskaug.transforms import like_keras
from daskaug.transforms.block import BlockTransform, FittedArrays


def standardize_in_place(x: NDArray[Any], config: Config, fitted: FittedArrays) -> NDArray[Any]:
    """Standardise an image or a batch.

    Parameters
    ----------
    x : array of rank 3 or 4
        In the configuration's data format. Float arrays that can be written are changed.
    config : Config
    fitted : FittedArrays

    Returns
    -------
    array of the shape of `x`
        `x` itself where it is float32 or float64 and writable.

    Raises
    ------
    SourceError
        For another rank.
    NotFittedError
        Where statistics are missing.
    """
    x = np.asarray(x)
    if x.ndim not in (3, 4):
        raise SourceError(f"`x` must be one image (rank 3) or a batch (rank 4); found shape {x.shape}.")
    if x.dtype.kind != "f":
        x = x.astype(config.dtype if np.dtype(config.dtype).kind == "f" else np.float32)
    if config.compat == "keras":
        return like_keras.standardize(x, config, fitted.mean, fitted.std, fitted.whitening)
    if not x.flags.writeable:
        x = x.copy()
    batch = x if x.ndim == 4 else x[np.newaxis]
    # Half precision is computed in single precision; the kernels know no other.
    work = batch if batch.dtype in (np.float32, np.float64) else batch.astype(np.float32)
    transform = BlockTransform(
        config.replace(dtype=work.dtype.name), fitted, seeding.fresh_seed() if config.preprocessing_function else 0
    )
    result = transform._standardize(work, np.arange(len(work)), 0)
    if result is not batch:
        batch[...] = result
    return x
