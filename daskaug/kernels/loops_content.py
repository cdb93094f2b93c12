"""The loops behind :mod:`daskaug.kernels.content`, as numba compiles them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numba.extending import register_jitable
from numpy.typing import NDArray

from daskaug.kernels.compile import compiled

# Words are collected in so many accumulators side by side, which the compiler turns into vectors.
LANES = 32

_LOW = np.uint64(0xFFFFFFFF)
_STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xFF51AFD7ED558CCD)
_SECOND = np.uint64(0xC4CEB9FE1A85EC53)


def _scattered(word: Any) -> Any:
    """Each bit of a word into all 64 (the finalizer of MurmurHash3)."""
    word = (word ^ (word >> np.uint64(33))) * _FIRST
    word = (word ^ (word >> np.uint64(33))) * _SECOND
    return word ^ (word >> np.uint64(33))


def row_hashes(
    words: NDArray[np.uint64],
    nbytes: int,
    numbers: NDArray[np.int64],
    keys: NDArray[np.uint64],
    out: NDArray[np.uint64],
) -> None:
    """128 bits for each row, which depend on its bytes, their number and the number of the row.

    Parameters
    ----------
    words : (b, length) uint64, C-contiguous
        The bytes of each row as little-endian words, filled up with zeros.
    nbytes : int
        Bytes of a row without what was filled up.
    numbers : (b,) int64
        Number of each row.
    keys : (LANES,) uint64
        Pseudo-random.
    out : (b, 2) uint64
        Written.

    References
    ----------
    The sum of products of keyed halves is NH of UMAC: Black, Halevi, Krawczyk, Krovetz, Rogaway, "UMAC: Fast and
    secure message authentication", CRYPTO 1999. Adding the word itself keeps a product with zero from losing it, as
    XXH3 does.
    """
    length = words.shape[1]
    sums = np.empty(LANES, np.uint64)
    moved = np.empty(LANES, np.uint64)
    for i in range(words.shape[0]):
        for j in range(LANES):
            sums[j] = 0
            moved[j] = keys[j]
        at = 0
        while at + LANES <= length:
            strip = words[i, at : at + LANES]
            for j in range(LANES):
                keyed = strip[j] ^ moved[j]
                sums[j] += (keyed & _LOW) * (keyed >> np.uint64(32)) + strip[j]
                moved[j] += _STEP
            at += LANES
        for j in range(length - at):
            keyed = words[i, at + j] ^ moved[j]
            sums[j] += (keyed & _LOW) * (keyed >> np.uint64(32)) + words[i, at + j]
        first, second = np.uint64(nbytes), np.uint64(nbytes) ^ _STEP
        for j in range(0, LANES, 2):
            first = (first ^ sums[j]) * _FIRST
            second = (second ^ sums[j + 1]) * _SECOND
            first ^= (first >> np.uint64(29)) + sums[j + 1]
            second ^= (second >> np.uint64(31)) + sums[j]
        number = np.uint64(numbers[i]) * _STEP
        out[i, 0] = _scattered(_scattered(first ^ number) + second)
        out[i, 1] = _scattered(_scattered(second + number) ^ first)


register_jitable(_scattered)


def compiled_row_hashes() -> Callable[..., None]:
    """Machine code of :func:`row_hashes`."""
    return compiled(
        row_hashes,
        types.Array(types.uint64, 2, "C", readonly=True),
        types.int64,
        types.Array(types.int64, 1, "C", readonly=True),
        types.Array(types.uint64, 1, "C", readonly=True),
        types.Array(types.uint64, 2, "C"),
    )
