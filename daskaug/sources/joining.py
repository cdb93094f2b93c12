"""Several stretches of a source as the input of one task."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from daskaug.sources.base import BlockReader


@dataclasses.dataclass(frozen=True, eq=False)
class JoinedReader(BlockReader):
    """Several readers as one; loads a list."""

    readers: tuple[BlockReader, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "carried_nbytes", sum(reader.carried_nbytes for reader in self.readers))

    @property
    def nbytes(self) -> int | None:
        """See :class:`BlockReader`."""
        known = [reader.nbytes for reader in self.readers]
        return sum(each or 0 for each in known) if all(known) else None

    def parts(self) -> list[Any] | None:
        """All of their parts; those that are no graphs are loaded while assembling."""
        parts = [reader.parts() for reader in self.readers]
        if all(part is None for part in parts):
            return None
        return [value for part in parts for value in part or ()]

    def assembly(self) -> Callable[[list[Any]], Any]:
        """See :meth:`BlockReader.assembly`."""
        steps: list[tuple[int, Any]] = []
        for reader in self.readers:
            parts = reader.parts()
            steps.append((0, reader) if parts is None else (len(parts), reader.assembly()))
        return _Join(tuple(steps))

    def load(self) -> list[NDArray[Any]]:
        """See :meth:`BlockReader.load`."""
        return [reader.load() for reader in self.readers]

    def __repr__(self) -> str:
        return " and ".join(map(repr, self.readers))


@dataclasses.dataclass(frozen=True, eq=False)
class _Join:
    """Assembles each reader's rows from as many values as are its own, or loads them."""

    steps: tuple[tuple[int, Any], ...]

    def __call__(self, values: list[Any]) -> list[NDArray[Any]]:
        made, position = [], 0
        for count, step in self.steps:
            own = values[position : position + count]
            made.append(step(own) if count else step.load())
            position += count
        return made


def join_readers(readers: list[BlockReader]) -> BlockReader:
    """One reader that loads a list of what the given ones load."""
    return JoinedReader(tuple(readers))
