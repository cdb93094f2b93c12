"""Keras' own order and random numbers, for ``compat="keras"``."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from daskaug import seeding


class KerasReplay:
    """The state of a Keras iterator, with a generator of its own in place of NumPy's global one.

    The generator is seeded anew for every batch, with the seed plus the number of batches seen, and left running: it
    gives the order first, where an epoch begins, and then the parameters of the batch's images, one after the other.
    So a batch depends on what was asked for before it, and nothing is computed ahead.

    Parameters
    ----------
    n, batch_size : int
    shuffle : bool
    seed : int or None
        None: seeded once, from fresh entropy.

    References
    ----------
    Keras 3.15, ``keras.src.legacy.preprocessing.image.Iterator``.
    """

    def __init__(self, n: int, batch_size: int, shuffle: bool, seed: int | None) -> None:
        self.n = n
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.batch_index = 0
        self.total_batches_seen = 0
        self.index_array: NDArray[np.int64] | None = None
        self.state = np.random.RandomState(seeding.fresh_seed() if seed is None else None)

    def next_positions(self) -> NDArray[np.int64]:
        """Positions of the next batch under ``next()``."""
        self._seed_batch()
        if self.batch_index == 0 or self.index_array is None:
            self.index_array = self._drawn_order()
        start = self.batch_index * self.batch_size % self.n
        self.batch_index = self.batch_index + 1 if self.n > start + self.batch_size else 0
        self.total_batches_seen += 1
        return self.index_array[start : start + self.batch_size]

    def positions_of(self, number: int) -> NDArray[np.int64]:
        """Positions of batch `number` under ``[number]``."""
        self._seed_batch()
        self.total_batches_seen += 1
        if self.index_array is None:
            self.index_array = self._drawn_order()
        return self.index_array[self.batch_size * number : self.batch_size * (number + 1)]

    def on_epoch_end(self) -> None:
        """Draw the order of the next epoch, from the generator as the last batch left it."""
        self.index_array = self._drawn_order()

    def _seed_batch(self) -> None:
        if self.seed is not None:
            self.state.seed(self.seed + self.total_batches_seen)

    def _drawn_order(self) -> NDArray[np.int64]:
        return self.state.permutation(self.n) if self.shuffle else np.arange(self.n)
