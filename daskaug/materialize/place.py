"""Where a store lies: the one way to open it, for paths, URLs and Zarr's own store objects."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import zarr
from zarr.abc.store import Store
from zarr.core.sync import sync
from zarr.storage import FsspecStore, LocalStore, MemoryStore, ObjectStore, WrapperStore

from daskaug.errors import StoreError
from daskaug.materialize.persistence import PersistentStore, no_access
from daskaug.sources.zarr_array import censored, is_revealing, secrets_of, secrets_of_store
from daskaug.sources.zarr_array import without_credentials as without_credentials

StoreLike = str | os.PathLike[str] | Store
"""What users may pass as a store."""

_ASKED_AT_ONCE = 32
_PARTIAL = re.compile(r"\.[0-9a-f]{32}\.partial$")
"""End of the name that Zarr gives to a file while it writes it."""


@dataclasses.dataclass(frozen=True, eq=False)
class Place:
    """The address of a group; it travels to tasks, and is opened where they run.

    Attributes
    ----------
    store : str or Store
        Path, URL, or a store object of Zarr.
    storage_options : dict or None
        For a URL: what its file system needs. Credentials among them stay out of manifests, messages and `repr`.
    path : str
        Of the group, within the store.
    """

    store: str | Store
    storage_options: dict[str, Any] | None = dataclasses.field(default=None, repr=False)
    path: str = ""

    @classmethod
    def of(cls, store: StoreLike | Place, storage_options: dict[str, Any] | None = None) -> Place:
        """Take what a user passed.

        Raises
        ------
        StoreError
            For something that is no store, and for options that are not used.
        """
        if isinstance(store, Place):
            return store
        if isinstance(store, Store | str):
            # What lies on this machine is written file by file, each of them renamed when it is whole.
            is_here = isinstance(store, str) and store.startswith("file://") and not storage_options
            found: str | Store = str(store).removeprefix("file://") if is_here else store
        elif isinstance(store, os.PathLike):
            found = os.fspath(store)
        else:
            raise StoreError(
                f"`store` must be a path, a URL or a store object of Zarr (zarr.storage). Received: {store!r}."
            )
        if storage_options and not (isinstance(found, str) and _is_url(found)):
            raise StoreError(
                f"`storage_options` is for URLs such as s3://bucket/made.zarr. Found {without_credentials(str(found))}."
            )
        return cls(found, storage_options or None)

    @property
    def address(self) -> str:
        """For people: without credentials."""
        if isinstance(self.store, str):
            base = without_credentials(self.store)
        elif isinstance(innermost := _innermost(self.store), FsspecStore):
            protocol = innermost.fs.protocol
            base = f"{protocol if isinstance(protocol, str) else protocol[0]}://{innermost.path.lstrip('/')}"
            if "://" in innermost.path:  # over HTTP a path is the whole URL
                base = without_credentials(innermost.path)
        else:
            base = str(innermost)
        return f"{base.rstrip('/')}/{self.path}" if self.path else base

    def __str__(self) -> str:
        return self.address

    def __repr__(self) -> str:
        return f"Place({self.address!r})"

    @property
    def plain(self) -> str | None:
        """The path or URL that says all there is to know, or None."""
        is_plain = isinstance(self.store, str) and self.storage_options is None
        return f"{str(self.store).rstrip('/')}/{self.path}".rstrip("/") if is_plain else None

    @property
    def is_in_memory(self) -> bool:
        """Whether only this process can see it."""
        if isinstance(self.store, str):
            return self.store.startswith("memory:")
        store = _innermost(self.store)
        if isinstance(store, FsspecStore):
            protocol = store.fs.protocol
            return "memory" in ((protocol,) if isinstance(protocol, str) else protocol)
        return isinstance(store, MemoryStore)

    def within(self, path: str) -> Place:
        """A group inside of this one."""
        return dataclasses.replace(self, path=f"{self.path}/{path}".lstrip("/"))

    def open_group(self, mode: str = "r") -> zarr.Group:
        """Open the group, which has to be one of format 3.

        Parameters
        ----------
        mode : {"r", "r+"}

        Raises
        ------
        FileNotFoundError
            Where there is none.
        StoreError
            Where it cannot be reached, and where a file is in the way.
        """
        # Asked for every format at once, zarr leaves requests behind where the first of them fails.
        return zarr.open_group(self._opened(mode == "r"), path=self.path, mode=mode, zarr_format=3)  # type: ignore[arg-type]

    def to_read(self) -> Store:
        """The store itself, for reading."""
        return self._persistent(self._new_store(True))

    def open(self) -> zarr.Group | zarr.Array[Any]:
        """Open what is there, group or array of any format, for reading: see :meth:`open_group`."""
        return zarr.open(self._opened(True), path=self.path, mode="r")

    def create_group(self, attributes: dict[str, Any] | None = None) -> zarr.Group:
        """Make the group, and the folder that it lies in, with its attributes in one write.

        Raises
        ------
        StoreError
            Where a file is in the way, or the place cannot be written to.
        """
        store = self._persistent(self._new_store(False))
        try:
            return zarr.create_group(store, path=self.path, zarr_format=3, attributes=attributes or {})
        except (FileExistsError, NotADirectoryError) as error:
            raise StoreError(_file_in_the_way(self.address, "a file is in the way")) from error
        except PermissionError as error:  # Zarr makes the folder past the store's own methods
            raise no_access(self.address, str(error)) from error

    def remove(self) -> None:
        """Remove the group, and all that is in it."""
        sync(self._persistent(self._new_store(False)).delete_dir(self.path))
        if self.plain is not None and not _is_url(self.plain):
            with contextlib.suppress(OSError):
                os.rmdir(self.plain)

    def _opened(self, read_only: bool) -> Store:
        # Zarr makes the folder of a local store that is opened for writing.
        if isinstance(self.store, str) and not _is_url(self.store) and not os.path.exists(self.store):
            raise FileNotFoundError(f"There is no store at {self.store!r}.")
        return self._persistent(self._new_store(read_only))

    def _new_store(self, read_only: bool) -> Store:
        if isinstance(self.store, Store):
            return self.store.with_read_only(True) if read_only and not self.store.read_only else self.store
        if not _is_url(self.store):
            _refuse_file(Path(self.store))
            return LocalStore(Path(self.store), read_only=read_only)
        try:
            return FsspecStore.from_url(self.store, storage_options=self.storage_options, read_only=read_only)
        except Exception as error:
            secrets = _secrets(self)
            reveals = is_revealing(error, secrets)
            if not reveals and not isinstance(error, ImportError | ValueError):
                raise
            without = " without a further package" if isinstance(error, ImportError) else ""
            raise StoreError(f"{self.address} cannot be opened{without}: {censored(str(error), secrets)}.") from (
                None if reveals else error
            )

    def _persistent(self, store: Store) -> PersistentStore:
        return PersistentStore(store, self.address, _secrets(self))


def sizes_of(group: zarr.Group, keys: Sequence[str]) -> list[int]:
    """Bytes of some objects of a store, and -1 where there is none.

    A local store is asked for each of them, others are listed: a hundred thousand shards must not take as many round
    trips.

    Parameters
    ----------
    group : zarr.Group
        Whatever lies in it is listed.
    keys : sequence of str
        From the root of the store.
    """
    store = _innermost(group.store)
    if isinstance(store, LocalStore):
        return [_local_size(store.root / key) for key in keys]
    if isinstance(store, FsspecStore):
        return _picked(sync(_listed_by_fsspec(store, group.path)), keys)
    if isinstance(store, ObjectStore):
        import obstore

        prefix = f"{group.path}/" if group.path else None
        listing = obstore.list(store.store, prefix=prefix)
        return _picked({found["path"]: found["size"] for found in _flat(listing)}, keys)
    return sync(_asked(store, keys))


def remove_partials(group: zarr.Group, keys: Iterable[str], than: str) -> None:
    """Remove what lies beside objects of a local store because who wrote it was killed.

    Parameters
    ----------
    group : zarr.Group
    keys : iterable of str
        Of the objects, from the root of the store.
    than : str
        Key of an object that was written when these were whole. Only older files are removed.
    """
    store = _innermost(group.store)
    if not isinstance(store, LocalStore):
        return  # an object store shows an object when all of it has arrived
    with contextlib.suppress(OSError):  # of the store itself they are no part
        last = (store.root / than).stat().st_mtime_ns
        for folder in {(store.root / key).parent for key in keys}:
            for found in os.scandir(folder):
                if _PARTIAL.search(found.name) and found.stat().st_mtime_ns <= last:
                    os.unlink(found)


def _picked(sizes: dict[str, int], keys: Sequence[str]) -> list[int]:
    return [sizes.get(key, -1) for key in keys]


def _flat(listing: Iterable[Sequence[Any]]) -> Iterator[Any]:
    for page in listing:
        yield from page


def _local_size(path: Path) -> int:
    try:
        return os.stat(path).st_size
    except (FileNotFoundError, NotADirectoryError):
        return -1


async def _listed_by_fsspec(store: FsspecStore, path: str) -> dict[str, int]:
    root = store.path.strip("/")
    store.fs.invalidate_cache()  # others write to it too
    found = await store.fs._find(f"{store.path}/{path}".rstrip("/"), detail=True)
    return {name.strip("/").removeprefix(root).lstrip("/"): int(facts["size"]) for name, facts in found.items()}


async def _asked(store: Store, keys: Sequence[str]) -> list[int]:
    places = asyncio.Semaphore(_ASKED_AT_ONCE)

    async def size(key: str) -> int:
        async with places:
            try:
                return await store.getsize(key)
            except FileNotFoundError:
                return -1

    return list(await asyncio.gather(*map(size, keys)))


def _innermost(store: Store) -> Store:
    while isinstance(store, WrapperStore):
        store = store._store
    return store


def _is_url(text: str) -> bool:
    return "://" in text or "::" in text


def _secrets(place: Place) -> tuple[str, ...]:
    """Words that may be credentials, of a URL and its options, or of a file system that was handed in."""
    if isinstance(place.store, str):
        return secrets_of(place.store, place.storage_options)
    return secrets_of_store(place.store)


def _refuse_file(path: Path) -> None:
    """Raise a StoreError where a path is a file, or lies within one."""
    found = next((part for part in (path, *path.parents) if part.exists()), None)
    if found is not None and not found.is_dir():
        raise StoreError(_file_in_the_way(str(path), f"{str(found)!r} is a file"))


def _file_in_the_way(address: str, found: str) -> str:
    return f"`store` has to be a folder, or a place where none is yet: {address}. Found: {found}. Choose another place."
