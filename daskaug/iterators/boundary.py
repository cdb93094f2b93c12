"""On which side of a cluster's border batches are transformed."""

from __future__ import annotations

import dataclasses
import functools
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from daskaug.errors import ConfigError
from daskaug.execution import Pending
from daskaug.sources import BlockReader

PLACES = ("workers", "consumer")

TRIAL_BATCHES = 8
"""Batches of each trial that are timed, at least."""

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
        self._lock = threading.Lock()
        self._under_way = 0
        self._handed_out = dict.fromkeys(PLACES, 0)
        self._last = 0.0
        self._timed = dict.fromkeys(PLACES, 0.0)

    def place_of_next(self, under_way: Callable[[], int]) -> str:
        """Where the batches of the next task are to be transformed.

        Parameters
        ----------
        under_way : callable
            Batches that are submitted before the first of them is handed out; asked once.
        """
        if self.choice is not None:
            return self.choice
        self._under_way = self._under_way or max(1, under_way())
        return "workers" if self._handed_out["workers"] < self._length else "consumer"

    def handed_out(self, place: str) -> None:
        """A batch that was transformed at `place` reaches the consumer."""
        if self.choice is not None:
            return
        with self._lock:
            now = time.perf_counter()
            self._handed_out[place] += 1
            number = self._handed_out[place]
            # The first ones come while batches of the other way are under way.
            if self._under_way < number <= self._length:
                self._timed[place] += now - self._last
            self._last = now
            if number == self._length:
                self.seconds[place] = self._timed[place] / (self._length - self._under_way)
            if len(self.seconds) == len(PLACES):
                is_faster = self.seconds["consumer"] * MARGIN < self.seconds["workers"]
                self.choice = "consumer" if is_faster else "workers"

    @property
    def _length(self) -> int:
        """Batches of a trial."""
        return self._under_way + max(TRIAL_BATCHES, self._under_way)

    def __str__(self) -> str:
        if self.choice is None:
            return "on the workers or by the consumer, whichever is faster for the first batches"
        where = "on the workers" if self.choice == "workers" else "by the consumer"
        timed = ", ".join(f"{1e3 * seconds:.3g} ms a batch by {place}" for place, seconds in self.seconds.items())
        return f"{where} ({timed})" if timed else where


@dataclasses.dataclass(frozen=True, eq=False)
class Fetched(BlockReader):
    """Raw images that a worker has read and this process works on."""

    pending: Pending
    reader: BlockReader

    def load(self) -> Any:
        """See :meth:`BlockReader.load`."""
        return self.pending.take()

    def __repr__(self) -> str:
        return repr(self.reader)


class MadeHere:
    """A batch that is transformed here from what a worker reads.

    No thread waits for the worker, which may never answer.

    Parameters
    ----------
    fetched : Pending
        The raw images.
    begin : callable
        Starts making the batch, once they are there.
    """

    def __init__(self, fetched: Pending, begin: Callable[[], Pending]) -> None:
        self._fetched = fetched
        self._made: Future[Pending] = Future()
        fetched.when_done(functools.partial(_begin, self._made, begin))

    @property
    def is_lost(self) -> bool:
        """See :class:`Pending`."""
        return self._fetched.is_lost

    def result(self) -> Any:
        """Wait for it; raises what the task raised. Whoever is interrupted while waiting gives it up."""
        return self._waited_for().result()

    def take(self) -> Any:
        """See :meth:`Pending.take`."""
        return self._waited_for().take()

    def _waited_for(self) -> Pending:
        """What makes the batch, once its images are there; that gives itself up."""
        try:
            return self._made.result()
        except KeyboardInterrupt:
            self.cancel()
            raise

    def when_done(self, function: Callable[[], None]) -> None:
        """See :meth:`Pending.when_done`."""
        self._made.add_done_callback(lambda made: made.result().when_done(function))

    def cancel(self) -> bool:
        """Give it up, if it has not begun."""
        if self._made.cancel():
            self._fetched.cancel()
            return True
        return self._made.exception() is not None or self._made.result().cancel()


def _begin(made: Future[Pending], begin: Callable[[], Pending]) -> None:
    if not made.set_running_or_notify_cancel():
        return
    try:
        made.set_result(begin())
    except BaseException as error:  # noqa: BLE001  whoever waits for the batch has to hear of it
        made.set_exception(error)
