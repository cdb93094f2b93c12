"""A disk that runs full is said so, with numbers; with more space the same call goes on."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed import Client

from daskaug.errors import StoreError
from tests import clusters
from tests.faults.runs import ROWS, SHARD_ROWS, committed, goes_on, images, make, refused, rows_of, undisturbed

pytestmark = pytest.mark.faults


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own, in memory."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if not mounted("-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)):
        stop = pytest.fail if os.environ.get("CI") else pytest.skip
        stop("only root may mount the small disk that is to run full")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def mounted(*options: str) -> bool:
    return subprocess.run(["mount", *options], capture_output=True, check=False).returncode == 0


@contextlib.contextmanager
def running_on(where: str) -> Iterator[None]:
    if where == "threads":
        yield
        return
    with clusters.two_workers() as cluster, Client(cluster):
        yield


def fill(disk: Path, leave: int) -> None:
    """Somebody else writes to the disk as well."""
    facts = os.statvfs(disk)
    with (disk / "other").open("ab", buffering=0) as file:
        file.write(bytes(max(0, facts.f_bavail * facts.f_frsize - leave)))


@pytest.mark.parametrize("where", ["threads", "workers"])
def test_the_same_call_goes_on_when_there_is_space_again(where, disk, tmp_path):
    expected = undisturbed(tmp_path)
    store = disk / "m.zarr"
    nbytes = images()[0].nbytes

    def progress(done: int, total: int) -> None:
        refused(store)
        if done == SHARD_ROWS:
            fill(disk, leave=400_000)

    with running_on(where):
        with pytest.raises(StoreError, match=r"no space left at .*m\.zarr .*the same call") as caught:
            make(store, progress=progress)
        refused(store)
        left, in_all = map(int, re.search(r"\((\d+) of (\d+)\)", str(caught.value)).groups())
        assert in_all == ROWS
        assert 0 < ROWS - rows_of(committed(store)) <= left < ROWS
        assert f"About {left * nbytes / 1e6:,.1f} MB" in str(caught.value)

        fill(disk, leave=0)
        with pytest.raises(StoreError, match=r"needs about .* more for \d+ images, and its disk has .* left"):
            make(store)
        refused(store)

        assert mounted("-o", "remount,size=8m", str(disk))
        goes_on(store, expected)
