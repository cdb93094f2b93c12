"""How batches are handed out."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from daskaug.errors import ConfigError
from daskaug.iterators.boundary import check_place
from daskaug.sources import Source, with_cache


def _of_masks(cache: str | Path | None) -> str | Path | None:
    """The place beside that of the images."""
    return f"{cache}-masks" if isinstance(cache, str | Path) and cache != "memory" else cache


@dataclasses.dataclass(frozen=True)
class Serving:
    """What iterators over every kind of source have in common; :meth:`daskaug.ImageDataGenerator.flow` describes it.

    Attributes
    ----------
    shard : (rank, world_size), optional
    drop_last, with_ids : bool
    cache : "memory" or path, optional
    cache_nbytes : int, optional
    memory_budget : int, optional
        Bytes of batches under way and of blocks that are kept, in this process.
    transform_on : {"workers", "consumer"}, optional

    Raises
    ------
    ConfigError
        For a budget that is no number of bytes, or a place that is none.
    """

    shard: Any = None
    drop_last: bool = False
    with_ids: bool = False
    cache: str | Path | None = None
    cache_nbytes: int | None = None
    memory_budget: int | None = None
    transform_on: str | None = None

    def __post_init__(self) -> None:
        budget = self.memory_budget
        is_count = isinstance(budget, int | np.integer) and not isinstance(budget, bool)
        if budget is not None and (not is_count or budget < 1):
            raise ConfigError(f"`memory_budget` must be a number of bytes, 1 or more. Received: {budget!r}.")
        check_place(self.transform_on)

    def cached(self, sources: list[Source]) -> list[Source]:
        """Images, and perhaps their masks, with the cache that was asked for.

        Raises
        ------
        ConfigError
            For a cache that is none, or that of other images.
        """
        places = [self.cache, _of_masks(self.cache)][: len(sources)]
        nbytes = self.cache_nbytes
        if len(sources) == 1 or not isinstance(nbytes, int | float | np.number):
            shares = [nbytes] * len(sources)
        else:  # as the bytes of an image and its mask are
            total = sum(source.row_nbytes for source in sources)
            shares = [nbytes * source.row_nbytes // total for source in sources]
        return [with_cache(*each) for each in zip(sources, places, shares, strict=True)]
