"""What the page in the dashboard costs, and the metrics of tasks: with and without, in turn.

    python -m benchmarks.dashboard_cost [--images 4096] [--rounds 5] [--no-viewer]

Photographs of 96×96×3 in a Zarr store are materialised, and then streamed, by one cluster of two worker processes with
one thread each. Two clients take turns: one with the page, for which tasks are measured and somebody looks at the page
all the time, and one with ``daskaug.dashboard`` switched off. What counts are processor seconds of the workers and of
the scheduler's process, which is the consumer's as well; the clock on the wall is told beside them.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import timeit
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.lost_worker import BATCH, CLUSTER, store_of

SHARD_ROWS = 128
MESSAGES = 200

VIEWER = """
import sys, time
from bokeh.client import pull_session
session = pull_session(url=sys.argv[1])
print("looking", flush=True)
while True:
    session.force_roundtrip()
    time.sleep(0.2)
"""


def cpu_seconds() -> float:
    """Of this process, all of its threads."""
    return time.process_time()


def timed(client: Any, work: Any) -> dict[str, float]:
    """Run some work on a client's workers."""
    with client.as_current():
        before, own, began = client.run(cpu_seconds), time.process_time(), time.perf_counter()
        work()
        wall, own, after = time.perf_counter() - began, time.process_time() - own, client.run(cpu_seconds)
    return {"workers": sum(after[each] - before[each] for each in after), "scheduler": own, "wall": wall}


def materialize(store: Path, folder: Path) -> None:
    from benchmarks.contestants import OPTIONS
    from daskaug import ImageDataGenerator

    made = folder / "made.zarr"
    shutil.rmtree(made, ignore_errors=True)
    options = {name: value for name, value in OPTIONS.items() if not name.startswith("featurewise")}
    ImageDataGenerator(**options).materialize(store, made, seed=1, chunk_rows=32, shard_rows=SHARD_ROWS)


def stream(store: Path) -> None:
    from benchmarks.contestants import OPTIONS
    from daskaug import ImageDataGenerator

    options = {name: value for name, value in OPTIONS.items() if not name.startswith("featurewise")}
    flow = ImageDataGenerator(**options).flow(store, batch_size=BATCH, seed=1, transform_on="workers")
    for _ in flow.one_epoch():
        pass
    flow.close()


@contextlib.contextmanager
def looking(url: str) -> Iterator[None]:
    """Somebody looks at a page."""
    process = subprocess.Popen([sys.executable, "-c", VIEWER, url], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline().strip() == "looking"
        yield
    finally:
        process.terminate()
        process.wait()


def of_a_task(rounds: int = 20_000) -> dict[str, float]:
    """Microseconds: a stage that nobody notes, one that is noted, and all that is done about a task of three stages."""
    from daskaug.execution.metrics import Tally
    from daskaug.stages import Collected, collecting, stage

    def one() -> None:
        with stage("read", 1, 1):
            pass

    tally = Tally(lambda: 1e9)
    tally.begin()

    def task() -> None:
        collected = tally.begin()
        with collecting(collected):
            one()
            one()
            one()
        tally.end(collected)

    def best(function: Any) -> float:
        return 1e6 * min(timeit.repeat(function, number=20, repeat=rounds // 20)) / 20

    found = {"stage, nobody notes it": best(one)}
    with collecting(Collected()):
        found["stage, noted"] = best(one)
    found["task of three stages"] = best(task)
    return found


def of_messages(client: Any, side: int = 96) -> float:
    """Processor milliseconds that a worker takes to draw a picture and to tell the scheduler of it and of all else."""
    from benchmarks.images import photograph_crops

    image = photograph_crops(1, side)[0]

    async def tell(dask_worker: Any) -> float:
        from daskaug.execution.metrics import _telling_of, shown_of
        from daskaug.stages import Picture

        telling = _telling_of(dask_worker)
        before = time.process_time()
        for number in range(MESSAGES):
            telling.tally._picture = shown_of(Picture(image, "channels_last", number, 0))
            await telling._send()
        return (time.process_time() - before) / MESSAGES

    return 1e3 * max(client.run(tell, workers=list(client.scheduler_info()["workers"])[:1]).values())


def main(arguments: list[str] | None = None) -> dict[str, dict[str, float]]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-viewer", action="store_true", help="nobody looks at the page")
    options = parser.parse_args(arguments)
    import dask
    from distributed import Client, LocalCluster

    from daskaug.dashboard.plugin import state_of

    for name, micros in of_a_task().items():
        print(f"{name}: {micros:.2f} µs")
    store = store_of(options.images)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        cluster = stack.enter_context(LocalCluster(**CLUSTER))
        watched = stack.enter_context(Client(cluster, set_as_default=False))
        plain = stack.enter_context(Client(cluster, set_as_default=False))
        works = {"materialise": lambda: materialize(store, folder), "stream": lambda: stream(store)}
        for work in works.values():  # kernels and connections are warm, and each client knows whether it is watched
            timed(watched, work)
            with dask.config.set({"daskaug.dashboard": False}):
                timed(plain, work)
        assert state_of(cluster.scheduler).jobs
        millis = of_messages(watched)
        print(f"message with a picture: {millis:.2f} ms, {millis / 10:.2f} % of a thread where there is one a second")
        if not options.no_viewer:
            stack.enter_context(looking(watched.dashboard_link.replace("/status", "/daskaug")))
        found = {}
        for name, work in works.items():
            runs: dict[str, list[dict[str, float]]] = {"with": [], "without": []}
            for number in range(options.rounds):
                clients = [("with", watched), ("without", plain)]
                for which, client in clients if number % 2 else reversed(clients):
                    runs[which].append(timed(client, work))
            found[name] = {
                what: statistics.median(a[what] / b[what] for a, b in zip(runs["with"], runs["without"], strict=True))
                for what in ("workers", "scheduler", "wall")
            }
            found[name]["seconds of workers"] = statistics.median(run["workers"] for run in runs["without"])
            print(
                f"{name}: processor time of workers × {found[name]['workers']:.3f}, of scheduler and consumer × "
                f"{found[name]['scheduler']:.3f}, time × {found[name]['wall']:.3f} "
                f"({found[name]['seconds of workers']:.1f} processor seconds; load {os.getloadavg()[0]:.1f})",
                flush=True,
            )
    return found


if __name__ == "__main__":
    main()
