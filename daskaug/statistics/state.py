"""The fitted state of a generator, and the file that keeps it."""

from __future__ import annotations

import functools
import math
import os
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskaug.errors import SourceError, StoreError
from daskaug.statistics import archive
from daskaug.statistics.moments import FloatTotals, IntegerMoments, is_exact
from daskaug.statistics.whitening import Whitening
from daskaug.statistics.whitening.entries import decode_whitening, encode_whitening, save_directions

Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class Statistics:
    """Statistics of a set of images: channel moments and, where asked for, ZCA whitening.

    Two objects are equal when every number in them is.

    Parameters
    ----------
    image_shape : tuple of int
        Shape of an image as stored: (h, w, c) or (c, h, w).
    data_format : str
        ``"channels_last"`` or ``"channels_first"``.
    dtype : str
        dtype that the images were reduced in.
    moments : IntegerMoments or FloatTotals
        Counts, sums and extremes of the images as read, before any rescaling.
    rescale : float or None
        Factor that `mean`, `std` and `whitening` take into account.
    whitening : Whitening or None
        For images that are rescaled and centred by `mean`.

    Raises
    ------
    SourceError
        The parts do not fit each other.
    """

    image_shape: tuple[int, int, int]
    data_format: str
    dtype: str
    moments: IntegerMoments | FloatTotals
    rescale: float | None = None
    whitening: Whitening | None = None

    def __post_init__(self) -> None:
        """Check that the parts fit each other."""
        if self.data_format not in ("channels_last", "channels_first"):
            raise SourceError(f"data_format must be 'channels_last' or 'channels_first', not {self.data_format!r}")
        if len(self.image_shape) != 3 or min(self.image_shape) < 1:
            raise SourceError(f"image_shape must be three positive numbers, not {self.image_shape}")
        if is_exact(self.dtype) != isinstance(self.moments, IntegerMoments):
            raise SourceError(f"{type(self.moments).__name__} are not the moments of {self.dtype} images")
        if self.moments.channels != self.channels:
            raise SourceError(
                f"images of shape {self.image_shape} ({self.data_format}) have {self.channels} channels, and the "
                f"moments are of {self.moments.channels}"
            )
        if self.moments.samples < 1 or self.moments.pixels * self.channels != self.samples * math.prod(
            self.image_shape
        ):
            raise SourceError(
                f"{self.moments.samples} images of shape {self.image_shape} cannot have "
                f"{self.moments.pixels} pixels in each channel"
            )
        if self.rescale is not None and not (np.isfinite(self.rescale) and self.rescale):
            raise SourceError(f"rescale must be None or a finite number other than 0, not {self.rescale}")
        if self.whitening is not None and self.whitening.features != math.prod(self.image_shape):
            raise SourceError(
                f"images of shape {self.image_shape} have {math.prod(self.image_shape)} values, and the whitening is "
                f"for {self.whitening.features}"
            )

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.image_shape[2 if self.data_format == "channels_last" else 0]

    @property
    def samples(self) -> int:
        """Number of images."""
        return self.moments.samples

    @property
    def pixels(self) -> int:
        """Number of pixels in each channel, over all images."""
        return self.moments.pixels

    @functools.cached_property
    def mean(self) -> Vector:
        """Mean of each channel of the rescaled images, (c,) float64, read-only."""
        return _readonly(self.moments.mean * self._factor)

    @functools.cached_property
    def std(self) -> Vector:
        """Population standard deviation of each channel of the rescaled images, (c,) float64, read-only."""
        return _readonly(np.sqrt(self.moments.variance) * abs(self._factor))

    @property
    def minimum(self) -> Vector:
        """Smallest value of each channel of the images as read, (c,) float64."""
        return np.array(self.moments.low, np.float64)

    @property
    def maximum(self) -> Vector:
        """Largest value of each channel of the images as read, (c,) float64."""
        return np.array(self.moments.high, np.float64)

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of the content, 64 hexadecimal digits: the same on every machine, whatever file it came from."""
        return archive.digest(*_encode(self))

    @property
    def _factor(self) -> float:
        return 1.0 if self.rescale is None else self.rescale

    def __eq__(self, other: object) -> bool:
        return self.digest == other.digest if isinstance(other, Statistics) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        size = "×".join(map(str, self.image_shape))
        parts = [f"{self.samples:,} images of {size} {self.dtype}, {self.data_format}"]
        if self.rescale is not None:
            parts.append(f"rescaled by {self.rescale:.6g}")
        parts += [f"mean {_short(self.mean)}", f"std {_short(self.std)}"]
        if self.whitening is not None:
            rank, features = self.whitening.rank, self.whitening.features
            parts.append(f"ZCA of rank {rank:,} in {features:,}, epsilon {self.whitening.epsilon:.6g}")
        return f"Statistics({'; '.join(parts)})"

    def merge(self, other: Statistics) -> Statistics:
        """Statistics of the images of both: exact for integer images, in float64 for others; also ``a + b``.

        Whitening cannot be merged and is dropped with a warning.

        Raises
        ------
        SourceError
            The images differ in shape, data format or dtype, or the rescaling differs.
        """
        for name in ("image_shape", "data_format", "dtype", "rescale"):
            ours, theirs = getattr(self, name), getattr(other, name)
            if ours != theirs:
                raise SourceError(f"statistics can be merged when their {name} is the same: {ours} and {theirs} differ")
        if self.whitening is not None or other.whitening is not None:
            warnings.warn(
                "ZCA whitening cannot be computed from the whitening of parts: the merged statistics have none. "
                "Fit on all images to whiten",
                stacklevel=2,
            )
        mine, others = self.moments, other.moments
        if isinstance(mine, IntegerMoments) and isinstance(others, IntegerMoments):
            return replace(self, moments=mine.merge(others), whitening=None)
        if isinstance(mine, FloatTotals) and isinstance(others, FloatTotals):
            return replace(self, moments=mine.merge(others), whitening=None)
        raise SourceError("exact statistics and float statistics cannot be merged")

    def __add__(self, other: object) -> Statistics:
        return self.merge(other) if isinstance(other, Statistics) else NotImplemented

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one NPZ file, which :func:`numpy.load` alone can read; it appears whole or not at all.

        Parameters
        ----------
        path : path
            Used as given; an existing file is replaced. The entries are ``mean`` and ``std`` (c,), ``minimum`` and
            ``maximum`` (c,), for float images ``raw_mean`` and ``raw_m2`` (c,) before rescaling, for whitened ones
            ``zca_u`` (d, rank) and ``zca_scale`` (rank,), all float64 (`zca_u` of more than 64 MiB in float32 lies
            beside the file, in the Zarr array ``PATH.directions.zarr``), and ``header``, a string of JSON: the counts,
            and for integer images the exact sums as decimal strings.
        """
        save_directions(self.whitening, Path(path))
        archive.write(Path(path), *_encode(self))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Statistics:
        """Read a file that :meth:`save` wrote and check every number in it.

        Raises
        ------
        FileNotFoundError
            There is no such file.
        StoreError
            It is no statistics file, of a version this release does not know, or damaged.
        """
        header, arrays = archive.read(Path(path))
        try:
            statistics = _decode(header, arrays, Path(path))
            # What can be computed from the rest must come out as it was read.
            agrees = statistics.digest == archive.digest(header, arrays)
        except (ArithmeticError, KeyError, TypeError, ValueError) as error:
            detail = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
            raise StoreError(f"{path} is no complete statistics file: {detail}. Fit again or restore it") from error
        if not agrees:
            raise StoreError(f"the numbers in {path} contradict each other. Fit again or restore it")
        return statistics


def _encode(statistics: Statistics) -> tuple[archive.Header, archive.Arrays]:
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
    if whitening is not None:
        entries, factors = encode_whitening(whitening)
        header |= entries
        arrays |= factors
    return header, arrays


def _decode(header: archive.Header, arrays: archive.Arrays, path: Path | None = None) -> Statistics:
    """Undo :func:`_encode`."""
    samples, pixels = int(header["samples"]), int(header["pixels"])
    low, high = arrays["minimum"], arrays["maximum"]
    moments: IntegerMoments | FloatTotals
    if is_exact(header["dtype"]):
        sums, squares = (tuple(map(int, header[name])) for name in ("sums", "sums_of_squares"))
        moments = IntegerMoments(samples, pixels, sums, squares, tuple(map(int, low)), tuple(map(int, high)))
    else:
        moments = FloatTotals(samples, pixels, arrays["raw_mean"], arrays["raw_m2"], low, high)
    whitening = None
    if header["zca_epsilon"] is not None:
        whitening = decode_whitening(header, arrays, path)
    height, width, depth = header["image_shape"]
    return Statistics(
        (height, width, depth), header["data_format"], header["dtype"], moments, header["rescale"], whitening
    )


def _readonly(values: Vector) -> Vector:
    values.flags.writeable = False
    return values


def _short(values: Any) -> str:
    """Few enough digits of a few channels to read."""
    shown = ", ".join(f"{value:.6g}" for value in values[:4])
    return f"[{shown}{', …' if len(values) > 4 else ''}]"
