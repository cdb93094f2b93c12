"""Checking whether a store is what it says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskaug import seeding
from daskaug.errors import ConfigError, DaskaugError, NotFittedError, StoreError
from daskaug.execution import current_executor, run_ordered
from daskaug.iterators import Masks
from daskaug.materialize.column_checks import check_columns, check_statistics
from daskaug.materialize.findings import Finding, Verification
from daskaug.materialize.inspecting import object_sizes
from daskaug.materialize.layout import DIGEST, NBYTES, SOURCE_HASH, store_digest
from daskaug.materialize.place import StoreLike
from daskaug.materialize.recomputing import Part, hash_of, open_parts
from daskaug.materialize.shard_checks import Attempt, CheckShard, ShardResult
from daskaug.progress import Progress, check_progress, showing
from daskaug.seeding import Purpose
from daskaug.sources import Source, join_readers, open_images
from daskaug.sources.fingerprint import sample_digest
from daskaug.transforms.block import BlockTransform
from daskaug.transforms.masks import PairTransform

_STREAM_SAMPLE = 4
"""Of Purpose.ORDER: which rows and shards are looked at."""


def verify(
    store: StoreLike,
    *,
    sample: int = 16,
    full: bool = False,
    source: Any = None,
    masks: Any = None,
    preprocessing_function: Callable[..., Any] | None = None,
    storage_options: dict[str, Any] | None = None,
    progress: Progress | None = None,
) -> Verification:
    """Check a materialised store against its commit records, its manifest and, row by row, what made it.

    Every check looks at the manifest, at the columns (labels and the like), at the commit records and at the sizes of
    all objects; the rest is done for a sample, or with `full` for everything: shards are read, with their checksums,
    and compared with the hash of their content in the commit records; images are made again from the source, the
    options and the keys, and compared bit for bit (with splines of order 2 to 5, and after ZCA whitening, to within
    rounding). Tasks run on the active ``distributed.Client``, or else on the threads of this process.

    Parameters
    ----------
    store : path, URL or Zarr store
    sample : int
        Shards to read and, of all rows, images to make again; 0 for none.
    full : bool
        Read and make again everything.
    source : array, Zarr array, dask array, path, URL or iterator made by a `flow` method, optional
        The images that the store was made from. By default those that the manifest names; where they cannot be opened,
        the result says that nothing was made again.
    masks : array, Zarr array, dask array, path or URL, optional
        The masks it was made from; without them the stored ones are not made again.
    preprocessing_function : callable, optional
        The generator's, where the store is standardised and it cannot be imported by its name.
    storage_options : dict, optional
        For URLs.
    progress : bool or callable, optional
        True: show it on the terminal, in the notebook, or as lines of a log. A function is called as
        ``progress(shards done, shards in all)``.

    Returns
    -------
    Verification

    Raises
    ------
    StoreError
        Where there is no store, or one of another version.
    SourceError
        Where `source` or `masks` was given and cannot be opened, or holds other images.
    ConfigError
        For a bad `sample`; for a preprocessing function that has to be handed in.
    """
    if not isinstance(sample, int | np.integer) or isinstance(sample, bool) or sample < 0:
        raise ConfigError(f"`sample` must be an integer, 0 or more. Received: sample={sample!r}.")
    check_progress(progress)
    parts = open_parts(store, storage_options)
    checks = [
        _Check(part, int(sample), bool(full), storage_options, source, masks, preprocessing_function) for part in parts
    ]
    total = sum(len(check.chosen_shards) for check in checks)
    with showing(progress, "verify", unit="shards", total=total) as shown:
        for done, _ in enumerate((step for check in checks for step in check.run()), 1):
            if shown is not None:
                shown(done, total)
    findings = [*_compare_parts(parts), *(finding for check in checks for finding in check.findings)]
    return Verification(
        store=parts[0].address,
        store_hash=hash_of(parts),
        findings=tuple(findings),
        not_checked=tuple(dict.fromkeys(what for check in checks for what in check.not_checked)),
        rows=sum(part.rows for part in parts),
        shards=sum(part.layout.shards for part in parts),
        objects=sum(check.objects for check in checks),
        shards_read=sum(check.shards_read for check in checks),
        samples=sum(check.samples for check in checks),
        samples_wanted=sum(len(check.chosen_rows) for check in checks),
    )


def _compare_parts(parts: list[Part]) -> Iterator[Finding]:
    """Parts that the store lists and that are not there, or are others."""
    there = {part.name: part.manifest.get("store_hash") for part in parts}
    for entry in parts[0].manifest.get("parts", ()):
        path = str(entry["path"])
        if path not in there:
            yield Finding("structure", path, "the store lists it among what was appended, and it is not there")
        elif there[path] != entry["store_hash"]:
            yield Finding("manifest", path, "its store hash is not the one that the store lists")


class _Check:
    """The check of a store, or of one appended part."""

    def __init__(
        self,
        part: Part,
        sample: int,
        full: bool,
        storage_options: dict[str, Any] | None,
        source: Any,
        masks: Any,
        preprocessing_function: Callable[..., Any] | None,
    ) -> None:
        self.part, self.full = part, full
        self.storage_options = storage_options
        self.findings: list[Finding] = []
        self.not_checked: list[str] = []
        self.objects = self.shards_read = self.samples = 0
        self.layout = part.layout
        self.prefix = f"{part.name} " if part.name else ""
        count = self.layout.shards
        self.chosen_shards = np.arange(count) if full else spread(count, sample)
        self.chosen_rows = np.arange(part.rows) if full else spread(part.rows, sample)
        self.source = self._open_source(source)
        self.masks = None if masks is None else open_images(masks.source if isinstance(masks, Masks) else masks)
        self.preprocessing_function = preprocessing_function
        self.transform: BlockTransform | PairTransform | None = None  # needs the statistics, which are checked first
        if self.source is not None and (overridden := part.overridden):
            self.not_checked.append(f"no image was made again: the generator's class overrides {overridden}")
            self.source = None

    def _prepare(self, has_statistics: bool) -> None:
        """Make ready to make images again."""
        if self.source is None:
            return
        try:
            if not has_statistics and self.part.contract["standardized"]:
                raise StoreError("the statistics that it takes cannot be read")
            images = self.part.transform(self.preprocessing_function)
        except (StoreError, NotFittedError) as error:
            self.not_checked.append(f"no image was made again: {error}")
            self.source = None
            return
        pair = self.part.pair_transform(images)
        if pair is not None and self.masks is None:
            self.not_checked.append("masks are not made again, for they were not handed in: masks=")
        self.transform = images if self.masks is None or pair is None else pair

    def _open_source(self, given: Any) -> Source | None:
        try:
            return self.part.open_source(given, self.storage_options)
        except (DaskaugError, OSError, ImportError) as error:
            if given is not None and not self.part.name:
                raise
            what = f"no image of {self.part.name}" if self.part.name else "no image"
            self.not_checked.append(f"{what} was made again: {error}")
            return None

    # --- the steps -----------------------------------------------------------------------------------------------

    def run(self) -> Iterator[None]:
        """All checks; yields after each shard that was read."""
        names = self._check_structure()
        if names is None:
            return
        digests = self.part.commit_records()
        committed = self._check_records(digests)
        absent = self._check_objects(names, committed)
        self._check_manifest(digests, committed)
        self._prepare(check_statistics(self.part, self.prefix, self.findings))
        readable = committed & ~absent
        results = []
        for result in self._run_shards(names, digests, readable):
            results.append(result)
            yield
        self._explain_content(names, digests, results)
        if self._columns_are_there(absent):
            bad = {result.number for result in results if result.digest not in (None, digests[result.number].tobytes())}
            check_columns(self.part, self.prefix, bad, self.findings)
        self._blame_source()
        self._blame_manifest(results)

    def _check_structure(self) -> list[str] | None:
        """Arrays that the commit records cover; None where not all of them are there to be checked."""
        part, layout = self.part, self.layout
        if not part.manifest.get("complete"):
            self._found("manifest", "manifest", "the run that wrote the store has not finished; run it again")
        names = part.content_names()
        bad = False
        for name in [*names, DIGEST]:
            rows = layout.shards if name == DIGEST else part.rows
            if not part.has(name):
                self._found("structure", f"array {name}", "it is not there")
                bad = True
            elif part.array(name).shape[0] != rows:
                self._found("structure", f"array {name}", f"it has {part.array(name).shape[0]} rows instead of {rows}")
                bad = True
        return None if bad else names

    def _check_records(self, digests: NDArray[np.uint8]) -> NDArray[np.bool_]:
        committed = digests.any(axis=1)
        missing = np.flatnonzero(~committed)
        for run in np.split(missing, np.flatnonzero(np.diff(missing) > 1) + 1):
            if len(run) == 1:
                where, told = f"shard {run[0]}", "it has no commit record in {}: it was not written, or the record is"
            elif len(run):
                where = f"shards {run[0]} to {run[-1]}"
                told = "they have no commit records in {}: they were not written, or the records are"
            else:
                continue
            self._found("commit record", where, f"{told.format(DIGEST)} lost; run the same materialize() again")
        return np.asarray(committed)

    def _check_objects(self, names: list[str], committed: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which shards lack an object of any array, or have one that is not of the recorded size."""
        absent = np.zeros(self.layout.shards, bool)
        recorded = self.part.recorded_sizes()
        lost = committed & ~np.any([*recorded.values()], axis=0) if recorded else np.zeros(self.layout.shards, bool)
        for number in np.flatnonzero(lost).tolist():
            told = f"its record in {NBYTES} cannot be read; run the same materialize() again"
            self._found("commit record", f"shard {number}", told)
        sizes_of_names = object_sizes(self.part.group, {name: self.part.array(name) for name in names})
        for name, sizes in sizes_of_names.items():
            rows_of_object = (self.part.array(name).shards or self.part.array(name).chunks)[0]
            for number, size in enumerate(sizes):
                shard = number * rows_of_object // self.layout.shard_rows
                self.objects += size is not None
                if not committed[shard]:
                    continue
                stated = int(recorded[name][shard]) if name in recorded and not lost[shard] else size
                if size is None:
                    absent[shard] = True
                    self._found("missing", f"shard {shard} of {name}", "its object is not there")
                elif size != stated:
                    told = f"its object has {size:,} bytes, and had {stated:,} when it was committed"
                    self._found("size", f"shard {shard} of {name}", told)
        return absent

    def _check_manifest(self, digests: NDArray[np.uint8], committed: NDArray[np.bool_]) -> None:
        stated = self.part.manifest.get("store_hash")
        self.hash_fits = True
        if not self.part.manifest.get("complete") or not committed.all():
            return
        found = store_digest(self.part.contract, digests)
        if found != stated:
            self.hash_fits = False
            self._found(
                "manifest",
                "manifest",
                f"the contract in it (options, seed, layout, ...) and the commit records have the hash {found[:16]}…, "
                f"and the store hash is {str(stated)[:16]}…: one of them was changed after the store was finished",
            )

    def _run_shards(
        self, names: list[str], digests: NDArray[np.uint8], readable: NDArray[np.bool_]
    ) -> Iterator[ShardResult]:
        rows_of: dict[int, NDArray[np.int64]] = {}
        if self.source is not None:
            owners = self.chosen_rows // self.layout.shard_rows
            rows_of = {int(number): self.chosen_rows[owners == number] for number in np.unique(owners)}
        to_read = set(self.chosen_shards.tolist())
        numbers = [number for number in sorted(to_read | set(rows_of)) if readable[number]]
        tasks = (
            self._task(number, rows_of.get(number), digests[number].tobytes() if number in to_read else None)
            for number in numbers
        )
        for result in self._executed(names, tasks):
            self.shards_read += result.number in to_read
            self.samples += result.recomputed
            self.findings += result.findings
            yield result

    def _executed(self, names: list[str], tasks: Iterator[Any]) -> Iterator[ShardResult]:
        executor = current_executor()
        function = CheckShard(
            self.part.place,
            self.prefix,
            tuple(names),
            self.transform,
            self.part.is_exact,
            self.part.has(SOURCE_HASH),
        )
        yield from run_ordered(executor, function, tasks, name="daskaug-verify", window=executor.parallelism + 1)

    def _task(self, number: int, rows: NDArray[np.int64] | None, recorded: bytes | None) -> Any:
        span = self.layout.shard(number)
        if rows is None or self.source is None:
            rows = np.empty(0, np.int64)
        start = span[0]
        try:
            keys = self.part.keys(slice(*span))[rows - start]
            wanted = self.part.rows_in(self.source, keys.source_row) if self.source is not None else rows
            outside = (wanted < 0) | (wanted >= (self.source.shape[0] if self.source is not None else 0))
        except Exception:  # noqa: BLE001  a broken column, which the task reports
            keys, wanted, outside = self.part.no_keys(), rows[:0], np.array([True])
        if outside.any():
            rows, keys = rows[:0], self.part.no_keys()
        reader = None
        if len(rows) and self.source is not None:
            sources = [self.source, *([] if self.masks is None else [self.masks])]
            reader = join_readers([each.rows_reader(wanted) for each in sources])
        return Attempt(reader), (number, span, recorded, rows, keys)

    # --- what it means -------------------------------------------------------------------------------------------

    def _explain_content(self, names: list[str], digests: NDArray[np.uint8], results: list[ShardResult]) -> None:
        """Say of shards with other content than was committed which array it is, as far as can be known."""
        known = {digests[number].tobytes(): number for number in range(len(digests))}
        for place, result in enumerate(results):
            number = result.number
            if result.differing and result.digest is None:  # was not read: is its content what was committed?
                result = results[place] = self._again(names, number, digests[number].tobytes())
                self.findings += [f for f in result.findings if f.kind in ("content", "unreadable")]
            if result.digest in (None, digests[number].tobytes()):
                continue
            told = "its content is not what was committed"
            owner = known.get(result.digest or b"")
            told += "" if owner is None else f"; it is that of shard {owner}"
            where = f"{self.prefix}shard {number}"
            if self.source is not None:
                again = self._again(names, number, None)
                self.findings += [f for f in again.findings if f.kind in ("pixels", "masks") and f not in self.findings]
                if again.differing:
                    where += " of images"
                    told += f"; {again.differing} of its images are not what their keys make"
                elif again.recomputed and not again.source_changed:
                    free = [name for name in names if name not in ("images", SOURCE_HASH)]
                    where += f" of {' or '.join(free)}"
                    told += "; its images are right"
            self.findings = [
                Finding(f.kind, where, told) if f.kind == "content" and f.where == f"{self.prefix}shard {number}" else f
                for f in self.findings
            ]

    def _again(self, names: list[str], number: int, recorded: bytes | None) -> ShardResult:
        """The check of all rows of a shard."""
        task = self._task(number, np.arange(*self.layout.shard(number)), recorded)
        return next(self._executed(names, iter([task])))

    def _columns_are_there(self, absent: NDArray[np.bool_]) -> bool:
        broken = any(f.kind == "unreadable" and not f.where.endswith(("images", "statistics")) for f in self.findings)
        return not broken and not absent.any() and bool(self.part.manifest.get("complete"))

    def _blame_manifest(self, results: list[ShardResult]) -> None:
        """Where the shards are as they were committed and nothing follows from the manifest, say that once."""
        recomputed = sum(result.recomputed for result in results)
        wrong = sum(result.differing for result in results)
        intact = not any(f.kind in ("content", "unreadable", "missing") for f in self.findings)
        if not self.hash_fits and intact and wrong and wrong == recomputed:
            self.findings = [f for f in self.findings if f.kind != "pixels"]
            self._found(
                "manifest",
                "manifest",
                f"none of {recomputed} images follows from its seed, options and statistics, while every shard that "
                "was read is as it was committed: the manifest was edited",
            )
        elif wrong and intact and self.hash_fits:
            self.not_checked.append(
                "what was committed is intact, so images that come out differently may be made by other code now: of "
                "a preprocessing function, an overridden method, or another version of a library"
            )

    def _blame_source(self) -> None:
        """For stores without hashes of the raw images: the few rows of the source that the manifest knows."""
        if self.source is None or self.part.has(SOURCE_HASH):
            return
        if sample_digest(self.source) != self.part.contract["source_sample"]:
            self.findings = [f for f in self.findings if f.kind not in ("pixels", "masks")]
            self._found("source", "source", "it is not the one that the store was made from, or has changed since")

    def _found(self, kind: str, where: str, message: str) -> None:
        self.findings.append(Finding(kind, f"{self.prefix}{where}", message))


def spread(n: int, count: int) -> NDArray[np.int64]:
    """`count` numbers below n, one at random from each of as many equal stretches; increasing, always the same."""
    count = min(n, count)
    if count == 0:
        return np.empty(0, np.int64)
    raw = seeding.raw_rows(0, 0, Purpose.ORDER, _STREAM_SAMPLE, np.arange(count))[:, 0]
    edges = np.arange(count + 1) * n // count
    return edges[:-1] + (raw % np.diff(edges).astype(np.uint64)).astype(np.int64)
