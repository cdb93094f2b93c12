"""What tasks on a cluster tell about themselves. Imported only where distributed already is.

A task's stages go to distributed's fine performance metrics, which ride on the heartbeat of the worker. Where the
scheduler has a page of ours (:mod:`daskaug.dashboard`), the worker also tells that, once a second or less often, what
it has done so far, and now and then shows an image that it has just made.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import threading
import time
import weakref
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import distributed
from distributed.metrics import context_meter

from daskaug.dashboard.state import HANDLER, TRANSFER
from daskaug.pictures.thumbnails import thumbnail
from daskaug.stages import Collected, Picture, collecting

log = logging.getLogger("daskaug")

TELL_SECONDS = 1.0
"""Between two messages of the same worker or job, at least; more on large clusters, as between heartbeats."""

PICTURE_SECONDS = 2.0
"""Between two pictures of the same worker, at least."""

PREFIX = "daskaug-"
"""Of the labels of metrics."""


class Courier:
    """Sends what has gathered, soon but not too often, from an event loop.

    Parameters
    ----------
    loop : tornado.ioloop.IOLoop
    send : callable
        Coroutine function that sends what there is to tell at that time. Its errors are swallowed: nobody's work may
        fail because it could not be watched.
    pause : callable
        Seconds between two messages.
    """

    def __init__(self, loop: Any, send: Callable[[], Awaitable[Any]], pause: Callable[[], float]) -> None:
        self._loop, self._send, self._pause = loop, send, pause
        self._lock = threading.Lock()
        self._one_at_a_time = asyncio.Lock()
        self._is_due = False
        self._last = -math.inf

    def soon(self) -> None:
        """There is something new to tell. Quick, and may be called from any thread."""
        with self._lock:
            if self._is_due:
                return
            self._is_due = True
        self._loop.add_callback(self._go)

    async def _go(self) -> None:
        # A scheduler that is slow to answer is not sent more: one message is under way, and at most one waits.
        async with self._one_at_a_time:
            await asyncio.sleep(max(0.0, self._last + self._pause() - time.monotonic()))
            with self._lock:
                self._is_due = False
            self._last = time.monotonic()
            await self._go_now()

    def now(self) -> None:
        """There is something to tell that should not wait."""
        self._loop.add_callback(self._go_now)

    async def _go_now(self) -> None:
        try:
            await self._send()
        except Exception as error:  # noqa: BLE001  nobody's work may fail because it could not be watched
            log.debug("The scheduler could not be told: %r", error)


def shown_of(picture: Picture) -> dict[str, Any]:
    """A picture as it travels."""
    png = thumbnail(picture.image, picture.data_format)
    return {"png": png, "sample": picture.sample, "epoch": picture.epoch}


class Tally:
    """What the tasks of a worker have done so far, those that run among them.

    Parameters
    ----------
    pause : callable
        Seconds between two pictures.
    """

    def __init__(self, pause: Callable[[], float]) -> None:
        self._lock = threading.Lock()
        self._over: dict[str, list[float]] = {}
        self._under_way: set[Collected] = set()
        self._pause = pause
        self._began = time.monotonic()
        self._pictured = -math.inf
        self._picture: dict[str, Any] | None = None
        self._tasks = 0

    @property
    def is_busy(self) -> bool:
        """Whether a task runs."""
        return bool(self._under_way)

    def begin(self) -> Collected:
        """What the next task is to note down."""
        now = time.monotonic()
        with self._lock:
            wants_picture = now - self._pictured >= self._pause()
            if wants_picture:
                self._pictured = now
            collected = Collected(wants_picture=wants_picture)
            self._under_way.add(collected)
        return collected

    def end(self, collected: Collected) -> None:
        """A task is over."""
        picture, shown = collected.picture, None
        if picture is not None:
            with contextlib.suppress(Exception):  # an image that cannot be drawn is no reason for a task to fail
                shown = shown_of(picture)
        with self._lock:
            self._under_way.discard(collected)
            self._tasks += 1
            _add_to(self._over, collected)
            if shown is not None:
                self._picture = shown
            elif collected.wants_picture:  # the task made none: the next one may
                self._pictured = -math.inf

    def told(self) -> dict[str, Any]:
        """All of it, as it travels; a picture goes once."""
        with self._lock:
            stages = {name: list(amounts) for name, amounts in self._over.items()}
            for collected in self._under_way:
                _add_to(stages, collected)
            picture, self._picture = self._picture, None
            told = {"stages": stages, "tasks": self._tasks, "age": time.monotonic() - self._began}
            return told if picture is None else told | {"picture": picture}


def _add_to(totals: dict[str, list[float]], collected: Collected) -> None:
    for name, amounts in collected.told().items():
        before = totals.get(name, [0.0, 0, 0])
        totals[name] = [a + b for a, b in zip(before, amounts, strict=True)]


class _Telling:
    """A worker that tells the scheduler what its tasks do."""

    def __init__(self, worker: Any) -> None:
        self._worker = weakref.ref(worker)
        self.tally = Tally(lambda: max(PICTURE_SECONDS, 4 * self._pause()))
        self.courier = Courier(worker.loop, self._send, self._pause)

    def _pause(self) -> float:
        """As long as the scheduler wants between heartbeats: with a thousand workers that is ten seconds."""
        worker = self._worker()
        beat = None if worker is None else worker.periodic_callbacks.get("heartbeat")
        return max(TELL_SECONDS, 0.0 if beat is None else beat.callback_time / 1e3)

    async def _send(self) -> None:
        worker = self._worker()
        if worker is None or worker.status != distributed.core.Status.running:
            return
        told = self.tally.told()
        told["stages"][TRANSFER] = _transferred(worker)
        told |= {
            "what": "worker",
            "address": worker.address,
            "name": str(worker.name),
            "threads": worker.state.nthreads,
        }
        if self.tally.is_busy:
            self.courier.soon()
        await getattr(worker.scheduler, HANDLER)(told=told)


def _transferred(worker: Any) -> list[float]:
    """Seconds in which a worker has sent results to others or to a client, and their bytes, whatever they were."""
    seconds = sum(
        value
        for key, value in list(worker.digests_total.items())
        if isinstance(key, tuple) and key[0] == "get-data" and key[-1] == "seconds"
    )
    return [float(seconds), 0, int(worker.transfer_outgoing_bytes_total)]


_telling: weakref.WeakKeyDictionary[Any, _Telling] = weakref.WeakKeyDictionary()
_telling_lock = threading.Lock()


def _telling_of(worker: Any) -> _Telling:
    with _telling_lock:
        found = _telling.get(worker)
        if found is None:
            found = _telling[worker] = _Telling(worker)
        return found


def _telling_here() -> _Telling | None:
    """Of the worker that runs this task; None on an executor whose threads do not know their worker."""
    try:
        return _telling_of(distributed.get_worker())
    except ValueError:
        return None


@contextlib.contextmanager
def measured(*, tells: bool) -> Iterator[None]:
    """Note what the stages of this task take, for distributed and, with `tells`, for our page."""
    telling = _telling_here() if tells else None
    collected = Collected() if telling is None else telling.tally.begin()
    if telling is not None:
        telling.courier.soon()
    try:
        with collecting(collected):
            yield
    finally:
        for name, amount in collected.amounts.items():
            context_meter.digest_metric(PREFIX + name, amount.seconds, "seconds")
            if amount.images:
                context_meter.digest_metric(PREFIX + name, amount.images, "images")
            if amount.nbytes:
                context_meter.digest_metric(PREFIX + name, amount.nbytes, "bytes")
        if telling is not None:
            telling.tally.end(collected)
            telling.courier.soon()
