"""``daskaug check``: what is wrong with image files or a store, before work on them begins."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from daskaug.errors import SourceError
from daskaug.execution import current_executor, run_ordered
from daskaug.ingest import ANY_ENDING, BESIDE, ENDINGS, FolderOfImages, Reading, other_endings, read_table
from daskaug.iterators import check_files, list_files
from daskaug.materialize import find_faults, inspect_store, is_store
from daskaug.progress import Progress, showing
from daskaug.sources import BlockReader, Decoding, ImageFiles, Source, open_images


@dataclasses.dataclass
class Findings:
    """What a check found.

    Attributes
    ----------
    facts : list of str
        What is there.
    faults : list of str
        What is wrong.
    """

    facts: list[str] = dataclasses.field(default_factory=list)
    faults: list[str] = dataclasses.field(default_factory=list)


def check(target: str, reading: Reading, progress: Progress = None) -> Findings:
    """Check a folder, a CSV table or a Zarr store.

    Parameters
    ----------
    target : str
        Path; for a store also a URL.
    reading : Reading
        For files. Without a target size they may have any.
    progress : bool or callable, optional
        True: show it; a function is called as ``progress(files or images done, in all)``.

    Raises
    ------
    SourceError, StoreError
        Where there is nothing of the kind.
    """
    path = Path(target)
    if is_store(target):
        return _check_store(target, progress)
    if path.is_dir():
        return _check_folder(path, reading, progress)
    if path.is_file():
        return _check_table(path, reading, progress)
    raise SourceError(f"There is no folder, table or store at {target!r}.")


def _check_folder(folder: Path, reading: Reading, progress: Progress) -> Findings:
    """Every image file that ``ingest`` would take, and what it would leave out."""
    found = FolderOfImages.look(folder)
    names = found.files(folder, ENDINGS)
    everything = list_files(str(folder), ANY_ENDING)
    images = [name for name in everything if name.lower().endswith(ENDINGS)]
    hidden = sum(any(part.startswith(".") for part in Path(name).parts[:-1]) for name in images)
    findings = Findings([f"{len(names)} image files in {folder}"])
    if others := other_endings(everything):
        findings.facts.append(f"files with other endings, which are never read: {others}")
    if hidden:
        findings.facts.append(f"{hidden} image files in hidden folders, which `daskaug ingest` leaves out")
    if not names:
        findings.faults.append(f"there are no image files in {folder}")
    findings.faults += [f"{folder / name}: {BESIDE}" for name in found.beside]
    _decode_all(names, folder, np.arange(len(names)), reading, findings, progress)
    return findings


def _check_table(path: Path, reading: Reading, progress: Progress) -> Findings:
    """Every file that the table names."""
    dataframe = read_table(path, reading.x_col)
    directory = path.parent if reading.directory is None else reading.directory
    table = reading.columns(directory)
    table.check(dataframe)
    names = list(dataframe[reading.x_col])
    findings = Findings([f"{len(names)} rows in {path}"])
    faults = table.faults_of(names, ANY_ENDING)
    findings.faults += [
        f"{os.path.join(directory, name)} (row {row}): {fault}"
        for row, (name, fault) in enumerate(zip(names, faults, strict=True))
        if fault is not None
    ]
    rows = np.array([row for row, fault in enumerate(faults) if fault is None], np.int64)
    _decode_all([names[row] for row in rows], directory, rows, reading, findings, progress)
    return findings


def _decode_all(
    names: list[str],
    directory: Path,
    rows: Any,
    reading: Reading,
    findings: Findings,
    progress: Progress,
) -> None:
    # Without a size to come to, every size is fine: all are brought to one pixel.
    decoding = Decoding(
        reading.color_mode, reading.target_size or (1, 1), reading.interpolation, reading.keep_aspect_ratio
    )
    files = ImageFiles(names, directory, decoding, row_numbers=rows)
    findings.faults += [str(bad) for bad in check_files(files, progress)]


def _check_store(target: str, progress: Progress) -> Findings:
    findings = Findings(faults=find_faults(target))
    arrays = inspect_store(target)
    for array in arrays:
        kind = f"{array.pieces} pieces of {array.stored}" if array.shape else "a single value"
        findings.facts.append(f"{array.name or target}: {array.shape} {array.dtype}, in {kind}")
        if array.missing:
            findings.faults.append(
                f"{array.name or target}: {array.missing} of {array.pieces} chunks or shards are not there, the first "
                f"at {array.first_missing}; they read as the fill value (some writers leave out chunks that hold "
                "nothing else)"
            )
    for array in arrays:
        if len(array.shape) == 4:
            address = f"{target.rstrip('/')}/{array.name}" if array.name else target
            findings.faults += _read_all(address, progress)
    return findings


def _read_all(address: str, progress: Progress) -> list[str]:
    """Blocks of images that are there and cannot be decoded."""
    images = open_images(address)
    plan = images.plan(0, images.shape[0])
    tasks: Iterator[tuple[BlockReader, tuple[Any, ...]]] = (
        (_Attempt(images, block.start, block.stop), ()) for block in plan
    )
    faults = []
    found = run_ordered(current_executor(), _as_loaded, tasks, name="daskaug-check")
    with showing(progress, f"check {address}", total=images.shape[0], row_nbytes=images.row_nbytes) as shown:
        for block, errors in zip(plan, found, strict=True):
            faults += [f"{address}: {error}" for error in errors]
            if shown is not None:
                shown(block.stop, images.shape[0])
    return faults


@dataclasses.dataclass(frozen=True, eq=False)
class _Attempt(BlockReader):
    """Loads why rows cannot be loaded: a task that fails would keep those behind it from being tried."""

    images: Source
    start: int
    stop: int

    def load(self) -> list[str]:
        whole = _trouble(self.images, self.start, self.stop)
        if whole is None:
            return []
        pieces = self.images.plan(self.start, self.stop, 1)
        each = [_trouble(self.images, piece.start, piece.stop) for piece in pieces]
        return [trouble for trouble in each if trouble is not None] or [whole]

    def __repr__(self) -> str:
        return f"an attempt at rows {self.start} to {self.stop} of {self.images.locator}"


def _trouble(images: Source, start: int, stop: int) -> str | None:
    try:
        images.read(start, stop)
    except Exception as error:  # noqa: BLE001  whatever a broken codec raises
        cause = error.__cause__ or error
        return f"rows {start} to {stop} cannot be read: {cause} ({type(cause).__name__})"
    return None


def _as_loaded(errors: list[str]) -> list[str]:
    return errors
