"""What a content hash depends on, and what not."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskaug.statistics import Content
from daskaug.statistics.content import probe_of, probe_rows

PINNED = "1ce55edacf8ec94205494bf1308005a8b16184dbec29338b23648e36ae494029"
PINNED_FLOAT = "51273a0f4cd3a3e7804ccd5fc1d1fca589ca91f01836aabaaaadc52ca75c47c5"


def noise(n: int, *image: int) -> np.ndarray:
    return np.random.RandomState(n).randint(0, 256, (n, *image)).astype(np.uint8)


def whole(x: np.ndarray) -> Content:
    return Content.partial(x, 0)


@given(st.data(), st.sampled_from(["uint8", "float32", ">u2", "float16", "bool"]))
def test_blocks_order_and_layout_do_not_matter(data, dtype):
    x = (noise(300, 3, 5, 3) // 2).astype(dtype)
    bounds = [0, *sorted(data.draw(st.lists(st.integers(0, 300), max_size=8))), 300]
    blocks = data.draw(st.permutations(list(itertools.pairwise(bounds))))
    layouts = [x, np.asfortranarray(x), np.repeat(x, 2, axis=2)[:, :, ::2], x.astype(x.dtype.newbyteorder("S"))]
    y = data.draw(st.sampled_from(layouts))
    found = functools.reduce(Content.merge, [Content.partial(y[a:b], a) for a, b in blocks])
    assert found == whole(x)
    assert found.digest == whole(x).digest
    assert found.rows == 300


def test_runs_are_cut_at_multiples_of_4096_wherever_blocks_are():
    x = noise(9000, 2, 2, 1)
    cut = functools.reduce(
        Content.merge, [Content.partial(x[a:b], a) for a, b in ((0, 5000), (5000, 8500), (8500, 9000))]
    )
    assert cut == whole(x)
    assert [whole(x).runs[r][0] for r in range(3)] == [4096, 4096, 808]
    longer = whole(np.concatenate([x, x]))
    assert [longer.runs[r] for r in range(2)] == [whole(x).runs[r] for r in range(2)]
    assert longer.begins(whole(x))
    changed = x.copy()
    changed[100] ^= 1
    assert not longer.begins(whole(changed))


@pytest.mark.parametrize("size", [(1, 1, 1), (2, 2, 2), (3, 5, 3), (16, 16, 3), (9, 100, 1)])
def test_every_bit_counts(size):
    x = noise(8, *size)
    before = {whole(x).digest}
    flat = x.reshape(-1)
    for place in range(0, x.size, max(1, x.size // 97)):
        flat[place] ^= np.uint8(1 << place % 8)
        before.add(whole(x).digest)
        flat[place] ^= np.uint8(1 << place % 8)
    assert len(before) == 1 + len(range(0, x.size, max(1, x.size // 97)))


def test_places_lengths_and_kinds_count():
    x = noise(6, 16, 48, 3)
    strips = x.reshape(6, -1).copy().view(np.uint64)
    strips[:, [0, 32]] = strips[:, [32, 0]]  # words that meet in one accumulator
    rolled = np.roll(x, 8, axis=0)[[1, 0, 2, 3, 4, 5]]
    others = [
        strips.view(np.uint8).reshape(x.shape),
        rolled,
        x[:5],
        x[:, :, ::-1],
        x.reshape(6, 48, 16, 3),
        x.view(np.int8),
        np.zeros_like(x),
        np.zeros((6, 16, 49, 3), np.uint8),
    ]
    assert len({whole(y).digest for y in [x, *others]}) == len(others) + 1


def test_small_differences_never_meet():
    """Images of one pixel in all positions and values: 65,536 x 3 rows, every hash another one."""
    x = np.zeros((1 << 16, 3), np.uint8)
    x[:, 0], x[:, 1] = np.arange(1 << 16) % 256, np.arange(1 << 16) // 256
    from daskaug.kernels.content import row_hashes

    hashes = np.concatenate([row_hashes(np.roll(x, k, axis=1), np.zeros(len(x), np.int64)) for k in range(3)])
    distinct = len(np.unique(np.concatenate([np.roll(x, k, axis=1) for k in range(3)]), axis=0))
    assert len(np.unique(hashes[:, 0])) == len(np.unique(hashes[:, 1])) == distinct
    bits = np.unpackbits(hashes.view(np.uint8), axis=1).mean(axis=0)
    assert 0.48 < bits.min() < bits.max() < 0.52


def test_the_hash_is_fixed():
    """It stands in files."""
    x = (np.arange(300 * 7 * 5 * 3) % 251).astype(np.uint8).reshape(300, 7, 5, 3)
    assert whole(x).digest == PINNED
    assert whole(x.astype("<f4")).digest == whole(x.astype(">f4")).digest == PINNED_FLOAT


def test_probe_reads_few_rows():
    x = noise(5000, 2, 2, 1)
    rows = probe_rows(len(x))
    assert len(rows) == 16
    assert whole(x).probe == probe_of(x[rows], rows)
    assert whole(x[:700]).probe == probe_of(x[[0, 256, 512]], np.array([0, 256, 512]))


def test_json_and_back():
    content = whole(noise(5000, 2, 3, 1))
    assert Content.from_json(content.to_json()) == content
