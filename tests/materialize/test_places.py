"""Stores of every kind, and what happens when they fail."""

from __future__ import annotations

import errno
import itertools
import os
import pickle
import shutil
import traceback

import numpy as np
import pytest
import zarr
from zarr.storage import LocalStore, MemoryStore, ObjectStore

from daskaug import ImageDataGenerator, open_materialized
from daskaug.errors import IncompleteStoreError, SourceError, StoreError
from daskaug.materialize import Place, persistence
from daskaug.materialize.persistence import is_transient
from daskaug.materialize.place import _secrets, without_credentials
from daskaug.sources import open_images
from daskaug.sources.base import RangeReader
from daskaug.sources.numpy_array import NumpySource
from tests.materialize.stores import FaultyStore, X, Y, files_of, make


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr(persistence, "FIRST_PAUSE", 0.0)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "m.zarr"
    return folder, make(folder)


@pytest.mark.parametrize("kind", ["text", "file", "fsspec", "memory", "store", "in memory", "obstore"])
def test_every_kind_of_store_holds_the_same(kind, tmp_path, whole):
    path = tmp_path / "m.zarr"
    on_top = None
    if kind == "obstore":
        on_top = ObjectStore(pytest.importorskip("obstore.store").LocalStore(path, mkdir=True))
    store, options = {
        "text": (str(path), None),
        "file": (f"file://{path}", None),
        "fsspec": (f"file://{path}", {"auto_mkdir": True}),
        "memory": (f"memory://{path.name}-{tmp_path.name}", None),
        "store": (LocalStore(path), None),
        "in memory": (MemoryStore(), None),
        "obstore": (on_top, None),
    }[kind]
    assert make(store, storage_options=options).store_hash == whole[1].store_hash
    assert make(store, storage_options=options).rows_written == 0
    opened = open_materialized(store, storage_options=options)
    assert opened.store_hash == whole[1].store_hash
    ours, theirs = (next(s.flow(8, seed=1)) for s in (opened, open_materialized(whole[0])))
    assert np.array_equal(ours[0], theirs[0])
    group = Place.of(store, options).open_group("r+")
    key = f"images/{group['images'].metadata.encode_chunk_key((2, 0, 0, 0))}"
    zarr.core.sync.sync(group.store.delete(key))
    assert make(store, storage_options=options).rows_written == 9


def test_what_is_no_store_is_refused(tmp_path):
    with pytest.raises(StoreError, match="`store` must be a path"):
        make(3)
    with pytest.raises(StoreError, match="`storage_options` is for URLs"):
        make(tmp_path / "m.zarr", storage_options={"key": "AKIA1234"})
    with pytest.raises(FileNotFoundError):
        open_materialized(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


def test_memory_is_refused_where_workers_cannot_see_it(monkeypatch):
    class Remote:
        is_remote, parallelism, description = True, 2, "2 thread(s) on 1 distributed worker(s)"

    monkeypatch.setattr("daskaug.materialize.writing.current_executor", Remote)
    for store in ("memory://made", MemoryStore()):
        with pytest.raises(StoreError, match="cannot see it"):
            make(store)


def test_a_full_disk_says_how_much_is_missing_and_the_same_call_goes_on(tmp_path, whole):
    written = []

    def fault(key):
        if "/c/" in key:
            written.append(key)
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) if len(written) > 40 else None

    with pytest.raises(StoreError, match=r"no space left at .*m\.zarr") as caught:
        make(FaultyStore.at(tmp_path / "m.zarr", fault))
    message = str(caught.value)
    left = int(message.split("decoded images (")[1].split(" of 80")[0])
    assert left % 9 in (0, 8)
    assert f"About {left * 768 / 1e6:,.1f} MB" in message
    assert "the same call" in message
    with pytest.raises(IncompleteStoreError):
        open_materialized(tmp_path / "m.zarr")
    assert make(tmp_path / "m.zarr").store_hash == whole[1].store_hash


@pytest.mark.parametrize("name", ["zarr.json", "y/zarr.json", "images/c/3/0/0/0", "shard_digest/c/5/0"])
def test_missing_rights_are_one_clear_error(tmp_path, whole, name):
    def fault(key):
        return PermissionError(errno.EACCES, os.strerror(errno.EACCES), key) if key == name else None

    with pytest.raises(StoreError, match=r"may not be accessed .*Check the rights"):
        make(FaultyStore.at(tmp_path / "m.zarr", fault))
    if (tmp_path / "m.zarr").exists():
        assert make(tmp_path / "m.zarr").store_hash == whole[1].store_hash


def test_a_store_that_vanishes_is_named(tmp_path):
    def vanish(done, total):
        shutil.rmtree(tmp_path / "m.zarr", ignore_errors=True)

    with pytest.raises(StoreError, match=r"m\.zarr(: there is no array| is not there)"):
        make(tmp_path / "m.zarr", progress=vanish)


def test_errors_that_pass_are_sat_out(tmp_path, whole):
    calls = itertools.count()
    kinds = itertools.cycle([ConnectionResetError("reset"), TimeoutError("slow"), OSError(errno.EIO, "busy")])

    def fault(key):
        return next(kinds) if next(calls) % 3 == 0 else None

    assert make(FaultyStore.at(tmp_path / "m.zarr", fault)).store_hash == whole[1].store_hash
    assert files_of(tmp_path / "m.zarr") == files_of(whole[0])


def test_a_store_that_stays_broken_is_given_up(tmp_path, whole):
    asked = []

    def fault(key):
        asked.append(key)
        return ConnectionResetError("reset") if key == "y/c/2" else None

    with pytest.raises(StoreError, match=r"failed 5 times in a row, lastly with ConnectionResetError: reset"):
        make(FaultyStore.at(tmp_path / "m.zarr", fault))
    assert asked.count("y/c/2") == 5
    assert make(tmp_path / "m.zarr").store_hash == whole[1].store_hash


class FarSource(NumpySource):
    """Images behind a network that fails now and then."""

    def __init__(self, array, error, times):
        super().__init__(array, locator="s3://bucket/images.zarr")
        self.error, self.left = error, times

    def reader(self, start, stop):
        return RangeReader(self, start, stop)

    def read(self, start, stop):
        if start == 9 and self.left:
            self.left -= 1
            raise self.error
        return super().read(start, stop)


def test_reading_a_source_far_away_is_tried_again(tmp_path, whole):
    assert make(tmp_path / "m.zarr", FarSource(X, ConnectionResetError(), 4)).store_hash == whole[1].store_hash
    with pytest.raises(ConnectionResetError):
        make(tmp_path / "n.zarr", FarSource(X, ConnectionResetError(), 5))
    lasting = FarSource(X, FileNotFoundError(), 1)
    with pytest.raises(FileNotFoundError):
        make(tmp_path / "n.zarr", lasting)
    assert make(tmp_path / "n.zarr", lasting).store_hash == whole[1].store_hash


class ClientError(Exception):
    """Like botocore's."""

    def __init__(self, status):
        super().__init__(f"HTTP {status}")
        self.response = {"ResponseMetadata": {"HTTPStatusCode": status}}


class GenericError(Exception):
    """Like obstore's."""


class NoCredentialsError(Exception):
    """Like botocore's."""


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (OSError(errno.EIO, ""), True), (ConnectionResetError(), True), (TimeoutError(), True),
        (OSError(errno.ENOSPC, ""), False), (PermissionError(errno.EACCES, ""), False), (PermissionError(), False),
        (FileNotFoundError(), False), (OSError(errno.EROFS, ""), False), (ClientError(503), True),
        (ClientError(429), True), (ClientError(403), False), (ClientError(404), False), (GenericError(), True),
        (NoCredentialsError(), False), (ValueError(), False), (KeyError(), False),
    ],
)  # fmt: skip
def test_which_errors_pass(error, passes):
    assert is_transient(error) is passes


@pytest.mark.parametrize("error", [ClientError(403), NoCredentialsError("Unable to locate credentials")])
def test_wrong_credentials_are_one_error_before_any_work(tmp_path, error):
    worked = []

    def progress(done, total):
        worked.append(done)

    with pytest.raises(StoreError, match=r"may not be accessed .*storage_options=") as caught:
        make(FaultyStore.at(tmp_path / "m.zarr", lambda key: error), progress=progress)
    assert caught.value.__cause__ is None
    assert not worked


def test_credentials_show_up_nowhere():
    secret = "hunter2-secret"  # nothing to guess
    options = {"secret": secret, "client_kwargs": {"endpoint_url": "http://127.0.0.1:9", "token": [secret + "-token"]}}
    place = Place.of(f"s3://user:{secret}@bucket/a.zarr?sig={secret}", options)
    assert place.address == "s3://bucket/a.zarr"
    for text in (repr(place), str(place), place.within("parts").address):
        assert secret not in text
    assert pickle.loads(pickle.dumps(place)).storage_options == options
    store = persistence.PersistentStore(MemoryStore(), place.address, (secret,))
    assert secret not in str(store._explained(ConnectionError(f"https://x?key={secret}"), True))
    assert secret not in str(store._explained(PermissionError(f"denied to {secret}"), False))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("simplecache::s3://KEY:SECRET@bucket/x", "simplecache::s3://bucket/x"),
        ("zip://a::s3://KEY:SECRET@bucket/x.zip?sig=SECRET", "zip://a::s3://bucket/x.zip"),
        ("s3://KEY:SEC/RET@bucket/a", "s3://bucket/a"),
        ("http://KEY:SECRET@[::1]:9000/a?sig=SECRET", "http://[::1]:9000/a"),
        ("http://host:9000/a@b", "http://host:9000/a@b"),
        ("file:///a/b#c@d", "file:///a/b#c@d"),
        ("/a/b::c?d", "/a/b::c?d"),
    ],
)
def test_addresses_are_without_credentials_however_urls_are_chained(url, shown):
    assert without_credentials(url) == shown


def test_an_error_shows_no_credentials_however_they_are_spelled():
    options = {
        "secret": "s3cr/t",
        "key": "hunter2",
        "token": "hunter2-token",
        "client_kwargs": {"endpoint_url": "http://admin:endp%40int@minio:9000"},
    }
    place = Place.of("simplecache::s3://a:p%40ss@bucket/m.zarr", options)

    def shown(text):
        store = persistence.PersistentStore(MemoryStore(), place.address, _secrets(place))
        return str(store._explained(ConnectionError(text), True))

    for text in ("p%40ss", "p@ss", "endp%40int", "endp@int", "s3cr/t", "s3cr%2Ft", "hunter2-token", "http://a:b@host"):
        assert text not in shown(f"cannot reach {text}")
    assert "-token" not in shown("hunter2-token")
    assert "CRET" in _secrets(Place.of("s3://KEY:SE/CRET@bucket/a"))
    assert "a bad day at http://minio:9000" in shown("a bad day at http://minio:9000")


class ParamValidationError(Exception):
    """Like botocore's."""


def test_an_error_of_any_other_kind_shows_no_credentials():
    place = Place.of("s3://KEYKEY:SECRET@bucket/m.zarr")

    class Failing(MemoryStore):
        async def get(self, *args, **kwargs):
            raise self.error

    failing = Failing()
    store = persistence.PersistentStore(failing, place.address, _secrets(place))
    for error, kind in (
        (ParamValidationError('Invalid bucket name "KEYKEY:SECRET@bucket"'), StoreError),
        (FileNotFoundError("KEYKEY:SECRET@bucket"), FileNotFoundError),
    ):
        failing.error = error
        with pytest.raises(kind, match=r"\*\*\*@bucket") as caught:
            zarr.core.sync.sync(store.get("zarr.json", zarr.core.buffer.default_buffer_prototype()))
        assert not any(word in "".join(traceback.format_exception(caught.value)) for word in ("KEYKEY", "SECRET@"))
    failing.error = harmless = ParamValidationError("Invalid length")
    with pytest.raises(ParamValidationError) as found:
        zarr.core.sync.sync(store.get("zarr.json", zarr.core.buffer.default_buffer_prototype()))
    assert found.value is harmless


@pytest.mark.parametrize(
    "error", [ParamValidationError, FileNotFoundError, ValueError, ImportError, OSError], ids=lambda kind: kind.__name__
)
def test_a_source_that_cannot_be_opened_shows_no_credentials(error, monkeypatch):
    def fail(*args, **kwargs):
        raise error(f"KEYKEY:S{'ECRET'}@bucket and {kwargs['storage_options']['token']}")

    monkeypatch.setattr(zarr, "open", fail)
    with pytest.raises(SourceError) as caught:
        open_images("simplecache::s3://KEYKEY:SECRET@bucket/x.zarr", storage_options={"token": "hunter2"})
    assert "simplecache::s3://bucket/x.zarr" in str(caught.value)
    shown = "".join(traceback.format_exception_only(caught.value)) + str(caught.value.__cause__)
    assert not any(word in shown for word in ("KEYKEY", "SECRET", "hunter2"))
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("kind", ["path", "within", "fsspec"])
def test_a_file_in_the_way_is_one_clear_error(kind, tmp_path):
    (tmp_path / "m.zarr").write_text("taken")
    store, options = {
        "path": (tmp_path / "m.zarr", None),
        "within": (tmp_path / "m.zarr" / "n.zarr", None),
        "fsspec": (f"file://{tmp_path}/m.zarr", {"auto_mkdir": True}),
    }[kind]
    with pytest.raises(StoreError, match=r"m\.zarr.*Choose another place"):
        make(store, storage_options=options)
    with pytest.raises(StoreError, match=r"m\.zarr.* file\b.*Choose another place"):
        Place.of(store, options).create_group()
    assert (tmp_path / "m.zarr").read_text() == "taken"


def test_options_are_not_written_down(tmp_path):
    make(f"file://{tmp_path}/m.zarr", storage_options={"auto_mkdir": True, "unused": "hunter2-secret"})
    assert not any(b"hunter2" in content for content in files_of(tmp_path).values())


def test_large_directions_are_read_through_the_store(tmp_path, monkeypatch):
    monkeypatch.setattr("daskaug.materialize.reading.STORED_NBYTES", 0)
    tiny = X[:, :4, :4]
    whitening = ImageDataGenerator(featurewise_center=True, zca_whitening=True).fit(tiny)
    batches = []
    for store in (str(tmp_path / "m.zarr"), MemoryStore()):
        whitening.materialize(tiny, store, y=Y, seed=1)
        batches.append(next(open_materialized(store).flow(8, shuffle=False))[0])
    assert np.array_equal(*batches)
