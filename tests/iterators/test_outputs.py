"""What travels beside the images: several outputs, named inputs, weights, sample ids."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import zarr

from daskaug import ImageDataGenerator
from daskaug.errors import SourceError
from tests import pictures

N = 50
X, Y = pictures.tiles(16, N), np.arange(N)
ONE_HOT = np.eye(10, dtype=np.float32)[Y % 10]
TURNING = ImageDataGenerator(rotation_range=30, horizontal_flip=True)
OPTIONS = {"batch_size": 8, "seed": 2}


def test_outputs_in_a_dict(tmp_path):
    stored = zarr.create_array(tmp_path / "y.zarr", data=ONE_HOT, chunks=(7, 10))
    y = {"row": Y, "class": stored, "half": da.from_array(Y / 2, chunks=9), "listed": Y.tolist()}
    weights = {"row": Y / 100, "class": np.ones(N)}
    for x, labels, w in TURNING.flow(X, y, sample_weight=weights, **OPTIONS).one_epoch():
        assert list(labels) == ["row", "class", "half", "listed"]
        rows = labels["row"]
        assert len(x) == len(rows)
        assert np.array_equal(labels["class"], ONE_HOT[rows])
        assert np.array_equal(labels["half"], rows / 2)
        assert np.array_equal(labels["listed"], rows)
        assert list(w) == ["row", "class"]
        assert np.array_equal(w["row"], rows / 100)


def test_outputs_in_a_list():
    batches = TURNING.flow(X, [Y, ONE_HOT], sample_weight=[Y / 100, np.ones(N)], **OPTIONS)
    _, (rows, hot), (weights, _) = next(batches)
    assert np.array_equal(hot, ONE_HOT[rows])
    assert np.array_equal(weights, rows / 100)
    assert [len(each) for each in batches.y] == [N, N]


@pytest.mark.parametrize("labels", [Y.tolist(), list(ONE_HOT), list(Y), tuple(Y)])
def test_a_list_of_as_many_entries_as_images_is_one_array(labels):
    y = next(TURNING.flow(X, labels, **OPTIONS))[1]
    assert isinstance(y, np.ndarray)
    assert np.array_equal(y, np.asarray(labels)[TURNING.flow(X, **OPTIONS).index_array[:8]])


def test_two_images_and_a_list_of_two_arrays_are_two_labels_as_in_keras():
    y = next(TURNING.flow(X[:2], [np.zeros(2), np.ones(2)], shuffle=False))[1]
    assert y.tolist() == [[0, 0], [1, 1]]


def test_inputs_in_a_dict():
    x = {"age": Y * 2, "photo": X, "more": ONE_HOT}
    plain = next(TURNING.flow(X, Y, **OPTIONS))
    inputs, y = next(TURNING.flow(x, Y, **OPTIONS))
    assert set(inputs) == {"age", "photo", "more"}
    assert np.array_equal(inputs["photo"], plain[0])
    assert np.array_equal(inputs["age"], y * 2)
    assert np.array_equal(inputs["more"], ONE_HOT[y])
    assert set(next(TURNING.flow({"photo": X}, **OPTIONS))) == {"photo"}


def test_masks_are_one_more_output():
    masks = X[..., :1]
    moved = next(TURNING.flow(X, masks=masks, **OPTIONS))[1]
    named = next(TURNING.flow(X, {"row": Y}, masks=masks, **OPTIONS))[1]
    assert list(named) == ["row", "masks"]
    assert np.array_equal(named["masks"], moved)
    listed = next(TURNING.flow(X, [Y, ONE_HOT], masks=masks, **OPTIONS))[1]
    assert len(listed) == 3
    assert np.array_equal(listed[2], moved)
    with pytest.raises(SourceError, match="'masks'"):
        TURNING.flow(X, {"masks": Y}, masks=masks)


def test_a_subset_and_an_iterator_keep_the_outputs():
    made = ImageDataGenerator(validation_split=0.2)
    part = made.flow(X, {"row": Y, "class": Y % 5}, subset="training", ignore_class_split=True, **OPTIONS)
    assert part.y["row"].tolist() == list(range(10, N))
    with pytest.raises(SourceError, match="different number of classes"):
        made.flow(X, {"class": Y % 5, "row": Y}, subset="training")
    again = made.flow(TURNING.flow({"photo": X}, {"row": Y}), **OPTIONS)
    x, y = next(again)
    assert np.array_equal(x["photo"], X[y["row"]].astype(np.float32))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"y": {"a": Y, "b": Y[:-1]}}, r"`y\['b'\]` should have the same length"),
        ({"y": [Y, Y[:-1]]}, r"`y\[1\]` should have the same length"),
        ({"y": list(ONE_HOT[:-1])}, "`y` should have the same length"),
        ({"y": Y, "sample_weight": {"a": Y[1:]}}, r"`sample_weight\['a'\]` should"),
        ({"x": {"age": Y}}, "must hold images.*age"),
        ({"x": {"photo": X, "age": Y[1:]}}, r"`x\['age'\]` should have the same length"),
    ],
    ids=str,
)
def test_outputs_of_another_length_are_named(arguments, message):
    with pytest.raises(SourceError, match=message):
        TURNING.flow(**{"x": X} | arguments)


@pytest.mark.parametrize(
    "arguments", [{"y": {"a": Y}}, {"y": [Y, Y]}, {"sample_weight": {"a": Y}}, {"x": {"photo": X}}]
)
def test_a_store_says_what_it_cannot_hold(arguments, tmp_path):
    with pytest.raises(SourceError, match="A store has one array of labels"):
        TURNING.materialize(**{"x": X, "store": tmp_path / "made.zarr"} | arguments)


# --- sample ids --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [{}, {"y": Y}, {"y": Y, "sample_weight": Y}, {"y": {"a": Y}}, {"masks": X[..., :1]}, {"x": (X, Y)}],
    ids=lambda arguments: "+".join(arguments) or "x",
)
def test_ids_come_last_and_match_the_pixels(arguments):
    ids = Y * 3 + 7
    pixels = dict(zip(ids, next(TURNING.flow(X, batch_size=N, shuffle=False, seed=2, ids=ids)), strict=True))
    without = TURNING.flow(**{"x": X, "ids": ids} | OPTIONS | arguments)
    for batch in TURNING.flow(**{"x": X, "ids": ids, "with_ids": True} | OPTIONS | arguments).one_epoch():
        *kept, found = batch
        plain = next(without)
        assert len(batch) == (len(plain) if isinstance(plain, tuple) else 1) + 1
        assert found.ndim == 1
        images = kept[0][0] if isinstance(kept[0], list) else kept[0]
        assert all(np.array_equal(image, pixels[i]) for image, i in zip(images, found, strict=True))
    assert len(np.unique(found)) == len(found)


def test_ids_are_the_callers_to_change():
    batches = TURNING.flow(X, with_ids=True, **OPTIONS)
    expected = [ids.tolist() for _, ids in TURNING.flow(X, with_ids=True, **OPTIONS).one_epoch()]
    found = []
    for _, ids in batches.one_epoch():
        found.append(ids.tolist())
        ids[:] = 0
    assert found == expected


def test_keras_replay_has_ids_too():
    batches = ImageDataGenerator(compat="keras").flow(X, Y, with_ids=True, seed=1)
    _, y, ids = next(batches)
    assert np.array_equal(y, ids)
