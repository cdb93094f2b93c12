"""Statistics as the entries of a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from daskaug.statistics import archive
from daskaug.statistics.content import Content, Part
from daskaug.statistics.histogram import Histogram
from daskaug.statistics.interval import Interval
from daskaug.statistics.moments import IntegerMoments, Moments, is_exact
from daskaug.statistics.totals import FloatTotals, WeightedTotals
from daskaug.statistics.whitening.entries import decode_gram, decode_whitening, encode_gram, encode_whitening


def encode(statistics: Any) -> tuple[archive.Header, archive.Arrays]:
    """Content of the file. Numbers that may exceed 2^53 are decimal strings, which any JSON reader keeps."""
    moments, whitening = statistics.moments, statistics.whitening
    header: archive.Header = {
        "image_shape": list(statistics.image_shape),
        "data_format": statistics.data_format,
        "dtype": statistics.dtype,
        "samples": str(moments.samples),
        "pixels": str(moments.pixels),
        "rescale": statistics.rescale,
        "zca_epsilon": None,
    }
    arrays: archive.Arrays = {name: getattr(statistics, name) for name in ("mean", "std", "minimum", "maximum")}
    if isinstance(moments, IntegerMoments):
        header["sums"] = [str(value) for value in moments.sums]
        header["sums_of_squares"] = [str(value) for value in moments.squares]
    else:
        arrays |= {"raw_mean": moments.mean, "raw_m2": moments.m2}
    if isinstance(moments, WeightedTotals):
        header["omitted"] = str(moments.omitted)
        arrays["weight"] = moments.weight
    if whitening is not None:
        entries, factors = encode_whitening(whitening)
        header |= entries
        arrays |= factors
    if statistics.histogram is not None:
        header["histogram_start"] = statistics.histogram.start
        arrays["histogram"] = statistics.histogram.counts
    if statistics.gram is not None:
        entries, sums = encode_gram(statistics.gram)
        header |= entries
        arrays |= sums
    if statistics.interval is not None:
        arrays |= {"interval_mean": statistics.interval.mean, "interval_std": statistics.interval.std}
    # Only where they say something: so the digest of what version 1 could hold is still the same.
    header |= {"range_is_bound": True} if statistics.range_is_bound else {}
    header |= {} if statistics.is_complete else {"is_complete": False}
    if statistics.seen:
        header["seen"] = [
            {
                "content": part.content.to_json(),
                "low": list(map(_plain, part.low)),
                "high": list(map(_plain, part.high)),
            }
            for part in statistics.seen
        ]
    return header, arrays


def decode(header: archive.Header, arrays: archive.Arrays, path: Path | None = None) -> dict[str, Any]:
    """Undo :func:`encode`: the fields of :class:`~daskaug.Statistics`."""
    samples, pixels = int(header["samples"]), int(header["pixels"])
    low, high = arrays["minimum"], arrays["maximum"]
    moments: Moments
    if "weight" in arrays:
        mean, m2, weight = arrays["raw_mean"], arrays["raw_m2"], arrays["weight"]
        moments = WeightedTotals(samples, pixels, weight, mean, m2, low, high, int(header["omitted"]))
    elif is_exact(header["dtype"]):
        sums, squares = (tuple(map(int, header[name])) for name in ("sums", "sums_of_squares"))
        moments = IntegerMoments(samples, pixels, sums, squares, tuple(map(int, low)), tuple(map(int, high)))
    else:
        moments = FloatTotals(samples, pixels, arrays["raw_mean"], arrays["raw_m2"], low, high)
    whitening = None
    if header["zca_epsilon"] is not None:
        whitening = decode_whitening(header, arrays, path)
    height, width, depth = header["image_shape"]
    seen = header.get("seen", ())
    return {
        "image_shape": (height, width, depth),
        "data_format": header["data_format"],
        "dtype": header["dtype"],
        "moments": moments,
        "rescale": header["rescale"],
        "whitening": whitening,
        "histogram": Histogram(header["histogram_start"], arrays["histogram"]) if "histogram" in arrays else None,
        "gram": decode_gram(header, arrays, samples),
        "seen": tuple(
            Part(Content.from_json(part["content"]), tuple(part["low"]), tuple(part["high"])) for part in seen
        ),
        "range_is_bound": header.get("range_is_bound", False),
        "is_complete": header.get("is_complete", True),
        "interval": Interval(arrays["interval_mean"], arrays["interval_std"]) if "interval_mean" in arrays else None,
    }


def _plain(value: Any) -> int | float:
    """A number as JSON writes it, without losing a bit."""
    return value if isinstance(value, int) else float(value)
