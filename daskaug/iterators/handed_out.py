"""Telling a cluster's page how the batches of an iterator are handed out."""

from __future__ import annotations

import weakref
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

from daskaug.execution import NOBODY, Executor, Follower
from daskaug.iterators.meter import Meter


class _Since(NamedTuple):
    """Where an iterator was when it began to be followed: its meter counts since it was made."""

    epoch: int
    in_epoch: int
    images: int
    seconds_waited: float


class HandedOut:
    """What of an iterator's batches is told to the page of its cluster, if that has one.

    Parameters
    ----------
    meter : Meter
        Of the iterator; it counts what is handed out.
    """

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._follower: Follower = NOBODY
        self._since = _Since(0, 0, 0, 0.0)
        self._end: weakref.finalize[..., Any] | None = None

    @property
    def is_over(self) -> bool:
        """Whether nobody listens, or not any more."""
        return self._follower.is_over

    def begin(self, iterator: Any, executor: Executor, name: str, total: int, epoch: int, in_epoch: int) -> None:
        """From now on, and until the iterator is gone.

        Parameters
        ----------
        iterator : object
            Held weakly.
        executor : Executor
        name : str
            What the page is to call it.
        total : int
            Images of an epoch.
        epoch, in_epoch : int
            Where the iterator is: the epoch, and images of it that were handed out.
        """
        self._follower = executor.follow("flow", name, total)
        if self._end is not None:
            self._end.detach()
            self._end = None
        if self._follower is not NOBODY:
            self._since = _Since(epoch, in_epoch, self._meter.images, self._meter.seconds_waited)
            self._end = weakref.finalize(iterator, self._follower.end, "done")
            self._end.atexit = False

    def tell(self, total: int) -> None:
        """A batch was handed out; `total` images make an epoch."""
        if self._follower is NOBODY:
            return
        since = self._since
        handed = max(0, self._meter.images - since.images)
        epochs, done = divmod(max(0, since.in_epoch + handed - 1), max(1, total))
        self._follower.tell(
            done=done + 1,
            total=total,
            epoch=since.epoch + epochs,
            handed=handed,
            waited=max(0.0, self._meter.seconds_waited - since.seconds_waited),
        )

    def tasks(self) -> AbstractContextManager[None]:
        """Around tasks that are submitted to the threads of this process."""
        return self._follower.tasks()

    def end(self) -> None:
        """Nothing more is handed out."""
        self._follower.end("done")
