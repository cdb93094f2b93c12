"""Chunks of an array, drawn as dask draws them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

from dask.array.svg import svg

SIZE = 110
"""Pixels of the longest side."""

MOST = 100
"""Chunks along an axis that dask is told of. It draws fewer lines than that, and would keep a list of all chunks."""

_LABEL = 24
"""Pixels that a label may extend to the right of its middle."""

Pieces = Sequence[int | Sequence[int]]
"""For each axis the length of its chunks, or the lengths of all of them."""


def draw_chunks(shape: Sequence[int], pieces: Pieces) -> str:
    """An SVG picture of an array and its chunks; takes the same time for a million of them as for a hundred.

    Parameters
    ----------
    shape : sequence of int
    pieces : sequence of int, or of sequences of int
        For each axis the length of its chunks, of which the last may be shorter, or the lengths of all.

    Returns
    -------
    str
        Empty for an array without elements.
    """
    if not all(shape):
        return ""
    chunks = tuple(_thinned(length, piece) for length, piece in zip(shape, pieces, strict=True))
    return _cropped(str(svg(chunks, size=SIZE)))


def _cropped(picture: str) -> str:
    """The picture with no more room around it than its labels need: of more than three axes dask leaves much."""
    points = [tuple(map(float, pair)) for pair in re.findall(r"([\d.]+),([\d.]+)(?=[ \"])", picture)]
    texts = re.findall(r'<text x="([\d.]+)" y="([\d.]+)"', picture)
    right = max(*(x for x, _ in points), *(float(x) for x, _ in texts)) + _LABEL
    bottom = max(*(y for _, y in points), *(float(y) for _, y in texts)) + _LABEL / 2
    return re.sub(r'width="\d+" height="\d+"', f'width="{right:.0f}" height="{bottom:.0f}"', picture, count=1)


def _thinned(length: int, piece: int | Sequence[int]) -> tuple[int, ...]:
    """At most `MOST` chunks along an axis; where there are more, each stands for several."""
    if isinstance(piece, int):
        count = -(-length // max(1, piece))
        step = max(1, piece) * -(-count // MOST)
        rest = length % step
        return (step,) * (length // step) + ((rest,) if rest else ())
    if len(piece) <= MOST:
        return tuple(each for each in piece if each)
    each = -(-len(piece) // MOST)
    # A sum over all of them, which are in memory anyway, but no list.
    walk = iter(piece)
    sums = (sum(itertools.islice(walk, each)) for _ in range(-(-len(piece) // each)))
    return tuple(length for length in sums if length)
