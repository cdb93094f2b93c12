"""Balanced stores: rare classes get more copies."""

from __future__ import annotations

import collections

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from daskaug import ImageDataGenerator, open_materialized
from daskaug.errors import ConfigError
from daskaug.materialize.copies import Balanced, classes_of
from tests.materialize.stores import X, files_of, generator, make

RARE = np.repeat([7, 3, 5], [24, 10, 6])[np.random.RandomState(0).permutation(40)]
MOST = 4


@settings(max_examples=60)
@given(
    sizes=st.lists(st.integers(1, 12), min_size=1, max_size=5), seed=st.integers(0, 2**32 - 1), epoch=st.integers(0, 3)
)
def test_every_class_is_as_large_as_the_largest(sizes, seed, epoch):
    classes = np.repeat(np.arange(len(sizes)), sizes)
    balanced = Balanced(classes, np.arange(len(classes)) * 3, seed)
    counts = balanced.counts(epoch)
    for number, size in enumerate(sizes):
        own = counts[classes == number]
        assert own.sum() == max(sizes)
        assert set(own.tolist()) <= {max(sizes) // size, -(-max(sizes) // size)}
    assert counts.max() <= balanced.most
    rows = []
    for first in range(0, balanced.epoch_rows, 5):
        piece = balanced.piece(epoch, first, min(first + 5, balanced.epoch_rows))
        rows += list(zip(piece.rows.tolist(), piece.copy.tolist(), strict=True))
        assert set(range(piece.start, piece.stop)) == set(piece.rows.tolist())
    assert rows == [(row, copy) for row, count in enumerate(counts.tolist()) for copy in range(count)]


@given(seed=st.integers(0, 2**32 - 1))
def test_who_gets_another_copy_depends_on_the_id_and_not_on_the_position(seed):
    ids, order = np.arange(100, 140), np.random.RandomState(1).permutation(40)
    classes = classes_of(RARE)
    there = Balanced(classes, ids, seed).counts(2)
    moved = Balanced(classes[order], ids[order], seed).counts(2)
    assert np.array_equal(there[order], moved)


def test_a_balanced_store_has_equal_classes_and_the_pixels_of_its_draw_epochs(tmp_path):
    report = make(tmp_path / "m.zarr", y=RARE, balance=True)
    assert report.rows == 2 * 3 * 24
    group = zarr.open_group(tmp_path / "m.zarr", mode="r")
    columns = {name: group[name][:] for name in ("y", "epoch", "source_row", "sample_id", "draw_epoch")}
    for epoch in range(2):
        assert collections.Counter(columns["y"][columns["epoch"] == epoch].tolist()) == {7: 24, 3: 24, 5: 24}
    assert np.array_equal(columns["y"], RARE[columns["source_row"]])
    keys = list(
        zip(columns["epoch"].tolist(), columns["source_row"].tolist(), columns["draw_epoch"].tolist(), strict=True)
    )
    assert keys == sorted(keys)
    assert len(set(keys)) == len(keys)
    assert np.array_equal(columns["draw_epoch"] // MOST, columns["epoch"])
    exact = ImageDataGenerator(rotation_range=25, horizontal_flip=True, brightness_range=(0.7, 1.3), dtype="uint8")
    epochs = {e: exact.augment(X, seed=5, epoch=e).compute() for e in np.unique(columns["draw_epoch"]).tolist()}
    images = group["images"][:]
    for image, row, epoch in zip(images, columns["source_row"], columns["draw_epoch"], strict=True):
        assert np.array_equal(image, epochs[epoch][row])


def test_a_flow_over_a_balanced_store_has_each_epochs_own_labels(tmp_path):
    make(tmp_path / "m.zarr", y=RARE, balance=True, standardize=True, sample_weight=RARE / 8)
    store = open_materialized(tmp_path / "m.zarr")
    group = zarr.open_group(tmp_path / "m.zarr", mode="r")
    assert (store.n, store.epochs, len(store)) == (72, 2, 144)
    flow = store.flow(batch_size=10, shuffle="block", shuffle_unit=8, seed=1, with_ids=True)
    stored = {}
    for image, y, weight, number in zip(
        group["images"][:], group["y"][:], group["sample_weight"][:], group["sample_id"][:], strict=True
    ):
        stored[image.tobytes()] = (y, weight, number)
    for epoch in range(3):
        seen = [next(flow) for _ in range(len(flow))]
        images, y, weight, ids = (np.concatenate(parts) for parts in zip(*seen, strict=True))
        assert collections.Counter(y.tolist()) == {7: 24, 3: 24, 5: 24}
        for image, *beside in zip(images, y, weight, ids, strict=True):
            assert stored[image.tobytes()] == tuple(beside)
        own = group["images"][72 * (epoch % 2) : 72 * (epoch % 2 + 1)]
        assert {image.tobytes() for image in own} == {image.tobytes() for image in images}


def test_a_balanced_store_resumes_and_does_not_change_others(tmp_path):
    class Stop(Exception):
        pass

    def stop(done, total):
        if done >= total // 2:
            raise Stop

    whole = make(tmp_path / "whole.zarr", y=RARE, balance=True)
    with pytest.raises(Stop):
        make(tmp_path / "m.zarr", y=RARE, balance=True, progress=stop)
    assert make(tmp_path / "m.zarr", y=RARE, balance=True).store_hash == whole.store_hash
    assert files_of(tmp_path / "m.zarr") == files_of(tmp_path / "whole.zarr")
    make(tmp_path / "plain.zarr", y=RARE)
    assert "balance" not in (tmp_path / "plain.zarr/zarr.json").read_text()


def test_one_hot_labels_are_classes_too(tmp_path):
    one_hot = (RARE[:, np.newaxis] == np.arange(9)).astype(np.float32)
    make(tmp_path / "m.zarr", y=one_hot, balance=True)
    group = zarr.open_group(tmp_path / "m.zarr", mode="r")
    make(tmp_path / "n.zarr", y=RARE, balance=True)
    other = zarr.open_group(tmp_path / "n.zarr", mode="r")
    assert np.array_equal(group["source_row"][:], other["source_row"][:])
    assert np.array_equal(group["y"][:].argmax(axis=1), other["y"][:])


def test_masks_move_with_their_copies(tmp_path):
    generator().materialize(
        X, tmp_path / "m.zarr", y=RARE, masks=X[..., :1], balance=True, seed=5, chunk_rows=3, shard_rows=9
    )
    group = zarr.open_group(tmp_path / "m.zarr", mode="r")
    _, moved = generator().augment(X, seed=5, epoch=0, masks=X[..., :1])
    moved = moved.compute()
    first = group["draw_epoch"][:] == 0
    assert np.array_equal(group["masks"][:][first], moved[group["source_row"][:][first]])


@pytest.mark.parametrize("y", [None, RARE / 2, np.ones((40, 3)), RARE.reshape(20, 2)[:, :1].repeat(2, 0).repeat(2, 1)])
def test_labels_that_are_no_classes_are_refused(tmp_path, y):
    with pytest.raises(ConfigError, match="balance=True needs the class of each image"):
        make(tmp_path / "m.zarr", y=y, balance=True)
    assert not (tmp_path / "m.zarr").exists()
