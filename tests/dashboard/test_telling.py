"""How a process tells the page: never more than the scheduler takes, and without holding what it tells of."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
import weakref
from types import SimpleNamespace
from typing import Any

import distributed

from daskaug.execution import cluster as clustered
from daskaug.execution import metrics, watching
from daskaug.execution.following import NOBODY
from daskaug.execution.metrics import Courier, measured
from daskaug.execution.watching import Watching
from daskaug.stages import stage
from tests import clusters


async def _turns() -> None:
    """Everything that can run without waiting for somebody has run."""
    for _ in range(50):
        await asyncio.sleep(0)


def test_a_scheduler_that_does_not_answer_is_told_once():
    async def run() -> None:
        loop, answered, sent = asyncio.get_running_loop(), asyncio.Event(), []

        async def send() -> None:
            sent.append(None)
            await answered.wait()

        tasks: list[Any] = []
        on_loop = SimpleNamespace(add_callback=lambda function: tasks.append(loop.create_task(function())))
        courier = Courier(on_loop, send, lambda: 0.0)
        for _ in range(5):
            courier.soon()
            await _turns()
        assert len(sent) == 1
        assert len(tasks) == 2  # one is under way, and one waits
        answered.set()
        await _turns()
        assert len(sent) == 2  # what has come since is told then
        courier.soon()
        await _turns()
        assert len(sent) == 3

    asyncio.run(run())


def test_on_an_executor_whose_threads_know_no_worker_nothing_is_told(monkeypatch):
    def nobody() -> Any:
        raise ValueError("No worker found")

    monkeypatch.setattr(metrics.distributed, "get_worker", nobody)
    found = []
    with measured(tells=True), stage("read", 1):
        found.append(1)
    assert found == [1]


def test_a_client_that_is_closed_is_forgotten():
    with clusters.workers(1, processes=False) as local:
        client = distributed.Client(local)
        assert clustered.watching_of(client).has_page
        client.close()
        kept = weakref.ref(client)
        known = len(clustered._on_cluster)
        del client
        gc.collect()
        assert kept() is None
        assert len(clustered._on_cluster) < known


class Client:
    """One whose scheduler may be another one later, or not be reached."""

    status, id = "running", "c"
    loop = SimpleNamespace(add_callback=lambda function: None)

    def __init__(self) -> None:
        self.answers: list[Exception | None] = []
        self._scheduler_identity = {"id": "first"}
        self.asked = 0

    def register_plugin(self, plugin: Any) -> None:
        self.asked += 1
        answer = self.answers.pop(0) if self.answers else None
        if answer is not None:
            raise answer


def test_each_scheduler_is_asked_once_and_again_if_it_was_not_reached():
    client = Client()
    known = Watching(client)
    client.answers = [OSError("no route"), ImportError("no daskaug")]
    assert [known.has_page for _ in range(4)] == [False] * 4
    assert known.follow("fit", "x", 1) is NOBODY
    assert client.asked == 2
    client._scheduler_identity = {"id": "second"}
    assert [known.has_page for _ in range(3)] == [True] * 3
    assert client.asked == 3


def test_a_job_may_end_where_the_garbage_collector_finds_it(monkeypatch):
    client = Client()
    job: Any = Watching(client).follow("flow", "x", 1)
    assert not job.is_over
    seconds = watching.time.monotonic

    def monotonic() -> float:  # asked for while a message is made
        job.end("done")
        return seconds()

    monkeypatch.setattr(watching, "time", SimpleNamespace(monotonic=monotonic))

    def send() -> None:
        with contextlib.suppress(AttributeError):  # there is no scheduler to send it to
            asyncio.run(job._send())

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive()
    assert job.is_over
