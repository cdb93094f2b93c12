"""The tasks of :func:`daskaug.verify`: what is wrong with one shard."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from daskaug import stopping
from daskaug.kernels.content import row_hashes
from daskaug.materialize.findings import LISTED, Finding
from daskaug.materialize.layout import SOURCE_HASH
from daskaug.materialize.place import Place
from daskaug.materialize.recomputing import Keys, differing, recompute
from daskaug.sources import BlockReader
from daskaug.sources.fingerprint import content_digest
from daskaug.transforms.block import BlockTransform
from daskaug.transforms.masks import PairTransform


@dataclasses.dataclass(frozen=True, eq=False)
class ShardResult:
    """What the check of a shard came to.

    Attributes
    ----------
    number : int
    findings : list of Finding
    digest : bytes or None
        Of its content, where all of it was read.
    recomputed, differing, source_changed : int
        Rows that were made again; of these, the ones whose pixels differ, and those whose source does.
    """

    number: int
    findings: list[Finding]
    digest: bytes | None = None
    recomputed: int = 0
    differing: int = 0
    source_changed: int = 0


class Attempt(BlockReader):
    """Loads rows, or says why they cannot be loaded: a task that fails would take the check down with it."""

    def __init__(self, reader: BlockReader | None) -> None:
        self._reader = reader
        self.carried_nbytes = 0 if reader is None else reader.carried_nbytes

    def parts(self) -> list[Any] | None:
        """See :meth:`BlockReader.parts`."""
        return None if self._reader is None else self._reader.parts()

    def assembly(self) -> Callable[[list[Any]], Any]:
        """See :meth:`BlockReader.assembly`."""
        assert self._reader is not None
        return self._reader.assembly()

    def load(self) -> Any:
        """A list of arrays, None where there is nothing to load, or a message."""
        if self._reader is None:
            return None
        try:
            return self._reader.load()
        except Exception as error:  # noqa: BLE001  whatever a codec, a decoder or a file system raises
            return f"{error} ({type(error).__name__})"

    def __repr__(self) -> str:
        return "nothing" if self._reader is None else repr(self._reader)


@dataclasses.dataclass(frozen=True, eq=False)
class CheckShard:
    """Task: read a shard, compare it with its commit record, and some of its rows with what their keys make.

    Attributes
    ----------
    place : Place
    prefix : str
        Of what is reported: empty, or the name of the appended part.
    names : tuple of str
        Arrays that the commit record covers.
    transform : BlockTransform, PairTransform or None
        None: nothing can be recomputed.
    exact : bool
        Whether pixels have to agree in every bit.
    has_source_hash : bool
    """

    place: Place
    prefix: str
    names: tuple[str, ...]
    transform: BlockTransform | PairTransform | None
    exact: bool
    has_source_hash: bool

    @property
    def uses_blas(self) -> bool:
        """See :class:`BlockTransform`."""
        return self.transform is not None and self.transform.uses_blas

    def __call__(
        self,
        blocks: Any,
        number: int,
        span: tuple[int, int],
        recorded: bytes | None,
        rows: NDArray[np.int64],
        keys: Keys,
    ) -> ShardResult:
        """blocks: raw images (and masks) of `rows`.  span: rows of the shard.  recorded: None, not to be compared."""
        group = self.place.open_group()
        findings: list[Finding] = []
        digest = None
        if recorded is not None:
            digest = self._compare_content(group, number, span, recorded, findings)
        result = ShardResult(number, findings, digest)
        if blocks is None or len(rows) == 0 or self.transform is None:
            return result
        if isinstance(blocks, str):
            findings.append(
                Finding("source", f"rows of the source for {self._shard(number)}", f"they cannot be read: {blocks}")
            )
            return result
        try:
            return self._compare_rows(group, number, blocks, rows, keys, result)
        except Exception as error:  # noqa: BLE001  whatever a broken codec raises
            if not findings:
                findings.append(Finding("unreadable", self._shard(number, "images"), _told(error)))
            return result

    def _compare_content(
        self, group: zarr.Group, number: int, span: tuple[int, int], recorded: bytes, findings: list[Finding]
    ) -> bytes | None:
        content: dict[str, NDArray[Any]] = {}
        for name in self.names:
            stopping.check()
            try:
                array = group[name]
                assert isinstance(array, zarr.Array)
                content[name] = np.asarray(array[slice(*span)])
            except Exception as error:  # noqa: BLE001  whatever a broken codec raises
                findings.append(Finding("unreadable", self._shard(number, name), _told(error)))
        if len(content) < len(self.names):
            return None
        digest = content_digest(content)
        if digest != recorded:
            findings.append(Finding("content", self._shard(number), "its content is not what was committed"))
        return digest

    def _compare_rows(
        self,
        group: zarr.Group,
        number: int,
        blocks: list[NDArray[Any]],
        rows: NDArray[np.int64],
        keys: Keys,
        result: ShardResult,
    ) -> ShardResult:
        assert self.transform is not None
        changed = np.zeros(len(rows), bool)
        if self.has_source_hash:
            stored_hashes = _take(group, SOURCE_HASH, rows)
            changed = (row_hashes(blocks[0], keys.source_row) != stored_hashes).any(axis=1)
        images, masks = recompute(self.transform, blocks, keys)
        wrong = differing(_take(group, "images", rows), images, self.exact)
        findings = result.findings
        for row in np.flatnonzero(changed)[:LISTED]:
            told = "and its pixels make other ones now" if wrong[row] else "though its stored copy comes out the same"
            findings.append(
                Finding(
                    "source",
                    f"{self.prefix}source row {keys.source_row[row]}",
                    f"the source has changed since row {rows[row]} was made from it, {told}",
                )
            )
        damaged = np.flatnonzero(wrong & ~changed)
        self._report("pixels", "images", number, damaged, rows, keys, findings)
        if masks is not None:
            moved = np.flatnonzero(differing(_take(group, "masks", rows), masks, self.exact) & ~changed)
            self._report("masks", "masks", number, moved, rows, keys, findings)
        return dataclasses.replace(
            result, recomputed=len(rows), differing=len(damaged), source_changed=int(changed.sum())
        )

    def _report(
        self,
        kind: str,
        name: str,
        number: int,
        which: NDArray[np.intp],
        rows: NDArray[np.int64],
        keys: Keys,
        findings: list[Finding],
    ) -> None:
        """The first rows that differ one by one, and how many more there are."""
        findings += [
            Finding(
                kind,
                f"{self.prefix}row {rows[i]} of {name} (shard {number}, sample id {keys.sample_id[i]}, epoch "
                f"{keys.epoch[i]}, source row {keys.source_row[i]})",
                "its pixels are not those that its key makes",
            )
            for i in which[:LISTED]
        ]
        if len(which) > LISTED:
            findings.append(
                Finding(kind, self._shard(number, name), f"the same for {len(which) - LISTED} more of its rows")
            )

    def _shard(self, number: int, name: str | None = None) -> str:
        return f"{self.prefix}shard {number}" + (f" of {name}" if name else "")


def _take(group: zarr.Group, name: str, rows: NDArray[np.int64]) -> NDArray[Any]:
    """Rows of an array, which increase: in one piece where they are one."""
    array = group[name]
    assert isinstance(array, zarr.Array)
    if len(rows) == rows[-1] - rows[0] + 1:
        return np.asarray(array[int(rows[0]) : int(rows[-1]) + 1])
    return np.stack([np.asarray(array[int(row)]) for row in rows])


def _told(error: Exception) -> str:
    return f"it cannot be read: {' '.join(str(error).split())} ({type(error).__name__})"
