"""Batches that are being computed for a consumer who has not asked for them yet."""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskaug.errors import LostClusterError
from daskaug.execution import Pending

Place = tuple[int, int]
"""Where a batch stands: (epoch, number within the epoch)."""


class SharedTask:
    """A task that computes one batch or several.

    Attributes
    ----------
    is_awaited : bool
        Somebody has taken one of its batches and waits for it, so that it is not to be cancelled with the others.
    """

    def __init__(self, pending: Pending) -> None:
        self.pending = pending
        self.is_awaited = False

    @property
    def is_lost(self) -> bool:
        """See :class:`Pending`."""
        return self.pending.is_lost

    def cancel(self) -> None:
        """Give it up, if it has not begun and nobody waits for it."""
        if not self.is_awaited:
            self.pending.cancel()


@dataclasses.dataclass(frozen=True, eq=False)
class UnderWay:
    """A batch under way. It knows nothing of the iterator, which could not be dropped otherwise.

    Attributes
    ----------
    rows : (b,) int64
    task : SharedTask
    part : slice or None
        Its part of what the task returns, if that computes several batches together.
    """

    rows: NDArray[np.int64]
    task: SharedTask
    part: slice | None

    def result(self, alone: Callable[[], Pending]) -> Any:
        """Wait for it; raises what the task raised.

        Parameters
        ----------
        alone : callable
            Starts computing this batch by itself.
        """
        if self.part is None:
            try:
                return self.task.pending.result()
            except LostClusterError:  # a worker has died, and with it the pixels that were sent to it
                return alone().result()
        try:
            made = self.task.pending.result()
        except Exception:  # noqa: BLE001  whose batch it was about shows when this one is computed alone
            return alone().result()
        return tuple(each[self.part] for each in made) if isinstance(made, tuple) else made[self.part]


class WhenAsked:
    """A batch that is computed by whoever wants it.

    Parameters
    ----------
    owner : object
        Held weakly: it lists what is under way.
    method : str
        Name of the owner's method that makes the batch.
    argument
        Of the method.
    """

    is_lost = False

    def __init__(self, owner: Any, method: str, argument: Any) -> None:
        self._owner, self._method, self._argument = weakref.ref(owner), method, argument

    def result(self) -> Any:
        """Compute it."""
        return getattr(self._owner(), self._method)(self._argument)

    def take(self) -> Any:
        """Compute it."""
        return self.result()

    def when_done(self, function: Callable[[], None]) -> None:
        """It can be computed at any time."""
        function()

    def cancel(self) -> bool:
        """There is nothing under way."""
        return True


def cancel_all(ahead: dict[Place, UnderWay]) -> None:
    """Give up what is under way."""
    while ahead:
        ahead.popitem()[1].task.cancel()
