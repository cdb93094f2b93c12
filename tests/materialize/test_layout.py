"""Shapes and codecs of a store, and the proof that each object has one owner."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from zarr.codecs import Crc32cCodec, GzipCodec

from daskaug import ImageDataGenerator
from daskaug.errors import ConfigError, StoreError
from daskaug.materialize.alignment import Pieces, check_owners
from daskaug.materialize.layout import DIGEST, MANIFEST, NBYTES, Cut, Layout
from tests import pictures
from tests.materialize.stores import FaultyStore, X, files_of, make


@given(
    n=st.integers(1, 300), epochs=st.integers(1, 4), side=st.integers(1, 300),
    kind=st.sampled_from(["streaming", "random"]), shard_rows=st.none() | st.integers(1, 40),
)  # fmt: skip
def test_shards_cover_all_rows_once_and_belong_to_one_task(n, epochs, side, kind, shard_rows):
    layout = Layout.of(n, epochs, (side, side, 3), np.dtype("uint8"), Cut(kind, None, shard_rows))
    assert layout.shard_rows % layout.chunk_rows == 0
    assert shard_rows in (None, layout.shard_rows)
    pieces = [piece for number in range(layout.shards) for piece in layout.pieces(number)]
    rows = [(epoch, row) for epoch, start, stop in pieces for row in range(start, stop)]
    assert rows == [(epoch, row) for epoch in range(epochs) for row in range(n)]
    tasks = [layout.shard(number) for number in range(layout.shards)]
    check_owners(layout.rows, tasks, {"images": Pieces((layout.rows, 8, 8, 3), (layout.shard_rows, 8, 8, 3))})


@given(rows=st.integers(1, 60), step=st.integers(1, 20), cuts=st.sets(st.integers(1, 59)), chunk=st.integers(1, 20))
def test_a_plan_is_taken_only_if_every_object_is_written_by_one_task(rows, step, cuts, chunk):
    """The oracle counts, for each object of two arrays, the tasks that touch it."""
    edges = [0, *sorted(cut for cut in cuts if cut < rows), rows]
    if len(cuts) % 2:
        edges = [*range(0, rows, step), rows]
    tasks = list(itertools.pairwise(edges))
    arrays = {"images": Pieces((rows, 4), (step, 4)), "y": Pieces((rows,), (chunk,))}
    touched = [
        [{start // p.piece[0], (stop - 1) // p.piece[0]} for start, stop in tasks] for p in arrays.values()
    ]  # fmt: skip
    one_each = all(len(objects) == 1 for per_array in touched for objects in per_array)
    no_two = all(len(set().union(*per_array)) == len(tasks) for per_array in touched)
    if one_each and no_two:
        check_owners(rows, tasks, arrays)
    else:
        with pytest.raises(StoreError, match="written whole by one task"):
            check_owners(rows, tasks, arrays)


def test_further_faults_of_plans():
    arrays = {"images": Pieces((20, 4), (5, 4))}
    for tasks in ([(0, 5), (5, 10), (5, 10), (10, 15), (15, 20)], [(0, 5), (5, 10), (15, 20)], [(0, 5), (5, 5)]):
        with pytest.raises(StoreError, match="written whole by one task"):
            check_owners(20, tasks, arrays)
    check_owners(20, [(10, 15), (0, 5)], arrays, all_rows=False)
    with pytest.raises(StoreError, match="cut the images"):
        check_owners(20, [(0, 20)], {"images": Pieces((20, 4), (20, 2))})
    with pytest.raises(StoreError, match="19 rows, and the store 20"):
        check_owners(20, [(0, 20)], {"images": Pieces((19, 4), (20, 4))})


def test_a_planted_misaligned_plan_is_refused_before_any_byte(tmp_path, monkeypatch):
    monkeypatch.setattr(Layout, "shard", lambda self, k: (max(0, 9 * k - 1), min(9 * k + 8, self.rows)))
    with pytest.raises(StoreError, match="a task would write the rows"):
        make(tmp_path / "m.zarr")
    assert not (tmp_path / "m.zarr").exists()


@pytest.mark.parametrize(("name", "chunks"), [("y", (10,)), ("images", (6, 16, 16, 3)), ("epoch", (80,))])
def test_arrays_that_were_cut_anew_are_refused(tmp_path, name, chunks):
    make(tmp_path / "m.zarr")
    group = zarr.open_group(tmp_path / "m.zarr", mode="r+")
    old = group[name]
    group.create_array(name, shape=old.shape, dtype=old.dtype, chunks=chunks, overwrite=True)
    before = files_of(tmp_path / "m.zarr")
    with pytest.raises(StoreError, match=f"of '{name}', whose objects have"):
        make(tmp_path / "m.zarr")
    assert files_of(tmp_path / "m.zarr") == before


def test_everything_has_a_checksum(tmp_path):
    make(tmp_path / "m.zarr")
    group = zarr.open_group(tmp_path / "m.zarr", mode="r")
    for name, array in group.members(max_depth=None):
        if isinstance(array, zarr.Array):
            assert isinstance(array.compressors[-1], Crc32cCodec), name
    sizes = group[NBYTES]
    names = sizes.attrs["arrays"]
    assert names == sorted(names) == ["epoch", "images", "sample_id", "source_hash", "source_row", "y"]
    for column, name in enumerate(names):
        files = {len(content) for key, content in files_of(tmp_path / "m.zarr" / name).items() if key.startswith("c")}
        assert files == set(sizes[:, column].tolist()), name
    assert group[DIGEST].shape == (sizes.shape[0], 32)


def test_the_codec_changes_bytes_and_no_hash(tmp_path):
    reports, sizes = {}, {}
    for number, codec in enumerate((None, "zstd", "lz4", "none", GzipCodec(level=1))):
        path = tmp_path / f"{number}.zarr"
        reports[number] = make(path, codec=codec).store_hash
        sizes[number] = sum(len(content) for content in files_of(path / "images").values())
        card = zarr.open_group(path, mode="r").attrs[MANIFEST]["card"]
        assert card["codec"] == ("zstd" if codec is None else codec if isinstance(codec, str) else card["codec"])
        assert card | {"codec": ""} == {
            "dtype": "uint8", "standardized": False, "layout_for": "streaming", "codec": ""
        }  # fmt: skip
    assert len(set(reports.values())) == 1
    assert sizes[0] == sizes[1] < sizes[3]


def test_another_codec_into_the_same_store_is_refused_with_both_names(tmp_path):
    path = tmp_path / "m.zarr"
    make(path, codec="lz4")
    assert make(path).rows_written == 0
    assert make(path, codec="lz4").rows_written == 0
    for other, name in (("zstd", "'zstd'"), (GzipCodec(level=2), "gzip")):
        with pytest.raises(StoreError, match=f"codec='lz4', and codec=.*{name}.* was asked for"):
            make(path, codec=other)


def test_a_store_that_was_broken_off_early_keeps_its_codec(tmp_path):
    whole, full = make(tmp_path / "whole.zarr", codec="none"), OSError(28, "No space left on device")
    for number, codec in enumerate(("none", GzipCodec())):
        path = tmp_path / f"{number}.zarr"
        with pytest.raises(StoreError, match="no space left"):
            make(FaultyStore.at(path, lambda key: full if key == "y/zarr.json" else None), codec=codec)
        if codec != "none":
            with pytest.raises(StoreError, match="Pass that codec again"):
                make(path)
            continue
        assert make(path).store_hash == whole.store_hash
        assert files_of(path) == files_of(tmp_path / "whole.zarr")


def test_layouts_for_readers():
    photographs = (224, 224, 3)
    streaming = Layout.of(4096, 2, photographs, np.dtype("uint8"), Cut("streaming"))
    at_random = Layout.of(4096, 2, photographs, np.dtype("uint8"), Cut("random"))
    assert (streaming.chunk_rows, at_random.chunk_rows) == (6, 1)
    assert 0.8 < streaming.shard_rows * 224 * 224 * 3 / 2**26 <= 1
    assert 0.8 < at_random.shard_rows * 224 * 224 * 3 / 2**26 <= 1


def test_explicit_rows_are_taken(tmp_path):
    make(tmp_path / "m.zarr", chunk_rows=4, shard_rows=12, layout_for="random")
    images = zarr.open_array(tmp_path / "m.zarr" / "images", mode="r")
    assert (images.chunks[0], images.shards[0]) == (4, 12)


@pytest.mark.parametrize(
    "options",
    [
        {"chunk_rows": 0}, {"chunk_rows": 2.5}, {"shard_rows": True}, {"chunk_rows": 4, "shard_rows": 10},
        {"layout_for": "speed"}, {"codec": "zip"}, {"codec": 3},
    ],
)  # fmt: skip
def test_bad_options_write_nothing(tmp_path, options):
    with pytest.raises(ConfigError, match=f"`{next(reversed(options))}`"):
        make(tmp_path / "m.zarr", **options)
    assert not (tmp_path / "m.zarr").exists()


def test_the_card_says_what_is_stored(tmp_path):
    plain = ImageDataGenerator(featurewise_center=True).fit(X)
    plain.materialize(X, tmp_path / "m.zarr", standardize=True, codec="none", layout_for="random")
    assert zarr.open_group(tmp_path / "m.zarr", mode="r").attrs[MANIFEST]["card"] == {
        "dtype": "float32", "standardized": True, "codec": "none", "layout_for": "random"
    }  # fmt: skip


def test_the_default_codec_makes_photographs_smaller(tmp_path):
    tiles = pictures.tiles(64, 20)
    for codec in ("zstd", "none"):
        ImageDataGenerator(rotation_range=10).materialize(tiles, tmp_path / codec, codec=codec)
    sizes = [sum(map(len, files_of(tmp_path / codec / "images").values())) for codec in ("zstd", "none")]
    assert sizes[0] < 0.85 * sizes[1]
