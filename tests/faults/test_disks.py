"""A disk that runs full under a fit or a stream; that under a store is in test_full_disk.py."""

from __future__ import annotations

import os

import numpy as np
import pytest

from daskaug import ImageDataGenerator
from daskaug.errors import StoreError
from tests import pictures
from tests.faults import jobs
from tests.faults.jobs import Fit, Stream, at_step, stored
from tests.faults.test_full_disk import disk, fill, mounted  # noqa: F401  a fixture

pytestmark = pytest.mark.faults


@pytest.fixture(autouse=True)
def _two_threads(monkeypatch):
    jobs.two_threads(monkeypatch)


def test_a_fit_does_not_fail_for_its_checkpoint_and_keeps_the_old_one(disk, tmp_path):  # noqa: F811
    source = stored(tmp_path / "x.zarr")
    undisturbed = Fit(source, tmp_path / "undisturbed")
    expected = undisturbed.run()
    job, kept = Fit(source, disk), []

    def fill_up() -> None:
        kept.append(job.checkpoint.read_bytes())
        fill(disk, leave=0)

    with pytest.warns(UserWarning, match=r"checkpoint .* could not be written: .*No space left.* The fit goes on"):
        assert job.run(at_step(4, fill_up)) == expected
    assert [job.checkpoint.read_bytes()] == kept
    assert sorted(path.name for path in disk.iterdir()) == ["checkpoint", "other"]
    (disk / "other").unlink()
    assert job.run() == expected
    assert 0 < job.steps[1] < undisturbed.steps[0]


def test_factors_of_a_whitening_are_refused_before_any_work_or_say_what_they_need(disk, tmp_path):  # noqa: F811
    images = pictures.tiles(32, 100)
    made = ImageDataGenerator(featurewise_center=True, zca_whitening=True)
    fill(disk, leave=500_000)
    calls: list[int] = []
    with pytest.raises(StoreError, match=r"whitening take [\d,]+ bytes, and the disk of .* left.*Nothing"):
        made.fit(images, zca_store=disk / "u.zarr", zca_route="samples", progress=lambda *_: calls.append(1))
    assert calls == []
    (disk / "other").unlink()
    with pytest.raises(StoreError, match=r"factors of the whitening, [\d,]+ bytes, cannot be written to .*u\.zarr"):
        made.fit(images, zca_store=disk / "u.zarr", zca_route="samples", progress=lambda *_: fill(disk, leave=500_000))
    (disk / "other").unlink()
    made.fit(images, zca_store=disk / "u.zarr", zca_route="samples")
    in_memory = ImageDataGenerator(featurewise_center=True, zca_whitening=True).fit(images, zca_route="samples")
    assert np.array_equal(made.standardize(images[:4].astype("f4")), in_memory.standardize(images[:4].astype("f4")))


def test_a_stream_goes_on_without_its_cache(disk, tmp_path):  # noqa: F811
    source = stored(tmp_path / "x.zarr")
    expected = Stream(source, tmp_path).run()
    cache = disk / "cache.zarr"
    fill(disk, leave=200_000)
    job = Stream(source, tmp_path, cache=cache)
    with pytest.warns(UserWarning, match=r"Nothing more is kept in the cache .*No space left.* read from the source"):
        assert job.run() == expected
    kept = len([name for name in os.listdir(cache) if name.startswith("c.")])
    assert 0 < kept < jobs.N // jobs.ROWS
    (disk / "other").unlink()
    assert Stream(source, tmp_path, cache=cache).run() == expected
    assert mounted("-o", "remount,ro", str(disk))
    assert Stream(source, tmp_path, cache=cache).run() == expected
