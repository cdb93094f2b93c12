"""A fit that goes on where another one was killed, or where data were appended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray

from daskaug import ImageDataGenerator
from daskaug.errors import ConfigError, StoreError
from tests.cuts import Cut, N, both_kinds, chunkings, fit


@pytest.fixture(scope="module")
def images() -> dict[str, np.ndarray]:
    return both_kinds()


class Counting(Cut):
    """Counts the rows that were read for a fit."""

    def __init__(self, x: NDArray, cuts: tuple[int, ...]) -> None:
        super().__init__(x, cuts)
        self.read_rows = 0

    def read(self, start: int, stop: int) -> NDArray:
        if stop - start > 1:  # single rows are looked at to compare
            self.read_rows += stop - start
        return super().read(start, stop)


class Interrupted(Exception):
    pass


def interrupt_at(samples: int):
    def progress(done: int, total: int) -> None:
        if done >= samples:
            raise Interrupted

    return progress


OPTIONS = {
    "plain": {},
    "omitting": {"nan_policy": "omit"},
    "weighted": {"sample_weight": np.arange(2 * N) % 4},
    "augmented": {"augment": True, "rounds": 2, "seed": 3},
}


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("name", OPTIONS)
def test_an_interrupted_fit_goes_on_to_the_same_bits(images, dtype, name, tmp_path, monkeypatch):
    monkeypatch.setattr("daskaug.execution.reducing.CHECKPOINT_SECONDS", 0.0)
    x, options = images[dtype], dict(OPTIONS[name])
    if "sample_weight" in options:
        options["sample_weight"] = options["sample_weight"][:N]
    if name == "plain" and dtype == "uint8":
        options["histogram"] = True
    made = ImageDataGenerator(featurewise_center=True, rotation_range=20)
    expected = made.fit(x, **options).statistics
    first, second, third = chunkings(3)
    for stops, cuts in ((40, first), (90, second)):
        with pytest.raises(Interrupted):
            made.fit(Cut(x, cuts), checkpoint=tmp_path / "c", progress=interrupt_at(stops), **options)
    source = Counting(x, third)
    found = made.fit(source, checkpoint=tmp_path / "c", **options).statistics
    assert found == expected
    assert found.seen == expected.seen
    assert source.read_rows < (N - 40) * options.get("rounds", 1)
    again = Counting(x, first)
    assert made.fit(again, checkpoint=tmp_path / "c", **options).statistics == expected
    assert again.read_rows == 0


WHITENING = {"featurewise_center": True, "zca_whitening": True, "zca_epsilon": 1e-3}


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("keep_gram", [False, True])
def test_an_interrupted_whitening_goes_on_to_the_same_bits(images, dtype, keep_gram, tmp_path, monkeypatch):
    """Float images are cut as before, since the sums of their products depend on the blocks."""
    monkeypatch.setattr("daskaug.execution.reducing.CHECKPOINT_SECONDS", 0.0)
    x = images[dtype][:, ::2, ::2].copy()
    cuts = chunkings(3) if dtype == "uint8" else chunkings(1) * 3
    made = ImageDataGenerator(**WHITENING)
    options = {"zca_route": "features", "zca_components": 60, "keep_gram": keep_gram}
    expected = made.fit(Cut(x, cuts[0]), **options).statistics
    for stops, cut in zip((40, 90), cuts, strict=False):
        with pytest.raises(Interrupted):
            made.fit(Cut(x, cut), checkpoint=tmp_path / "c", progress=interrupt_at(stops), **options)
    source = Counting(x, cuts[2])
    found = made.fit(source, checkpoint=tmp_path / "c", **options).statistics
    assert source.read_rows < N - 40
    assert [path.name for path in tmp_path.iterdir()] == ["c"]
    assert (found.gram is not None) == keep_gram
    if keep_gram:
        assert found.gram.about(np.ones(192)).tobytes() == expected.gram.about(np.ones(192)).tobytes()
    assert found == expected
    assert found.seen == expected.seen
    # How much of the whitening is kept, and with which epsilon, is another matter than its sums.
    other = Counting(x, cuts[2])
    again = ImageDataGenerator(**WHITENING | {"zca_epsilon": 0.1})
    again.fit(other, zca_route="features", checkpoint=tmp_path / "c")
    assert other.read_rows == 0
    assert again.statistics.whitening.rank > 60


def test_appended_data_are_whitened_with_what_was_kept(images, tmp_path):
    x = images["uint8"][:, ::2, ::2].copy()
    ImageDataGenerator(featurewise_center=True).fit(x[:100], keep_gram=True, checkpoint=tmp_path / "c")
    source = Counting(x, chunkings(1)[0])
    made = ImageDataGenerator(**WHITENING)
    found = made.fit(source, checkpoint=tmp_path / "c", zca_route="features").statistics
    assert source.read_rows <= 73
    assert found == made.fit(x, zca_route="features").statistics
    with pytest.raises(StoreError, match="recipe"):
        fit(x, checkpoint=tmp_path / "c")


def test_a_large_checkpoint_is_written_less_often(images, tmp_path, monkeypatch):
    from daskaug.execution import reducing

    written: list[int] = []
    clock = iter(range(10_000))
    write = reducing.checkpoints.write
    monkeypatch.setattr(reducing.time, "monotonic", lambda: float(next(clock)))
    monkeypatch.setattr(reducing.checkpoints, "write", lambda *args: (written.append(1), write(*args)))
    source = Cut(images["uint8"][:, ::2, ::2].copy(), tuple(range(1, N)))
    counts = []
    for nbytes in (2**30, 8 * 192 * 192, 8 * 192 * 192 // 10):
        monkeypatch.setattr(reducing, "CHECKPOINT_NBYTES", nbytes)
        written.clear()
        fit(source, keep_gram=True, checkpoint=tmp_path / f"c{nbytes}")
        counts.append(len(written))
    assert counts[0] == counts[1] > 5 * counts[2] > 0


@pytest.mark.parametrize("route", ["samples", "randomized"])
def test_other_routes_keep_no_checkpoint(images, route, tmp_path):
    x = images["uint8"]
    made = ImageDataGenerator(**WHITENING)
    with pytest.raises(ConfigError, match=rf"zca_route='{route}' is to be taken.*pass zca_route='features'"):
        made.fit(x, zca_route=route, checkpoint=tmp_path / "c")
    with pytest.raises(ConfigError, match=r"pass zca_route='features', memory_budget=") as caught:
        made.fit(x, zca_route=route, checkpoint=tmp_path / "c", memory_budget=14_000_000)
    budget = int(str(caught.value).partition("memory_budget=")[2].partition(":")[0].replace("_", ""))
    made.plan_fit(x, zca_route="features", checkpoint=tmp_path / "c", memory_budget=budget)
    with pytest.raises(ConfigError, match="zca_route='features' does not fit"):
        made.plan_fit(x, zca_route="features", checkpoint=tmp_path / "c", memory_budget=budget - 1)
    with pytest.raises(ConfigError, match=r'`checkpoint`.*compat=None and zca_route="features"'):
        ImageDataGenerator(**WHITENING, compat="keras").fit(x, checkpoint=tmp_path / "c")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["plain", "omitting", "weighted"])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_appended_data_are_all_that_is_read(images, dtype, name, tmp_path):
    x, options = images[dtype], dict(OPTIONS[name])
    longer = np.concatenate([x, x[::-1]])
    short = options | ({"sample_weight": options["sample_weight"][:N]} if "sample_weight" in options else {})
    fit(x, checkpoint=tmp_path / "c", **short)
    source = Counting(longer, chunkings(1)[0])
    found = fit(source, checkpoint=tmp_path / "c", **options)
    assert source.read_rows <= N
    assert found == fit(longer, **options)
    assert found.seen == fit(longer, **options).seen


def test_a_checkpoint_of_another_fit_is_refused(images, tmp_path):
    x = images["uint8"]
    weights = np.arange(N)
    fit(x, checkpoint=tmp_path / "c")
    fit(x, checkpoint=tmp_path / "w", sample_weight=weights)
    before = (tmp_path / "c").read_bytes()
    for options, message in (
        ({"x": 255 - x}, "their pixels"),
        ({"x": x[:100]}, "data can be appended"),
        ({"x": x.astype(np.float32)}, "recipe"),
        ({"histogram": True}, "recipe"),
        ({"nan_policy": "omit"}, "recipe"),
        ({"augment": True, "seed": 1}, "recipe|augment"),
    ):
        with pytest.raises(StoreError, match=f"{message}"):
            fit(**{"x": x, "checkpoint": tmp_path / "c"} | options)
    with pytest.raises(StoreError, match="weights"):
        fit(x, checkpoint=tmp_path / "w", sample_weight=weights + 1)
    assert (tmp_path / "c").read_bytes() == before
    (tmp_path / "c").write_bytes(before[: len(before) // 2])
    with pytest.raises(StoreError):
        fit(x, checkpoint=tmp_path / "c")


KILLED = """
import json, os, signal, sys
import daskaug.execution.reducing as reducing
from daskaug import ImageDataGenerator
reducing.CHECKPOINT_SECONDS = 0.0
def progress(done, total):
    if done > total // 2:
        os.kill(os.getpid(), signal.SIGKILL)
options = json.loads(sys.argv[3])
made = ImageDataGenerator(featurewise_center=True)
made.fit(sys.argv[1], checkpoint=sys.argv[2], progress=progress, **options)
"""


@pytest.mark.faults
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("keep_gram", [False, True])
def test_a_killed_fit_goes_on_to_the_same_bits(images, dtype, keep_gram, tmp_path):
    if keep_gram:  # whitening: many images, since a block has 2,048 of them
        x, options = np.concatenate([images[dtype][:, ::2, ::2]] * 60), {"keep_gram": True}
    else:
        x, options = np.concatenate([np.repeat(images[dtype], 8, axis=1).repeat(8, axis=2)] * 3), {}
    zarr.create_array(tmp_path / "x.zarr", data=x, chunks=(20, *x.shape[1:]))
    job = json.dumps(options | ({} if keep_gram else {"memory_budget": 2**24}))
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "x.zarr"), str(tmp_path / "c"), job],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    done_rows: list[int] = []
    progress = {"progress": lambda rows, total: done_rows.append(rows)}
    found = fit(tmp_path / "x.zarr", checkpoint=tmp_path / "c", **progress, **options)
    expected = fit(tmp_path / "x.zarr", **options)
    assert found == expected
    assert found.seen == expected.seen
    assert done_rows[0] > len(x) // 2
