"""A file that keeps what a fit knows about the rows it has seen, to go on from there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from daskaug.errors import StoreError
from daskaug.planning.coverage import Coverage
from daskaug.statistics import archive
from daskaug.statistics.content import Content
from daskaug.statistics.histogram import Histogram
from daskaug.statistics.moments import FloatMoments, IntegerMoments
from daskaug.statistics.recipe import Partial
from daskaug.statistics.tree import Nodes
from daskaug.statistics.whitening.entries import decode_gram, encode_gram

FORMAT = "daskaug fit checkpoint"
VERSION = 1

OURS = "A checkpoint is a file that fit(..., checkpoint=) wrote; delete it to begin anew"

Contract = Mapping[str, Any]
"""What the numbers depend on besides the rows; values that JSON has."""


def write(path: Path, contract: Contract, coverage: Coverage, partial: Partial) -> None:
    """Write the partial result of the covered rows; the file appears whole or not at all.

    Parameters
    ----------
    path : Path
        An existing file is replaced.
    contract : mapping
        Whoever continues must have the same.
    coverage : Coverage
        Indices of the samples that `partial` knows.
    partial : Partial
        With a Gram matrix the file is as large as that, 8 · d² bytes, and another one lies beside it while it is being
        written.
    """
    header, arrays = _encode(partial)
    header |= {"contract": dict(contract), "covered": [[int(start), int(stop)] for start, stop in coverage]}
    archive.write(path, header, arrays, FORMAT, VERSION)


def read(path: Path, contract: Contract) -> tuple[Coverage, Partial]:
    """What :func:`write` wrote.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    StoreError
        It is damaged or another kind of file, or the fit it belongs to had other data or options.
    """
    header, arrays = archive.read(path, FORMAT, (VERSION,), OURS)
    there = header["contract"]
    differing = [name for name in sorted({*there, *contract}) if there.get(name) != contract.get(name)]
    if differing:
        name = differing[0]
        raise StoreError(
            f"{path} belongs to another fit: {name} was {there.get(name)!r} and is {contract.get(name)!r} now. Fit "
            "with the same data and options, or name another file"
        )
    return Coverage(map(tuple, header["covered"])), _decode(header, arrays)


def peek(path: Path) -> archive.Header | None:
    """What a checkpoint says about itself: its ``contract`` and ``covered`` ranges; None where there is no file.

    Raises
    ------
    StoreError
        It is another kind of file, or its header is damaged. The rest is not looked at.
    """
    try:
        return archive.read_header(path, FORMAT, (VERSION,), OURS)
    except FileNotFoundError:
        return None


def _encode(partial: Partial) -> tuple[archive.Header, archive.Arrays]:
    moments = partial.moments
    header: archive.Header = {"content": None if partial.content is None else partial.content.to_json()}
    arrays: archive.Arrays = {}
    if isinstance(moments, IntegerMoments):
        names = ("sums", "squares", "low", "high")
        header["integer"] = {name: [str(value) for value in getattr(moments, name)] for name in names}
        header["integer"] |= {"samples": str(moments.samples), "pixels": str(moments.pixels)}
    else:
        header["float"] = {
            "sample_pixels": moments.sample_pixels,
            "bad_elements": moments.bad_elements,
            "first_bad": moments.first_bad,
            "levels": sorted(moments.levels),
        }
        arrays |= {"low": moments.low, "high": moments.high}
        for level, nodes in moments.levels.items():
            arrays |= {f"{level}_numbers": nodes.numbers, f"{level}_mean": nodes.mean, f"{level}_m2": nodes.m2}
            arrays |= {} if nodes.weight is None else {f"{level}_weight": nodes.weight}
    if partial.histogram is not None:
        header["histogram_start"] = partial.histogram.start
        arrays["histogram"] = partial.histogram.counts
    if partial.gram is not None:
        entries, sums = encode_gram(partial.gram)
        header |= entries
        arrays |= sums
    return header, arrays


def _decode(header: archive.Header, arrays: archive.Arrays) -> Partial:
    moments: IntegerMoments | FloatMoments
    if "integer" in header:
        written = header["integer"]
        sums, squares, low, high = (tuple(map(int, written[name])) for name in ("sums", "squares", "low", "high"))
        moments = IntegerMoments(int(written["samples"]), int(written["pixels"]), sums, squares, low, high)
    else:
        written = header["float"]
        levels = {
            level: Nodes(
                arrays[f"{level}_numbers"].astype(np.int64),
                arrays[f"{level}_mean"],
                arrays[f"{level}_m2"],
                arrays.get(f"{level}_weight"),
            )
            for level in written["levels"]
        }
        bad = written["bad_elements"], written["first_bad"]
        moments = FloatMoments(written["sample_pixels"], levels, arrays["low"], arrays["high"], *bad)
    histogram = Histogram(header["histogram_start"], arrays["histogram"]) if "histogram" in arrays else None
    content = None if header["content"] is None else Content.from_json(header["content"])
    return Partial(moments, decode_gram(header, arrays, moments.samples), histogram, content)
