"""Fitted numbers for other programs, as plain Python values."""

from __future__ import annotations

from typing import Any


def as_json(statistics: Any) -> dict[str, Any]:
    """All that is small, as values that JSON has; integers may exceed 2^53."""
    moments = statistics.moments
    found: dict[str, Any] = {
        "image_shape": list(statistics.image_shape),
        "data_format": statistics.data_format,
        "dtype": statistics.dtype,
        "samples": statistics.samples,
        "pixels": statistics.pixels,
        "rescale": statistics.rescale,
        "is_complete": statistics.is_complete,
        "mean": statistics.mean.tolist(),
        "std": statistics.std.tolist(),
        "minimum": statistics.minimum.tolist(),
        "maximum": statistics.maximum.tolist(),
        "range_is_bound": statistics.range_is_bound,
        "digest": statistics.digest,
        "content": [part.content.digest for part in statistics.seen],
    }
    for name in ("sums", "squares"):
        if hasattr(moments, name):
            found[name] = list(getattr(moments, name))
    if hasattr(moments, "omitted"):
        found |= {"omitted": moments.omitted, "weight": moments.weight.tolist()}
    if statistics.histogram is not None:
        counts = statistics.histogram.counts
        found["histogram"] = {"start": statistics.histogram.start, "counts": counts.tolist()}
    if statistics.interval is not None:
        found["mean_interval"] = statistics.mean_interval.tolist()
        found["std_interval"] = statistics.std_interval.tolist()
    return found


def for_keras(statistics: Any) -> dict[str, Any]:
    """Arguments of ``keras.layers.Normalization``."""
    variance = statistics.std**2
    axis = -1 if statistics.data_format == "channels_last" else 1
    return {"axis": axis, "mean": statistics.mean.tolist(), "variance": variance.tolist()}


def for_torchvision(statistics: Any) -> dict[str, list[float]]:
    """Arguments of ``torchvision.transforms.Normalize``."""
    scale = 255.0 if statistics.dtype == "uint8" and statistics.rescale is None else 1.0
    return {"mean": (statistics.mean / scale).tolist(), "std": (statistics.std / scale).tolist()}
