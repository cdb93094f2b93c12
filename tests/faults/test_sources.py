"""A source that is damaged, incomplete, closed to whoever runs the job, or removed while it is read.

Nothing reads black images in place of what is gone, and nothing that was done before is done again.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import zarr
from typer.testing import CliRunner

from daskaug.cli import app
from daskaug.errors import ConfigError, SourceError, StoreError, UnreadableError
from daskaug.kernels.warming import warm
from daskaug.sources import open_images, zarr_chunks
from tests.faults import jobs
from tests.faults.jobs import DAMAGED, KINDS, ROWS, SIDE, Fit, Job, Materialize, N, Stream, at_step, chunk_of, stored

WHERE = ["threads", pytest.param("workers", marks=pytest.mark.faults)]
NOBODY = 65534


@pytest.fixture(autouse=True)
def _two_threads(monkeypatch):
    jobs.two_threads(monkeypatch)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    return stored(tmp_path_factory.mktemp("whole") / "x.zarr")


@pytest.fixture
def source(whole, tmp_path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "x.zarr"))


@pytest.fixture(params=KINDS)
def job(request, source, tmp_path) -> Job:
    return KINDS[request.param](source, tmp_path / "job")


@pytest.fixture(scope="module")
def undisturbed(whole, tmp_path_factory) -> Callable[[type[Job]], tuple[str, int]]:
    """What each job comes to without a fault, and in how many steps."""

    @functools.cache
    def known(kind: type[Job]) -> tuple[str, int]:
        job = kind(whole, tmp_path_factory.mktemp("undisturbed"))
        return job.run(), job.steps[0]

    return known


def goes_on(job: Job, undisturbed: Callable[[type[Job]], tuple[str, int]]) -> None:
    """The same call does the rest, and it comes to the same."""
    expected, steps = undisturbed(type(job))
    assert 0 < sum(job.steps) < steps
    assert job.run() == expected
    assert 0 < job.steps[-1] < steps


def flip(chunk: Path) -> None:
    content = bytearray(chunk.read_bytes())
    content[len(content) // 2] ^= 1
    chunk.write_bytes(bytes(content))


@pytest.mark.parametrize("where", WHERE)
def test_a_damaged_chunk_is_named_and_once_it_is_mended_the_same_call_goes_on(job, where, source, undisturbed):
    kept = chunk_of(source).read_bytes()
    flip(chunk_of(source))
    said = rf"Rows {DAMAGED * ROWS} to {(DAMAGED + 1) * ROWS} of .*x\.zarr cannot be read, for c/12/0/0/0 is damaged: "
    with jobs.running_on(where):
        with pytest.raises(UnreadableError, match=f"{said}.*`daskaug check` lists"):
            job.run()
        assert CliRunner().invoke(app, ["check", str(source)]).exit_code == 1
        chunk_of(source).write_bytes(kept)
        goes_on(job, undisturbed)


@pytest.mark.parametrize("where", WHERE)
def test_a_chunk_that_is_lost_during_the_run_is_an_error_and_not_black_images(job, where, source, undisturbed):
    lost = chunk_of(source, job.late)
    kept = lost.read_bytes()
    said = rf"c/{job.late}/0/0/0 is not there any more, and would read as 0 throughout"
    with jobs.running_on(where):
        with pytest.raises(UnreadableError, match=rf"Rows \d+ to \d+ of .*x\.zarr are gone: {said}"):
            job.run(at_step(1, lost.unlink))
        lost.write_bytes(kept)
        goes_on(job, undisturbed)


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("how", ["removed", "moved"])
def test_a_source_that_is_removed_during_the_run_is_an_error_and_not_black_images(
    job, where, how, source, whole, undisturbed
):
    away = source.with_name("away.zarr")
    remove = {"removed": lambda: shutil.rmtree(source), "moved": lambda: source.rename(away)}[how]
    with jobs.running_on(where):
        with pytest.raises(UnreadableError, match=r"x\.zarr.* (are gone|cannot be opened)"):
            job.run(at_step(2, remove))
        assert not source.exists()
        shutil.copytree(whole, source)
        goes_on(job, undisturbed)


@pytest.mark.parametrize("kind", KINDS)
def test_chunks_that_were_left_out_read_as_the_fill_value_and_the_log_says_so(kind, tmp_path, caplog):
    """As the writers of Zarr do with black images."""
    images = np.array(zarr.open_array(stored(tmp_path / "x.zarr"), mode="r"))
    images[24:40] = 0
    zarr.create_array(tmp_path / "gaps.zarr", data=images, chunks=(ROWS, SIDE, SIDE, 3))
    assert not chunk_of(tmp_path / "gaps.zarr", 3).exists()
    expected = KINDS[kind](images, tmp_path / "memory").run()
    assert "not stored" not in caplog.text
    assert KINDS[kind](tmp_path / "gaps.zarr", tmp_path / "job").run() == expected
    said = {record.getMessage() for record in caplog.records if record.name == "daskaug"}
    assert any("2 of 20 chunks of" in each and "rows 24 to 32: they read as 0" in each for each in said)
    assert all(record.levelno == logging.WARNING for record in caplog.records if "not stored" in record.getMessage())


CUTS = {
    "whole images": {"chunks": (4, 16, 16, 3)},
    "sideways": {"chunks": (4, 8, 16, 1)},
    "in shards": {"chunks": (2, 8, 16, 3), "shards": (4, 16, 16, 3)},
    "format 2": {"chunks": (4, 8, 16, 3), "zarr_format": 2},
}


@pytest.mark.parametrize("fill", [0, 7, np.nan])
@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("is_counted", [True, False])
def test_of_any_array_what_was_there_must_stay(cut, fill, is_counted, tmp_path, monkeypatch):
    """Rows 4 to 8 are left out, 8 to 12 are black and stored, and 12 to 16 are lost; more objects are not counted."""
    if not is_counted:
        monkeypatch.setattr(zarr_chunks, "MOST_LOCAL", 0)
    dtype = "f4" if np.isnan(fill) else "u1"
    options = {"shape": (20, 16, 16, 3), "dtype": dtype, "fill_value": fill} | CUTS[cut]
    array = zarr.create_array(tmp_path / "x.zarr", config={"write_empty_chunks": True}, **options)
    array[:4], array[8:12], array[12:] = 1, fill, 2
    source = open_images(tmp_path / "x.zarr")
    expected = np.array(array)
    assert np.array_equal(source.read(0, 20), expected, equal_nan=True)
    place = (3, 1, 0, 0) if cut in ("sideways", "format 2") else (3, 0, 0, 0)
    (tmp_path / "x.zarr" / array.metadata.encode_chunk_key(place)).unlink()
    assert np.array_equal(source.read(0, 12), expected[:12], equal_nan=True)
    if is_counted:
        with pytest.raises(UnreadableError, match=r"Rows 12 to 16 of .* are gone"):
            source.read(10, 20)
    (tmp_path / "x.zarr" / (".zarray" if cut == "format 2" else "zarr.json")).unlink()
    with pytest.raises(UnreadableError, match=r"Rows 12 to 16 of .* are gone"):
        source.take(np.array([1, 13]))


# --- rights ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def without_rights(*closed: Path) -> Iterator[None]:
    """What is closed is closed to whoever runs this: root becomes nobody, for root may do everything."""
    is_root = os.geteuid() == 0
    modes = {path: path.stat().st_mode for path in closed}
    for path in closed:
        path.chmod(0 if path.is_file() else 0o555)
    try:
        if is_root:
            os.setresuid(NOBODY, NOBODY, 0)
        yield
    finally:
        if is_root:
            os.setresuid(0, 0, 0)
        for path, mode in modes.items():
            path.chmod(mode)


def opened_up(folder: Path) -> None:
    """Everybody may come here, and write below; the kernels of this user, who is root, are loaded before."""
    list(warm())
    for path in (folder, *folder.parents):
        with contextlib.suppress(PermissionError):
            path.chmod(path.stat().st_mode | 0o055)
    for path in folder.rglob("*"):
        path.chmod(0o777 if path.is_dir() else 0o666)


def test_a_chunk_that_may_not_be_read_is_named_and_with_rights_the_call_goes_on(job, source, tmp_path, undisturbed):
    opened_up(tmp_path)
    with (
        without_rights(chunk_of(source)),
        pytest.raises(UnreadableError, match=r"Rows 96 to 104 of .*may not be read by user \d+.*c/12/0/0/0"),
    ):
        job.run()
    goes_on(job, undisturbed)


@pytest.mark.parametrize("kind", KINDS)
def test_a_source_that_may_not_be_opened_is_refused(kind, source, tmp_path):
    job = KINDS[kind](source, tmp_path / "job")
    opened_up(tmp_path)
    with (
        without_rights(source / "zarr.json"),
        pytest.raises(SourceError, match=r"x\.zarr' may not be read by user \d+"),
    ):
        job.run()


def test_a_checkpoint_that_may_not_be_written_is_refused_before_anything_is_read(source, tmp_path):
    job = Fit(source, tmp_path / "job")
    opened_up(tmp_path)
    with without_rights(job.folder), pytest.raises(ConfigError, match=r"`checkpoint`.*can be written to"):
        job.run()
    assert job.steps == [0]
    job.run()


def test_a_target_that_may_not_be_written_is_refused_and_left_as_it_is(source, tmp_path):
    job = Materialize(source, tmp_path / "job")
    opened_up(tmp_path)
    with without_rights(job.folder), pytest.raises(StoreError, match=r"may not be accessed .*Check the rights"):
        job.run()
    assert list(job.folder.iterdir()) == []
    job.run()


def test_a_cache_that_may_not_be_written_is_refused(source, tmp_path):
    job = Stream(source, tmp_path / "job", cache=tmp_path / "job" / "cache.zarr")
    opened_up(tmp_path)
    with without_rights(job.folder), pytest.raises(ConfigError, match=r"`cache`=.* cannot be made or opened"):
        job.run()


def test_a_target_that_is_removed_during_the_run_is_named_and_the_call_begins_anew(source, tmp_path, undisturbed):
    job = Materialize(source, tmp_path / "job")
    with pytest.raises(StoreError, match=r"m\.zarr(: there is no array| is not there)"):
        job.run(at_step(5, lambda: job.store.rename(tmp_path / "away.zarr")))
    shutil.rmtree(job.store, ignore_errors=True)  # what a task under way has made of it
    assert job.run() == undisturbed(Materialize)[0]
    assert job.steps[1] == N // ROWS


def test_a_checkpoint_that_is_removed_during_the_run_is_written_again(source, tmp_path):
    job = Fit(source, tmp_path / "job")
    expected = job.run(at_step(4, lambda: job.checkpoint.unlink()))
    assert job.run() == expected
    assert job.steps[1] == 0
