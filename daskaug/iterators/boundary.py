"""On which side of a cluster's border batches are transformed."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

from daskaug.errors import ConfigError
from daskaug.execution import Pending
from daskaug.sources import BlockReader

PLACES = ("workers", "consumer")

TRIAL_BATCHES = 8
"""Batches of each trial that are timed, at least; as many before them are not, while the other way's are under way."""

MARGIN = 1.1
"""The consumer has work of its own: it transforms only if that is faster by this factor."""


def check_place(wanted: str | None) -> None:
    """Refuse what is no place.

    Raises
    ------
    ConfigError
    """
    if wanted is not None and wanted not in PLACES:
        raise ConfigError(
            f'`transform_on` must be "workers", "consumer" or None, which tries both. Received: {wanted!r}.'
        )


class Boundary:
    """Whether the workers transform batches, or send raw images which the consumer transforms.

    Finished batches are often four times as large as raw ones, float32 instead of uint8, so that it depends on the
    network, on the workers and on what else the consumer does. Both ways are tried on the first batches, which are the
    same either way, and the faster one is kept.

    Parameters
    ----------
    wanted : {"workers", "consumer"} or None
        None: find out.

    Attributes
    ----------
    choice : {"workers", "consumer"} or None
        None while it is not known yet.
    seconds : dict of str to float
        For a batch, of the ways that were timed.
    """

    def __init__(self, wanted: str | None) -> None:
        self.choice = wanted
        self.seconds: dict[str, float] = {}
        self._submitted = self._handed_out = 0
        self._length = 0
        self._began = 0.0

    def place_of_next(self, under_way: int) -> str:
        """Where the next batch that is submitted is to be transformed; batches are handed out in the same order.

        Parameters
        ----------
        under_way : int
            Batches that are submitted before the first of them is handed out.
        """
        if self.choice is not None:
            return self.choice
        self._length = self._length or 2 * max(TRIAL_BATCHES, under_way)
        number = self._submitted
        self._submitted += 1
        return PLACES[min(number // self._length, 1)]

    def handed_out(self) -> None:
        """A batch reaches the consumer."""
        if self.choice is not None or not self._length:
            return
        trial, number = divmod(self._handed_out, self._length)
        self._handed_out += 1
        if number == self._length // 2:
            self._began = time.perf_counter()
        if number == self._length - 1:
            timed = self._length - 1 - self._length // 2
            self.seconds[PLACES[trial]] = (time.perf_counter() - self._began) / timed
            if trial == 1:
                is_faster = self.seconds["consumer"] * MARGIN < self.seconds["workers"]
                self.choice = "consumer" if is_faster else "workers"

    def __str__(self) -> str:
        if self.choice is None:
            return "on the workers or by the consumer, whichever is faster for the first batches"
        where = "on the workers" if self.choice == "workers" else "by the consumer"
        timed = ", ".join(f"{1e3 * seconds:.3g} ms a batch by {place}" for place, seconds in self.seconds.items())
        return f"{where} ({timed})" if timed else where


@dataclasses.dataclass(frozen=True, eq=False)
class Fetched(BlockReader):
    """Raw images that a worker reads and this process works on."""

    pending: Pending
    reader: BlockReader

    def load(self) -> Any:
        """See :meth:`BlockReader.load`."""
        return self.pending.result()

    def __repr__(self) -> str:
        return repr(self.reader)


class MadeHere:
    """A batch that is transformed here from what a worker reads.

    Parameters
    ----------
    fetched : Pending
        The raw images.
    made : Pending
        The batch; waits for `fetched`.
    """

    def __init__(self, fetched: Pending, made: Pending) -> None:
        self._fetched, self._made = fetched, made

    @property
    def is_lost(self) -> bool:
        """See :class:`Pending`."""
        return self._fetched.is_lost

    def result(self) -> Any:
        """Wait for it; raises what the task raised."""
        return self._made.result()

    def cancel(self) -> bool:
        """Give it up, if it has not begun. What a thread waits for already must not be let go of."""
        if not self._made.cancel():
            return False
        self._fetched.cancel()
        return True
