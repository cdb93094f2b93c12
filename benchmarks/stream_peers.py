"""Stream augmented batches out of a compressed Zarr store, beside xbatcher with Keras and beside torch's DataLoader.

    python -m benchmarks.stream_peers [--images 12288] [--epochs 2] [--repeat 3] [--contestants daskaug …]

Everybody reads the same store (blosc-lz4, chunks of 32) through the reference pipeline, into float32 batches of 32.
Each measurement is a process of its own on the same cores, and the contestants take turns. Those that need long see
fewer images; the table says how many.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import functools
import json
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.contestants import BATCH, OPTIONS, fitted
from benchmarks.stream import measured, store_with

PREFETCH = 4
"""Batches that a worker of a DataLoader makes ahead: 2 and 8 made no difference that could be measured."""

UNIT, MIX = 256, 4
"""Rows of a unit, and units mixed: daskaug's own defaults, for whoever shuffles in blocks."""

Epoch = Callable[[], Iterable[Any]]


# --- who takes part ----------------------------------------------------------------------------------------------
# A contestant imports what it needs and returns a function that gives the batches of the next epoch. What has to be
# opened or started is so by the first of these: until its first batch is there the clock runs.


def our_generator() -> Any:
    """With its kernels loaded: that belongs to importing."""
    import zarr  # noqa: F401

    from daskaug import ImageDataGenerator
    from daskaug.kernels.warming import warm

    collections.deque(warm(), maxlen=0)
    return fitted(ImageDataGenerator(**OPTIONS))


def daskaug(store: Path, images: int) -> Epoch:
    generator = our_generator()
    flow = functools.cache(lambda: generator.flow(store, batch_size=BATCH, seed=1))
    return lambda: flow().one_epoch()


def xbatcher_keras(store: Path, images: int, workers: int = 0) -> Epoch:
    """A batch of xbatcher is a run of rows, read whole; Keras' own iterator augments and standardises its images."""
    import dask
    import dask.array
    import torch
    import xarray
    import xbatcher.loaders.torch
    from keras.src.legacy.preprocessing.image import ImageDataGenerator
    from torch.utils.data import DataLoader

    dask.config.set(scheduler="single-threaded")  # a batch is one chunk
    generator = fitted(ImageDataGenerator(**OPTIONS))

    def augmented(block: Any) -> Any:
        return generator.flow(block.values, batch_size=len(block), shuffle=False)[0]

    @functools.cache
    def batches() -> Any:
        # What ``open_zarr(chunks={})`` makes of a group; it does not open a bare array, whose dimensions have no names.
        array = xarray.DataArray(dask.array.from_zarr(str(store)), dims=("sample", "y", "x", "channel"))
        size = {"sample": BATCH, "y": array.sizes["y"], "x": array.sizes["x"], "channel": array.sizes["channel"]}
        made = xbatcher.BatchGenerator(array.isel(sample=slice(images)), input_dims=size)
        if not workers:
            return made
        dataset = xbatcher.loaders.torch.MapDataset(made, transform=lambda block: torch.from_numpy(augmented(block)))
        return DataLoader(dataset, batch_size=None, num_workers=workers, **ahead_of(workers))

    return lambda: batches() if workers else map(augmented, batches())


def by_image(store: Path, images: int, workers: int = 0) -> Epoch:
    """A map-style dataset of images, in the order of torch's own sampler: one chunk is decoded for each image."""
    import zarr
    from torch.utils.data import DataLoader, RandomSampler

    transform = our_generator().block_transform(seed=1)

    class Images:
        @functools.cached_property
        def array(self) -> Any:  # opened by whoever reads
            return zarr.open_array(str(store), mode="r")

        def __len__(self) -> int:
            return int(metadata(store)["shape"][0])

        def __getitem__(self, row: int) -> Any:
            return transform(self.array[row : row + 1], np.array([row]), 0)[0]

    @functools.cache
    def loader() -> Any:
        dataset = Images()
        sampler = RandomSampler(dataset, num_samples=images)
        return DataLoader(dataset, BATCH, sampler=sampler, num_workers=workers, **ahead_of(workers))

    return loader


def by_unit(store: Path, images: int, workers: int = 0) -> Epoch:
    """What somebody writes who knows chunks: whole units are read, their rows mixed, and whole batches transformed.

    The order is like daskaug's: units in random order, the rows of some of them mixed. A worker has every n-th group of
    units to itself, so that no chunk is read twice.
    """
    import torch
    import zarr
    from torch.utils.data import DataLoader, IterableDataset, get_worker_info

    transform = our_generator().block_transform(seed=1)

    class Batches(IterableDataset):
        epoch = -1

        def __iter__(self) -> Iterator[Any]:
            self.epoch += 1  # a worker that stays has a dataset of its own
            array, worker = zarr.open_array(str(store), mode="r"), get_worker_info()
            share = slice(worker.id, None, worker.num_workers) if worker else slice(None)
            block = np.empty((MIX * UNIT, *array.shape[1:]), array.dtype)  # filled again and again
            state = np.random.RandomState([1, self.epoch])
            units = state.permutation(-(-images // UNIT))
            groups = [units[i : i + MIX] for i in range(0, len(units), MIX)]
            for group in groups[share]:
                rows = np.concatenate([np.arange(u * UNIT, min((u + 1) * UNIT, images)) for u in group])
                for i in range(0, len(rows), array.chunks[0]):
                    part = rows[i : i + array.chunks[0]]
                    block[i : i + len(part)] = array[part[0] : part[-1] + 1]
                mixed = state.permutation(len(rows))
                for start in range(0, len(rows), BATCH):
                    chosen = mixed[start : start + BATCH]
                    yield torch.from_numpy(transform(block[chosen], rows[chosen], self.epoch))

    @functools.cache
    def loader() -> Any:
        return DataLoader(Batches(), batch_size=None, num_workers=workers, **ahead_of(workers))

    return loader


def ahead_of(workers: int) -> dict[str, Any]:
    """How a DataLoader works ahead: workers stay from epoch to epoch."""
    return {"persistent_workers": True, "prefetch_factor": PREFETCH} if workers else {}


@dataclass(frozen=True)
class Contestant:
    """`order` in words; `images` are those of an epoch at most."""

    start: Callable[[Path, int], Epoch]
    order: str
    images: int | None = None


CONTESTANTS = {
    "daskaug": Contestant(daskaug, "in blocks"),
    "DataLoader, whole units": Contestant(by_unit, "in blocks"),
    "DataLoader, whole units, 2 workers": Contestant(functools.partial(by_unit, workers=2), "in blocks"),
    "DataLoader, image by image": Contestant(by_image, "all rows", 512),
    "DataLoader, image by image, 2 workers": Contestant(functools.partial(by_image, workers=2), "all rows", 1024),
    "xbatcher + Keras": Contestant(xbatcher_keras, "as stored", 256),
    "xbatcher + Keras, 2 workers": Contestant(functools.partial(xbatcher_keras, workers=2), "as stored", 512),
}


# --- what is measured of one, in a process of its own ------------------------------------------------------------


def processes() -> list[Any]:
    """This one and all below it."""
    import psutil

    this = psutil.Process()
    return [this, *this.children(recursive=True)]


def core_seconds() -> float:
    """Of all processes so far."""
    return float(sum(sum(process.cpu_times()[:2]) for process in processes()))


def counted_chunks(store: Path) -> Any:
    """Count, in its `value`, the files of chunks that this process and those forked from it open."""
    opened, chunks = multiprocessing.Value("q"), str(store / "c") + os.sep

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and str(arguments[0]).startswith(chunks):
            with opened.get_lock():
                opened.value += 1

    sys.addaudithook(hook)
    return opened


def memory() -> int:
    """Bytes in use by all processes: a page that several of them share is counted once.

    What lies in shared memory, sent and not yet received, belongs to no process: the system tells how much there is.
    """
    total = 0
    for process in processes():
        with contextlib.suppress(OSError):  # it has ended
            for line in Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines():
                if line.startswith(("Pss_Anon:", "Pss_File:")):
                    total += int(line.split()[1]) * 1024
    shared = os.statvfs("/dev/shm")
    return total + (shared.f_blocks - shared.f_bfree) * shared.f_frsize


class Watched:
    """Looks at the memory, again and again, until it is left."""

    def __enter__(self) -> Watched:
        self.peak, self._done = memory(), threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def _look(self) -> None:
        while not self._done.wait(0.05):
            self.peak = max(self.peak, memory())

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()


def measure(name: str, store: Path, images: int, epochs: int) -> dict[str, Any]:
    """First batch and peak memory over the rest of its epoch; then images/s and core-seconds of some more epochs."""
    epoch, opened = CONTESTANTS[name].start(store, images), counted_chunks(store)
    began = time.perf_counter()
    batches = iter(epoch())
    count = len(next(batches))
    first = time.perf_counter() - began
    with Watched() as watched:
        count += sum(map(len, batches))
    rates, before = [], core_seconds()
    for _ in range(epochs):
        assert count == images, (count, images)
        began = time.perf_counter()
        count = sum(map(len, epoch()))
        rates.append(count / (time.perf_counter() - began))
    cores = (core_seconds() - before) / (images * epochs)
    # A chunk is decoded whole. What was read ahead of the next epoch counts, too.
    read = opened.value * metadata(store)["chunk_grid"]["configuration"]["chunk_shape"][0] / (images * (1 + epochs))
    return {"rate": float(np.median(rates)), "cores": cores, "first": first, "read": read, "peak": watched.peak}


def metadata(store: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((store / "zarr.json").read_text())
    return found


def measured_alone(name: str, store: Path, images: int, epochs: int) -> dict[str, Any]:
    """In a process of its own; ``{"missing": why}`` where a library is not installed."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.stream_peers", "--measure", name, str(store), str(images), str(epochs)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=Path(__file__).parents[1],
        env={**os.environ, "KERAS_BACKEND": "torch" if "xbatcher" in name else "jax", "PYTHONWARNINGS": "ignore"},
    )
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


# --- the table ---------------------------------------------------------------------------------------------------


def ideal_of(store: Path) -> dict[str, float]:
    """If reading and transforming, each measured alone on one core, were all there is to do."""
    seconds = sum(float(measured(kind, store, 0, cores=1)["seconds"]) for kind in ("read", "transform"))
    return {"rate": len(os.sched_getaffinity(0)) / seconds, "cores": seconds}


HEAD = (
    "", "order", "images an epoch", "images/s", "of the ideal", "core-ms an image", "read per byte used",
    "first batch", "peak memory",
)  # fmt: skip


def table(rounds: list[dict[str, Any]], images: dict[str, int]) -> str:
    """Medians over the rounds; the share of the ideal is of the ideal of the same round."""

    def median(name: str, key: str) -> float:
        return float(np.median([found[name][key] for found in rounds]))

    lines = [HEAD, ("---", "---", *["---:"] * (len(HEAD) - 2))]
    lines.append(("ideal", "", "", f"{median('ideal', 'rate'):,.0f}", "1", f"{median('ideal', 'cores') * 1e3:.2f}"))
    for name in images:
        if "missing" in rounds[0][name]:
            lines.append((name, f"not installable here: {rounds[0][name]['missing']}"))
            continue
        shares = [found[name]["rate"] / found["ideal"]["rate"] for found in rounds]
        lines.append(
            (
                name,
                CONTESTANTS[name].order,
                f"{images[name]:,}",
                f"{median(name, 'rate'):,.0f}",
                f"{np.median(shares):.2f} ({min(shares):.2f} to {max(shares):.2f})",
                f"{median(name, 'cores') * 1e3:.2f}",
                f"{median(name, 'read'):.2f}",
                f"{median(name, 'first'):.2f} s",
                f"{median(name, 'peak') / 1e6:,.0f} MB",
            )
        )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(arguments: list[str] | None = None) -> str:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=12288, help="more than the cache holds")
    parser.add_argument("--epochs", type=int, default=2, help="that are timed, after a first one")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--contestants", nargs="+", choices=CONTESTANTS, default=list(CONTESTANTS), metavar="NAME")
    parser.add_argument("--measure", nargs=4, metavar=("NAME", "STORE", "IMAGES", "EPOCHS"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.measure:
        name, store, images, epochs = options.measure
        try:
            print(json.dumps(measure(name, Path(store), int(images), int(epochs))))
        except ImportError as error:
            print(json.dumps({"missing": str(error)}))
        return ""
    store = store_with("blosc-lz4", options.images)
    images = {name: min(options.images, CONTESTANTS[name].images or options.images) for name in options.contestants}
    rounds = []
    for number in range(options.repeat):
        found: dict[str, Any] = {"ideal": ideal_of(store)}
        for name in options.contestants:
            found[name] = measured_alone(name, store, images[name], options.epochs)
            print(f"{number}  {name}: {found[name]}", file=sys.stderr)
        rounds.append(found)
    printed = table(rounds, images)
    print(printed)
    return printed


if __name__ == "__main__":
    main()
