"""The seeds' contract, pinned: if one of these hashes changes, every stored result of our users changes."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskaug import seeding
from daskaug.config import Config
from daskaug.errors import ConfigError
from daskaug.planning.order import Order, Shuffle
from daskaug.seeding import Operation, Purpose
from daskaug.transforms.affine import matrices
from daskaug.transforms.draws import draw

GOLDEN = {
    "raw": "f7f0f59cb4bebe7a5a56a9e8",
    "permutation": "75cb2c1c587e29e47d1826b3",
    "block order": "af70101bbf518a981b358aee",
    "draws": "a0cef5846fdce125210ffbe2",
    "matrices": "5bb35b6f0e0b88e7c1dc97ac",
    "file numbers": "c6c82543ec284bbbacb37697",
    "signs": "c62761adc18e5f8600f7a8d4",
}

EVERYTHING = Config(
    rotation_range=20,
    width_shift_range=0.1,
    height_shift_range=[-3, 1, 4],
    shear_range=10.0,
    zoom_range=(0.7, 1.4),
    horizontal_flip=True,
    vertical_flip=True,
    channel_shift_range=20.0,
    brightness_range=(0.8, 1.2),
)


def sha(*arrays) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        array = np.ascontiguousarray(array)
        digest.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()[:24]


def golden() -> dict[str, str]:
    ids = np.array([0, 1, 2, 1000, 2**40, 2**63, 2**64 - 1], np.uint64)
    purposes = (Purpose.DRAW, Purpose.ORDER, Purpose.FILE_NAME)
    rows = [seeding.raw_rows(7, 3, purpose, op, ids) for purpose in purposes for op in Operation]
    draws = draw(EVERYTHING, (31, 47), 11, 2, ids)
    return {
        "raw": sha(*rows),
        "permutation": sha(seeding.permutation(7, 3, 1001)),
        "block order": sha(Order(13, 2000, Shuffle("block", 64, 3), 7, 3).rows(0, 1987)),
        "draws": sha(*(column for column in vars(draws).values() if column is not None)),
        "matrices": sha(matrices(draws, (31, 47))),
        "file numbers": sha(seeding.file_numbers(7, 3, ids, 10_000)),
        "signs": sha(seeding.random_signs(7, 100, 300)),
    }


def test_golden_hashes():
    assert seeding.SEEDING_VERSION == 1
    assert golden() == GOLDEN


@given(
    seed=st.integers(0, 2**32 - 1),
    epoch=st.integers(0, 2**32 - 1),
    start=st.integers(0, 2**64 - 200),
    count=st.integers(0, 100),
    width=st.sampled_from([4, 8, 12]),
)
def test_rows_are_those_of_numpys_philox(seed, epoch, start, count, width):
    sequence = np.random.SeedSequence([seed, epoch], spawn_key=(int(Purpose.DRAW), int(Operation.SHEAR)))
    oracle = np.random.Philox(sequence)
    oracle.advance(start * (width // 4))
    ids = np.arange(start, start + count, dtype=np.uint64)
    found = seeding.raw_rows(seed, epoch, Purpose.DRAW, Operation.SHEAR, ids, width)
    assert np.array_equal(found, oracle.random_raw(count * width).reshape(count, width))


@given(ids=st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=20), data=st.data())
def test_a_row_does_not_depend_on_its_company(ids, data):
    ids = np.array(ids, np.uint64)
    order = np.array(data.draw(st.permutations(range(len(ids)))))
    together = seeding.uniforms(1, 2, (Operation.ZOOM,), ids)[0]
    assert np.array_equal(seeding.uniforms(1, 2, (Operation.ZOOM,), ids[order])[0], together[order])
    assert np.array_equal(seeding.uniforms(1, 2, (Operation.ZOOM,), ids[:1])[0], together[:1])


def test_uniforms_fill_the_half_open_unit_interval_evenly():
    found = seeding.uniforms(3, 0, (Operation.ROTATION,), np.arange(50_000))[0]
    assert found.min() >= 0
    assert found.max() < 1
    counts, _ = np.histogram(found, bins=20, range=(0, 1))
    expected = found.size / 20
    assert ((counts - expected) ** 2 / expected).sum() < 60  # chi-square with 19 degrees of freedom: p < 1e-5


def test_neighbouring_seeds_epochs_and_streams_share_no_rows():
    ids = np.arange(256)
    streams = [
        seeding.raw_rows(seed, epoch, purpose, operation, ids)
        for seed in (0, 1, 2, 5, 2**32 - 1)
        for epoch in (0, 1, 2, 7)
        for purpose in Purpose
        for operation in (0, 1, 2)
    ]
    rows = np.concatenate(streams).reshape(-1)
    assert len(np.unique(rows)) == len(rows)


@pytest.mark.parametrize("bad", [-1, 2**32, 1.5, "1", True, None])
def test_seeds_are_checked(bad):
    with pytest.raises(ConfigError, match=r"`seed` must be an integer from 0 to 2\*\*32 - 1"):
        seeding.check_seed(bad)


@given(st.integers(0, 500), st.integers(0, 2**32 - 1))
def test_permutations_hold_everything_once(n, seed):
    assert np.array_equal(np.sort(seeding.permutation(seed, 0, n)), np.arange(n))


def test_generators_for_user_functions_are_the_samples_own():
    def numbers(sample, epoch=0):
        return seeding.keyed_generator(1, epoch, Operation.PREPROCESSING, sample).random(8).tolist()

    assert numbers(5) == numbers(5)
    assert numbers(5) != numbers(6)
    assert numbers(5) != numbers(5, epoch=1)
    assert numbers(2**64 - 1) != numbers(0)


if __name__ == "__main__":
    print(golden())
