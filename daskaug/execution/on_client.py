"""Results on a dask.distributed cluster, and what is said when that is lost. Imported only where distributed is."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import distributed
from distributed.comm.core import CommClosedError

from daskaug.errors import DaskaugError, LostClusterError
from daskaug.execution.executor import Pending
from daskaug.execution.losses import Work

REPEATS = 3
"""Of a task that was lost because something was lost that it needs; as often as the scheduler repeats one."""


class ClientPending:
    """A result on the cluster.

    Parameters
    ----------
    client : distributed.Client
    future : distributed.Future
    work : Work
    begin : callable, optional
        Hands the task to the scheduler once more and returns its future, where the scheduler has lost it and the client
        is still connected: it computes again what was lost with a worker, but cannot make what was scattered to it.
    """

    def __init__(
        self, client: distributed.Client, future: Any, work: Work, begin: Callable[[], Any] | None = None
    ) -> None:
        self._client, self._future, self._work, self._begin = client, future, work, begin
        self._repeats = REPEATS
        self._made, self._is_here = None, False

    @property
    def is_lost(self) -> bool:
        """Whether the client that could fetch it has been closed."""
        return bool(self._client.status != "running")

    def result(self) -> Any:
        """Wait for it; raises what the task raised. It travels here once.

        Raises
        ------
        LostClusterError
            Where the scheduler has gone, or somebody has cancelled the task.
        SourceError, StoreError
            Where workers died of it, one after the other: most likely of too little memory.
        """
        if not self._is_here:
            self._made, self._is_here = self._fetched(), True
        return self._made

    @property
    def is_made(self) -> bool:
        """Whether there is a result, here or on a worker."""
        return self._is_here or self._future.status == "finished"

    def wait(self) -> None:
        """Until there is a result or an error."""
        if not self.is_made:
            distributed.wait(self._future)

    @staticmethod
    def fetch(client: distributed.Client, pending: Sequence[ClientPending]) -> None:
        """Bring results here that are there, with one message."""
        absent = [each for each in pending if not each._is_here]
        for each, made in zip(absent, client.gather([each._future for each in absent]), strict=True):
            each._made, each._is_here, each._begin = made, True, None

    def take(self) -> Any:
        """See :meth:`daskaug.execution.Pending.take`."""
        made = self._made if self._is_here else self._fetched()
        self._made, self._is_here = None, False
        self.cancel()
        return made

    def _fetched(self) -> Any:
        while True:
            try:
                made = _result_of(self._future, self._work)
            except KeyboardInterrupt:
                # Not left to garbage collection: a notebook keeps the last traceback, and what its frames hold.
                self.cancel()
                raise
            except LostClusterError:
                if self._begin is None or self._repeats == 0 or self.is_lost:
                    raise
                self._repeats -= 1
                with asking(self._client):
                    self._future = self._begin()
            else:
                self._begin = None  # and with it what was sent
                return made

    def when_done(self, function: Callable[[], None]) -> None:
        """See :meth:`daskaug.execution.Pending.when_done`."""
        self._future.add_done_callback(lambda _: function())

    def cancel(self) -> bool:
        """Let go of it. The scheduler drops a task that nobody holds; unlike cancelling, that needs no answer.

        A worker that is about it learns of that, and the task breaks off at its next step.
        """
        if not self.is_lost:
            self._future.release()
        return True


def _result_of(future: Any, work: Work) -> Any:
    """What a future comes to; see :meth:`ClientPending.result`."""
    try:
        return future.result()
    except distributed.KilledWorker as killed:
        raise work.error(killed) from killed
    except (distributed.CancelledError, CommClosedError) as error:
        raise _lost("has lost the tasks that it was given", " ".join(str(error).split())) from error


def _lost(what: str, told: str) -> LostClusterError:
    return LostClusterError(
        f"The dask cluster {what} ({told}). Look whether its scheduler still runs, and connect to it, or to another "
        "one, with a new distributed.Client."
    )


@contextlib.contextmanager
def asking(client: distributed.Client) -> Iterator[None]:
    """While something is asked of a scheduler, which may be gone; distributed says so in many ways.

    Raises
    ------
    LostClusterError
    """
    try:
        yield
    except DaskaugError:
        raise
    except Exception as error:
        if not isinstance(error, OSError) and client.status == "running":
            raise
        raise _lost("does not answer", " ".join(f"{type(error).__name__}: {error}".split())) from error


def made_of(pending: Sequence[Pending]) -> list[ClientPending]:
    """Those at the beginning that have a result."""
    made: list[ClientPending] = []
    for each in pending:
        if not isinstance(each, ClientPending) or not each.is_made:
            break
        made.append(each)
    return made
