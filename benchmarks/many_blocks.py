"""Whether a long run takes more and more: 100,000 real blocks through two workers of a cluster.

    python -m benchmarks.many_blocks [--blocks 100000] [--shards 10000] [--sinks fit materialize stream]

Tiles of 8×8×3 of photographs, four to a block, so that nearly all the time is what a task costs anyhow. The scheduler
is a process of its own. Every twentieth of the run its memory, the number of tasks that it knows, the memory of the
client and the processor seconds of both are taken. A shard of a store is seven or eight files, all of them written to
the disk (fsync) before the shard counts, so there are fewer of them.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.separate import Cluster, cluster

SIZE, ROWS = 8, 4
"""Of an image, in pixels; images of a block."""

SHARD_ROWS = 1024
"""Images of a file of the source: with a file for each block, making it would take longer than reading it."""

SAMPLES = 20
"""Measurements in a run."""

SINKS = ("fit", "materialize", "stream")


@dataclasses.dataclass(frozen=True)
class Sample:
    """What was measured after so many blocks.

    Attributes
    ----------
    blocks : int
    seconds : float
        Since the run began.
    tasks_known : int
        By the scheduler.
    scheduler_rss, client_rss : int
        Bytes.
    scheduler_cpu, client_cpu, workers_cpu : float
        Processor seconds.
    """

    blocks: int
    seconds: float
    tasks_known: int
    scheduler_rss: int
    client_rss: int
    scheduler_cpu: float
    client_cpu: float
    workers_cpu: float

    @classmethod
    def of(cls, on: Cluster, blocks: int, began: float) -> Sample:
        return cls(
            blocks,
            time.perf_counter() - began,
            on.tasks_known(),
            on.rss("scheduler"),
            on.rss("client"),
            on.cpu("scheduler"),
            on.cpu("client"),
            on.cpu("workers"),
        )


@dataclasses.dataclass(frozen=True)
class Run:
    """The samples of a run, the first of which was taken when a tenth of it was over."""

    sink: str
    samples: list[Sample]

    def rate(self, first: int = 0, last: int = -1) -> float:
        """Blocks per second between two samples."""
        one, two = self.samples[first], self.samples[last]
        return (two.blocks - one.blocks) / (two.seconds - one.seconds)

    def cpu(self, who: str, first: int = 0, last: int = -1) -> float:
        """Processor seconds per block."""
        one, two = self.samples[first], self.samples[last]
        return (getattr(two, f"{who}_cpu") - getattr(one, f"{who}_cpu")) / (two.blocks - one.blocks)

    @property
    def quarter(self) -> int:
        return max(1, (len(self.samples) - 1) // 4)

    @property
    def slowing(self) -> float:
        """Rate in the last quarter by that in the first; 1 where the run does not slow down."""
        return self.rate(-1 - self.quarter) / self.rate(0, self.quarter)

    def dearer(self, who: str) -> float:
        """Processor seconds per block in the last quarter by those in the first."""
        return self.cpu(who, -1 - self.quarter) / self.cpu(who, 0, self.quarter)

    def growth(self, who: str) -> int:
        """Bytes that a process has more at the end than after the first quarter."""
        return int(getattr(self.samples[-1], f"{who}_rss") - getattr(self.samples[self.quarter], f"{who}_rss"))

    @property
    def most_known(self) -> int:
        return max(sample.tasks_known for sample in self.samples)


def source_of(folder: Path, blocks: int) -> Path:
    """A store of so many blocks of tiles, in chunks of a block, unless it is there."""
    import zarr

    from daskaug.demo import load_photographs

    path = folder / f"tiles-{SIZE}-{blocks}.zarr"
    if path.exists():
        return path
    tiles = np.concatenate([_tiles(photograph) for photograph in load_photographs()])
    tiles = tiles[np.arange(blocks * ROWS) * 7919 % len(tiles)]  # neighbours from all over
    shape = (SIZE, SIZE, 3)
    shards = (min(SHARD_ROWS, blocks * ROWS), *shape)
    zarr.create_array(path, data=tiles, chunks=(ROWS, *shape), shards=shards, compressors=None)
    return path


def _tiles(photograph: np.ndarray) -> np.ndarray:
    """All tiles that a photograph can be cut into without overlap: (n, SIZE, SIZE, 3)."""
    height, width = (extent // SIZE for extent in photograph.shape[:2])
    cut = photograph[: height * SIZE, : width * SIZE].reshape(height, SIZE, width, SIZE, 3)
    return cut.swapaxes(1, 2).reshape(-1, SIZE, SIZE, 3)


class Sampler:
    """Takes a sample whenever so many blocks more are done."""

    def __init__(self, on: Cluster, blocks: int, samples: int = SAMPLES) -> None:
        self._on, self._blocks, self._every, self._warm = on, blocks, max(1, blocks // samples), blocks // 10
        self._began = time.perf_counter()
        self.samples: list[Sample] = []

    def __call__(self, blocks: int) -> None:
        due = self.samples[-1].blocks + self._every if self.samples else self._warm
        if blocks >= min(due, self._blocks):
            self.samples.append(Sample.of(self._on, blocks, self._began))


def fit(on: Cluster, source: Path, blocks: int, target: Path) -> Run:
    """Mean and standard deviation: a task for each block."""
    from daskaug import ImageDataGenerator

    made = ImageDataGenerator(featurewise_center=True, featurewise_std_normalization=True)
    budget = 2 * ROWS * SIZE * SIZE * 3  # one block for a worker's one thread
    plan = made.plan_fit(source, memory_budget=budget)
    assert plan.blocks == blocks, plan
    sampler = Sampler(on, blocks)
    made.fit(source, memory_budget=budget, progress=lambda done, _: sampler(done // ROWS))
    return Run("fit", sampler.samples)


def materialize(on: Cluster, source: Path, blocks: int, target: Path) -> Run:
    """A store with a shard for each block, of as many as `blocks` says."""
    import zarr

    from daskaug import ImageDataGenerator

    made = ImageDataGenerator(horizontal_flip=True, rotation_range=20)
    images = zarr.open_array(source, mode="r")
    part = images[: blocks * ROWS]
    smaller = target.with_suffix(".source.zarr")
    shards = (min(SHARD_ROWS, len(part)), *part.shape[1:])
    zarr.create_array(smaller, data=part, chunks=(ROWS, *part.shape[1:]), shards=shards, compressors=None)
    sampler = Sampler(on, blocks)
    made.materialize(
        smaller, target, seed=1, shard_rows=ROWS, chunk_rows=ROWS, progress=lambda done, _: sampler(done // ROWS)
    )
    return Run("materialize", sampler.samples)


def stream(on: Cluster, source: Path, blocks: int, target: Path) -> Run:
    """An epoch, in whose shuffle each block is a unit: a task reads it, others make batches of several of them."""
    from daskaug import ImageDataGenerator

    made = ImageDataGenerator(horizontal_flip=True, rotation_range=20)
    batches = made.flow(source, batch_size=ROWS, seed=1, shuffle_unit=ROWS, shuffle_mix=4, transform_on="workers")
    sampler = Sampler(on, blocks)
    with contextlib.closing(batches):
        for number, _ in enumerate(batches.one_epoch(), 1):
            sampler(number)
    return Run("stream", sampler.samples)


RUNS: dict[str, Callable[[Cluster, Path, int, Path], Run]] = {
    "fit": fit,
    "materialize": materialize,
    "stream": stream,
}


def run(sink: str, blocks: int, folder: Path, *, source_blocks: int | None = None) -> Run:
    """One run on a cluster of its own."""
    source = source_of(folder, source_blocks or blocks)
    with tempfile.TemporaryDirectory(dir=folder) as name, cluster(2) as on:
        return RUNS[sink](on, source, blocks, Path(name) / "made.zarr")


def table(runs: list[Run]) -> str:
    lines = [
        "| run | blocks | blocks/s | last quarter by first | scheduler: ms a block | last by first "
        "| tasks known, at most | memory | grows by | client: ms a block | memory | grows by |",
        "| --- |" + " ---: |" * 11,
    ]
    for each in runs:
        last = each.samples[-1]
        cells = (
            each.sink,
            f"{last.blocks:,}",
            f"{each.rate():,.0f}",
            f"{each.slowing:.2f}",
            f"{1e3 * each.cpu('scheduler'):.2f}",
            f"{each.dearer('scheduler'):.2f}",
            f"{each.most_known:,}",
            f"{last.scheduler_rss / 1e6:,.0f} MB",
            f"{each.growth('scheduler') / 1e6:+,.1f} MB",
            f"{1e3 * each.cpu('client'):.2f}",
            f"{last.client_rss / 1e6:,.0f} MB",
            f"{each.growth('client') / 1e6:+,.1f} MB",
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def curve(of: Run) -> str:
    """The samples, a line each."""
    lines = [f"{of.sink}:  blocks  blocks/s  tasks known  scheduler MB  ms a block  client MB"]
    for number, sample in enumerate(of.samples[1:], 1):
        lines.append(
            f"{sample.blocks:>12,} {of.rate(number - 1, number):>9,.0f} {sample.tasks_known:>12,} "
            f"{sample.scheduler_rss / 1e6:>13,.1f} {1e3 * of.cpu('scheduler', number - 1, number):>11.2f} "
            f"{sample.client_rss / 1e6:>10,.1f}"
        )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> list[Run]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=100_000)
    parser.add_argument("--shards", type=int, default=10_000, help="for materialize")
    parser.add_argument("--sinks", nargs="+", choices=SINKS, default=list(SINKS))
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "daskaug-bench")
    parser.add_argument("--out", type=Path, help="for the samples, as JSON")
    options = parser.parse_args(arguments)
    options.folder.mkdir(parents=True, exist_ok=True)
    runs = []
    for sink in options.sinks:
        blocks = min(options.shards, options.blocks) if sink == "materialize" else options.blocks
        runs.append(run(sink, blocks, options.folder, source_blocks=options.blocks))
        print(curve(runs[-1]), flush=True)
    print(table(runs))
    if options.out is not None:
        options.out.write_text(json.dumps([dataclasses.asdict(each) for each in runs], indent=1) + "\n")
    return runs


if __name__ == "__main__":
    main()
