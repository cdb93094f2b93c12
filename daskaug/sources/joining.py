"""Several stretches of a source as the input of one task."""

from __future__ import annotations

import dataclasses
from typing import Any

from numpy.typing import NDArray

from daskaug.sources.base import BlockReader


@dataclasses.dataclass(frozen=True, eq=False)
class JoinedReader(BlockReader):
    """Several readers as one; loads a list."""

    readers: tuple[BlockReader, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "carried_nbytes", sum(reader.carried_nbytes for reader in self.readers))

    def collection(self) -> Any:
        """All of their graphs as one, where they have one."""
        graphs = [reader.collection() for reader in self.readers]
        if any(graph is None for graph in graphs):
            return None
        from daskaug.sources.dask_array import gather

        return gather(graphs)

    def load(self) -> list[NDArray[Any]]:
        """See :meth:`BlockReader.load`."""
        return [reader.load() for reader in self.readers]

    def __repr__(self) -> str:
        return " and ".join(map(repr, self.readers))


def join_readers(readers: list[BlockReader]) -> BlockReader:
    """One reader that loads a list of what the given ones load."""
    return JoinedReader(tuple(readers))
