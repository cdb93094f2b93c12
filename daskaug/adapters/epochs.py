"""What the adapters share: one pass is one epoch, and a pass can go on where another one stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import numpy as np


class Batches(Protocol):
    """What an adapter asks of an iterator that a `flow` method made."""

    epoch: int

    def __len__(self) -> int:
        """Batches of the current epoch."""

    def __getitem__(self, idx: int) -> Any:
        """The batch number `idx` of the current epoch."""

    def __next__(self) -> Any:
        """The next batch, of the next epoch after the last of this one."""

    def reset(self) -> None:
        """Go to the next epoch, unless none of this one was taken."""

    def state_dict(self) -> dict[str, Any]:
        """Where it stands."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go there."""


class Epochs:
    """An iterable of batches whose every pass is the next epoch.

    A pass that was broken off is not taken up again, unless by :meth:`load_state_dict`: the next one is another epoch.

    Parameters
    ----------
    batches : iterator
        As a `flow` method returns it. Nobody else should take batches from it.
    """

    def __init__(self, batches: Batches) -> None:
        self.batches = batches
        self._goes_on = False

    def __len__(self) -> int:
        """Batches of a pass; after :meth:`load_state_dict` those that are left of the epoch."""
        return len(self.batches)

    def passing(self, convert: Callable[[Any], Any], ahead: int = 0) -> Iterator[Any]:
        """The converted batches of an epoch, or of what is left of it.

        Parameters
        ----------
        convert : callable
            From a batch of arrays to what is handed out.
        ahead : int
            Batches that are converted before they are asked for.
        """
        if not self._goes_on:
            self.batches.reset()
        self._goes_on = False
        waiting: list[tuple[Any, dict[str, Any] | None]] = []
        epoch = self.batches.epoch
        for _ in range(len(self.batches)):
            if self.batches.epoch != epoch:
                break
            converted = convert(next(self.batches))
            waiting.append((converted, self.batches.state_dict() if ahead else None))
            if len(waiting) > ahead:
                yield self._hand_out(waiting)
        while waiting:
            yield self._hand_out(waiting)
        self._state = None

    _state: dict[str, Any] | None = None

    def _hand_out(self, waiting: list[tuple[Any, dict[str, Any] | None]]) -> Any:
        converted, self._state = waiting.pop(0)
        return converted

    def state_dict(self) -> dict[str, Any]:
        """Where it stands, after the batches that were handed out.

        Returns
        -------
        dict
            A few JSON values, as those of the iterator.
        """
        return self.batches.state_dict() if self._state is None else dict(self._state)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Make the next pass go on where another one over the same data was.

        Parameters
        ----------
        state : dict
            What its :meth:`state_dict` returned; checked as by the iterator's own method.
        """
        self.batches.load_state_dict(state)
        self._goes_on, self._state = True, None


def map_arrays(convert: Callable[[Any], Any], batch: Any) -> Any:
    """The same nest of tuples, lists and dicts, with every array converted."""
    if isinstance(batch, Mapping):
        return {name: map_arrays(convert, each) for name, each in batch.items()}
    if isinstance(batch, tuple | list):
        return type(batch)(map_arrays(convert, each) for each in batch)
    return batch if batch is None else convert(np.asarray(batch))
