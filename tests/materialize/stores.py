"""What the tests of this folder share: images, a generator, and stores that fail."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from zarr.abc.store import Store
from zarr.storage import LocalStore, WrapperStore

from daskaug import ImageDataGenerator
from tests import pictures

X, Y = pictures.tiles(16, 40), np.arange(40) % 5
SMALL = {"chunk_rows": 3, "shard_rows": 9}
"""Several shards for a handful of images: nine for two epochs."""


@functools.cache
def generator() -> ImageDataGenerator:
    return ImageDataGenerator(
        featurewise_center=True, rotation_range=25, horizontal_flip=True, brightness_range=(0.7, 1.3)
    ).fit(X)


def make(store: Any, x: Any = X, y: Any = Y, **options: Any) -> Any:
    """Materialise; the same call every time, but for what is given."""
    return generator().materialize(x, store, y=y, **({"epochs": 2, "seed": 5} | SMALL | options))


def files_of(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


class FaultyStore(WrapperStore[Store]):
    """A local store that asks `fault` before it writes an object, and raises what that returns."""

    def __init__(self, store: Store, fault: Callable[[str], Exception | None] = lambda key: None) -> None:
        super().__init__(store)
        self.fault = fault

    @classmethod
    def at(cls, path: Path, fault: Callable[[str], Exception | None]) -> FaultyStore:
        return cls(LocalStore(path), fault)

    def _with_store(self, store: Store) -> FaultyStore:
        return FaultyStore(store, self.fault)

    async def set(self, key: str, value: Any) -> None:
        found = self.fault(key)
        if found is not None:
            raise found
        await super().set(key, value)
