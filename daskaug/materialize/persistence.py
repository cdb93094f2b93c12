"""A store that does not give up at once, knows what it has written, and says what is wrong with it."""

from __future__ import annotations

import asyncio
import dataclasses
import errno
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from typing import Any, TypeVar

from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import WrapperStore

from daskaug.errors import StoreError
from daskaug.sources import BlockReader
from daskaug.sources.zarr_array import censored, is_revealing

TRIES = 5
"""Times that something is asked of a store before it counts as broken."""

FIRST_PAUSE = 0.2
"""Seconds before the second try; each further pause is twice as long, so that a request waits 3 seconds in all."""

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_ACCESS = {errno.EACCES, errno.EPERM, errno.EROFS}
_LASTING = _NO_SPACE | _NO_ACCESS | {
    errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL
}  # fmt: skip
# By name: the libraries behind the stores are optional, and asking for their classes would import them.
_ACCESS_NAMES = {
    "CredentialRetrievalError", "NoCredentialsError", "PartialCredentialsError", "PermissionDeniedError",
    "TokenRetrievalError", "UnauthenticatedError",
}  # fmt: skip
_TRANSIENT_NAMES = {
    "ClientConnectionError", "ClientPayloadError", "ConnectionClosedError", "ConnectionError", "FSTimeoutError",
    "GenericError", "HTTPClientError", "IncompleteRead", "ServerDisconnectedError",
}  # fmt: skip

Result = TypeVar("Result")


class NoSpaceError(StoreError):
    """The disk that holds the store is full, or a quota used up."""


class NoAccessError(StoreError):
    """Whoever runs this may not read or write the store."""


def no_access(address: str, found: str) -> NoAccessError:
    """The error for a store that may not be read or written."""
    return NoAccessError(
        f"{address} may not be accessed ({found}). Check the rights to it, and for an object store the credentials: "
        "storage_options=, or what the environment says."
    )


def is_transient(error: Exception) -> bool:
    """Whether the same request may work a moment later.

    Errors of the operating system may, but for a full disk, missing rights and missing files; so may time-outs, lost
    connections, and answers of a server that say 429 (too many requests) or 500 and above.
    """
    status = _status(error)
    if status is not None:
        return status == 429 or status >= 500
    if isinstance(error, FileNotFoundError | PermissionError | FileExistsError | IsADirectoryError):
        return False
    if isinstance(error, OSError):
        return error.errno not in _LASTING
    return bool(_names(error) & _TRANSIENT_NAMES)


def _is_no_access(error: Exception) -> bool:
    is_system = isinstance(error, OSError) and error.errno in _NO_ACCESS
    return (
        is_system
        or isinstance(error, PermissionError)
        or _status(error) in (401, 403)
        or bool(_names(error) & _ACCESS_NAMES)
    )


def _names(error: Exception) -> set[str]:
    return {kind.__name__ for kind in type(error).__mro__}


def _status(error: Exception) -> int | None:
    """What an HTTP server answered, as far as the error of botocore or aiohttp says so."""
    response = getattr(error, "response", None)
    metadata = response.get("ResponseMetadata", {}) if isinstance(response, dict) else {}
    found = metadata.get("HTTPStatusCode", getattr(error, "status", None))
    return found if isinstance(found, int) else None


@dataclasses.dataclass(frozen=True, eq=False)
class PersistentReader(BlockReader):
    """Another reader of rows in a store behind a network, asked up to five times where an error may pass."""

    reader: BlockReader

    def __post_init__(self) -> None:
        object.__setattr__(self, "carried_nbytes", self.reader.carried_nbytes)

    @property
    def nbytes(self) -> int | None:
        """See :class:`BlockReader`."""
        return self.reader.nbytes

    def load(self) -> Any:
        """See :meth:`BlockReader.load`."""
        for attempt in range(TRIES - 1):
            try:
                return self.reader.load()
            except Exception as error:
                if not is_transient(error):
                    raise
            time.sleep(FIRST_PAUSE * 2**attempt)
        return self.reader.load()

    def __repr__(self) -> str:
        return repr(self.reader)


class PersistentStore(WrapperStore[Store]):
    """Another store, asked up to five times where an error may pass.

    Parameters
    ----------
    store : Store
    address : str
        What people call it, for messages.
    secrets : tuple of str
        Words that must not show up in messages.

    Attributes
    ----------
    written : dict of str to int
        Size of each object that was written through it, in bytes.
    replaced : set of str
        Objects that are written anew, whole: they are not there for reading. Zarr 3.1 reads a shard before it writes
        any of it, which costs a request, and fails where what is there is damaged.
    """

    def __init__(self, store: Store, address: str = "", secrets: tuple[str, ...] = ()) -> None:
        super().__init__(store)
        self.address, self._secrets = address or str(store), secrets
        self.written: dict[str, int] = {}
        self.replaced: set[str] = set()

    def _with_store(self, store: Store) -> PersistentStore:
        return PersistentStore(store, self.address, self._secrets)

    def __str__(self) -> str:
        return str(self._store)

    def __repr__(self) -> str:
        return f"PersistentStore({self.address!r})"

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """See :class:`zarr.abc.store.Store`, as for the others."""
        if key in self.replaced:
            return None
        return await self._persist(lambda: self._store.get(key, prototype, byte_range))

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Read parts of objects."""
        ranges = list(key_ranges)
        return await self._persist(lambda: self._store.get_partial_values(prototype, ranges))

    async def _get_many(
        self, requests: Iterable[tuple[str, BufferPrototype, ByteRequest | None]]
    ) -> AsyncGenerator[tuple[str, Buffer | None], None]:
        for request in requests:
            yield request[0], await self.get(*request)

    async def exists(self, key: str) -> bool:
        """Whether there is an object."""
        return await self._persist(lambda: self._store.exists(key))

    async def getsize(self, key: str) -> int:
        """Bytes of an object."""
        return await self._persist(lambda: self._store.getsize(key))

    async def set(self, key: str, value: Buffer) -> None:
        """Write an object."""
        try:
            await self._persist(lambda: self._store.set(key, value))
        except FileNotFoundError as error:
            raise StoreError(
                f"{self.address} is not there (any more). If it was moved or removed during the run, call again with "
                "the place where it is now."
            ) from error
        self.written[key] = len(value)

    async def set_if_not_exists(self, key: str, value: Buffer) -> None:
        """Write an object, unless it is there."""
        await self._persist(lambda: self._store.set_if_not_exists(key, value))

    async def _set_many(self, values: Iterable[tuple[str, Buffer]]) -> None:
        await asyncio.gather(*(self.set(key, value) for key, value in values))

    async def delete(self, key: str) -> None:
        """Remove an object."""
        await self._persist(lambda: self._store.delete(key))

    async def delete_dir(self, prefix: str) -> None:
        """Remove what begins with a prefix."""
        await self._persist(lambda: self._store.delete_dir(prefix))

    async def _persist(self, ask: Callable[[], Awaitable[Result]]) -> Result:
        for attempt in range(TRIES):
            try:
                return await ask()
            except Exception as error:
                passes = is_transient(error)
                if not passes or attempt == TRIES - 1:
                    explained = self._explained(error, passes)
                    if explained is None:
                        raise
                    # The text says what there was; the error itself may carry credentials into a log.
                    raise explained from None
            await asyncio.sleep(FIRST_PAUSE * 2**attempt)
        raise AssertionError("unreachable")

    def _explained(self, error: Exception, passes: bool) -> Exception | None:
        if isinstance(error, StoreError):
            return None
        found = f"{type(error).__name__}: {self._censored(str(error))}"
        if isinstance(error, OSError) and error.errno in _NO_SPACE:
            return NoSpaceError(f"There is no space left at {self.address} ({found}).")
        if _is_no_access(error):
            return no_access(self.address, found)
        if passes:
            return StoreError(
                f"{self.address} failed {TRIES} times in a row, lastly with {found}. What is written stays valid: "
                "the same call goes on from there when the store works again."
            )
        if not is_revealing(error, self._secrets):
            return None
        if isinstance(error, FileNotFoundError):  # who asks goes by its type
            return FileNotFoundError(self._censored(str(error)))
        return StoreError(
            f"{self.address} cannot be used ({found}). Check the URL and storage_options=, whose credentials are left "
            "out here."
        )

    def _censored(self, text: str) -> str:
        """What an error says, in one line and without secrets."""
        return censored(text, self._secrets).partition("\n")[0]
