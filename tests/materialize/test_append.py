"""Rows that come later are added without touching what is there."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from daskaug import ImageDataGenerator, open_materialized
from daskaug.errors import ConfigError, StoreError
from daskaug.materialize.layout import MANIFEST
from tests.materialize.stores import FaultyStore, X, Y, files_of, make


def states(root):
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in root.rglob("*") if path.is_file()}


@pytest.mark.long
@settings(max_examples=8)
@given(cuts=st.sets(st.integers(1, 39), min_size=1, max_size=3))
def test_an_appended_store_streams_what_a_fresh_one_does(tmp_path_factory, cuts):
    folder = tmp_path_factory.mktemp("append")
    weight = Y / 10
    first, *more = [*sorted(cuts), 40]
    make(folder / "m.zarr", X[:first], Y[:first], sample_weight=weight[:first])
    for stop in more:
        before = states(folder / "m.zarr")
        report = make(folder / "m.zarr", X[:stop], Y[:stop], sample_weight=weight[:stop], append=True)
        assert report.rows == 2 * stop
        after = states(folder / "m.zarr")
        assert [path.name for path in before if before[path] != after[path]] == ["zarr.json"]
    make(folder / "fresh.zarr", sample_weight=weight)
    appended, fresh = (open_materialized(folder / name) for name in ("m.zarr", "fresh.zarr"))
    assert (appended.n, appended.epochs, len(appended.parts)) == (40, 2, len(more))
    assert report.store_hash == appended.store_hash
    flows = [store.flow(9, shuffle="block", shuffle_unit=4, seed=2, with_ids=True) for store in (appended, fresh)]
    for _ in range(3 * len(flows[0])):
        for ours, theirs in zip(*map(next, flows), strict=True):
            assert np.array_equal(ours, theirs)


def test_the_joined_images_are_a_source(tmp_path):
    make(tmp_path / "m.zarr", X[:15], Y[:15])
    make(tmp_path / "m.zarr", append=True)
    store = open_materialized(tmp_path / "m.zarr")
    images = store.images
    everything = np.concatenate(
        [part.images.read(0, part.images.shape[0]) for part in (store_alone(tmp_path), *store.parts)]
    )
    assert images.shape == (80, 16, 16, 3)
    assert np.array_equal(images.read(0, 80), everything)
    assert np.array_equal(images.read(25, 41), everything[25:41])
    rows = np.array([79, 3, 29, 30, 31, 3])
    assert np.array_equal(images.take(rows), everything[rows])
    assert images.plan(4, 70, 1)[0].start == 4
    assert sum(map(len, images.plan(4, 70, 1))) == 66
    assert ImageDataGenerator(featurewise_center=True).fit(store).statistics.samples == 80


def store_alone(tmp_path):
    from daskaug.materialize import MaterializedStore, Place

    place = Place.of(tmp_path / "m.zarr")
    group = place.open_group()
    return MaterializedStore(place, group, dict(group.attrs[MANIFEST]))


def test_classes_must_be_numbered_as_they_were(tmp_path):
    make(tmp_path / "m.zarr", X[:15], Y[:15], class_indices={"cat": 0, "dog": 1})
    before = states(tmp_path / "m.zarr")
    with pytest.raises(StoreError, match="labels would mean different things"):
        make(tmp_path / "m.zarr", append=True, class_indices={"bird": 0, "cat": 1, "dog": 2})
    assert states(tmp_path / "m.zarr") == before
    make(tmp_path / "m.zarr", append=True, class_indices={"cat": 0, "dog": 1, "zebra": 2})
    assert open_materialized(tmp_path / "m.zarr").class_indices == {"cat": 0, "dog": 1, "zebra": 2}
    with pytest.raises(StoreError, match="see cat, dog"):
        make(tmp_path / "m.zarr", append=True, class_indices={"dog": 0, "cat": 1})
    with pytest.raises(ConfigError, match=r"`class_indices` must be a dict of class names"):
        make(tmp_path / "n.zarr", class_indices=["cat", "dog"])
    with pytest.raises(ConfigError, match="names the classes in `y`, and there is none"):
        make(tmp_path / "n.zarr", y=None, class_indices={"cat": 0})
    assert not (tmp_path / "n.zarr").exists()


def test_appending_nothing_writes_nothing(tmp_path):
    make(tmp_path / "m.zarr", X[:30], Y[:30])
    make(tmp_path / "m.zarr", append=True)
    before = states(tmp_path / "m.zarr")
    report = make(tmp_path / "m.zarr", append=True)
    assert (report.rows, report.rows_written) == (80, 0)
    assert report.store_hash == open_materialized(tmp_path / "m.zarr").store_hash
    assert states(tmp_path / "m.zarr") == before


def test_parts_are_seen_when_they_are_finished_and_not_before(tmp_path):
    path = tmp_path / "m.zarr"
    make(path, X[:20], Y[:20])
    alone = open_materialized(path).store_hash

    class Stop(Exception):
        pass

    def stop(done, total):
        assert open_materialized(path).n == 20
        if done >= 27:
            raise Stop

    with pytest.raises(Stop):
        make(path, append=True, progress=stop)
    assert open_materialized(path).store_hash == alone
    report = make(path, append=True)
    assert report.rows_written < 40
    make(tmp_path / "n.zarr", X[:20], Y[:20])
    assert make(tmp_path / "n.zarr", append=True).store_hash == report.store_hash
    kept = {name: content for name, content in files_of(path).items() if not name.endswith(".partial")}
    assert kept == files_of(tmp_path / "n.zarr")


def test_a_broken_last_step_is_made_up_for(tmp_path):
    make(tmp_path / "m.zarr", X[:20], Y[:20])
    full = OSError(28, "No space left on device")
    faulty = FaultyStore.at(tmp_path / "m.zarr", lambda key: full if key == "zarr.json" else None)
    with pytest.raises(StoreError, match="no space left"):
        make(faulty, append=True)
    assert open_materialized(tmp_path / "m.zarr").n == 20
    assert make(tmp_path / "m.zarr", append=True).rows_written == 0
    assert open_materialized(tmp_path / "m.zarr").n == 40


def test_sample_ids_and_rows_go_on(tmp_path):
    make(tmp_path / "m.zarr", X[:20], Y[:20])
    make(tmp_path / "m.zarr", append=True)
    group = zarr.open_group(tmp_path / "m.zarr/parts/00001", mode="r")
    for name in ("sample_id", "source_row"):
        assert np.array_equal(group[name][:], np.tile(np.arange(20, 40), 2))
    parent = zarr.open_group(tmp_path / "m.zarr", mode="r")
    (part,) = parent.attrs[MANIFEST]["parts"]
    assert part == {"path": "parts/00001", "rows": 20, "store_hash": group.attrs[MANIFEST]["store_hash"]}


def test_what_does_not_fit_is_refused(tmp_path):
    path = tmp_path / "m.zarr"
    with pytest.raises(StoreError, match="there is none at"):
        make(path, append=True)
    assert not path.exists()
    make(path, X[:20], Y[:20])
    before = files_of(path)
    other = X.copy()
    other[17] = 255 - other[17]  # the end of the second shard, and none of the rows in the contract
    labels = Y.copy()
    labels[3] = 4
    for error, message, call in (
        (StoreError, "made of other images", {"x": other}),
        (StoreError, "columns_digest", {"y": labels}),
        (StoreError, "seed: 5 → 6", {"seed": 6}),
        (StoreError, "only 10", {"x": X[:10], "y": Y[:10]}),
        (StoreError, "codec='lz4' was asked for", {"codec": "lz4"}),
        (ConfigError, "balance=True", {"balance": True}),
        (ConfigError, "masks", {"masks": X[..., :1]}),
    ):
        with pytest.raises(error, match=message):
            make(path, append=True, **call)
    assert files_of(path) == before


def test_what_a_store_has_lost_is_made_again_before_more_is_added(tmp_path):
    path = tmp_path / "m.zarr"
    make(path, X[:20], Y[:20])
    (path / "y/c/1").unlink()
    report = make(path, append=True)
    assert report.rows == 80
    (path / "parts/00001/images/c/1/0/0/0").unlink()
    with pytest.raises(StoreError, match="lost 1 of its"):
        open_materialized(path)
    assert make(path, append=True).store_hash == report.store_hash
    assert open_materialized(path).n == 40


def test_two_runs_that_append_the_same_append_it_once(tmp_path):
    path = tmp_path / "m.zarr"
    make(path, X[:20], Y[:20])
    others = []

    def meanwhile(done, total):
        if not others:
            others.append(None)
            others.append(make(path, append=True))

    report = make(path, append=True, progress=meanwhile)
    assert report.store_hash == others[1].store_hash
    assert open_materialized(path).n == 40


def test_what_is_appended_while_a_store_is_mended_stays(tmp_path):
    path = tmp_path / "m.zarr"
    make(path, X[:20], Y[:20])
    (path / "y/c/1").unlink()

    def meanwhile(done, total):
        if done == total:
            manifest = zarr.open_group(path, mode="r+").attrs[MANIFEST]
            zarr.open_group(path, mode="r+").attrs[MANIFEST] = manifest | {"note": "somebody else's"}

    make(path, X[:20], Y[:20], progress=meanwhile)
    assert zarr.open_group(path, mode="r").attrs[MANIFEST]["note"] == "somebody else's"
