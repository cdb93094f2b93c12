"""How long a task spends on which part of its work: noted where somebody collects it, otherwise next to free.

Whoever reads, decodes, transforms or writes images says so with :func:`stage`; whoever runs a task and wants to know
opens :func:`collecting` around it. Neither knows the other.
"""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

from numpy.typing import NDArray

STAGES = ("read", "decode", "transform", "reduce", "write")
"""Fetching bytes (of a Zarr array decompressing them as well); decoding image files; augmenting and standardising;
summing up for a fit; encoding and writing shards."""


@dataclasses.dataclass
class Amount:
    """What one stage came to.

    Attributes
    ----------
    seconds : float
        Of all threads together, without the stages within.
    images : int
    nbytes : int
        Decoded.
    """

    seconds: float = 0.0
    images: int = 0
    nbytes: int = 0


@dataclasses.dataclass(frozen=True, eq=False)
class Picture:
    """An image that was just made.

    Attributes
    ----------
    image : (h, w, c) or (c, h, w) array
    data_format : {"channels_last", "channels_first"}
    sample, epoch : int
        What it is the image of.
    """

    image: NDArray[Any]
    data_format: str
    sample: int
    epoch: int


class Collected:
    """What was noted in a task, by all threads that worked for it.

    Parameters
    ----------
    wants_picture : bool
        Keep a copy of one of the images that are made.

    Attributes
    ----------
    amounts : dict of str to Amount
        By stage.
    under_way : set of stage
        Those that are not over yet.
    picture : Picture or None
    """

    def __init__(self, *, wants_picture: bool = False) -> None:
        self._lock = threading.Lock()
        self.amounts: dict[str, Amount] = {}
        self.under_way: set[stage] = set()
        self.wants_picture = wants_picture
        self.picture: Picture | None = None

    def add(self, stage: str, seconds: float, images: int, nbytes: int) -> None:
        """Note what a stage took and did."""
        with self._lock:
            amount = self.amounts.get(stage)
            if amount is None:
                amount = self.amounts[stage] = Amount()
            amount.seconds += seconds
            amount.images += images
            amount.nbytes += nbytes

    def told(self) -> dict[str, list[float]]:
        """Seconds, images and bytes by stage, as they travel; the seconds of stages under way so far, too."""
        with self._lock:
            told = {name: [each.seconds, each.images, each.nbytes] for name, each in self.amounts.items()}
            under_way = list(self.under_way)
        now = time.perf_counter()
        for one in under_way:
            within = sum(now - other._began for other in under_way if other._outer is one)
            amount = told.setdefault(one._name, [0.0, 0, 0])
            amount[0] += max(0.0, now - one._began - one._within - within)
        return told

    def take_picture(self, picture: Picture) -> None:
        """Keep an image, unless there is one."""
        with self._lock:
            if self.wants_picture:
                self.picture, self.wants_picture = picture, False


_collected: contextvars.ContextVar[Collected | None] = contextvars.ContextVar("daskaug collected", default=None)
_innermost: contextvars.ContextVar[stage | None] = contextvars.ContextVar("daskaug stage", default=None)


class stage:
    """A part of a task, as a context: ``with stage("read", images=8, nbytes=1024): ...``.

    Seconds count for the innermost stage. Images do not count twice where a stage lies within one of the same name, nor
    where there is an error.

    Parameters
    ----------
    name : str
        One of :data:`STAGES`.
    images : int
        How many it is about.
    nbytes : int
        Decoded bytes of them.
    """

    __slots__ = ("_began", "_collected", "_images", "_name", "_nbytes", "_outer", "_token", "_within")

    def __init__(self, name: str, images: int = 0, nbytes: int = 0) -> None:
        self._name, self._images, self._nbytes = name, images, nbytes

    def __enter__(self) -> None:
        collected = self._collected = _collected.get()
        if collected is None:
            return
        self._within = 0.0
        self._outer = _innermost.get()
        self._token = _innermost.set(self)
        self._began = time.perf_counter()
        collected.under_way.add(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        collected, outer = self._collected, None
        if collected is None:
            return
        seconds = time.perf_counter() - self._began
        collected.under_way.discard(self)
        _innermost.reset(self._token)
        outer = self._outer
        counts = kind is None
        if outer is not None:
            outer._within += seconds
            counts = counts and outer._name != self._name
        own = max(0.0, seconds - self._within)
        collected.add(self._name, own, self._images if counts else 0, self._nbytes if counts else 0)


PICTURE_SIDE = 128
"""Pixels on a side that a picture is kept with, at most: twice those that are shown."""


def offer(images: NDArray[Any], ids: NDArray[Any], epoch: int, data_format: str) -> None:
    """Show what was made, to whoever collects pictures; every so many pixels of its first image are copied then.

    What is made within a transform is not finished, and not shown.

    Parameters
    ----------
    images : (b, h, w, c) or (b, c, h, w) array
        In the data format. At most :data:`PICTURE_SIDE` pixels on a side are kept.
    ids : (b,) integers
    epoch : int
    data_format : {"channels_last", "channels_first"}
    """
    collected = _collected.get()
    if collected is None or not collected.wants_picture or not len(images):
        return
    within = _innermost.get()
    if within is None or within._name != "transform":
        first = images[0]
        height, width = first.shape[1:] if data_format == "channels_first" else first.shape[:2]
        every = max(1, -(-max(height, width) // PICTURE_SIDE))
        pixels = slice(None, None, every)
        part = first[:, pixels, pixels] if data_format == "channels_first" else first[pixels, pixels]
        collected.take_picture(Picture(part.copy(), data_format, int(ids[0]), int(epoch)))


@contextlib.contextmanager
def collecting(collected: Collected) -> Iterator[None]:
    """Have the stages of this thread, and of those that :func:`carried` functions run in, noted."""
    outer, inner = _collected.set(collected), _innermost.set(None)
    try:
        yield
    finally:
        _innermost.reset(inner)
        _collected.reset(outer)


def carried(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, to be called on another thread for whoever collects here; the function itself if nobody does."""
    collected = _collected.get()
    if collected is None:
        return function

    def on_other_thread(*args: Any, **kwargs: Any) -> Any:
        with collecting(collected):
            return function(*args, **kwargs)

    return on_other_thread
