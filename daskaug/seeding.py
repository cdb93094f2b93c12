"""All randomness of daskaug.

A random number here is a pure function of (seed, epoch, purpose, operation, sample id). Each quadruple of the first
four names one Philox generator; the sample id says where in its stream the sample's own row lies. Rows are found by
jumping, never by counting, so it does not matter which process draws which rows, in which order or how often.

The streams are pinned: :data:`SEEDING_VERSION` is stored with every result, and the tests hold hashes of them.
A seed is never added to: ``seed + epoch`` of one run would be ``seed`` of another.
"""

from __future__ import annotations

import enum
import functools
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from daskaug.errors import ConfigError
from daskaug.kernels.philox import philox_doubles, philox_rows

SEEDING_VERSION = 1
"""Version of the mapping from (seed, epoch, purpose, operation, id) to numbers; recorded in every stored result."""

SEED_LIMIT = 2**32
"""Seeds and epochs are below this: :class:`numpy.random.SeedSequence` splits numbers into 32-bit words, and seed 7
epoch 1 would otherwise share its words with seed 7 + 2**32 epoch 0."""


class Purpose(enum.IntEnum):
    """What random numbers are for. The codes are part of the contract: never reuse or renumber one."""

    DRAW = 0
    ORDER = 1
    FILE_NAME = 2
    SKETCH = 3


class Operation(enum.IntEnum):
    """Whose random numbers they are. The codes are part of the contract: never reuse or renumber one."""

    ROTATION = 0
    HEIGHT_SHIFT = 1
    WIDTH_SHIFT = 2
    SHEAR = 3
    ZOOM = 4
    HORIZONTAL_FLIP = 5
    VERTICAL_FLIP = 6
    CHANNEL_SHIFT = 7
    BRIGHTNESS = 8
    PREPROCESSING = 9
    OVERRIDDEN_METHOD = 10


ROW_WIDTH = 4
"""Outputs that each sample owns in the stream of one operation (a multiple of 4, Philox' block). One or two are used;
the others are spare, so that an operation can grow without moving anything."""


def check_seed(seed: Any) -> int:
    """A seed as a plain int.

    Raises
    ------
    ConfigError
        Unless it is an integer from 0 to 2**32 - 1 (the seeds that NumPy's legacy generator, and so Keras, takes).
    """
    return _check("seed", seed, "Leave it out (seed=None) for fresh entropy.")


def check_epoch(epoch: Any) -> int:
    """An epoch as a plain int from 0 to 2**32 - 1.

    Raises
    ------
    ConfigError
        For anything else.
    """
    return _check("epoch", epoch, "Epochs count from 0.")


def _check(name: str, value: Any, hint: str) -> int:
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or not 0 <= value < SEED_LIMIT:
        raise ConfigError(f"`{name}` must be an integer from 0 to 2**32 - 1. Received: {name}={value!r}. {hint}")
    return int(value)


def fresh_seed() -> int:
    """A seed from the operating system's entropy; the only place where chance enters."""
    return int(np.random.SeedSequence().generate_state(1, np.uint32)[0])


@functools.lru_cache(maxsize=4096)
def key(seed: int, epoch: int, purpose: int, operation: int) -> tuple[int, int]:
    """Philox key of one stream, the low word first.

    It is the key that ``numpy.random.Philox(SeedSequence([seed, epoch], spawn_key=(purpose, operation)))`` uses.
    Purpose and operation are separated from seed and epoch by the spawn key, since
    ``SeedSequence([5])``, ``SeedSequence([5, 0])`` and ``SeedSequence([5, 0, 0])`` are all the same.
    """
    sequence = np.random.SeedSequence([seed, epoch], spawn_key=(purpose, operation))
    low, high = sequence.generate_state(2, np.uint64)
    return int(low), int(high)


def raw_rows(
    seed: int, epoch: int, purpose: Purpose, operation: int, ids: NDArray[Any], width: int = ROW_WIDTH
) -> NDArray[np.uint64]:
    """Raw 64-bit outputs that belong to the given sample ids.

    Parameters
    ----------
    seed, epoch : int
        0 to 2**32 - 1.
    purpose, operation
        Which stream.
    ids : (b,) integers
        Sample ids, 0 to 2**64 - 1, in any order, repeats allowed.
    width : int
        Outputs per sample; belongs to the stream and never changes for it.

    Returns
    -------
    (b, width) uint64
    """
    return philox_rows(key(seed, epoch, int(purpose), int(operation)), np.asarray(ids).astype(np.uint64), width)


def uniforms(seed: int, epoch: int, operations: tuple[Operation, ...], ids: NDArray[Any]) -> NDArray[np.float64]:
    """Uniform numbers in [0, 1) of each sample for some operations.

    Parameters
    ----------
    seed, epoch : int
        0 to 2**32 - 1.
    operations : tuple of Operation
        An operation's numbers do not depend on which others are asked for.
    ids : (b,) integers
        As for :func:`raw_rows`.

    Returns
    -------
    (operations, b, 4) float64
        The upper 53 bits of each raw output, times 2**-53.
    """
    return philox_doubles(_keys(seed, epoch, operations), np.asarray(ids).astype(np.uint64))


@functools.lru_cache(maxsize=64)
def _keys(seed: int, epoch: int, operations: tuple[Operation, ...]) -> NDArray[np.uint64]:
    """Keys of the draws of some operations, (o, 2) uint64."""
    keys = [key(seed, epoch, int(Purpose.DRAW), int(operation)) for operation in operations]
    return np.array(keys, np.uint64).reshape(-1, 2)


def permutation(seed: int, epoch: int, n: int, stream: int = 0) -> NDArray[np.int64]:
    """A random order of ``range(n)``: the ranks of n random 64-bit numbers (ties by position).

    NumPy may change what ``Generator.permutation`` returns; the raw bits and a stable sort it may not.

    Parameters
    ----------
    seed, epoch : int
        0 to 2**32 - 1.
    n : int
        Length, 0 or more.
    stream : int
        Tells apart several permutations of the same epoch.

    Returns
    -------
    (n,) int64
    """
    rows = raw_rows(seed, epoch, Purpose.ORDER, stream, np.arange(-(-n // ROW_WIDTH)))
    return np.argsort(rows.reshape(-1)[:n], kind="stable")


def random_signs(seed: int, rows: int, columns: int) -> NDArray[np.int8]:
    """Random signs. A column's do not depend on how many columns there are, nor a row's on the number of rows.

    Parameters
    ----------
    seed : int
        0 to 2**32 - 1.
    rows, columns : int

    Returns
    -------
    (rows, columns) int8
        Each of them -1 or 1.
    """
    bits_per_row = 64 * ROW_WIDTH
    signs = np.empty((rows, columns), np.int8)
    for stream, start in enumerate(range(0, columns, bits_per_row)):
        raw = raw_rows(seed, 0, Purpose.SKETCH, stream, np.arange(rows))
        bits = np.unpackbits(raw.astype("<u8").view(np.uint8), axis=1, bitorder="little")
        signs[:, start : start + bits_per_row] = bits[:, : columns - start]
    signs *= 2
    signs -= 1
    return signs


def keyed_generator(seed: int, epoch: int, operation: Operation, sample_id: int) -> np.random.Generator:
    """A NumPy generator of the sample's own, for functions of the user that want one.

    It has 2**64 outputs before it would meet the next sample's: the id fills the counter's third word.
    """
    words = np.array(key(seed, epoch, int(Purpose.DRAW), int(operation)), np.uint64)
    return np.random.Generator(np.random.Philox(key=words, counter=int(sample_id) << 128))


def keyed_random_state(seed: int, epoch: int, operation: Operation, sample_id: int) -> np.random.RandomState:
    """A legacy NumPy generator of the sample's own, for overridden Keras methods that draw from one."""
    raw = raw_rows(seed, epoch, Purpose.DRAW, operation, np.array([sample_id], np.uint64))
    return np.random.RandomState(raw.view(np.uint32).reshape(-1))


def file_numbers(seed: int, epoch: int, ids: ArrayLike, below: int) -> NDArray[np.int64]:
    """The number in the name of each saved picture, from 0 up to, but not including, `below`."""
    raw = raw_rows(seed, epoch, Purpose.FILE_NAME, 0, np.asarray(ids))
    return (raw[:, 0] % np.uint64(below)).astype(np.int64)


def given_generator(rng: int | np.random.RandomState | np.random.Generator | None) -> Any:
    """The generator that the caller of a single function wants its numbers from.

    Parameters
    ----------
    rng : RandomState, Generator, int or None
        A generator is taken as it is, and advanced. An integer seeds a legacy ``RandomState``, which gives the numbers
        that NumPy's global generator gives after ``np.random.seed``. None: fresh entropy.

    Returns
    -------
    numpy.random.RandomState or numpy.random.Generator

    Raises
    ------
    ConfigError
        For anything else.
    """
    if isinstance(rng, np.random.RandomState | np.random.Generator):
        return rng
    if rng is None:
        return np.random.RandomState(fresh_seed())
    if not isinstance(rng, int | np.integer):
        raise ConfigError(
            "`rng` must be a numpy.random.RandomState, a numpy.random.Generator, an integer seed or None. "
            f"Received: {rng!r}."
        )
    return np.random.RandomState(check_seed(rng))
