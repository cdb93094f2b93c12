"""Images in a Zarr array: format 2 or 3, sharded or not, in any store."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
import pickle
import re
import socket
import threading
import urllib.parse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.storage import FsspecStore, MemoryStore, ObjectStore, WrapperStore

from daskaug.cards import shape_text
from daskaug.errors import SourceError, UnreadableError
from daskaug.sources.base import BlockReader, CarryingReader, Source
from daskaug.sources.zarr_chunks import UNREADABLE, Stored, current_user, unreadable
from daskaug.stages import stage

_SHORTEST_SECRET = 4
"""Letters. Shorter words are parts of too many others to be taken out of a message."""

_NEXT_URL = re.compile(r"::(?![^\[\]/]*\])")
"""Between the URLs of a chain, but not within the brackets of an IPv6 address."""

_USER = re.compile(r"[^/?#]*@|[^/?#:@]*:(?!\d*(?:[/?#]|$)).*@")
"""User and password of a URL, after its scheme; keys of S3 may hold a slash that nobody has quoted."""

_USER_IN_TEXT = re.compile(r"(?<=://)[^\s/?#'\"]*@")
_PLAIN_PATHS = {"file", "local", "memory"}


class ZarrSource(Source):
    """A Zarr array of rank 4.

    Only the array's address travels; it is opened again where it is read.

    Parameters
    ----------
    array : zarr.Array
    """

    def __init__(self, array: zarr.Array[Any]) -> None:
        n, *image = array.shape
        self.shape = (n, image[0], image[1], image[2])
        self.dtype = np.dtype(array.dtype).newbyteorder("=")
        self._chunks, self._shards = tuple(array.chunks), array.shards
        stored = array.shards or array.chunks
        self.natural_rows = max(1, stored[0])
        self.locator = _address(array)
        self._is_far = _is_far(array.store)
        self._decoded_rows = max(1, array.chunks[0])
        self._is_local = _is_in_memory(array.store)
        self._store, self._path, self._layout = array.store, array.path, _layout(array)
        self._array: zarr.Array[Any] | None = array
        self._stored: Stored | None = None
        self._lock = threading.Lock()

    @property
    def is_far(self) -> bool:
        """See :class:`Source`."""
        return self._is_far

    @property
    def is_here(self) -> bool:
        """See :class:`Source`: a store in this process' memory."""
        return self._is_local

    @property
    def decoded_rows(self) -> int:
        """See :class:`Source`: the rows of an inner chunk, even where `natural_rows` are those of a shard."""
        return self._decoded_rows

    @property
    def pieces(self) -> tuple[int, ...]:
        """See :class:`Source`: the chunks, also where they lie in shards."""
        return self._chunks

    @property
    def storage(self) -> str:
        """See :class:`Source`."""
        shards = "" if self._shards is None else f" in shards of {shape_text(self._shards)}"
        return f"Zarr, chunks of {shape_text(self._chunks)}{shards}"

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """See :meth:`Source.read`.

        Raises
        ------
        UnreadableError
            Where a chunk is damaged, may not be read, or has gone since the array was first read or sent.
        """
        array, stored = self._open(), self._look()
        try:
            with stage("read", stop - start, (stop - start) * self.row_nbytes):
                block = np.asarray(array[start:stop]).astype(self.dtype, copy=False)
            stored.check(array, block, start, self.locator)
        except UNREADABLE as error:
            secrets = secrets_of_store(self._store)
            told = censored(" ".join(str(error).split()), secrets)
            explained = unreadable(array, start, stop, self.locator, error, told)
            if explained is None:
                raise
            raise explained from (None if is_revealing(error, secrets) else error)
        return block

    def reader(self, start: int, stop: int) -> BlockReader:
        """See :meth:`Source.reader`; from a store in memory the block itself travels."""
        if self._is_local:
            return CarryingReader(self.read(start, stop), f"rows {start} to {stop} of {self.locator}")
        return super().reader(start, stop)

    def rows_reader(self, rows: NDArray[np.int64]) -> BlockReader:
        """See :meth:`Source.rows_reader`."""
        if self._is_local:
            return CarryingReader(self.take(rows), f"{len(rows)} rows of {self.locator}")
        return super().rows_reader(rows)

    def probes(self) -> list[BlockReader]:
        """See :meth:`Source.probes`: its metadata are read."""
        return [] if self._is_local else [_Opening(self)]

    def _open(self) -> zarr.Array[Any]:
        if self._array is None:
            with self._lock:
                try:
                    array = _reopen(pickle.dumps((self._store, self._path)), self._layout)
                except (OSError, zarr.errors.NodeNotFoundError) as error:
                    secrets = secrets_of_store(self._store)
                    raise UnreadableError(
                        f"{self.locator} cannot be opened by process {os.getpid()} on {socket.gethostname()}, whose "
                        f"working folder is {os.getcwd()}: {censored(' '.join(str(error).split()), secrets)}. It has "
                        "to be there for every worker: name an absolute path on a file system that they share, or a "
                        "URL."
                    ) from (None if is_revealing(error, secrets) else error)
                if array.shape[1:] != self.shape[1:] or array.shape[0] < self.shape[0]:
                    raise SourceError(
                        f"{self.locator} held images of shape {self.shape} when it was opened, and of shape "
                        f"{array.shape} now that a task reads it. Open it again after it was rewritten."
                    )
                self._array = array
        return self._array

    def _look(self) -> Stored:
        """What there is of it: looked at when it is first read, or sent elsewhere to be read."""
        if self._stored is None:
            array = self._open()
            with self._lock:
                self._stored = self._stored or Stored.look(array, self.locator)
        return self._stored

    def __getstate__(self) -> dict[str, Any]:
        self._look()
        return {name: value for name, value in vars(self).items() if name not in ("_array", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._array, self._lock = None, threading.Lock()


@dataclasses.dataclass(frozen=True, eq=False)
class _Opening(BlockReader):
    """Opens an array, as its first task would; loads nothing of it."""

    source: ZarrSource

    def load(self) -> None:
        """See :meth:`BlockReader.load`."""
        self.source._open()

    def __repr__(self) -> str:
        return self.source.locator


@functools.lru_cache(maxsize=32)
def _reopen(address: bytes, layout: str) -> zarr.Array[Any]:
    """One open array per process and address: a task costs no reading of metadata. Stores themselves do not hash.

    Workers outlive stores: where one was appended to or rewritten in the same place, `layout` differs, and the array
    that was opened before it is not taken for the new one.
    """
    store, path = pickle.loads(address)
    return zarr.open_array(store, path=path, mode="r")


def _layout(array: zarr.Array[Any]) -> str:
    """Digest of shape, chunks, data type and codecs, but not of the user's attributes."""
    described = {name: value for name, value in array.metadata.to_dict().items() if name != "attributes"}
    return hashlib.sha256(json.dumps(described, sort_keys=True, default=str).encode()).hexdigest()


def _innermost(store: Any) -> Any:
    """The store itself, without what is wrapped around it."""
    while isinstance(store, WrapperStore):
        store = store._store
    return store


def _kinds(store: Any) -> set[str]:
    """What a store is to the library that brings it: the protocols of a file system, or a class of obstore's."""
    if isinstance(store, FsspecStore):
        protocol = store.fs.protocol
        return {protocol} if isinstance(protocol, str) else set(protocol)
    return {type(store.store).__name__} if isinstance(store, ObjectStore) else set()


def _is_in_memory(store: Any) -> bool:
    """Whether the store is this process' own memory, which nobody else can open."""
    store = _innermost(store)
    return isinstance(store, MemoryStore) or bool(_kinds(store) & {"memory", "MemoryStore"})


def _is_far(store: Any) -> bool:
    """Whether a network lies between."""
    kinds = _kinds(_innermost(store))
    return bool(kinds) and not kinds & {"file", "local", "memory", "LocalStore", "MemoryStore"}


def _address(array: zarr.Array[Any]) -> str:
    """Where an array is, for people: of a file system's store the URL, which its own text does not have."""
    store = _innermost(array.store)
    if not isinstance(store, FsspecStore):
        return str(array.store_path)
    root = without_credentials(store.fs.unstrip_protocol(store.path))
    return f"{root}/{array.path}" if array.path else root


def open_path(path: str | Path, storage_options: dict[str, Any] | None = None) -> zarr.Array[Any]:
    """Open the array at a path or URL.

    A group is accepted where it is clear which of its arrays is meant: the one named ``images``, or the only one of
    rank 4.

    Raises
    ------
    SourceError
        Where there is nothing, or a group with no such array; the message lists its arrays. Where the file system of a
        URL is not known or not installed, where its server refuses or does not answer, and for `storage_options` of a
        path that is no URL.
    """
    if storage_options and "://" not in str(path) and "::" not in str(path):
        raise SourceError(
            f"`storage_options` is for URLs such as s3://bucket/images.zarr. Found the path {str(path)!r}."
        )
    secrets = secrets_of(str(path), storage_options)
    try:
        found = zarr.open(str(path), mode="r", storage_options=storage_options)
    except Exception as error:  # every file system has its own for a server that refuses, or does not answer
        explained = _explained(error, str(path), secrets)
        if explained is None:
            raise
        raise explained from (None if is_revealing(error, secrets) else error)
    return found if isinstance(found, zarr.Array) else images_of(found, without_credentials(str(path)))


def _explained(error: Exception, path: str, secrets: tuple[str, ...]) -> SourceError | None:
    """What is wrong with a path or URL, without credentials; None where the error itself says it best."""
    address, found = without_credentials(path), " ".join(censored(str(error), secrets).split())
    if isinstance(error, FileNotFoundError | zarr.errors.NodeNotFoundError):
        if os.path.isdir(path):
            return SourceError(
                f"The folder {address!r} is no Zarr store. Images in files come through an iterator: pass "
                "datagen.flow_from_directory(...) or datagen.flow_from_dataframe(...) in its place."
            )
        return SourceError(
            f"There is no Zarr array at {address!r}. Check the path (and, on a cluster, that every worker sees it)."
        )
    if isinstance(error, PermissionError) and "://" not in path:
        return SourceError(f"{address!r} may not be read by {current_user()}: {found}. Give read access to it.")
    if isinstance(error, ImportError):
        return SourceError(f"{address!r} cannot be opened without a further package: {found}.")
    if isinstance(error, ValueError):
        return SourceError(f"{address!r} cannot be opened: {found}.")
    if "://" not in path and not is_revealing(error, secrets):
        return None
    return SourceError(
        f"{address!r} cannot be opened: {found} ({type(error).__name__}). Check the credentials and the endpoint "
        "in `storage_options`."
    )


def images_of(group: zarr.Group, address: str) -> zarr.Array[Any]:
    """The array of a group that holds the images: see :func:`open_path`.

    Raises
    ------
    SourceError
        Where none or several of them could be meant.
    """
    arrays = dict(group.arrays())
    images = [array for array in arrays.values() if array.ndim == 4]
    named = arrays.get("images")
    if named is not None and named.ndim == 4:
        return named
    if len(images) == 1:
        return images[0]
    listed = ", ".join(f"{name} {array.shape}" for name, array in sorted(arrays.items())) or "none"
    raise SourceError(
        f"{address!r} is a Zarr group, and which of its arrays holds the images is not clear. Its arrays: {listed}. "
        f"Name one: {address.rstrip('/')}/NAME."
    )


def without_credentials(text: str) -> str:
    """A URL, or a chain of them (``simplecache::s3://...``), without user, password and query; a path as it is."""
    return "::".join(map(_without_credentials, _NEXT_URL.split(text)))


def _without_credentials(url: str) -> str:
    scheme, mark, rest = url.partition("://")
    if not mark or scheme in _PLAIN_PATHS:
        return url
    user = _USER.match(rest)
    shown, *_ = re.split("[?#]", rest[user.end() if user else 0 :])
    return f"{scheme}://{shown}"


def secrets_of(url: str, storage_options: dict[str, Any] | None = None) -> tuple[str, ...]:
    """Words that may be credentials: every text among the options, and what URLs have of them; as they are and quoted.

    Parameters
    ----------
    url : str
        A URL, a chain of them, or a path, which has none.
    storage_options : dict, optional
        What the file system takes. Of an endpoint only user, password and query count.
    """
    words = [*_secrets_of_url(url), *_secrets_of_options(storage_options)]
    spelled = {form for word in words for form in (word, urllib.parse.unquote(word), urllib.parse.quote(word, safe=""))}
    return tuple(sorted(form for form in spelled if len(form) >= _SHORTEST_SECRET))


def _secrets_of_url(text: str) -> Iterator[str]:
    for url in _NEXT_URL.split(text):
        scheme, mark, rest = url.partition("://")
        if not mark or scheme in _PLAIN_PATHS:
            continue
        user = _USER.match(rest)
        if user:
            name, _, password = user[0][:-1].partition(":")
            # What parses a URL cuts it at a slash, and names the parts.
            yield from (user[0][:-1], name, password, *password.split("/"))
        query = rest[user.end() if user else 0 :].partition("#")[0].partition("?")[2]
        yield query
        yield from (value for _, value in urllib.parse.parse_qsl(query))


def _secrets_of_options(options: Any) -> Iterator[str]:
    waiting = [options]
    while waiting:
        found = waiting.pop()
        if isinstance(found, dict):
            for name, value in found.items():
                if name == "endpoint_url":
                    yield from _secrets_of_url(str(value))
                elif name != "region_name":
                    waiting.append(value)
        elif isinstance(found, list | tuple):
            waiting += found
        elif isinstance(found, str):
            yield found
            yield from _secrets_of_url(found)


def secrets_of_store(store: Any) -> tuple[str, ...]:
    """Words that may be credentials among the options of a store's file system: see :func:`secrets_of`."""
    store = _innermost(store)
    return secrets_of(store.path, store.fs.storage_options) if isinstance(store, FsspecStore) else ()


def censored(text: str, secrets: Iterable[str]) -> str:
    """A text without some words, and without user and password of the URLs in it."""
    for secret in sorted(secrets, key=len, reverse=True):  # one may be the beginning of another
        text = text.replace(secret, "***")
    return _USER_IN_TEXT.sub("***@", text)


def is_revealing(error: BaseException, secrets: tuple[str, ...]) -> bool:
    """Whether a traceback that shows an error, and what caused it, shows credentials."""
    found: BaseException | None = error
    while found is not None:
        if censored(str(found), secrets) != str(found):
            return True
        found = found.__cause__ or (None if found.__suppress_context__ else found.__context__)
    return False
