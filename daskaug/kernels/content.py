"""A fast hash of each image's bytes, to tell whether data are still the same; it does not resist forgery."""

from __future__ import annotations

import functools
import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Images whose bytes are no whole number of words are copied piece by piece; a piece of this size stays in the cache.
TILE_BYTES = 1 << 19


@functools.cache
def _keys() -> NDArray[np.uint64]:
    """Nothing-up-my-sleeve numbers, one for each lane of the kernel."""
    from daskaug.kernels.loops_content import LANES

    text = b"".join(hashlib.sha256(f"daskaug content {i}".encode()).digest() for i in range(LANES // 4))
    return np.frombuffer(text, "<u8").astype(np.uint64)


def row_hashes(block: NDArray[Any], numbers: NDArray[np.int64]) -> NDArray[np.uint64]:
    """128 bits for each image of a block.

    Parameters
    ----------
    block : (b, ...) array of any dtype, strides and byte order
        Not written to.
    numbers : (b,) int64
        Number of each image: the same pixels in another place have another hash.

    Returns
    -------
    (b, 2) uint64
        Of the image's pixels in C order and little-endian, on every machine.
    """
    from daskaug.kernels.loops_content import compiled_row_hashes

    kernel = compiled_row_hashes()
    nbytes = block.dtype.itemsize
    for extent in block.shape[1:]:
        nbytes *= extent
    out = np.empty((len(block), 2), np.uint64)
    step = len(block) if nbytes % 8 == 0 and _is_plain(block) else max(1, TILE_BYTES // max(nbytes, 1))
    for start in range(0, len(block), max(step, 1)):
        piece = block[start : start + step]
        words = _words(piece, nbytes)
        kernel(words, nbytes, numbers[start : start + step], _keys(), out[start : start + step])
    return out


def _is_plain(block: NDArray[Any]) -> bool:
    return block.flags.c_contiguous and block.flags.aligned and block.dtype.newbyteorder("<") == block.dtype


def _words(piece: NDArray[Any], nbytes: int) -> NDArray[np.uint64]:
    """The bytes of each image as words, (b, words) uint64; a view where they lie in memory like that."""
    plain = np.ascontiguousarray(piece, piece.dtype.newbyteorder("<")).view(np.uint8).reshape(len(piece), nbytes)
    if nbytes % 8:
        padded = np.zeros((len(piece), -(-nbytes // 8) * 8), np.uint8)
        padded[:, :nbytes] = plain
        plain = padded
    words = plain.view("<u8").astype(np.uint64, copy=False)
    return words if words.flags.aligned else words.copy()
