"""What a cache promises: the same pixels, in whatever order, with whatever room, whatever happens to it."""

from __future__ import annotations

import functools
import multiprocessing
import os
import pickle
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from zarr.storage import MemoryStore

from daskaug import ImageDataGenerator
from daskaug.errors import ConfigError, SourceError
from daskaug.sources import CachedSource, Decoding, ImageFiles, Source, open_images, with_cache
from daskaug.sources.base import CarryingReader
from tests import clusters, files, pictures

X = pictures.tiles(16, 50)
ALL = X.nbytes + 50 * 4  # in a Zarr array, with a checksum for each


class Watched(Source):
    """Forwards to a source, and notes what is read of it."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.shape, self.dtype, self.locator = source.shape, source.dtype, source.locator
        self.natural_rows, self.random_access, self.is_quick = source.natural_rows, source.random_access, False
        self.asked: list[tuple[int, int]] = []

    @property
    def decoded_rows(self) -> int:
        return self._source.decoded_rows

    @property
    def is_far(self) -> bool:
        return True

    def read(self, start, stop):
        self.asked.append((start, stop))
        return self._source.read(start, stop)


def zarr_of(folder: Path, **options) -> Source:
    zarr.create_array(folder / "x.zarr", data=X, **{"chunks": (7, 16, 16, 3), **options})
    return open_images(folder / "x.zarr")


def files_of(folder: Path) -> ImageFiles:
    from PIL import Image

    folder.mkdir(exist_ok=True)
    names = [f"{row}.png" for row in range(50)]
    for name, image in zip(names, X, strict=True):
        Image.fromarray(image).save(folder / name)
    return ImageFiles(names, folder, Decoding(target_size=(16, 16)))


KINDS = {
    "numpy": lambda folder: open_images(X),
    "zarr": zarr_of,
    "zarr cut": lambda folder: zarr_of(folder, chunks=(4, 5, 7, 2)),
    "zarr sharded": lambda folder: zarr_of(folder, chunks=(3, 8, 8, 3), shards=(9, 16, 16, 3)),
    "zarr in one chunk": lambda folder: zarr_of(folder, chunks=(64, 16, 16, 3)),
    "dask": lambda folder: open_images(da.from_array(X.copy(), chunks=(11, 4, 16, 2))),
    "files": files_of,
}


@pytest.fixture(params=KINDS)
def source(request, tmp_path) -> Source:
    return KINDS[request.param](tmp_path)


@pytest.fixture(params=["memory", "zarr"])
def place(request, tmp_path) -> str:
    return "memory" if request.param == "memory" else str(tmp_path / "cache.zarr")


def same(found, expected=X) -> bool:
    return found.dtype == expected.dtype and np.array_equal(found, expected)


def test_it_looks_like_the_source(source, place):
    cached = CachedSource(source, place)
    for name in ("shape", "dtype", "natural_rows", "decoded_rows", "random_access", "locator", "row_nbytes", "is_far"):
        assert getattr(cached, name) == getattr(source, name), name
    assert [*cached.plan(3, 41, 4000)] == [*source.plan(3, 41, 4000)]


def test_the_second_time_nothing_is_read(source, place):
    cached = CachedSource(Watched(source), place)
    units = -(-50 // min(50, source.decoded_rows))
    assert same(cached.read(0, 50))
    assert (cached.hits, cached.misses) == (0, units)
    assert cached.nbytes >= X.nbytes
    cached.source.asked.clear()
    assert same(cached.read(13, 31), X[13:31])
    rows = np.array([49, 0, 7, 7, 13, 6])
    assert same(cached.take(rows), X[rows])
    assert cached.source.asked == []
    assert cached.misses == units


@pytest.mark.parametrize("room", [0, 1, 5000, ALL, None])
@given(st.lists(st.one_of(st.lists(st.integers(0, 49), max_size=9), st.tuples(st.integers(0, 50), st.integers(0, 50)))))
def test_any_order_of_reading_with_any_room(room, requests):
    for kind in ("memory", "zarr"):
        cached = _warm(kind, room)
        for request in requests:
            if isinstance(request, tuple):
                start, stop = sorted(request)
                assert same(cached.read(start, stop), X[start:stop])
            else:
                rows = np.array(request, np.int64)
                assert same(cached.take(rows), X[rows])
        assert cached.nbytes <= (ALL + 10_000 if room is None else room)


@functools.cache
def _warm(kind: str, room: int | None) -> CachedSource:
    """One cache for all examples, so that they find it in many states."""
    array = zarr.create_array(MemoryStore(), data=X, chunks=(4, 16, 16, 3))
    if kind == "memory":
        return CachedSource(open_images(array), "memory", room)
    import atexit
    import tempfile

    folder = tempfile.mkdtemp(prefix="daskaug-cache-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return CachedSource(open_images(array), os.path.join(folder, "cache.zarr"), room)


def test_what_is_kept_stays_so_that_its_share_is_found_in_every_epoch(place, tmp_path):
    unit = 5 * X[0].nbytes + (4 if place != "memory" else 0)
    cached = CachedSource(zarr_of(tmp_path, chunks=(5, 16, 16, 3)), place, 4 * unit + unit // 2)
    state = np.random.RandomState(0)
    for epoch in range(5):
        for number in state.permutation(10):
            assert same(cached.read(number * 5, number * 5 + 5), X[number * 5 : number * 5 + 5])
        assert cached.hits == 4 * epoch
        assert cached.nbytes == 4 * unit


@pytest.mark.parametrize("dtype", ["bool", "uint16", ">i4", "float16", "float64"])
def test_every_dtype(dtype, place):
    x = (X > 127 if dtype == "bool" else X).astype(dtype)
    cached = CachedSource(open_images(zarr.create_array(MemoryStore(), data=x, chunks=(7, 16, 16, 3))), place)
    for _ in range(2):
        assert np.array_equal(cached.read(0, 50), x)
        assert cached.read(0, 50).dtype == cached.dtype == np.dtype(dtype).newbyteorder("=")


def test_black_images_are_kept_too(place, tmp_path):
    cached = CachedSource(open_images(zarr.create_array(tmp_path / "b.zarr", data=X * 0, chunks=(7, 16, 16, 3))), place)
    cached.read(0, 50)
    assert same(cached.read(0, 50), X * 0)
    assert (cached.hits, cached.misses) == (8, 8)


def test_threads_that_want_the_same_read_it_once(place, tmp_path):
    begun, go_on = threading.Semaphore(0), threading.Event()

    class Slow(Watched):
        def read(self, start, stop):
            begun.release()
            assert go_on.wait(60)
            return super().read(start, stop)

    cached = CachedSource(zarr_of(tmp_path), place)
    cached._source = slow = Slow(cached.source)
    rows = np.arange(50)[::-1]
    with ThreadPoolExecutor(4) as pool:
        found = [pool.submit(cached.take, np.roll(rows, 13 * k)) for k in range(4)]
        assert begun.acquire(timeout=60)
        go_on.set()
        for k, future in enumerate(found):
            assert same(future.result(timeout=60), X[np.roll(rows, 13 * k)])
    read = [row for start, stop in slow.asked for row in range(start, stop)]
    assert sorted(read) == list(range(50))
    assert cached.misses == 8


def test_an_error_of_one_thread_is_none_of_the_others(place, tmp_path):
    begun, go_on = threading.Event(), threading.Event()

    class FailsOnce(Watched):
        def read(self, start, stop):
            if not begun.is_set():
                begun.set()
                assert go_on.wait(60)
                raise SourceError("torn off")
            return super().read(start, stop)

    cached = CachedSource(zarr_of(tmp_path), place)
    cached._source = FailsOnce(cached.source)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(cached.read, 0, 14)
        assert begun.wait(60)
        second = pool.submit(cached.read, 0, 14)
        go_on.set()
        with pytest.raises(SourceError, match="torn off"):
            first.result(timeout=60)
        assert same(second.result(timeout=60), X[:14])
    assert same(cached.read(0, 50))


def test_rows_that_are_not_there(place, tmp_path):
    with pytest.raises(IndexError, match="rows 0 to 49"):
        CachedSource(zarr_of(tmp_path), place).take(np.array([3, 50]))


def test_on_disk_it_is_a_zarr_array_like_any_other(source, tmp_path):
    CachedSource(source, str(tmp_path / "cache.zarr")).read(0, 50)
    assert same(zarr.open_array(tmp_path / "cache.zarr", mode="r")[:])


def test_readers_travel_small_and_find_the_zarr_array(source, tmp_path):
    cached = CachedSource(source, str(tmp_path / "cache.zarr"))
    rows = np.array([49, 3, 0])
    for _ in range(2):
        for reader, expected in ((cached.reader(5, 9), X[5:9]), (cached.rows_reader(rows), X[rows])):
            arrived = pickle.loads(pickle.dumps(reader))
            assert same(arrived.load(), expected)
            assert repr(arrived)
            if not isinstance(reader, CarryingReader) and reader.parts() is None:
                assert len(pickle.dumps(reader)) < 2500
                assert reader.carried_nbytes == 0
    if isinstance(source, ImageFiles):
        assert not any(b"/17.png" in pickle.dumps(reader) for reader in (cached.reader(5, 9), cached.rows_reader(rows)))


def test_memory_does_not_travel(tmp_path):
    cached = CachedSource(zarr_of(tmp_path), "memory")
    cached.read(0, 50)
    arrived = pickle.loads(pickle.dumps(cached))
    assert len(pickle.dumps(cached)) < 2500
    assert arrived.nbytes == 0
    assert same(arrived.read(0, 50))
    assert arrived.nbytes == 0


def test_where_the_zarr_array_cannot_be_the_source_is_read(tmp_path):
    (tmp_path / "disk").mkdir()
    cached = CachedSource(zarr_of(tmp_path), str(tmp_path / "disk" / "cache.zarr"))
    cached.read(0, 50)
    sent = pickle.dumps(cached)
    shutil.rmtree(tmp_path / "disk")
    arrived = pickle.loads(sent)
    assert same(arrived.read(0, 50))
    assert arrived.misses == 8


def read_in_another_process(cached: CachedSource) -> tuple[bool, int]:
    return same(cached.read(0, 50)), cached.misses


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("numpy", "dask")])  # which stay here
def test_another_process_finds_it_now_and_later(kind, tmp_path):
    source = KINDS[kind](tmp_path)
    cached = CachedSource(source, str(tmp_path / "cache.zarr"))
    cached.read(0, 50)
    (tmp_path / "sent").write_bytes(pickle.dumps(cached))
    code = (
        "import hashlib, pickle, sys; source = pickle.load(open(sys.argv[1], 'rb'));"
        "print(hashlib.sha256(source.read(0, 50).tobytes()).hexdigest(), source.misses)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "sent")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    import hashlib

    assert done.stdout.split() == [hashlib.sha256(X.tobytes()).hexdigest(), "0"]
    far = source if isinstance(source, ImageFiles) else Watched(source)
    again = CachedSource(far, str(tmp_path / "cache.zarr"))
    assert same(again.read(0, 50))
    assert again.misses == 0
    assert (far.is_quick, again.is_quick, again.is_far) == (False, True, False)


WRITES = """
import sys
import numpy as np
from daskaug.sources import CachedSource, open_images
from tests.sources.test_cached import X
cached = CachedSource(open_images(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
rows = np.random.RandomState(int(sys.argv[4])).permutation(50)
assert all(np.array_equal(cached.take(rows[k : k + 3]), X[rows[k : k + 3]]) for k in range(0, 50, 3))
"""


def test_several_processes_fill_it_together_within_the_bound(tmp_path):
    zarr_of(tmp_path, chunks=(1, 16, 16, 3))
    room = 30 * (X[0].nbytes + 4)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WRITES, str(tmp_path / "x.zarr"), str(tmp_path / "cache.zarr"), str(room), str(k)],
            cwd=Path(__file__).parents[2],
        )
        for k in range(2)
    ]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    cached = CachedSource(open_images(tmp_path / "x.zarr"), str(tmp_path / "cache.zarr"), room)
    assert same(cached.read(0, 50))
    assert room - 2 * (X[0].nbytes + 4) <= cached.nbytes <= room + 2 * (X[0].nbytes + 4)


def cut_short(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-10])


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)


def empty(file: Path) -> None:
    file.write_bytes(b"")


@pytest.mark.parametrize("damage", [cut_short, flip_a_bit, empty, Path.unlink])
def test_damaged_entries_are_read_from_the_source_and_mended(damage, tmp_path):
    room = 8 * (7 * X[0].nbytes + 4)  # mending takes no more
    cached = CachedSource(zarr_of(tmp_path), str(tmp_path / "cache.zarr"), room)
    cached.read(0, 50)
    for number in (0, 3, 7):
        damage(tmp_path / "cache.zarr" / f"c.{number}.0.0.0")
    for misses in (11, 11):
        assert same(cached.read(0, 50))
        assert cached.misses == misses


def test_a_folder_that_is_removed_while_it_is_used(tmp_path):
    cached = CachedSource(zarr_of(tmp_path), str(tmp_path / "cache.zarr"))
    cached.read(0, 50)
    shutil.rmtree(tmp_path / "cache.zarr")
    with pytest.warns(UserWarning, match=r"Nothing more is kept in the cache .*cache.zarr"):
        assert same(cached.read(0, 50))
    assert same(cached.read(0, 50))  # without a second warning
    assert not (tmp_path / "cache.zarr").exists()


FILLS_UP = """
import resource, sys, warnings
import numpy as np
from daskaug.sources import CachedSource, open_images
from tests.sources.test_cached import X
cached = CachedSource(open_images(sys.argv[1]), sys.argv[2])
cached.read(0, 14)
resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))  # as a disk that is full: writing fails half-way
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for _ in range(2):
        assert np.array_equal(cached.read(0, 50), X)
    assert np.array_equal(cached.take(np.array([3, 40])), X[[3, 40]])
assert cached.nbytes == 2 * (7 * X[0].nbytes + 4), cached.nbytes
(warned,) = [str(warning.message) for warning in caught]
print(warned)
"""


def test_a_full_disk_ends_the_keeping_with_one_warning(tmp_path):
    zarr_of(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", FILLS_UP, str(tmp_path / "x.zarr"), str(tmp_path / "cache.zarr")],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Nothing more is kept in the cache" in done.stdout
    assert "File too large" in done.stdout
    assert sorted(path.name for path in (tmp_path / "cache.zarr").iterdir()) == ["c.0.0.0.0", "c.1.0.0.0", "zarr.json"]


def test_another_source_in_the_same_place_is_refused_with_both_named(tmp_path):
    place = str(tmp_path / "cache.zarr")
    CachedSource(zarr_of(tmp_path), place).read(0, 50)
    zarr.create_array(tmp_path / "other.zarr", data=X[::-1], chunks=(7, 16, 16, 3))
    with pytest.raises(ConfigError, match=r"cache\.zarr.*holds images of file://.*x\.zarr.*those of .*other\.zarr"):
        CachedSource(open_images(tmp_path / "other.zarr"), place)
    zarr.create_array(tmp_path / "cut.zarr", data=X, chunks=(5, 16, 16, 3))
    with pytest.raises(ConfigError, match=r"in chunks of 7.*in chunks of 5"):
        CachedSource(open_images(tmp_path / "cut.zarr"), place)


def test_files_that_are_named_or_decoded_otherwise_are_other_files(tmp_path):
    source, place = files_of(tmp_path / "files"), str(tmp_path / "cache.zarr")
    CachedSource(source, place)
    CachedSource(files_of(tmp_path / "files"), place)
    shutil.copytree(tmp_path / "files", tmp_path / "moved")
    CachedSource(ImageFiles(source.names, tmp_path / "moved", source.decoding), place)
    names = [*source.names[:3], source.names[4], source.names[3], *source.names[5:]]  # none of those is looked at
    others = [
        ImageFiles(names, tmp_path / "files", source.decoding),
        ImageFiles(source.names, tmp_path / "files", Decoding(target_size=(16, 16), interpolation="bicubic")),
        source.replacing(np.array([3])),
    ]
    for other in others:
        with pytest.raises(ConfigError, match="are others, or were changed since"):
            CachedSource(other, place)


def test_bad_files_are_reported_as_without_a_cache(place, tmp_path):
    names = sorted([*files.write_bad(tmp_path / "bad"), *files.GOOD])
    source = ImageFiles(names, tmp_path / "bad", Decoding(target_size=(8, 8)))
    cached = CachedSource(source, place)
    with pytest.raises(SourceError, match=r"bomb\.png \(row 1\)"):
        cached.read(0, len(names))
    good = np.array([names.index(name) for name in files.GOOD])
    for _ in range(2):
        assert np.array_equal(cached.take(good), source.take(good))


def test_some_of_the_files(place, tmp_path):
    cached = CachedSource(files_of(tmp_path / "files"), place)
    chosen = np.array([7, 3, 40, 7])
    some = cached.only(chosen)
    assert same(some.read(0, 4), X[chosen])
    assert same(some.only(np.array([2, 0])).read(0, 2), X[[40, 7]])
    assert same(cached.take(np.array([40, 3])), X[[40, 3]])
    assert cached.hits == 2
    with pytest.raises(TypeError, match="Only files"):
        CachedSource(zarr_of(tmp_path), "memory").only(chosen)


@pytest.mark.parametrize("what", ["array", "group", "text", "file"])
def test_what_is_no_cache_is_left_alone(what, tmp_path):
    path = tmp_path / "mine"
    if what == "array":
        zarr.create_array(path, data=X, chunks=(7, 16, 16, 3))
    elif what == "group":
        zarr.create_group(path)
    elif what == "text":
        path.mkdir()
        (path / "notes.txt").write_text("mine")
    else:
        path.write_text("mine")
    before = {file: file.read_bytes() for file in [path, *path.rglob("*")] if file.is_file()}
    with pytest.raises(ConfigError, match=r"`cache`='.*mine'.*Name "):
        CachedSource(open_images(X), str(path))
    assert before == {file: file.read_bytes() for file in [path, *path.rglob("*")] if file.is_file()}


def test_as_users_ask_for_it(tmp_path):
    source = zarr_of(tmp_path)
    assert with_cache(source, None) is source
    assert isinstance(with_cache(source, "memory"), CachedSource)
    assert same(with_cache(source, "memory", 1e4).read(0, 50))
    on_disk = with_cache(source, tmp_path / "cache.zarr", 10**6)
    assert same(on_disk.read(0, 50))
    assert (tmp_path / "cache.zarr" / "zarr.json").exists()


@pytest.mark.parametrize(
    ("cache", "nbytes"),
    [(None, 10), (True, None), (False, None), ("", None), ("s3://bucket/cache", None), (3, None)]
    + [("memory", nbytes) for nbytes in (-1, True, "4 GB", 1.5, float("nan"), float("inf"))],
)
def test_nonsense_is_refused(cache, nbytes, tmp_path):
    with pytest.raises(ConfigError, match=r"`cache.*Received: cache="):
        with_cache(open_images(X), cache, nbytes)


def test_a_cache_in_a_pool_of_processes(tmp_path):
    cached = CachedSource(zarr_of(tmp_path), str(tmp_path / "cache.zarr"))
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        found = [pool.submit(cached.reader(start, start + 10).load) for start in range(0, 50, 10)]
        assert same(np.concatenate([future.result(timeout=60) for future in found]))
    assert same(cached.read(0, 50))
    assert (cached.hits, cached.misses) == (8, 0)


@pytest.mark.parametrize("kind", ["zarr", "files"])
def test_the_workers_of_a_cluster_fill_it_and_use_it(kind, tmp_path):
    from distributed import Client

    def epoch(source: Source) -> list[np.ndarray]:
        batches = ImageDataGenerator(rotation_range=20).flow(source, batch_size=8, seed=3)
        try:
            return [batch for epoch in batches.epochs(2) for batch in epoch]
        finally:
            batches.close()

    source = KINDS[kind](tmp_path)
    expected = epoch(source)
    place = str(tmp_path / "cache.zarr")
    with clusters.two_workers() as local, Client(local):
        found = epoch(CachedSource(source, place))
    assert all(map(np.array_equal, found, expected))
    assert len(found) == len(expected)
    cached = CachedSource(source, place)
    assert same(cached.read(0, 50))
    assert cached.misses == 0
