"""Damage done on purpose is named by verify, and mended by the call that made the store."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zarr

from daskaug import open_materialized
from daskaug.materialize import verify
from tests.faults.runs import ROWS, SHARD_ROWS, SHARDS, images, is_whole, labels, make, rows_of

pytestmark = pytest.mark.faults

EMPTY = 0
"""A shard of black images with labels of class 0."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("undisturbed") / "m.zarr"
    return folder, make(folder).store_hash


@pytest.fixture
def store(undisturbed, tmp_path) -> Path:
    return shutil.copytree(undisturbed[0], tmp_path / "m.zarr")


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def delete(path: Path) -> None:
    path.unlink()


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def shard_of(store: Path, name: str, number: int) -> Path:
    (path,) = (path for path in (store / name / "c" / str(number)).rglob("*") if path.is_file())
    return path


Damage = tuple[Callable[[Path], None], str, str, bool]
DAMAGES: dict[str, Damage] = {
    "truncated": (truncate, "images", "size", False),
    "deleted": (delete, "images", "missing", False),
    "no commit record": (delete, "shard_digest", "commit record", False),
    "a byte flipped": (flip, "images", "unreadable", True),
}
"""What is done, to which array; the kind of the finding; whether it takes `recheck` to find it."""


@pytest.mark.parametrize("number", [EMPTY, 11, SHARDS - 1])
@pytest.mark.parametrize("name", DAMAGES)
def test_each_damage_is_named_and_mended(name, number, store, undisturbed):
    damage, array, kind, is_hidden = DAMAGES[name]
    damage(shard_of(store, array, number))
    found = verify(store, full=True, source=images())
    assert kind in {finding.kind for finding in found.findings}
    assert {finding.where.partition(" of ")[0] for finding in found.findings} == {f"shard {number}"}
    report = make(store, recheck=is_hidden)
    assert report.rows_written == rows_of(np.array([number]))
    is_whole(store, undisturbed[1])


def test_all_at_once(store, undisturbed):
    numbers = itertools.count(3, 4)
    there = {name: next(numbers) for name in DAMAGES}
    for name, number in there.items():
        damage, array, _, _ = DAMAGES[name]
        damage(shard_of(store, array, number))
    found = verify(store, full=True, source=images())
    named = {(finding.kind, finding.where.partition(" of ")[0]) for finding in found.findings}
    assert named >= {(DAMAGES[name][2], f"shard {number}") for name, number in there.items()}
    assert {where for _, where in named} == {f"shard {number}" for number in there.values()}
    report = make(store, recheck=True)
    assert report.rows_written == len(DAMAGES) * SHARD_ROWS
    is_whole(store, undisturbed[1])


def test_black_images_of_class_0_are_not_missing(undisturbed):
    store, expected = undisturbed
    assert not images()[:SHARD_ROWS].any()
    assert not labels()[:SHARD_ROWS].any()
    assert not zarr.open_array(store / "images", mode="r")[:SHARD_ROWS].any()
    assert verify(store, full=True, source=images()).ok
    report = make(store)
    assert (report.rows, report.rows_written, report.store_hash) == (ROWS, 0, expected)
    assert np.array_equal(open_materialized(store).labels, labels())
