"""One stream, wherever it is computed and however it is asked for.

A cell of the matrix says how the source is cut, the batch size, the number of ranks and how batches are fetched; the
tests say where tasks run. All have one hash of the pixels by sample id, and those of equal shuffle and batch size one
hash of the batches.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from daskaug import ImageDataGenerator, seeding
from tests import clusters, pictures

N, SEED, EPOCH = 65, 31, 1
UNITS = {"shuffle_unit": 8, "shuffle_mix": 2}
Batch = tuple[np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Cell:
    """What must not matter; but `shuffle` and `step`, the samples of all ranks in a step, decide what a batch is."""

    source: str
    step: int
    ranks: int
    reader: str
    shuffle: str = "block"

    @property
    def stream(self) -> tuple[str, int]:
        return self.shuffle, self.step


def generator() -> ImageDataGenerator:
    made = ImageDataGenerator(
        featurewise_center=True,
        rotation_range=25,
        height_shift_range=0.2,
        horizontal_flip=True,
        channel_shift_range=20.0,
        brightness_range=(0.7, 1.3),
        fill_mode="reflect",
    )
    made.mean = np.full((1, 1, 3), 110.0)
    return made


# --- cuts of the source ------------------------------------------------------------------------------------------


def write_sources(folder: Path) -> None:
    """The images once for each way of storing them."""
    x = pictures.tiles(16, N)
    for name, chunks, options in (
        ("single", (1, 16, 16, 3), {}),
        ("odd", (7, 16, 16, 3), {"zarr_format": 2}),
        ("pieces", (10, 8, 4, 1), {}),
        ("sharded", (3, 16, 16, 3), {"shards": (12, 16, 16, 3)}),
        ("whole", (N, 16, 16, 3), {}),
    ):
        zarr.create_array(folder / f"{name}.zarr", data=x, chunks=chunks, **options)


def dask_graph() -> Any:
    import dask.array as da

    return da.from_array(pictures.tiles(16, N).copy(), chunks=(9, 16, 16, 3)) + np.uint8(0)


SOURCES = ("single", "odd", "pieces", "sharded", "whole", "numpy", "dask")


def source(folder: Path, name: str) -> Any:
    special: dict[str, Callable[[], Any]] = {"numpy": lambda: pictures.tiles(16, N), "dask": dask_graph}
    return special[name]() if name in special else folder / f"{name}.zarr"


# --- ways to fetch an epoch --------------------------------------------------------------------------------------


def by_next(batches: Any) -> list[Batch]:
    return [next(batches) for _ in range(len(batches))]


def by_index(batches: Any) -> list[Batch]:
    found = {number: batches[number] for number in at_random(batches)}
    batches.on_epoch_end()
    return [found[number] for number in range(len(batches))]


def by_next_of_four_threads(batches: Any) -> list[Batch]:
    """Nobody knows which thread has which batch, but a label says where in the order it stands."""
    place = {int(row): position for position, row in enumerate(batches.index_array)}
    tickets = iter(range(len(batches)))
    found: list[Batch] = []
    one_at_a_time = threading.Lock()

    def read() -> None:
        while True:
            with one_at_a_time:
                if next(tickets, None) is None:
                    return
            found.append(next(batches))

    with ThreadPoolExecutor(4) as threads:
        for thread in [threads.submit(read) for _ in range(4)]:
            thread.result()
    return sorted(found, key=lambda batch: place[int(batch[1][0])])


def by_index_of_four_threads(batches: Any) -> list[Batch]:
    numbers = at_random(batches)
    with ThreadPoolExecutor(4) as threads:
        found = dict(zip(numbers, threads.map(batches.__getitem__, numbers), strict=True))
    batches.on_epoch_end()
    return [found[number] for number in range(len(batches))]


def at_random(batches: Any) -> list[int]:
    return seeding.permutation(SEED, 0, len(batches)).tolist()


READERS = {
    "next": by_next,
    "[i]": by_index,
    "four threads, next": by_next_of_four_threads,
    "four threads, [i]": by_index_of_four_threads,
}


# --- the hashes --------------------------------------------------------------------------------------------------


def hashes(folder: Path, cell: Cell) -> tuple[str, str]:
    """Of the pixels by sample id, and of the batches in their order, the ranks' joined step by step."""
    ranks = [
        generator().flow(
            source(folder, cell.source),
            np.arange(N),
            batch_size=cell.step // cell.ranks,
            shuffle=cell.shuffle,
            seed=SEED,
            shard=(rank, cell.ranks),
            **UNITS,
        )
        for rank in range(cell.ranks)
    ]
    for epoch in range(EPOCH + 1):
        assert [rank.epoch for rank in ranks] == [epoch] * cell.ranks
        parts = [READERS[cell.reader](rank) for rank in ranks]
    for rank in ranks:
        rank.close()
    joined = [
        (np.concatenate([x for x, _ in step]), np.concatenate([y for _, y in step]))
        for step in zip(*parts, strict=True)
    ]
    return hash_of_pixels(joined), hash_of_batches(joined)


def hash_of_pixels(batches: list[Batch]) -> str:
    found = [(int(label), image.tobytes()) for x, y in batches for image, label in zip(x, y, strict=True)]
    assert [label for label, _ in sorted(found)] == list(range(N))  # each once
    return hashlib.sha256(b"".join(pixels for _, pixels in sorted(found))).hexdigest()


def hash_of_batches(batches: list[Batch]) -> str:
    total = hashlib.sha256()
    for x, y in batches:
        total.update(f"{x.shape} {x.dtype} {y.tolist()} {hashlib.sha256(x.tobytes()).hexdigest()}\n".encode())
    return total.hexdigest()


@functools.cache
def the_pixels() -> str:
    """The one hash: each image alone, in the order of the data, by way of the lazy array and so of no iterator."""
    lazy = generator().augment(pictures.tiles(16, N), seed=SEED, epoch=EPOCH)
    return hashlib.sha256(lazy.compute(scheduler="synchronous").tobytes()).hexdigest()


@functools.cache
def the_batches(shuffle: str, step: int) -> str:
    """The one hash of a stream: the lazy array's images, picked as the order of a single consumer says."""
    images = np.asarray(generator().augment(pictures.tiles(16, N), seed=SEED, epoch=EPOCH).compute(scheduler="sync"))
    batches = generator().flow(images, batch_size=step, shuffle=shuffle, seed=SEED, **UNITS)
    batches.epoch = EPOCH
    order = batches.index_array
    return hash_of_batches([(images[rows], rows) for rows in np.split(order, range(step, N, step))])


# --- without a cluster -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("matrix")
    write_sources(made)
    return made


# None leaves fewer samples than ranks for the last step, which would be shared out with the step before.
STEPS = (6, 12, 18, 30, 60)
RANKS = (1, 2, 3)

cells = st.builds(
    Cell,
    source=st.sampled_from(SOURCES),
    step=st.sampled_from(STEPS),
    ranks=st.sampled_from(RANKS),
    reader=st.sampled_from(list(READERS)),
    shuffle=st.sampled_from(["block", "global", "none"]),
)


@given(cell=cells)
def test_on_threads(folder, cell):
    assert hashes(folder, cell) == (the_pixels(), the_batches(*cell.stream))


# --- with one, and where there can be none -----------------------------------------------------------------------


def some_cells(begin: int, count: int) -> list[Cell]:
    """A stretch of a round through the cells: twelve have every reader with every number of ranks, 35 all pairs."""
    turns = (itertools.cycle(values) for values in (SOURCES, STEPS, RANKS, READERS))
    return [Cell(*values) for values in itertools.islice(zip(*turns, strict=True), begin, begin + count)]


def wrong(found: dict[Cell, tuple[str, str]]) -> list[Cell]:
    return [cell for cell, hashed in found.items() if hashed != (the_pixels(), the_batches(*cell.stream))]


@pytest.mark.long
@pytest.mark.parametrize(
    ("number", "processes", "begin"),
    [(2, False, 0), (1, True, 12), (2, True, 24), (4, True, 36)],
    ids=["client in this process", "one worker", "two workers", "four workers"],
)
def test_on_a_cluster(folder, number, processes, begin):
    from distributed import Client

    with clusters.workers(number, processes=processes) as local, Client(local) as client:
        client.wait_for_workers(number, timeout=60)
        found = {cell: hashes(folder, cell) for cell in some_cells(begin, 12)}
    assert wrong(found) == []


WITHOUT_DISTRIBUTED = """
import json, sys
from pathlib import Path
sys.modules["distributed"] = None  # importing it fails
from tests.laws import test_stream_matrix as matrix
print(json.dumps([matrix.hashes(Path(sys.argv[1]), cell) for cell in matrix.some_cells(0, 35)]))
"""


def test_without_distributed(folder):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WITHOUT_DISTRIBUTED, str(folder)],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    found = map(tuple, json.loads(done.stdout))
    assert wrong(dict(zip(some_cells(0, 35), found, strict=True))) == []
