"""A client's side of the page: has it registered, and tells it of jobs. Imported only where distributed already is."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
import uuid
import weakref
from collections.abc import Iterator
from typing import Any

import dask.base
import distributed

from daskaug.dashboard.plugin import DashboardPlugin, is_wanted
from daskaug.dashboard.state import HANDLER
from daskaug.execution.following import NOBODY, Follower
from daskaug.execution.metrics import PICTURE_SECONDS, TELL_SECONDS, Courier, shown_of
from daskaug.execution.on_worker import MEASURED, PLAIN, TELLING, Bodies
from daskaug.stages import Collected, collecting

log = logging.getLogger("daskaug")

MOST_SPANS = 32


class Watching:
    """What a client knows about being watched; each scheduler is asked for the first task, and then known.

    It does not keep the client: it is kept for as long as that is.

    Parameters
    ----------
    client : distributed.Client
    """

    def __init__(self, client: Any) -> None:
        self._client = weakref.ref(client)
        self._lock = threading.Lock()
        self._has_asked, self._has_page = False, False
        self._scheduler: str | None = None
        self._spans: dict[Any, dict[str, Any]] = {}
        self.is_on = is_wanted()

    @property
    def has_page(self) -> bool:
        """Whether the scheduler listens; has it do so if it can."""
        if not self.is_on:
            return False
        client = self._client()
        if client is None:
            return False
        with self._lock:
            scheduler = _scheduler_of(client)
            if not self._has_asked or scheduler != self._scheduler:
                try:
                    self._has_page = _register(client)
                    self._has_asked, self._scheduler = True, scheduler
                except OSError as error:  # it cannot be reached: the next one may be
                    log.debug("The scheduler could not be asked for a daskaug page: %r", error)
                    return False
            return self._has_page

    @property
    def bodies(self) -> Bodies:
        """What tasks are to call."""
        if not self.is_on:
            return PLAIN
        return TELLING if self.has_page else MEASURED

    @contextlib.contextmanager
    def span(self, name: str) -> Iterator[None]:
        """Around tasks of a name that are submitted: one span for each kind of job, within the user's own."""
        if not self.is_on:
            yield
            return
        kind = name.removeprefix("daskaug-")
        kind = {"zca": "fit", "fetch": "flow"}.get(kind, kind)
        outer = dask.base.get_annotations().get("span")
        key = kind, None if outer is None else outer["ids"]
        with self._lock:
            annotations = self._spans.get(key)
            if annotations is None:
                with distributed.span("daskaug", kind):
                    annotations = {"span": dask.base.get_annotations()["span"]}
                if len(self._spans) >= MOST_SPANS:
                    self._spans.pop(next(iter(self._spans)))
                self._spans[key] = annotations
        with dask.base.annotate(**annotations):
            yield

    def follow(self, kind: str, name: str, total: int) -> Follower:
        """Begin to tell of a job; see :meth:`daskaug.execution.Executor.follow`."""
        client = self._client()
        if client is None or not self.has_page:
            return NOBODY
        return _Job(client, {"kind": kind, "name": name, "done": 0, "total": total})


def _scheduler_of(client: Any) -> str | None:
    """Which scheduler a client is connected to: one that was started anew has another id."""
    # The client keeps this up to date, also when it connects again; client.scheduler_info() would ask for every task.
    known: dict[str, Any] = getattr(client, "_scheduler_identity", {})
    return known.get("id")


def _register(client: Any) -> bool:
    """Whether the scheduler takes the page; an OSError where it cannot be reached."""
    try:
        client.register_plugin(DashboardPlugin())
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001  no daskaug there, or another; it does not matter why
        log.info("The scheduler takes no daskaug page: %s", " ".join(str(error).split())[:300])
        return False
    return True


class _Job:
    """A job that the page shows."""

    def __init__(self, client: Any, facts: dict[str, Any]) -> None:
        self._client = client
        self._facts = facts | {"what": "job", "id": uuid.uuid4().hex, "client": client.id, "state": "running"}
        self._lock = threading.RLock()  # while it is held, the garbage collector may find an iterator, and end its job
        self._began = time.monotonic()
        self._collected = Collected(wants_picture=True)
        self._pictured = self._began
        self._courier = Courier(client.loop, self._send, lambda: TELL_SECONDS)
        self._courier.soon()

    @property
    def is_over(self) -> bool:
        return bool(self._client.status != "running" or self._facts["state"] != "running")

    def tell(self, **facts: Any) -> None:
        with self._lock:
            self._facts.update(facts)
        self._courier.soon()

    def end(self, state: str) -> None:
        with self._lock:
            if self._facts["state"] != "running":
                return
            self._facts["state"] = state
        with contextlib.suppress(Exception):  # the loop may be closed already
            self._courier.now()

    def tasks(self) -> contextlib.AbstractContextManager[None]:
        return collecting(self._collected)

    async def _send(self) -> None:
        if self._client.status != "running":
            return
        with self._lock:
            told = self._facts | {"age": time.monotonic() - self._began}
        await getattr(self._client.scheduler, HANDLER)(told=told | self._made_here())

    def _made_here(self) -> dict[str, Any]:
        """What this process itself has done for the job, where it transforms what workers read."""
        collected = self._collected
        stages = collected.told()
        if not stages:
            return {}
        picture, shown = collected.picture, {}
        if picture is not None:
            collected.picture = None
            self._pictured = time.monotonic()
            shown = {"picture": shown_of(picture)}
        elif time.monotonic() - self._pictured >= PICTURE_SECONDS:
            collected.wants_picture = True
        return {"stages": stages} | shown
