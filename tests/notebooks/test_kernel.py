"""What happens in a Jupyter kernel: progress is one display, and an interrupt stops the work, here and on a cluster."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
import zarr
from distributed import Client

from daskaug import ImageDataGenerator
from daskaug.materialize import verify
from tests import pictures
from tests.faults.runs import refused
from tests.faults.slow import Slow
from tests.notebooks.kernels import Kernel, started

pytestmark = pytest.mark.notebooks

IMAGES, SHARD_ROWS = 3200, 400
"""A shard takes twenty seconds: if it was finished, that shows."""
STOP_SECONDS = 10
"""What is promised is 2; this is for a machine that does much else."""

BEGIN = """
from pathlib import Path
from daskaug import ImageDataGenerator
from tests.faults.slow import Slow
datagen = ImageDataGenerator(rotation_range=20, preprocessing_function=Slow(Path("traces").absolute()), dtype="float32")
datagen.materialize("few.zarr", "warm.zarr", standardize=True)
"""

CLUSTER = """
import contextlib
from distributed import Client
from tests import clusters
stack = contextlib.ExitStack()
cluster = stack.enter_context(clusters.workers(2))
client = stack.enter_context(Client(cluster))
client.wait_for_workers(2)
print(cluster.scheduler_address, end="")
"""

HOW = {"shard_rows": SHARD_ROWS, "standardize": True}
CALL = 'datagen.materialize("x.zarr", "m.zarr", shard_rows=400, standardize=True, progress=True)'


@pytest.fixture
def kernel(tmp_path) -> Iterator[Kernel]:
    images = pictures.tiles(16, IMAGES)
    assert len(images) == IMAGES
    zarr.create_array(tmp_path / "x.zarr", data=images, chunks=(20, 16, 16, 3))
    zarr.create_array(tmp_path / "few.zarr", data=images[:4])
    (tmp_path / "traces").mkdir()
    with started(tmp_path) as running:
        yield running


def displays(messages: list[dict[str, Any]]) -> list[tuple[str, dict[str, str]]]:
    """Which displays were shown and updated, in order: their ids, and what they showed."""
    return [
        (message["content"]["transient"]["display_id"], message["content"]["data"])
        for message in messages
        if message["msg_type"] in ("display_data", "update_display_data")
    ]


def seconds_until_idle(client: Client, sent: float) -> float:
    """Until the scheduler has no task of ours any more."""
    end = time.monotonic() + 60
    while client.run_on_scheduler(tasks_of_daskaug):
        assert time.monotonic() < end
    return time.time() - sent


def tasks_of_daskaug(dask_scheduler: Any) -> list[str]:
    return [f"{key} {task.state}" for key, task in dask_scheduler.tasks.items() if str(key).startswith("daskaug")]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("interrupts", [1, 3])
@pytest.mark.parametrize("where", ["threads", "cluster"])
def test_an_interrupt_stops_the_work_at_once_and_it_can_be_resumed(kernel, tmp_path, capsys, where, interrupts):
    slow, store = Slow(tmp_path / "traces"), tmp_path / "m.zarr"
    slow.be_quick()
    address = kernel.run(CLUSTER) if where == "cluster" else None
    kernel.run(BEGIN)
    made = ImageDataGenerator(rotation_range=20, preprocessing_function=slow, dtype="float32")
    with pytest.raises(ZeroDivisionError):  # of an earlier run there is a part
        made.materialize(tmp_path / "x.zarr", store, **HOW, progress=lambda done, total: 1 // (done < SHARD_ROWS))
    slow.be_slow()
    with contextlib.ExitStack() as stack:
        watching = stack.enter_context(Client(address, set_as_default=False)) if address else None
        workers = None if watching is None else set(watching.nthreads())
        cell = kernel.begin(CALL)
        slow.until_at_work(6)
        sent = time.time()
        for _ in range(interrupts):
            kernel.interrupt()
        idle = None if watching is None else seconds_until_idle(watching, sent)
        content, messages = kernel.reply(cell)
        back = time.time() - sent
        assert kernel.run("6 * 7") == "42"
        usable = time.time() - sent
        quiet = slow.until_quiet() - sent
        with capsys.disabled():
            told = "" if idle is None else f", scheduler idle after {idle:.2f} s"
            print(
                f"\n    {where}: last image after {max(quiet, 0):.2f} s{told}, cell ended after {back:.2f} s, "
                f"next cell done after {usable:.2f} s"
            )
        assert max(idle or 0, back, usable, quiet) < STOP_SECONDS
        assert len(slow.traces()) < IMAGES  # it was stopped: it did not finish
        assert workers is None or set(watching.nthreads()) == workers  # the interrupt went to them, too
    assert content["ename"] == "KeyboardInterrupt"
    assert "can be finished" in "\n".join(content["traceback"])
    shown = displays(messages)
    assert len({number for number, _ in shown}) == 1
    assert re.fullmatch(
        r"materialize: interrupted after .*, at [\d,]+ of 3,200 images \(\d+%\)", shown[-1][1]["text/plain"]
    )
    refused(store)
    slow.be_quick()
    report = kernel.run(f"print(({CALL}).store_hash, end='')")
    undisturbed = made.materialize(tmp_path / "x.zarr", tmp_path / "u.zarr", **HOW)
    assert report == undisturbed.store_hash
    assert not list(store.rglob("*.partial"))
    assert verify(store, full=True, source=tmp_path / "x.zarr", preprocessing_function=slow).ok


def test_progress_is_one_display_that_ends_as_one_line(kernel, tmp_path):
    (tmp_path / "traces" / "quick").touch()
    kernel.run(BEGIN)
    content, messages = kernel.reply(kernel.begin(CALL))
    assert content["status"] == "ok"
    assert not [message for message in messages if message["msg_type"] == "stream"]
    shown = displays(messages)
    assert next(message["msg_type"] for message in messages if "display" in message["msg_type"]) == "display_data"
    assert len({number for number, _ in shown}) == 1
    assert all("<progress" in data["text/html"] for _, data in shown[:-1])
    last = shown[-1][1]
    assert re.fullmatch(r"materialize: 3,200 images, .* images/s, .* MB/s", last["text/plain"])
    assert last["text/html"] == f"<div>{last['text/plain']}</div>"


def test_names_are_shown_as_text(kernel):
    kernel.run("from daskaug.progress import showing")
    cell = "with showing(True, '<b>&name</b>') as shown:\n    shown.note('<script>')\n    shown(1, 2)"
    _, messages = kernel.reply(kernel.begin(cell))
    for _, data in displays(messages):
        assert "<b>" not in data["text/html"]
        assert "<script>" not in data["text/html"]
        assert "&lt;b&gt;&amp;name&lt;/b&gt;" in data["text/html"]
