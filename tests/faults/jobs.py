"""The three jobs, each of which may be broken off and run again, and what may be done to the source of all."""

from __future__ import annotations

import abc
import contextlib
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec

from daskaug import ImageDataGenerator
from daskaug.execution import cluster as on_cluster
from daskaug.execution import current_executor, executor, reducing
from daskaug.iterators import base
from daskaug.iterators import source as serving
from tests import clusters, pictures

N, ROWS = 160, 8
"""Images, and those in a chunk, a batch and a shard."""

SIDE = 32
LABELS = np.arange(N)

DAMAGED = 12
"""A chunk of which none of the jobs looks at a row beforehand, to know the source again."""

At = Callable[[int], None]


def stored(path: Path) -> Path:
    """Tiles of photographs, none of them black, in chunks with checksums."""
    images = pictures.tiles(SIDE, N)
    assert images.reshape(N // ROWS, -1).any(axis=1).all()
    compressors = [ZstdCodec(level=0), Crc32cCodec()]
    zarr.create_array(path, data=images, chunks=(ROWS, SIDE, SIDE, 3), compressors=compressors)
    return path


def chunk_of(source: Path, number: int = DAMAGED) -> Path:
    return source / "c" / str(number) / "0" / "0" / "0"


class Job(abc.ABC):
    """A job on a source, which keeps what it has come to in a folder or in itself.

    Attributes
    ----------
    steps : list of int
        Of each run, how many blocks, batches or shards it did.
    """

    def __init__(self, source: Any, folder: Path) -> None:
        self.source, self.folder = source, folder
        folder.mkdir(parents=True, exist_ok=True)
        self.steps: list[int] = []

    def run(self, at: At = lambda step: None) -> str:
        """Do what is left; `at(step)` is called after each step. What it all comes to."""
        self.steps.append(0)

        def progress(*_: Any) -> None:
            self.steps[-1] += 1
            at(self.steps[-1])

        return self._run(progress)

    @abc.abstractmethod
    def _run(self, progress: Callable[..., None]) -> str: ...

    @property
    def late(self) -> int:
        """A chunk that is read towards the end."""
        return 16  # see DAMAGED, too


class Fit(Job):
    """Statistics, with a checkpoint after every block."""

    generator = ImageDataGenerator(featurewise_center=True, featurewise_std_normalization=True)

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint"

    def _run(self, progress: Callable[..., None]) -> str:
        budget = 2 * current_executor().threads_per_process * ROWS * SIDE**2 * 3  # a chunk is a block
        fitted = self.generator.fit(self.source, checkpoint=self.checkpoint, memory_budget=budget, progress=progress)
        return digest([fitted.mean, fitted.std])


class Stream(Job):
    """The batches of an epoch. What was served before an error counts; the iterator is asked again for the rest."""

    generator = ImageDataGenerator(rotation_range=20, horizontal_flip=True)

    def __init__(self, source: Any, folder: Path, state: Any = None, **options: Any) -> None:
        super().__init__(source, folder)
        self._options, self._state = options, state
        self.batches: Any = None
        self.served: list[str] = []

    def begin(self) -> Any:
        """Make the iterator."""
        order = {"shuffle": "block", "shuffle_unit": ROWS, "shuffle_mix": 2}
        options = {"batch_size": ROWS, "seed": 3} | order | self._options
        self.batches = self.generator.flow(self.source, LABELS, **options)
        if self._state is not None:
            self.batches.load_state_dict(self._state)
        return self.batches

    @property
    def late(self) -> int:
        return int((self.batches or self.begin()).index_array[-1]) // ROWS

    def _run(self, progress: Callable[..., None]) -> str:
        batches = self.batches or self.begin()
        while len(self.served) < N // ROWS:
            self.served.append(digest(next(batches)))
            progress()
        return digest(self.served)


class Materialize(Job):
    """A store."""

    generator = Stream.generator

    @property
    def store(self) -> Path:
        return self.folder / "m.zarr"

    def _run(self, progress: Callable[..., None]) -> str:
        options = {"y": LABELS, "seed": 5, "chunk_rows": ROWS, "shard_rows": ROWS}
        return str(self.generator.materialize(self.source, self.store, progress=progress, **options).store_hash)


KINDS: dict[str, type[Job]] = {"fit": Fit, "stream": Stream, "materialize": Materialize}


def digest(parts: Any) -> str:
    sha = hashlib.sha256()
    for part in parts:
        sha.update(part.encode() if isinstance(part, str) else np.ascontiguousarray(part).tobytes())
    return sha.hexdigest()


def at_step(number: int, do: Callable[[], Any]) -> At:
    """Do something after one of the steps."""

    def at(step: int) -> None:
        if step == number:
            do()

    return at


def two_threads(monkeypatch: Any) -> None:
    """So that little is under way at a time, on every machine; and save after every block."""
    monkeypatch.setattr(executor, "thread_count", lambda: 2)
    monkeypatch.setattr(executor, "_threads", None)
    monkeypatch.setattr(on_cluster, "SHOWN_AT_LEAST", 0)
    monkeypatch.setattr(executor, "REMOTE_PLACES", 2)
    monkeypatch.setattr(serving, "MOST_PER_TASK", 1)
    monkeypatch.setattr(base, "AHEAD_NBYTES", 4 * ROWS * SIDE**2 * 3 * 4)  # four batches of float32
    monkeypatch.setattr(reducing, "CHECKPOINT_SECONDS", 0.0)


@contextlib.contextmanager
def running_on(where: str) -> Iterator[None]:
    """Threads of this process, or two workers."""
    if where == "threads":
        yield
        return
    with clusters.two_workers() as cluster, contextlib.closing(cluster.get_client()):
        yield
