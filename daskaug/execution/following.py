"""How far a job is, told to whoever watches: nobody, or the page of a cluster's scheduler."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Protocol


class Follower(Protocol):
    """Told how a job comes along. Quick, from any thread, and never an error."""

    @property
    def is_over(self) -> bool:
        """Whether nobody listens any more."""

    def tell(self, **facts: Any) -> None:
        """What has changed.

        Parameters
        ----------
        **facts
            ``done``, ``total``: images; ``epoch``; ``handed``: images of all epochs; ``waited``: seconds that the
            consumer waited; ``mean``, ``half``: of a fit, and half-widths of its interval.
        """

    def end(self, state: str) -> None:
        """It is over: ``"done"``, ``"stopped"`` or ``"failed"``."""

    def tasks(self) -> contextlib.AbstractContextManager[None]:
        """Around tasks of this job that are submitted to the threads of this process."""


class NobodyFollows:
    """Without a page, nobody does."""

    is_over = True

    def tell(self, **facts: Any) -> None:
        """See :meth:`Follower.tell`."""

    def end(self, state: str) -> None:
        """See :meth:`Follower.end`."""

    def tasks(self) -> contextlib.AbstractContextManager[None]:
        """See :meth:`Follower.tasks`."""
        return contextlib.nullcontext()


NOBODY = NobodyFollows()


@contextlib.contextmanager
def followed(follower: Follower) -> Iterator[Follower]:
    """Tell the end of a job, whatever it is."""
    try:
        yield follower
    except (KeyboardInterrupt, GeneratorExit):
        follower.end("stopped")
        raise
    except BaseException:
        follower.end("failed")
        raise
    follower.end("done")
