"""A million blocks on a thousand workers, on paper.

    python -m benchmarks.large_cluster                 the simulation: tables, and a plot with --plot FILE
    python -m benchmarks.large_cluster --calibrate     measure again what it goes by
    python -m benchmarks.large_cluster --validate      runs on real workers beside what the simulation says of them

The submitting code is the real one, on a virtual clock: see :mod:`benchmarks.virtual`. What scheduler and client take
for a task, and how far the times of tasks scatter, is measured and kept in ``large_cluster.json``.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.separate import Cluster, cluster
from benchmarks.virtual import Costs, Outcome, Setting, VirtualCluster, drawn

MEASURED = Path(__file__).with_suffix(".json")

WORKERS = (10, 30, 100, 300, 1000, 3000)
SECONDS = (0.05, 0.2, 0.5, 1.0, 2.0, 5.0)

LATENCY = 0.00025
"""Seconds, one way: a data centre."""

BLOCKS_PER_WORKER = 40
"""Of a point of the sweep: the end, when workers run out of tasks, is told apart."""

HEADLINE = (1000, 1_000_000)
"""Workers and blocks."""


# --- measuring -----------------------------------------------------------------------------------------------------


def calibrate(blocks: int, images: int) -> dict[str, Any]:
    """What tasks cost scheduler and client, and how long real ones take."""
    with tempfile.TemporaryDirectory() as name:
        rows = [_costs_of(threads, blocks, Path(name)) for threads in (2, 32)]
        return {"costs": dataclasses.asdict(solved(rows)), "runs": rows, "tasks": task_seconds(images, Path(name))}


def _costs_of(threads: int, blocks: int, folder: Path) -> dict[str, float]:
    """Processor seconds of a run of blocks that are hardly any work, and the messages that it took."""
    from benchmarks.many_blocks import source_of
    from daskaug.execution import current_executor, run_ordered
    from daskaug.sources import open_images

    source = open_images(source_of(folder, blocks))
    with cluster(2, threads // 2) as on:
        executor = _Counting(current_executor())

        def run(number: int) -> None:
            tasks = ((source.reader(4 * i, 4 * i + 4), (i,)) for i in range(number))
            for _ in run_ordered(executor, least_work, tasks, name="daskaug-fit"):
                pass

        run(blocks // 10)  # connections and imports
        executor.calls = executor.fetches = 0
        before = {who: on.cpu(who) for who in ("scheduler", "client", "workers")}
        run(blocks)
        spent = {who: on.cpu(who) - before[who] for who in before}
    return {"tasks": blocks, "calls": executor.calls, "fetches": executor.fetches, **spent}


def least_work(block: Any, number: int) -> int:
    """A task that does nothing with its block."""
    return number


class _Counting:
    """An executor, with the number of its messages."""

    def __init__(self, executor: Any) -> None:
        self._executor, self.calls, self.fetches = executor, 0, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._executor, name)

    def submit_all(self, function: Any, tasks: Any, name: str) -> Any:
        from daskaug.execution.cluster import _messages

        tasks = list(tasks)
        self.calls += len(list(_messages(tasks)))
        return self._executor.submit_all(function, tasks, name)

    def fetch(self, pending: Any) -> int:
        self.fetches += 1
        return int(self._executor.fetch(pending))


def solved(rows: list[dict[str, float]]) -> Costs:
    """Costs of a message and of a task, from two runs with few and with many tasks in a message.

    A message with tasks and one that asks for results are taken to cost the same: they come in pairs.
    """
    messages = np.array([[(row["calls"] + row["fetches"]) / row["tasks"], 1] for row in rows])

    def each(who: str) -> tuple[float, float]:
        message, task = np.linalg.solve(messages, [row[who] / row["tasks"] for row in rows])
        return max(0.0, float(message)), max(0.0, float(task))

    (client, client_task), (scheduler, scheduler_task) = each("client"), each("scheduler")
    worker = min(row["workers"] / row["tasks"] for row in rows)
    return Costs(client, client_task, client, scheduler, scheduler_task, scheduler, float(worker))


def task_seconds(images: int, folder: Path) -> dict[str, list[float]]:
    """How long the tasks of a fit, of materialising and of an epoch take, on two workers with one thread each."""
    from distributed import get_task_stream

    from benchmarks.store import photographs_store
    from daskaug import ImageDataGenerator

    source = photographs_store(folder / "photographs.zarr", images)
    plain = ImageDataGenerator(featurewise_center=True, featurewise_std_normalization=True)
    augmenting = ImageDataGenerator(
        rotation_range=20, width_shift_range=0.1, height_shift_range=0.1, shear_range=10, zoom_range=0.2,
        horizontal_flip=True, channel_shift_range=20, brightness_range=(0.8, 1.2),
    )  # fmt: skip
    found: dict[str, list[float]] = {}
    with cluster(2) as on:

        def epoch() -> None:
            for _ in augmenting.flow(source, batch_size=32, seed=1, transform_on="workers").one_epoch():
                pass

        numbers = iter(range(100))
        sinks = {
            "daskaug-fit": lambda: plain.fit(source),
            "daskaug-materialize": lambda: augmenting.materialize(source, folder / f"{next(numbers)}.zarr", seed=1),
            "daskaug-flow": epoch,
        }
        for name, sink in sinks.items():
            sink()  # compiled, and the files in memory
            with get_task_stream(on.client) as stream:
                sink()
            found[name] = [
                step["stop"] - step["start"]
                for task in stream.data
                if str(task["key"]).startswith(name)
                for step in task["startstops"]
                if step["action"] == "compute"
            ]
    return found


def measured() -> tuple[Costs, dict[str, list[float]]]:
    """What was measured."""
    found = json.loads(MEASURED.read_text())
    return Costs(**found["costs"]), found["tasks"]


# --- simulating ----------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Point:
    """A cluster, the mean time of a task, and what came of it."""

    workers: int
    seconds: float
    outcome: Outcome

    @property
    def bound_by(self) -> str:
        """What is busy, where the workers are not."""
        if self.outcome.steady > 0.9:
            return "workers"
        busy = {"scheduler": self.outcome.scheduler, "client": self.outcome.client}
        name = max(busy, key=lambda each: busy[each])
        return name if busy[name] > 0.7 else "window"


def simulate(
    workers: int,
    seconds: float,
    blocks: int,
    *,
    costs: Costs,
    scatter: list[float],
    latency: float = LATENCY,
    window: Any = None,
    cluster_of: type[VirtualCluster] = VirtualCluster,
) -> Point:
    """One run on paper."""
    on = cluster_of(Setting(workers, 1, latency, costs), drawn(scatter, seconds))
    return Point(workers, seconds, on.run(blocks, window=window))


def sweep(costs: Costs, scatter: list[float], workers: tuple[int, ...], seconds: tuple[float, ...]) -> list[Point]:
    """Every number of workers with every length of task."""
    return [
        simulate(number, each, number * BLOCKS_PER_WORKER, costs=costs, scatter=scatter)
        for each in seconds
        for number in workers
    ]


def table(points: list[Point]) -> str:
    """Efficiency while there is work for all, and what bounds it."""
    workers = sorted({point.workers for point in points})
    lines = ["| a task takes | " + " | ".join(f"{number:,} workers" for number in workers) + " |"]
    lines.append("| ---: |" + " ---: |" * len(workers))
    for each in sorted({point.seconds for point in points}):
        cells = []
        for number in workers:
            (point,) = (p for p in points if (p.workers, p.seconds) == (number, each))
            bound = "" if point.bound_by == "workers" else f" ({point.bound_by})"
            cells.append(f"{point.outcome.steady:.0%}{bound}")
        lines.append(f"| {each:g} s | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def described(point: Point) -> str:
    out = point.outcome
    return (
        f"{out.blocks:,} blocks of {point.seconds:g} s on {point.workers:,} workers: {out.seconds / 60:,.1f} min, "
        f"ideal {out.blocks * point.seconds / point.workers / 60:,.1f}; workers busy {out.efficiency:.1%} "
        f"({out.steady:.1%} until the last task is submitted), scheduler {out.scheduler:.1%}, client {out.client:.1%}; "
        f"at most {out.most_pending:,} tasks at a time"
    )


def plot(points: list[Point], path: Path) -> None:
    """Efficiency over the number of workers, a line for each length of task."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(7, 3.6), layout="constrained")
    lengths = sorted({point.seconds for point in points})
    for number, each in enumerate(lengths):
        line = sorted((p for p in points if p.seconds == each), key=lambda p: p.workers)
        color = mpl.colormaps["viridis"](number / len(lengths))
        axis.plot(
            [p.workers for p in line], [100 * p.outcome.steady for p in line], "o-", color=color, label=f"{each:g} s"
        )
    axis.set(xscale="log", ylim=(0, 102), xlabel="workers with one thread", ylabel="busy, %")
    ticks = sorted({point.workers for point in points})
    axis.set_xticks(ticks, [f"{tick:,}" for tick in ticks], minor=False)
    axis.minorticks_off()
    axis.legend(title="a task takes", frameon=False, loc="lower left")
    axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    pyplot.close(figure)


# --- comparing with real workers -----------------------------------------------------------------------------------


def validate(workers: tuple[int, ...], seconds: tuple[float, ...], blocks: int, costs: Costs) -> list[dict[str, float]]:
    """Real runs of tasks that wait so long, so that many fit on few cores, and the simulation of each."""
    found = []
    for number in workers:
        with cluster(number) as on:
            _waited(on, 4 * number, 0.0)
            for each in seconds:
                real = _waited(on, blocks * number, each)
                paper = simulate(number, each, blocks * number, costs=costs, scatter=[1.0]).outcome.seconds
                found.append({"workers": number, "task": each, "real": real, "paper": paper})
    return found


def _waited(on: Cluster, blocks: int, seconds: float) -> float:
    from daskaug.execution import current_executor, run_ordered
    from daskaug.sources.base import RangeReader
    from daskaug.sources.numpy_array import NumpySource

    source = NumpySource(np.zeros((1, 1, 1, 1), np.uint8))
    tasks = ((RangeReader(source, 0, 1), (seconds,)) for _ in range(blocks))
    began = time.perf_counter()
    for _ in run_ordered(current_executor(), waits, tasks, name="daskaug-fit"):
        pass
    return time.perf_counter() - began


def waits(block: Any, seconds: float) -> None:
    """A task that takes so long and no processor."""
    time.sleep(seconds)


def main(arguments: list[str] | None = None) -> list[Point]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calibrate", action="store_true")
    parser.add_argument("--validate", action="store_true")
    parser.add_argument("--blocks", type=int, default=2000, help="for --calibrate")
    parser.add_argument("--images", type=int, default=4096, help="for --calibrate")
    parser.add_argument("--workers", type=int, nargs="+", default=list(WORKERS))
    parser.add_argument("--seconds", type=float, nargs="+", default=list(SECONDS), help="that a task takes")
    parser.add_argument("--headline", type=float, nargs="*", default=[0.5, 1.0], help="seconds; a million blocks each")
    parser.add_argument("--latencies", type=float, nargs="*", default=[0.00025, 0.005, 0.02], help="seconds, one way")
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args(arguments)
    if options.calibrate:
        found = calibrate(options.blocks, options.images)
        found["load"] = os.getloadavg()[0]
        MEASURED.write_text(json.dumps(found, indent=1) + "\n")
    costs, tasks = measured()
    print(" ".join(f"{name} {1e3 * value:.3f} ms" for name, value in dataclasses.asdict(costs).items()))
    for name, times in tasks.items():
        print(f"{name}: {len(times)} tasks, {np.mean(times):.3f} s, scatter {np.std(times) / np.mean(times):.0%}")
    if options.validate:
        for row in validate((2, 4), (0.05, 0.2), 60, costs):
            print("{workers} workers, {task} s a task: {real:.2f} s, on paper {paper:.2f} s".format(**row))
        return []
    scatter = tasks["daskaug-fit"]
    points = sweep(costs, scatter, tuple(options.workers), tuple(options.seconds))
    print(table(points))
    if options.plot is not None:
        plot(points, options.plot)
    for latency in options.latencies:
        point = simulate(100, 1.0, 100 * BLOCKS_PER_WORKER, costs=costs, scatter=scatter, latency=latency)
        print(f"{1e3 * latency:g} ms one way: {described(point)}")
    for seconds in options.headline:
        point = simulate(HEADLINE[0], seconds, HEADLINE[1], costs=costs, scatter=scatter)
        print(described(point), flush=True)
        points.append(point)
    return points


if __name__ == "__main__":
    main()
