"""Which rows to read before they are wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from daskaug.planning.order import Order, Position


class ReadingAhead:
    """How far the rows of one epoch after the other have been asked to be read.

    While a group of units is visited, the next one is read at the same pace, so that neither waits for the other. What
    is visited first, at the beginning or after a jump, is read with it.

    Parameters
    ----------
    lead : int
        Positions by which reading is ahead.
    """

    def __init__(self, lead: int) -> None:
        self._lead = lead
        self._done = (0, 0)  # in positions counted through all epochs: from, up to

    def advance(
        self, orders: Callable[[int], Order], first: Position, last: Position
    ) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """The rows to read now that what lies between two positions is visited.

        Parameters
        ----------
        orders : callable
            ``orders(epoch)`` is the order of an epoch; all have the same length.
        first, last : (epoch, position)

        Yields
        ------
        epoch : int
        rows : (k,) int64
            In the order in which they are best read, and none that was yielded before, unless there was a jump.
        """
        order = orders(first[0])
        n = len(order)
        begin = first[0] * n + order.group_start(first[1])
        end = min(last[0] * n + last[1] + self._lead, (first[0] + 2) * n)
        since, until = self._done
        position = until if since <= begin <= until else begin
        self._done = begin, max(position, end)
        while position < end:
            number, offset = divmod(position, n)
            stop = min(n, offset + end - position)
            yield number, orders(number).as_read(offset, stop)
            position += stop - offset
