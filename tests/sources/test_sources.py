"""Every source gives the same pixels, however they are stored, asked for or sent about."""

from __future__ import annotations

import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import dask.array as da
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.storage import MemoryStore

from daskaug.errors import SourceError
from daskaug.sources import Source, open_column, open_images
from tests import pictures

X = pictures.tiles(16, 50)

KINDS = {
    "numpy": lambda x, folder: x,
    "list": lambda x, folder: x.tolist(),
    "strided": lambda x, folder: np.repeat(x, 2, axis=2)[:, :, ::2],
    "reversed": lambda x, folder: x[::-1].copy()[::-1],
    "fortran": lambda x, folder: np.asfortranarray(x),
    "memmap": lambda x, folder: memory_map(x, folder),
    "zarr object": lambda x, folder: zarr.create_array(folder / "a.zarr", data=x, chunks=(7, 8, 5, 2)),
    "zarr v2": lambda x, folder: stored(x, folder, chunks=(7, 16, 16, 3), zarr_format=2),
    "zarr v3": lambda x, folder: stored(x, folder, chunks=(7, 16, 16, 3)),
    "zarr cut": lambda x, folder: stored(x, folder, chunks=(4, 5, 7, 2)),
    "zarr sharded": lambda x, folder: stored(x, folder, chunks=(3, 8, 8, 3), shards=(9, 16, 16, 3)),
    "zarr memory": lambda x, folder: zarr.create_array(MemoryStore(), data=x, chunks=(7, 16, 16, 3)),
    "zarr group": lambda x, folder: grouped(x, folder),
    "file url": lambda x, folder: "file://" + str(stored(x, folder, chunks=(7, 16, 16, 3))),
    "dask": lambda x, folder: da.from_array(x.copy(), chunks=(11, 4, 16, 2)),
    "dask of zarr": lambda x, folder: da.from_zarr(str(stored(x, folder, chunks=(7, 16, 16, 3)))),
    "dask sliced": lambda x, folder: da.from_zarr(
        str(stored(np.concatenate([x[:9], x]), folder, chunks=(7, 16, 16, 3)))
    )[9:],
}


def stored(x, folder, **options):
    zarr.create_array(folder / "x.zarr", data=x, **options)
    return folder / "x.zarr"


def grouped(x, folder):
    group = zarr.create_group(folder / "g.zarr")
    group.create_array("images", data=x)
    group.create_array("masks", data=x)
    group.create_array("labels", data=np.arange(len(x)))
    return folder / "g.zarr"


def memory_map(x, folder):
    np.save(folder / "x.npy", x)
    return np.load(folder / "x.npy", mmap_mode="r")


@pytest.fixture(params=KINDS)
def source(request, tmp_path) -> Source:
    return open_images(KINDS[request.param](X, tmp_path))


def same(found, expected=X) -> bool:
    return bool(np.array_equal(found, expected))


def test_all_rows_in_any_way(source):
    assert source.shape == X.shape
    assert same(source.read(0, 50))
    assert same(source.read(13, 31), X[13:31])
    assert source.read(50, 50).shape == (0, 16, 16, 3)
    rows = np.array([49, 0, 7, 7, 13, 6])
    assert same(source.take(rows), X[rows])
    assert same(source.rows_reader(rows).load(), X[rows])
    assert same(np.concatenate([source.reader(b.start, b.stop).load() for b in source.plan(0, 50, 4000)]))
    assert source.row_nbytes == X[0].nbytes * source.dtype.itemsize
    assert open_images(source) is source


def test_readers_travel(source):
    reader = pickle.loads(pickle.dumps(source.reader(5, 9)))
    assert same(reader.load(), X[5:9])
    assert reader.carried_nbytes <= X[5:9].nbytes * source.dtype.itemsize


def test_plans_cut_no_chunk(tmp_path):
    sharded = open_images(stored(X, tmp_path, chunks=(3, 8, 8, 3), shards=(9, 16, 16, 3)))
    assert sharded.natural_rows == 9
    assert [block.start for block in sharded.plan(4, 40, 1)] == [4, 9, 18, 27, 36]
    lazy = open_images(da.from_array(X.copy(), chunks=((20, 5, 25), 16, 16, 3)))
    assert [block.start for block in lazy.plan(0, 50)] == [0, 20, 25]


def test_a_zarr_source_travels_as_an_address_and_opens_in_another_process(tmp_path):
    source = open_images(stored(X, tmp_path, chunks=(7, 16, 16, 3)))
    sent = pickle.dumps(source)
    assert len(sent) < 2000
    (tmp_path / "sent").write_bytes(sent)
    code = (
        "import pickle, sys, hashlib; source = pickle.load(open(sys.argv[1], 'rb'));"
        "print(hashlib.sha256(source.read(0, 50).tobytes()).hexdigest())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "sent")], capture_output=True, text=True, check=True
    )
    import hashlib

    assert done.stdout.strip() == hashlib.sha256(X.tobytes()).hexdigest()


def test_a_dask_array_that_merely_reads_zarr_is_read_directly(tmp_path):
    path = str(stored(X, tmp_path, chunks=(3, 16, 16, 3), shards=(9, 16, 16, 3)))
    whole, array = da.from_zarr(path), zarr.open_array(path)
    assert open_images(whole).natural_rows == 9
    assert open_images(da.from_array(array, chunks=(6, 16, 16, 3))).natural_rows == 9
    for changed in (whole[1:], whole + np.uint8(0), whole[:, :8]):
        assert "dask" in open_images(changed).locator


def test_many_threads_read_at_once(source):
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda start: source.read(start, start + 5), range(0, 45)))
    assert all(same(block, X[start : start + 5]) for start, block in enumerate(found))


@settings(max_examples=20)
@given(rows=st.lists(st.integers(0, 49), max_size=30))
def test_take_keeps_order_and_repeats(rows, tmp_path_factory):
    rows = np.array(rows, np.int64)
    source = open_images(stored(X, tmp_path_factory.mktemp("take"), chunks=(7, 16, 16, 3)))
    assert same(source.take(rows), X[rows])


def test_missing_chunks_are_the_fill_value(tmp_path):
    array = zarr.create_array(tmp_path / "m.zarr", shape=(20, 4, 4, 3), chunks=(5, 4, 4, 3), dtype="u1", fill_value=7)
    array[5:10] = 1
    found = open_images(tmp_path / "m.zarr").read(0, 20)
    assert set(np.unique(found[:5])) == {7}
    assert set(np.unique(found[5:10])) == {1}


@pytest.mark.parametrize("dtype", [">u2", ">f4", "<f8", "bool", "int8", "float16"])
def test_dtypes_are_native_and_keep_their_values(dtype, tmp_path):
    x = X.astype(dtype)
    for made in (x, zarr.create_array(tmp_path / "x.zarr", data=x, chunks=(7, 16, 16, 3))):
        source = open_images(made)
        assert source.dtype == np.dtype(dtype).newbyteorder("=")
        assert source.read(3, 9).dtype == source.dtype
        assert same(source.read(3, 9), x[3:9])
        assert same(source.take(np.array([4, 2])), x[[4, 2]])


@pytest.mark.parametrize("n", [0, 1])
def test_no_image_and_one_image(n, tmp_path):
    for made in (X[:n], stored(X[:n], tmp_path, chunks=(3, 16, 16, 3)), da.from_array(X[:n].copy())):
        source = open_images(made)
        assert source.shape[0] == n
        assert len(source.plan(0, n)) == n
        assert same(source.read(0, n), X[:n])


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (X[0], r"rank 4.*\(16, 16, 3\).*newaxis"),
        (X[0, 0], r"rank 4"),
        ("no/such/store.zarr", r"no Zarr array at 'no/such/store.zarr'"),
        (X.astype(complex), "real numbers.*complex128"),
        (X.astype("M8[s]"), "real numbers"),
        (object(), "NumPy array, a Zarr array"),
        ([[1, 2], [3]], "NumPy array, a Zarr array"),
        (X[:, :0], "at least one pixel"),
        (da.from_array(X)[da.from_array(X[:, 0, 0, 0]) > 5], "compute_chunk_sizes"),
    ],
    ids=range(9),
)
def test_what_is_no_images_is_refused(made, message):
    with pytest.raises(SourceError, match=message):
        open_images(made)


def test_a_group_without_a_clear_choice_lists_its_arrays(tmp_path):
    group = zarr.create_group(tmp_path / "g.zarr")
    group.create_array("left", data=X)
    group.create_array("right", data=X)
    with pytest.raises(SourceError, match=r"left \(50, 16, 16, 3\), right .*g.zarr/NAME"):
        open_images(tmp_path / "g.zarr")
    assert same(open_images(tmp_path / "g.zarr/left").read(0, 50))


def test_columns_come_from_anywhere(tmp_path):
    import pandas as pd

    labels = np.arange(50) % 7
    zarr.create_array(tmp_path / "y.zarr", data=labels, chunks=(9,))
    for made in (
        labels,
        labels.tolist(),
        pd.Series(labels, index=range(100, 150)),
        da.from_array(labels, chunks=11),
        zarr.open_array(tmp_path / "y.zarr"),
        tmp_path / "y.zarr",
        str(tmp_path / "y.zarr"),
    ):
        assert same(open_column(made, 50, "y"), labels)
    with pytest.raises(SourceError, match=r"`y` should have the same length. Found: 50 images, y of shape \(49,\)"):
        open_column(labels[1:], 50, "y")
