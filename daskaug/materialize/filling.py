"""Filling one store with its shards: from nothing, or from what is there already."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import itertools
import os
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.errors import ContainsArrayError

from daskaug.cards import GOOD, Fact, State, Told, size_text
from daskaug.errors import LostClusterError, SourceError, StoreError
from daskaug.execution import Executor, check_workers, current_executor, followed, run_ordered
from daskaug.materialize.alignment import Pieces, check_owners
from daskaug.materialize.claiming import lay_out, refuse_occupied, statistics_are_whole, write_statistics
from daskaug.materialize.codecs import CODECS, DEFAULT_CODEC, codec_name
from daskaug.materialize.finishing import check_counts, content_of_source
from daskaug.materialize.job import Job
from daskaug.materialize.layout import (
    CLASS_INDICES,
    DIGEST,
    FORMAT_VERSION,
    MANIFEST,
    contract_digest,
    store_digest,
)
from daskaug.materialize.persistence import NoSpaceError
from daskaug.materialize.place import Place, without_credentials
from daskaug.materialize.resuming import UNREADABLE, Found, check_source, look, recheck, remove_leftovers
from daskaug.materialize.shard_task import array_of, open_to_write
from daskaug.materialize.writable import Writing
from daskaug.progress import Progress, showing


@dataclasses.dataclass(frozen=True, repr=False)
class Report(Told):
    """What :meth:`daskaug.ImageDataGenerator.materialize` did.

    Attributes
    ----------
    store : str
        Where it wrote.
    rows : int
        Images in the store.
    rows_written : int
        Of these, the ones that this call computed.
    nbytes : int
        Decoded bytes of the images.
    seconds : float
    store_hash : str
        Equal for equal stores.
    """

    store: str
    rows: int
    rows_written: int
    nbytes: int
    seconds: float
    store_hash: str

    def _card_facts(self) -> list[Fact]:
        written = f"{self.rows_written:,} in {self.seconds:,.1f} s"
        if self.rows_written and self.seconds:
            written += f", {self.rows_written / self.seconds:,.0f} images/s"
        return [
            Fact("images", f"{self.rows:,}, {size_text(self.nbytes)} decoded"),
            Fact("written", written if self.rows_written else "nothing: all were there already"),
            Fact("store", self.store),
            Fact("hash", self.store_hash),
        ]

    def _card_state(self) -> State:
        return State("complete", GOOD)


@dataclasses.dataclass(frozen=True, eq=False)
class Filling:
    """How a store is filled.

    Attributes
    ----------
    job : Job
    place : Place
    codec : str, Zarr codec or None
        None: that of the store, or the default for a new one.
    recheck : bool
        Read what is there, and redo what is not as it was written.
    progress : bool, callable or None
        True: show it; or ``progress(rows done, rows in all)``.
    """

    job: Job
    place: Place
    codec: Any = None
    recheck: bool = False
    progress: Progress = None

    def run(self) -> Report:
        """Write what is not there yet.

        Raises
        ------
        StoreError
            Where the store holds something else, or cannot be written to.
        """
        began, job, layout = time.perf_counter(), self.job, self.job.layout
        self._check_plan()
        check_workers(job.source.probes() + ([] if job.masks is None else job.masks.source.probes()))
        is_new = not self._is_there()
        with self._explaining(layout.rows):
            group = self.open_or_create()
            found = look(group, job.arrays, layout)
            check_source(group, found, layout, job.source, job.first_row)
            if self.recheck:
                found = recheck(self.place, job.arrays, layout, found, current_executor())
            manifest = _manifest(group)
            self._check_records(manifest, found)
            if not statistics_are_whole(group, job):
                write_statistics(group, job)
        missing = found.missing
        written = _rows_of(job, missing)
        digests = found.digests
        if len(missing) or not manifest["complete"]:
            with self._leaving_nothing_undone(is_new):
                with self._explaining(written):
                    if len(missing):
                        check_workers([Writing(self.place, manifest["contract"])])
                    self._begin(group, found)
                self._write(missing, digests, manifest["contract"])
            with self._explaining(0):
                store_hash = self._finish(digests, manifest.get("store_hash"), missing)
                remove_leftovers(self.place.open_group("r+"), job.arrays, missing)
        else:
            store_hash = manifest["store_hash"]
        seconds = time.perf_counter() - began
        return Report(self.place.address, layout.rows, written, layout.nbytes, seconds, store_hash)

    def _is_there(self) -> bool:
        try:
            self.place.open_group()
        except (FileNotFoundError, ContainsArrayError):
            return False
        return True

    def _remove_if_empty(self) -> bool:
        """Remove the store if no shard is there, of this run or of another one; whether that was done.

        Tasks of a cluster may still be writing, so there it stays.
        """
        if current_executor().is_remote:
            return False
        # A store may be gone by now, or be one that cannot be emptied: the bad file is the error to be told anyhow.
        with contextlib.suppress(OSError, NotImplementedError, StoreError):
            if not look(self.place.open_group(), self.job.arrays, self.job.layout).committed.any():
                self.place.remove()
                return True
        return False

    # --- opening -------------------------------------------------------------------------------------------------

    def _check_plan(self) -> None:
        """Prove before the first byte that each object will have one owner."""
        if self.codec is not None:
            codec_name(self.codec)
        layout = self.job.layout
        arrays = {
            name: Pieces((layout.rows, *shape), (layout.shard_rows, *shape))
            for name, (_, shape) in (self.job.pictures | self.job.stored_columns).items()
        }
        check_owners(layout.rows, map(layout.shard, range(layout.shards)), arrays)

    def open_or_create(self) -> zarr.Group:
        """The group to write into: a fresh one, or one that an earlier run of the same work left."""
        job, place = self.job, self.place
        try:
            group = place.open_group("r+")
        except FileNotFoundError:
            self._refuse_other_formats()
            return self._create()
        except ContainsArrayError as error:
            raise StoreError(f"{place} is a Zarr array, not a place for a store. Choose another one.") from error
        manifest = _manifest(group)
        if not manifest:
            raise StoreError(
                f"{place} exists and is no materialised store (its attributes have no {MANIFEST!r}). Nothing was "
                "written. Choose another place, or remove it yourself."
            )
        if manifest["format"] != FORMAT_VERSION:
            raise StoreError(
                f"{place} has the format {manifest['format']}; this version of daskaug writes format {FORMAT_VERSION}. "
                "Nothing was written. Finish it with the version that began it, or choose another place."
            )
        check_contract(place, manifest, job)
        self.check_codec(manifest)
        if not manifest["laid_out"]:
            return self._lay_out()
        arrays = {name: Pieces.of(array_of(group, name)) for name in job.arrays}
        layout = job.layout
        check_owners(layout.rows, map(layout.shard, range(layout.shards)), arrays)
        return group

    def _refuse_other_formats(self) -> None:
        try:
            found = self.place.open()
        except FileNotFoundError:
            return
        raise StoreError(
            f"{self.place} is a Zarr {'array' if isinstance(found, zarr.Array) else 'group'} of format "
            f"{found.metadata.zarr_format}, not a place for a store. Choose another one."
        )

    def check_codec(self, manifest: dict[str, Any]) -> None:
        """Refuse to go on with another codec than that of the store.

        Raises
        ------
        StoreError
        """
        there = manifest["card"]["codec"]
        if self.codec is not None and codec_name(self.codec) != there:
            raise StoreError(
                f"{self.place} is compressed with codec={there!r}, and codec={codec_name(self.codec)!r} was asked for. "
                "Nothing was written. Leave `codec` out to go on with what is there, or choose another place."
            )

    def _create(self) -> zarr.Group:
        """Make a group that has a manifest from the first byte on: what a broken attempt leaves is known for ours."""
        job, contract = self.job, self.job.contract  # reads some images: what fails there must leave nothing behind
        manifest = {
            "format": FORMAT_VERSION,
            "complete": False,
            "laid_out": False,
            "contract": contract,
            "card": {
                "dtype": job.layout.dtype,
                "standardized": job.transform.standardize,
                "codec": codec_name(DEFAULT_CODEC if self.codec is None else self.codec),
                "layout_for": job.cut.layout_for,
            },
            "source": {
                "locator": _absolute(without_credentials(job.source.locator)),
                "shape": list(job.source.shape),
                "dtype": job.source.dtype.str,
            },
            "versions": {name: importlib.metadata.version(name) for name in ("daskaug", "numpy", "scipy", "zarr")},
        }
        refuse_occupied(self.place)
        try:
            self.place.create_group({MANIFEST: with_class_indices(manifest, job)})
        except ContainsArrayError as error:
            raise StoreError(f"{self.place} lies inside of a Zarr array. Choose another place.") from error
        return self._lay_out()

    def _codec_of(self, manifest: dict[str, Any]) -> Any:
        """The codec that was given, or the one that the manifest names (planning lays out without a manifest)."""
        if self.codec is not None:
            return self.codec
        named = manifest.get("card", {}).get("codec", DEFAULT_CODEC)
        if named not in CODECS:
            raise StoreError(
                f"{self.place} was begun with codec={named}, and broken off before its arrays were made. Pass that "
                "codec again."
            )
        return named

    def _lay_out(self) -> zarr.Group:
        """Make the empty arrays, unless another run has made them meanwhile."""
        group = open_to_write(self.place)
        manifest = _manifest(group)
        if not manifest["laid_out"]:
            lay_out(group, self.job, self._codec_of(manifest))
            group.attrs[MANIFEST] = _manifest(open_to_write(self.place)) | {"laid_out": True}
        return group

    # --- writing -------------------------------------------------------------------------------------------------

    def _begin(self, group: zarr.Group, found: Found) -> None:
        """Say that the store is not complete (which also shows whether it can be written to); forget what is damaged.

        A damaged shard loses its commit record: were this run broken off, the next would take it for whole.
        """
        fresh = open_to_write(self.place)  # something may have been appended meanwhile
        manifest = with_class_indices(_manifest(fresh), self.job) | {"complete": False}
        manifest.pop("store_hash", None)
        fresh.attrs[MANIFEST] = manifest
        records = array_of(group, DIGEST).with_config({"write_empty_chunks": True})
        for number in found.damaged.tolist():
            records[number] = 0

    def _write(self, missing: NDArray[np.intp], digests: NDArray[np.uint8], contract: Any) -> None:
        """Write shards, and enter their digests."""
        job, layout, executor = self.job, self.job.layout, current_executor()
        left = _rows_of(job, missing)
        results = run_ordered(
            executor,
            dataclasses.replace(job.task(self.place), contract=contract_digest(contract)),
            job.inputs(missing),
            name="daskaug-materialize",
            window=None if self._is_light(executor) else lambda: executor.parallelism + 1,
            settles=True,
        )
        there = layout.rows - left
        about = {"total": layout.rows, "before": there, "row_nbytes": layout.nbytes // layout.rows}
        with (
            showing(self.progress, "materialize", **about) as shown,
            followed(executor.follow("materialize", self.place.address, layout.rows)) as follower,
            contextlib.closing(results),
        ):
            follower.tell(done=there, handed=0)
            for count in itertools.count(1):
                with self._explaining(left):
                    made = next(results, None)
                if made is None:
                    return
                number, digests[made[0]] = made
                start, stop = layout.shard(number)
                left -= stop - start
                follower.tell(done=layout.rows - left, handed=layout.rows - left - there)
                if shown is not None:
                    with self._explaining(left):
                        shown.note(f"shard {count:,} of {len(missing):,}")
                        shown(layout.rows - left, layout.rows)

    def _is_light(self, executor: Executor) -> bool:
        """Whether shards that wait on a cluster take no memory there: no pixels travel with their tasks."""
        masks = self.job.masks
        return executor.is_remote and not self.job.source.is_here and (masks is None or not masks.source.is_here)

    @contextlib.contextmanager
    def _explaining(self, rows_left: int) -> Iterator[None]:
        """Say of an interruption, a full disk or a lost cluster what it leaves behind."""
        layout = self.job.layout
        try:
            yield
        except KeyboardInterrupt as interruption:
            interruption.add_note(
                f"{self.place} can be finished: at least {layout.rows - rows_left} of {layout.rows} images are there, "
                "and the same call of materialize() goes on from them."
            )
            raise
        except NoSpaceError as error:
            missing = rows_left * (layout.nbytes // layout.rows)
            raise StoreError(
                f"{error} About {missing / 1e6:,.1f} MB of decoded images ({rows_left} of {layout.rows}) are still to "
                "be written. Make space there; the same call of materialize() then goes on from what is there."
            ) from None
        except LostClusterError as error:
            raise StoreError(
                f"{error} {self.place} can be finished: at least {layout.rows - rows_left} of {layout.rows} images are "
                "there, and the same call of materialize() goes on from them, with or without a cluster."
            ) from error

    @contextlib.contextmanager
    def _leaving_nothing_undone(self, is_new: bool) -> Iterator[None]:
        """Where a bad source ends the run that has made the store before anything is in it, remove it again.

        The next call may leave bad files out, and what it makes is another store.
        """
        try:
            yield
        except SourceError as error:
            if not (is_new and self._remove_if_empty()):
                error.add_note(
                    f"{self.place} is begun: once the images are as they should be, the same call of materialize() "
                    "does the rest. With other images, without the bad ones for instance, or with other options it is "
                    "another store: choose another place, or remove this one first."
                )
            raise

    # --- finishing -----------------------------------------------------------------------------------------------

    def _check_records(self, manifest: dict[str, Any], found: Found) -> None:
        """Whether the commit records that are left of a finished store are those that it was finished with."""
        if not manifest["complete"] or not found.committed.all():
            return
        if store_digest(manifest["contract"], found.digests) != manifest["store_hash"]:
            raise StoreError(
                f"{self.place} was finished with the hash {manifest['store_hash']}, and its commit records now make "
                "another: a shard was written over, by another run perhaps. `daskaug verify` says which. Restore it, "
                "or remove the store and make it again."
            )

    def _finish(self, digests: NDArray[np.uint8], before: str | None, written: NDArray[np.intp]) -> str:
        """Look whether everything is there, and only then say so.

        Parameters
        ----------
        digests : (shards, 32) uint8
        before : str or None
            Hash that the store had when it was finished once.
        written : (k,) integers
            Shards that this run wrote.
        """
        job = self.job
        group = open_to_write(self.place)
        found = look(group, job.arrays, job.layout)
        if len(found.missing) or not np.array_equal(found.digests, digests):
            raise StoreError(
                f"{len(found.missing)} of {job.layout.shards} shards of {self.place} have been written and are not "
                "there any more, or were written by somebody else as well. See that nobody else works on it, and run "
                "the same materialize() again."
            )
        try:
            check_counts(group, job, self.place)
            content = content_of_source(group, job)
        except StoreError:
            raise
        except UNREADABLE as error:
            raise StoreError(
                f"The columns of {self.place} cannot be read: {error}. Shards that were there before are damaged in a "
                "way that sizes do not show. Call again with recheck=True."
            ) from error
        manifest = _manifest(group)
        # The stored contract, which the hash must fit: options may be written otherwise now, as 25.0 for 25.
        store_hash = store_digest(manifest["contract"], digests)
        if before is not None and store_hash != before:
            records = array_of(group, DIGEST).with_config({"write_empty_chunks": True})
            for number in written.tolist():
                records[number] = 0
            raise StoreError(
                f"{len(written)} shards of {self.place} were lost and have been made again, and are others than "
                f"before: its hash was {before} and would be {store_hash}. The images of the source have changed "
                "since. Pass those that it was made of, or remove the store and make it again."
            )
        manifest["source"] = manifest["source"] | {"content": content.digest, "rows_hashed": content.rows}
        group.attrs[MANIFEST] = manifest | {"complete": True, "store_hash": store_hash}
        return store_hash


def check_contract(place: Place, manifest: dict[str, Any], job: Job) -> None:
    """Refuse a store that was made with something else.

    Raises
    ------
    StoreError
        With the difference.
    """
    names, now = manifest.get(CLASS_INDICES, {}), dict(job.class_indices or {})
    numbers, of_numbers = ({number: name for name, number in each.items()} for each in (names, now))
    conflicts = sorted(
        {name for name in names if now.get(name, names[name]) != names[name]}
        | {of_numbers[number] for number in numbers if of_numbers.get(number, numbers[number]) != numbers[number]}
    )
    if conflicts:
        raise StoreError(
            f"The classes of {place} are numbered {names}, and now {now}, so that labels would mean different things: "
            f"see {', '.join(conflicts)}. Nothing was written. Number them as there: `class_indices`, or `classes` of "
            "the methods that find files, where new classes come last."
        )
    there = manifest["contract"]
    different = [name for name in there.keys() | job.contract.keys() if there.get(name) != job.contract.get(name)]
    if different:
        told = "; ".join(
            f"{name}: {_difference(there.get(name), job.contract.get(name))}" for name in sorted(different)
        )
        raise StoreError(
            f"{place} was made with something else. There, and now: {told}. Nothing was written. {_way_out(there, job)}"
        )


def _way_out(there: dict[str, Any], job: Job) -> str:
    rows, before = job.layout.n, there.get("layout", {}).get("n", 0)
    if rows > before:
        return (
            f"Where the first {before} images are those that it was made of, append=True adds the other "
            f"{rows - before}; otherwise choose another place for the new store, or remove the old one yourself."
        )
    return "Choose another place for the new store, or remove the old one yourself."


def with_class_indices(manifest: dict[str, Any], job: Job) -> dict[str, Any]:
    """A manifest that has the names of the job's classes as well."""
    names = {name: int(number) for name, number in (job.class_indices or {}).items()}
    return manifest | {CLASS_INDICES: manifest.get(CLASS_INDICES, {}) | names} if names else manifest


def _difference(there: Any, now: Any) -> str:
    if isinstance(there, str) and isinstance(now, str) and len(there) == len(now) > 16:  # digests
        return "other content"
    if isinstance(there, dict) and isinstance(now, dict):
        keys = sorted(key for key in there.keys() | now.keys() if there.get(key) != now.get(key))
        return ", ".join(f"{key} {there.get(key)!r} → {now.get(key)!r}" for key in keys)
    return f"{there!r} → {now!r}"


def _absolute(locator: str) -> str:
    """A path that means the same from everywhere; other addresses as they are."""
    path = locator.removeprefix("file://")
    return locator if path == locator else f"file://{os.path.abspath(path)}"


def _rows_of(job: Job, shards: NDArray[np.intp]) -> int:
    return sum(stop - start for start, stop in map(job.layout.shard, shards.tolist()))


def _manifest(group: zarr.Group) -> dict[str, Any]:
    found: Any = group.attrs.get(MANIFEST)
    return dict(found) if isinstance(found, dict) else {}
