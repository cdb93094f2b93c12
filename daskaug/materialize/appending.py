"""Adding the rows that a source has got since its store was made."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from daskaug.errors import ConfigError, StoreError
from daskaug.iterators import Columns
from daskaug.materialize.filling import Filling, Report, check_contract, with_class_indices
from daskaug.materialize.job import Job
from daskaug.materialize.joined import SomeRows
from daskaug.materialize.layout import FORMAT_VERSION, MANIFEST, PARTS, Layout, joined_hash
from daskaug.materialize.place import Place
from daskaug.materialize.resuming import check_source, look


@dataclasses.dataclass(frozen=True, eq=False)
class _Member:
    """The store itself, or one of its parts: what rows of the source it holds."""

    place: Place
    group: zarr.Group
    manifest: dict[str, Any]

    @property
    def first_row(self) -> int:
        return int(self.manifest["contract"].get("first_row", 0))

    @property
    def layout(self) -> Layout:
        facts = dict(self.manifest["contract"]["layout"])
        return Layout(**facts | {"image_shape": tuple(facts["image_shape"])})


def append(filling: Filling) -> Report:
    """Write the rows that the job's source has beyond those of the store, as a part of the store.

    The part is a store of its own, in a group within. The last step of all enters it in the manifest of the store, so
    that readers see all of it or nothing.

    Parameters
    ----------
    filling : Filling
        Of all rows, old and new, into the store.

    Raises
    ------
    StoreError
        Where the store is not finished, or holds something else than the first rows of the source.
    ConfigError
        With balanced classes, whose copies would depend on what comes later, and with masks.
    """
    job, place = filling.job, filling.place
    members = _checked_members(filling)
    for member in members:  # what was lost is made again
        first, layout = member.first_row, member.layout
        own = _rows_of(job, first, first + layout.n, layout)
        if filling.recheck or len(look(member.group, own.arrays, layout).missing):
            dataclasses.replace(filling, job=own, place=member.place, progress=None).run()
    hashes = [str(member.manifest["store_hash"]) for member in members]
    new = _new_part(filling, members)
    if new is None:
        group = place.open_group("r+")
        there: Any = group.attrs[MANIFEST]
        if (named := with_class_indices(there, job)) != there:
            group.attrs[MANIFEST] = named
        return _report(job, members, Report(place.address, 0, 0, 0, 0.0, ""), hashes)
    place.open_group("r+").require_group(PARTS)
    written = new.run()
    path = f"{PARTS}/{len(members):05d}"
    entry = {"path": path, "rows": new.job.source.shape[0], "store_hash": written.store_hash}
    group = place.open_group("r+")
    manifest: Any = group.attrs[MANIFEST]
    parts = list(manifest.get("parts", []))
    if entry not in parts:  # another run may have appended the same
        if any(part["path"] == path for part in parts):
            raise StoreError(
                f"Somebody else has appended other rows to {place} meanwhile. Run the same call again, with all rows "
                "of the source."
            )
        group.attrs[MANIFEST] = with_class_indices(manifest, job) | {"parts": [*parts, entry]}
    return _report(job, members, written, [*hashes, written.store_hash])


def new_part(filling: Filling) -> Filling | None:
    """What :func:`append` would fill; None where the source has no further rows. Nothing is written.

    Raises
    ------
    StoreError, ConfigError
        As by :func:`append`.
    """
    return _new_part(filling, _checked_members(filling))


def _checked_members(filling: Filling) -> list[_Member]:
    job, place = filling.job, filling.place
    if job.balance or job.masks is not None:
        asked = "balance=True" if job.balance else "masks"
        raise ConfigError(f"append=True does not go with {asked}. Materialise all of the data into a new store.")
    members = _members(place)
    for member in members:
        _check_member(job, member, filling)
    n, there = job.source.shape[0], sum(member.layout.n for member in members)
    if n < there:
        raise StoreError(
            f"{place} holds {there} rows of the source, and `x` has only {n}. Pass all of it, with the new rows at "
            "its end."
        )
    return members


def _new_part(filling: Filling, members: list[_Member]) -> Filling | None:
    n, there = filling.job.source.shape[0], sum(member.layout.n for member in members)
    if n == there:
        return None
    job = _rows_of(filling.job, there, n, members[0].layout)
    return dataclasses.replace(filling, job=job, place=filling.place.within(f"{PARTS}/{len(members):05d}"))


def _members(place: Place) -> list[_Member]:
    """The store and its parts, each of them finished."""
    try:
        group = place.open_group("r+")
    except FileNotFoundError as error:
        raise StoreError(
            f"append=True adds to a store, and there is none at {place}. Make it with the same call without append."
        ) from error
    manifest: Any = group.attrs.get(MANIFEST)
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT_VERSION or not manifest["complete"]:
        raise StoreError(
            f"append=True adds to a finished store of format {FORMAT_VERSION}, and {place} is none. Finish it first, "
            "with the call that it was begun with."
        )
    found = [_Member(place, group, manifest)]
    for part in manifest.get("parts", []):
        inner = place.within(part["path"])
        opened = inner.open_group()
        facts: Any = opened.attrs.get(MANIFEST)
        if not isinstance(facts, dict) or facts.get("store_hash") != part["store_hash"]:
            raise StoreError(f"{inner} is not the part that {place} lists. The store is damaged; see daskaug verify.")
        found.append(_Member(inner, opened, facts))
    return found


def _check_member(job: Job, member: _Member, filling: Filling) -> None:
    """Compare what a part was made with and of with the same rows of the job."""
    first, layout = member.first_row, member.layout
    if job.source.shape[0] < first + layout.n:
        raise StoreError(
            f"{member.place} holds the rows {first} to {first + layout.n} of the source, and `x` has only "
            f"{job.source.shape[0]}. Pass all of it, with the new rows at its end."
        )
    own = _rows_of(job, first, first + layout.n, layout)
    check_contract(member.place, member.manifest, own)
    dataclasses.replace(filling, job=own, place=member.place).check_codec(member.manifest)
    found = look(member.group, own.arrays, layout)
    check_source(member.group, found, layout, own.source, first)


def _rows_of(job: Job, first: int, last: int, like: Layout) -> Job:
    """The job for some of its rows, cut into chunks and shards as in another layout."""
    columns = job.columns
    rows = slice(first, last)
    some = Columns(
        ids=np.asarray(columns.ids[rows]),
        y=_some(columns.y, rows),
        sample_weight=_some(columns.sample_weight, rows),
        extras=tuple(extra[rows] for extra in columns.extras),
    )
    cut = dataclasses.replace(job.cut, chunk_rows=like.chunk_rows, shard_rows=like.shard_rows)
    return dataclasses.replace(job, source=SomeRows(job.source, first, last), columns=some, cut=cut, first_row=first)


def _some(column: NDArray[Any] | None, rows: slice) -> NDArray[Any] | None:
    return None if column is None else column[rows]


def _report(job: Job, members: list[_Member], written: Report, hashes: list[str]) -> Report:
    rows = sum(member.layout.rows for member in members) + written.rows
    row_nbytes = job.layout.nbytes // job.layout.rows
    store_hash = hashes[0] if len(hashes) == 1 else joined_hash(hashes)
    return Report(members[0].place.address, rows, written.rows_written, rows * row_nbytes, written.seconds, store_hash)
