"""Tasks that are given up, or interrupted while they are submitted or waited for."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import Future

import dask
import numpy as np
import pytest
from distributed import Client

from daskaug.execution import current_executor
from daskaug.execution.executor import threads_executor
from daskaug.iterators.boundary import MadeHere
from daskaug.sources.base import BlockReader, CarryingReader
from tests.clusters import workers

WAIT_SECONDS = 60


@pytest.fixture(scope="module")
def client():
    with workers(1, processes=False) as local, Client(local) as client:
        yield client


class Nothing(BlockReader):
    """For tasks that need no block."""

    def load(self) -> None:
        return None


def broken_off(tasks, error):
    yield from tasks
    raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError("cannot be read")])
@pytest.mark.parametrize("rows", [10, 2**21])
def test_on_a_cluster_what_was_submitted_before_an_interrupt(client, rows, error):
    """Even while somebody holds the traceback, as a notebook does."""
    tasks = ((CarryingReader(np.zeros(rows, np.uint8), f"block {i}"), ()) for i in range(5))
    with pytest.raises((KeyboardInterrupt, OSError)) as caught:
        current_executor().submit_all(lambda block: int(block.sum()), broken_off(tasks, error), "test")
    client.nthreads()  # whatever its event loop had to do is done before it answers
    assert not client.futures
    assert caught.tb


def test_on_threads_what_was_submitted_before_an_interrupt():
    executor = threads_executor()
    busy, goes_on = threading.Barrier(executor.parallelism + 1), threading.Event()
    ran = []

    def block(_):
        busy.wait(WAIT_SECONDS)
        goes_on.wait(WAIT_SECONDS)

    blocking = [executor.submit(block, Nothing(), (), "test") for _ in range(executor.parallelism)]
    busy.wait(WAIT_SECONDS)
    with pytest.raises(KeyboardInterrupt):
        executor.submit_all(
            lambda _, i: ran.append(i), broken_off(((Nothing(), (i,)) for i in range(5)), KeyboardInterrupt), "test"
        )
    goes_on.set()
    for each in blocking:
        each.result()
    executor.submit(lambda _: None, Nothing(), (), "test").result()  # after all that were before it
    assert ran == []


class Never:
    """Raw images that do not come."""

    is_lost = False

    def __init__(self) -> None:
        self.is_cancelled = False

    def when_done(self, function) -> None:
        pass

    def cancel(self) -> bool:
        self.is_cancelled = True
        return True


@pytest.mark.parametrize("wait", ["result", "take"])
def test_a_batch_that_waits_for_its_raw_images(wait, monkeypatch):
    def interrupted(self, timeout=None):
        raise KeyboardInterrupt

    fetched = Never()
    batch = MadeHere(fetched, lambda: pytest.fail("there is nothing to begin with"))
    monkeypatch.setattr(Future, "result", interrupted)
    with pytest.raises(KeyboardInterrupt):
        getattr(batch, wait)()
    assert fetched.is_cancelled


def test_a_batch_that_could_not_be_begun_can_be_given_up():
    class Ready(Never):
        def when_done(self, function) -> None:
            function()

    def fail():
        raise ValueError("cannot begin")

    batch = MadeHere(Ready(), fail)
    with pytest.raises(ValueError, match="cannot begin"):
        batch.result()
    assert batch.cancel()


def test_blocks_of_a_graph_may_be_given_up_while_others_are_asked_for(client):
    """Two iterators in two threads have their blocks in one place."""
    executor = current_executor()
    over, errors = threading.Event(), []
    interval = sys.getswitchinterval()

    def give_up() -> None:
        try:
            while not over.is_set():
                current_executor().give_up_parts()
        except Exception as error:  # noqa: BLE001  told below
            errors.append(error)

    parts = [dask.delayed(abs)(-i, dask_key_name=f"part-{i}") for i in range(100)]
    giver = threading.Thread(target=give_up)
    sys.setswitchinterval(1e-5)
    try:
        giver.start()
        for _ in range(3):
            executor.prepare(parts)
    finally:
        over.set()
        giver.join()
        sys.setswitchinterval(interval)
        executor.give_up_parts()
    assert errors == []
