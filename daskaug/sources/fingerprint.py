"""Telling one data set from another by its content, wherever it lies and however it is cut."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskaug.sources.base import Source

SAMPLED_ROWS = 8
"""Rows that are looked at."""

SLICED_ROWS = 2**20
"""Rows that are taken at a time of what is no array."""


def sampled_rows(n: int) -> NDArray[np.int64]:
    """A few rows of n, from the first to the last."""
    return np.unique(np.linspace(0, n - 1, SAMPLED_ROWS).astype(np.int64)) if n else np.empty(0, np.int64)


def sample_digest(source: Source) -> str:
    """Hash of the shape, the dtype and a few rows of a source."""
    rows = sampled_rows(source.shape[0])
    digest = hashlib.sha256(f"{source.shape}:{source.dtype.str}:".encode())
    digest.update(content_digest({"rows": rows, "images": source.take(rows)}))
    return digest.hexdigest()


def content_digest(arrays: Mapping[str, Any]) -> bytes:
    """SHA-256 of decoded arrays: names, dtypes, shapes and values in C order and little-endian bytes.

    What is no NumPy array, but has a dtype and a shape and can be sliced, is taken piece by piece.
    """
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        if array.dtype.kind in "OT":  # strings have no fixed bytes
            digest.update(f"{name}:text:{array.shape};".encode())
            digest.update(json.dumps(array.tolist(), default=str).encode())
        elif not isinstance(array, np.ndarray):
            digest.update(f"{name}:{array.dtype.newbyteorder('<').str}:{array.shape};".encode())
            for start in range(0, array.shape[0], SLICED_ROWS):
                piece = array[start : start + SLICED_ROWS]
                digest.update(
                    np.ascontiguousarray(piece, array.dtype.newbyteorder("<")).reshape(-1).view(np.uint8).data
                )
        else:
            little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
            digest.update(f"{name}:{little.dtype.str}:{little.shape};".encode())
            digest.update(little.reshape(-1).view(np.uint8).data)
    return digest.digest()
