"""Clusters with little memory, with unequal workers, and with workers that come and go in mid-run."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Iterator
from typing import Any

import dask
import numpy as np
import pytest
import zarr
from distributed import Client, Nanny, Scheduler, SpecCluster, Worker

from daskaug import ImageDataGenerator
from daskaug.errors import ConfigError, SourceError, StoreError
from daskaug.execution import current_executor
from daskaug.execution.limits import budget_within, tightest
from tests import clusters, pictures
from tests.digests import digest

X, Y = pictures.tiles(16, 192), np.arange(192)
MB = 10**6


@contextlib.contextmanager
def unequal(*workers: tuple[int, int], kind: Any = Worker) -> Iterator[Any]:
    """A client of a cluster of workers with (threads, MB of memory)."""
    specs = {
        number: {"cls": kind, "options": {"nthreads": threads, "memory_limit": memory * MB, "host": "127.0.0.1"}}
        for number, (threads, memory) in enumerate(workers)
    }
    options = {"host": "127.0.0.1", "port": 0, "dashboard_address": "127.0.0.1:0"}
    scheduler = {"cls": Scheduler, "options": options}
    with SpecCluster(workers=specs, scheduler=scheduler, silence_logs=50) as made, Client(made) as client:
        client.wait_for_workers(len(workers))
        yield client


@pytest.fixture
def store(tmp_path):
    zarr.create_array(tmp_path / "x.zarr", data=X, chunks=(4, 16, 16, 3))
    return tmp_path / "x.zarr"


def hollow(path, rows: int, chunk_rows: int) -> str:
    """Large images that nobody has written: they read as black."""
    zarr.create_array(path, shape=(rows, 224, 224, 3), chunks=(chunk_rows, 224, 224, 3), dtype="uint8")
    return str(path)


# --- memory ------------------------------------------------------------------------------------------------------


def test_the_tightest_worker_is_the_one_with_least_memory_for_each_thread():
    gb = 10**9
    assert tightest([(4, 32 * gb), (1, 2 * gb), (8, 16 * gb)]) == (1, 2 * gb)
    assert tightest([(4, 32 * gb), (8, 4 * gb), (1, 2 * gb)]) == (8, 4 * gb)
    assert tightest([(4, None), (2, None)]) == (4, None)
    assert tightest([]) == (1, None)
    assert budget_within(None) is None
    assert all(budget_within(limit) <= 0.75 * limit for limit in (100 * MB, gb, 100 * gb))


def test_blocks_of_a_fit_follow_the_smallest_worker(tmp_path):
    images = hollow(tmp_path / "x.zarr", 2048, 8)
    made = ImageDataGenerator(featurewise_center=True)
    alone = made.plan_fit(images).memory.block_nbytes
    with unequal((8, 400), (2, 8000)):
        planned = made.plan_fit(images)
        assert planned.memory.threads == 8
        assert planned.memory.nbytes <= budget_within(400 * MB)
        assert planned.memory_budget == budget_within(400 * MB)
        assert planned.memory.block_nbytes < alone
        asked_for_more = made.plan_fit(images, memory_budget=4 * 10**9)
        assert asked_for_more.memory.nbytes <= budget_within(400 * MB)


def test_what_no_worker_can_hold_is_refused_before_any_work(tmp_path):
    images = hollow(tmp_path / "x.zarr", 1024, 1024)  # chunks of 154 MB
    with unequal((2, 600), (2, 8000)):
        with pytest.raises(ConfigError, match=r"memory limit of 600,000,000 bytes.*--memory-limit"):
            ImageDataGenerator(featurewise_center=True).fit(images)
        with pytest.raises(ConfigError, match=r"memory limit of 600,000,000 bytes.*--memory-limit"):
            next(ImageDataGenerator().flow(images, batch_size=4, seed=1))
        with pytest.raises(StoreError, match=r"`shard_rows`"):
            ImageDataGenerator().materialize(images, tmp_path / "m.zarr", chunk_rows=512, shard_rows=1024)
    assert not (tmp_path / "m.zarr").exists()


@pytest.mark.faults
@pytest.mark.parametrize("sink", ["fit", "materialize", "flow"])
def test_workers_that_die_of_memory_are_told_with_limit_block_and_remedy(store, tmp_path, sink, caplog):
    def greedy(image):
        return image + np.ones(200 * MB, np.float64)[:1].astype(image.dtype)

    made = ImageDataGenerator(featurewise_center=sink == "fit", preprocessing_function=greedy)
    work = {
        "fit": lambda: made.fit(store),
        "materialize": lambda: made.materialize(store, tmp_path / "m.zarr", standardize=True),
        "flow": lambda: next(made.flow(store, batch_size=8, seed=1, transform_on="workers")),
    }
    caplog.set_level(50, "distributed")
    kind, remedy = {
        "fit": (SourceError, "`memory_budget`"),
        "materialize": (StoreError, "`shard_rows`"),
        "flow": (SourceError, "`batch_size`"),
    }[sink]
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        unequal((1, 600), kind=Nanny),
        pytest.raises(kind, match="memory limit of 600,000,000 bytes for 1 thread") as caught,
    ):
        work[sink]()
    told = str(caught.value)
    assert remedy in told
    assert "--memory-limit" in told
    assert "x.zarr" in told or "192 images" in told


# --- workers that differ, come and go ----------------------------------------------------------------------------


def generator(preprocessing_function=None):
    return ImageDataGenerator(rotation_range=20, featurewise_center=True, preprocessing_function=preprocessing_function)


def results(store, target, *, at=None):
    """What fit, stream and materialise come to; `at(step)` is called in the middle of each."""

    def called(*_):
        if at is not None:
            at()

    made = generator().fit(store, progress=called)
    batches = made.flow(store, Y, batch_size=8, seed=3, shuffle_unit=8, shuffle_mix=2)
    streamed = digest(_calling(batches.one_epoch(), called))
    report = made.materialize(store, target, seed=4, chunk_rows=8, shard_rows=8, progress=called)
    return made.mean.tobytes(), streamed, report.store_hash


def _calling(batches, called):
    for batch in batches:
        called()
        yield batch


@pytest.mark.long
def test_unequal_workers_make_the_same(store, tmp_path):
    expected = results(store, tmp_path / "alone.zarr")
    with unequal((1, 1000), (3, 3000), kind=Nanny):
        assert current_executor().parallelism == 4
        assert results(store, tmp_path / "unequal.zarr") == expected


@pytest.mark.long
def test_a_cluster_that_grows_and_shrinks_in_mid_run_makes_the_same(store, tmp_path):
    expected = results(store, tmp_path / "alone.zarr")
    sizes = itertools.chain((1, 3, 2, 1, 2), itertools.repeat(2))
    calls = itertools.count()
    with clusters.workers(2) as local, contextlib.closing(local.get_client()) as client:

        def resize():
            if next(calls) % 8 == 1:
                size = next(sizes)
                local.scale(size)
                client.wait_for_workers(size)

        assert results(store, tmp_path / "scaled.zarr", at=resize) == expected
    assert next(calls) > 16


@pytest.mark.parametrize("is_adaptive", [True, False])
def test_an_adaptive_cluster_is_shown_enough_work_to_grow(store, tmp_path, is_adaptive):
    """A window as large as the threads that are there would hide from it that there is work for more."""
    options: dict[str, Any] = {"seed": 4, "chunk_rows": 4, "shard_rows": 4}
    expected = ImageDataGenerator(rotation_range=20).materialize(store, tmp_path / "alone.zarr", **options)
    known = [0]

    def look(*_):
        known.append(len(local.scheduler.tasks))

    with clusters.workers(1) as local, contextlib.closing(local.get_client()):
        if is_adaptive:
            local.adapt(minimum=1, maximum=2, interval="100ms", target_duration="100ms")
        made = ImageDataGenerator(rotation_range=20).materialize(store, tmp_path / "m.zarr", progress=look, **options)
    assert made.store_hash == expected.store_hash
    assert (max(known) > 40) == is_adaptive  # of 48 shards


@pytest.mark.faults
def test_workers_that_retire_before_their_wall_time_lose_nothing(store, tmp_path, caplog):
    """As with `dask worker --lifetime`, and new ones in their place; until each of the first ones has gone."""
    expected = results(store, tmp_path / "alone.zarr")
    caplog.set_level(50, "distributed")
    lifetime = {"distributed.worker.lifetime.duration": "4s", "distributed.worker.lifetime.restart": True}
    with dask.config.set(lifetime), clusters.two_workers() as local, contextlib.closing(local.get_client()) as client:
        first = set(client.nthreads())
        end = time.monotonic() + 60
        for number in itertools.count():
            assert results(store, tmp_path / f"{number}.zarr") == expected
            if not first & set(client.nthreads()) or time.monotonic() > end:
                break
        assert not first & set(client.nthreads())
