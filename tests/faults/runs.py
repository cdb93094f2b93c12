"""A materialise run in a process that may be killed, and what is asked of the store that it leaves."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from daskaug import ImageDataGenerator, open_materialized, seeding
from daskaug.errors import IncompleteStoreError
from daskaug.materialize import verify
from tests import pictures
from tests.clusters import forking

N, EPOCHS, SHARD_ROWS = 104, 2, 7
ROWS = EPOCHS * N
SHARDS = -(-ROWS // SHARD_ROWS)
"""30, the last one smaller, the fifteenth with rows of both copies."""

WAIT_SECONDS = 60


@functools.cache
def images() -> np.ndarray:
    """Tiles of photographs. Those of the first shard and every ninth are all black."""
    x = pictures.tiles(48, N).copy()
    x[:SHARD_ROWS] = 0
    x[::9] = 0
    x.flags.writeable = False
    return x


def labels() -> np.ndarray:
    """Class 0 for all of the first shard, and for a quarter of the others."""
    y = np.arange(N) % 4
    y[:SHARD_ROWS] = 0
    return y


def generator() -> ImageDataGenerator:
    return ImageDataGenerator(rotation_range=25, zoom_range=0.2, horizontal_flip=True, brightness_range=(0.7, 1.3))


def make(store: Any, x: Any = None, **options: Any) -> Any:
    """Materialise; the same call every time, but for what is given."""
    given = {"epochs": EPOCHS, "seed": 5, "chunk_rows": SHARD_ROWS, "shard_rows": SHARD_ROWS, "y": labels()}
    return generator().materialize(images() if x is None else x, store, **given | options)


def moments(kind: int, number: int = 10) -> list[int]:
    """After which shard something happens: different ones, always the same for a kind of fault."""
    return (1 + seeding.permutation(7, kind, SHARDS)[:number]).tolist()


class Run:
    """The call in a process of its own, which says how far it is and does not finish before it is told to.

    The process is forked from one that has imported everything, and so begins at once.

    Parameters
    ----------
    store : Path
    scheduler : str, optional
        Address of a scheduler whose workers do the work, or the file that it writes down its address in.
    first : callable, optional
        What the process does before anything else.
    """

    def __init__(self, store: Path, scheduler: str | None = None, *, first: Callable[[], None] | None = None) -> None:
        context = forking()
        self._connection, theirs = context.Pipe()
        self.process = context.Process(target=_materialize, args=(store, scheduler, theirs, first), daemon=True)
        self.process.start()
        theirs.close()

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    def until(self, shards: int) -> None:
        """Wait until so many shards are committed."""
        while True:
            what, found = self._heard()
            assert what == "done", found
            if found >= min(shards * SHARD_ROWS, ROWS):
                return

    def finish(self) -> tuple[str, Any]:
        """Let it finish: "made" and its report, or the kind of error and what that says."""
        with contextlib.suppress(BrokenPipeError):
            self._connection.send("go on")
        while True:
            what, found = self._heard()
            if what != "done":
                self.process.join(WAIT_SECONDS)
                return what, found

    def kill(self) -> None:
        """As ``kill -9`` does; its threads die in the midst of what they write."""
        if self.process.is_alive():
            os.kill(self.pid, signal.SIGKILL)
        self.process.join(WAIT_SECONDS)
        self._connection.close()

    def _heard(self) -> tuple[str, Any]:
        assert self._connection.poll(WAIT_SECONDS), f"nothing was heard of process {self.pid} for {WAIT_SECONDS} s"
        heard: tuple[str, Any] = self._connection.recv()
        return heard


def _materialize(store: Path, scheduler: str | None, connection: Connection, first: Callable[[], None] | None) -> None:
    """What the process does."""
    if first is not None:
        first()

    def progress(done: int, total: int) -> None:
        connection.send(("done", done))
        if done == total:
            connection.recv()

    try:
        with _client(scheduler):
            report = make(store, progress=progress)
    except BaseException as error:  # noqa: BLE001  it is told to whoever waits for it
        connection.send((type(error).__name__, str(error)))
    else:
        connection.send(("made", report))


@contextlib.contextmanager
def _client(scheduler: str | None) -> Iterator[None]:
    if scheduler is None:
        yield
        return
    from distributed import Client

    given = {"address": scheduler} if "://" in scheduler else {"scheduler_file": scheduler}
    client = Client(**given, timeout=WAIT_SECONDS / 3)  # which is how long it tries to reach a scheduler again
    try:
        client.wait_for_workers(2, timeout=WAIT_SECONDS)
        yield
    finally:
        with contextlib.suppress(Exception):  # there may be no scheduler any more to say goodbye to
            client.close(timeout=1)


# --- the store ---------------------------------------------------------------------------------------------------


def undisturbed(folder: Path) -> str:
    """The hash of a store that was made without any trouble, on threads."""
    report = make(folder / "undisturbed.zarr")
    assert report.rows_written == ROWS
    return str(report.store_hash)


def committed(store: Path) -> np.ndarray:
    """The shards that have a commit record, read without daskaug."""
    try:
        return np.flatnonzero(zarr.open_array(store / "shard_digest", mode="r")[:].any(axis=1))
    except FileNotFoundError:
        return np.array([], np.intp)


def rows_of(shards: np.ndarray) -> int:
    return sum(min(SHARD_ROWS, ROWS - SHARD_ROWS * int(shard)) for shard in shards)


def objects(store: Path, shards: np.ndarray) -> dict[str, tuple[int, int]]:
    """Which files the images of some shards are, and when they were written."""
    wanted = set(map(str, shards.tolist()))
    folder = store / "images" / "c"
    files = (path for path in folder.rglob("*") if path.is_file() and path.relative_to(folder).parts[0] in wanted)
    return {str(path): (path.stat().st_ino, path.stat().st_mtime_ns) for path in files if path.suffix != ".partial"}


def refused(store: Path) -> None:
    """A reader does not get to see a store of which a part is missing."""
    with pytest.raises(IncompleteStoreError):
        open_materialized(store)


def goes_on(store: Path, expected: str) -> None:
    """The same call computes what is missing and nothing else, and comes to the same store."""
    refused(store)
    there = committed(store)
    before = objects(store, there)
    report = make(store)
    # What a cluster was about when its client died may have been committed meanwhile.
    assert report.rows_written <= ROWS - rows_of(there)
    assert objects(store, there) == before
    is_whole(store, expected)
    assert report.store_hash == expected


def is_whole(store: Path, expected: str) -> None:
    """Nothing is wrong with it, it holds what it should, and the same call finds nothing to do. Then it is removed."""
    found = verify(store, full=True, source=images())
    assert found.ok, str(found)
    assert (found.rows, found.shards_read, found.samples) == (ROWS, SHARDS, ROWS)
    assert found.store_hash == expected
    again = make(store)
    assert (again.rows_written, again.store_hash) == (0, expected)
    assert not [path for path in store.rglob("*") if path.name.endswith(".partial")]
    opened = open_materialized(store)
    assert np.array_equal(opened.labels, labels())
    shutil.rmtree(store)
