"""Whether a worker can write to a store, tried before any work is done."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Mapping
from typing import Any

from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync

from daskaug.errors import StoreError
from daskaug.materialize.layout import MANIFEST
from daskaug.materialize.place import Place
from daskaug.sources import BlockReader

PREFIX = ".daskaug-trial-"
"""How the name of an object begins that is written and removed at once."""


@dataclasses.dataclass(frozen=True, eq=False)
class Writing(BlockReader):
    """Writes a few bytes beside the arrays of a store and removes them; loads nothing.

    Attributes
    ----------
    place : Place
    contract : mapping
        Of the store that the client has made: another one may have the same path on another machine.
    """

    place: Place
    contract: Mapping[str, Any]

    def load(self) -> None:
        """See :meth:`BlockReader.load`.

        Raises
        ------
        StoreError
        """
        try:
            group = self.place.open_group("r+")
            manifest: Any = group.attrs.get(MANIFEST) or {}
            if manifest.get("contract") != self.contract:
                raise StoreError("another store is there")
            key = "/".join(filter(None, (group.path, f"{PREFIX}{uuid.uuid4().hex}")))
            value = default_buffer_prototype().buffer.from_bytes(b"trial")
            sync(group.store.set(key, value))
            sync(group.store.delete(key))
        except StoreError:
            raise
        except Exception as error:
            raise StoreError(" ".join(str(error).split()) or repr(error)) from error

    def __repr__(self) -> str:
        return str(self.place)
