from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from daskaug import ImageDataGenerator, seeding
from daskaug.iterators import block_supply
from tests import files, pictures

N = 120
X = pictures.tiles(16, N)
PLAIN = ImageDataGenerator()


def stored(folder, chunk: int, shard: int | None = None):
    shards = None if shard is None else (shard, 16, 16, 3)
    return zarr.create_array(folder / f"{chunk}-{shard}.zarr", data=X, chunks=(chunk, 16, 16, 3), shards=shards)


def test_a_plan_of_an_array():
    batches = PLAIN.flow(X, batch_size=16, seed=1)
    plan = batches.plan()
    assert (plan.batches, plan.images, plan.nbytes) == (8, N, N * 16 * 16 * 3 * 4)
    assert (plan.read_in_order, plan.read_at_random, plan.cached_nbytes) == (1, 1, 0)
    assert plan.shuffle_quality > 0.8
    assert plan.tasks >= 1
    assert plan.in_flight_nbytes >= plan.batches_ahead * 16 * 16 * 16 * 3 * 4
    assert 4 <= len(str(plan).splitlines()) <= 6
    assert PLAIN.flow(X, shuffle=False).plan().shuffle_quality == 0
    with pytest.raises(dataclasses.FrozenInstanceError):
        plan.batches = 3


def test_ranks_have_plans_of_their_own():
    plans = [PLAIN.flow(X, batch_size=16, seed=1, shard=(rank, 3)).plan() for rank in range(3)]
    assert sum(plan.images for plan in plans) == N
    assert len({plan.batches for plan in plans}) == 1
    assert len({plan.shuffle_quality for plan in plans}) == 1
    assert "rank 2 of 3" in str(plans[2])


@settings(max_examples=15)
@given(
    chunk=st.integers(1, 50),
    unit=st.integers(1, 40),
    mix=st.integers(1, 4),
    batch_size=st.integers(5, 40),
    shuffle=st.sampled_from(["none", "block", "global"]),
)
def test_what_is_read_in_order_is_foreseen(chunk, unit, mix, batch_size, shuffle):
    memory = zarr.create_array(zarr.storage.MemoryStore(), data=X, chunks=(chunk, 16, 16, 3))
    batches = PLAIN.flow(memory, batch_size=batch_size, shuffle=shuffle, seed=1, shuffle_unit=unit, shuffle_mix=mix)
    plan = batches.plan()
    assert batches.meter.nbytes_read == 0
    list(batches.one_epoch())
    assert batches.meter.nbytes_read / X.nbytes == plan.read_in_order
    assert plan.cached_nbytes <= X.nbytes


def test_what_is_read_at_random_is_foreseen(tmp_path, monkeypatch):
    monkeypatch.setattr(block_supply, "CACHE_NBYTES", 1)
    digits = pictures.digits()[0][:1792]
    zarr.create_array(tmp_path / "x.zarr", data=digits, chunks=(16, 8, 8, 1))
    batches = PLAIN.flow(tmp_path / "x.zarr", batch_size=8, seed=1, shuffle_unit=16, shuffle_mix=2)
    plan = batches.plan()
    assert plan.read_in_order == 1
    # Without asking for a batch right after the one before it, which is iterating.
    orders = (seeding.permutation(1, epoch, len(batches)) for epoch in range(100))
    for number in next(order for order in orders if order[0] and (np.diff(order) != 1).all()).tolist():
        batches[number]
    assert batches.meter.nbytes_read / digits.nbytes == pytest.approx(plan.read_at_random, rel=0.05)
    assert 3 < plan.read_at_random < 4  # four batches have rows of the same two units, and a few units are kept


def read_naively(order: np.ndarray, batch_size: int, chunk: int, kept: int) -> int:
    """Rows that are read for an order of visit, where the `kept` chunks that were used last stay in memory."""
    memory: list[int] = []
    read = 0
    for first in range(0, len(order), batch_size):
        wanted = sorted(set((order[first : first + batch_size] // chunk).tolist()))
        for block in sorted(wanted, key=lambda block: block not in memory):
            if block in memory:
                memory.remove(block)
            else:
                read += min(chunk, N - block * chunk)
            memory = [*memory, block][-kept:]
    return read


def test_rows_from_everywhere_are_read_again_and_again(tmp_path, monkeypatch):
    monkeypatch.setattr(block_supply, "CACHE_NBYTES", 1)
    slow = ImageDataGenerator(preprocessing_function=lambda image: image)  # one batch per task
    batches = slow.flow(stored(tmp_path, 5), batch_size=6, seed=1, shuffle="global", shuffle_unit=4)
    plan = batches.plan()
    assert plan.batches_per_task == 1
    assert plan.cached_nbytes == 4 * 5 * 16 * 16 * 3  # four of the largest blocks
    assert plan.read_in_order * N == pytest.approx(read_naively(batches.index_array, 6, 5, 4))
    list(batches.one_epoch())
    # Two threads read at the same time, so that the order of reading, and what is kept, is not quite the same.
    assert 1 <= batches.meter.nbytes_read / X.nbytes <= 1.5 * plan.read_in_order


def test_files_masks_and_stores(tmp_path):
    folder, _, _ = files.write_digits(tmp_path / "digits", 20)
    listed = PLAIN.flow_from_directory(folder, target_size=(8, 8), batch_size=6, seed=1).plan()
    assert (listed.batches, listed.read_in_order, listed.read_at_random) == (4, 1, 1)
    masked = PLAIN.flow(X, masks=X[..., :1], batch_size=16, seed=1).plan()
    assert masked.nbytes == N * 16 * 16 * (3 * 4 + 1)
    assert PLAIN.flow(X[:0]).plan().batches == 0


def test_keras_replay_computes_nothing_ahead():
    plan = ImageDataGenerator(compat="keras").flow(X, seed=1).plan()
    assert (plan.tasks, plan.batches_per_task, plan.batches_ahead) == (1, 1, 1)
