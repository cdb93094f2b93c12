"""The fitted state of a generator, and the file that keeps it."""

from __future__ import annotations

import functools
import json
import math
import os
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskaug.errors import SourceError, StoreError
from daskaug.statistics import archive, encoding, exports
from daskaug.statistics.content import Content, Part, probe_of, probe_rows
from daskaug.statistics.histogram import Histogram
from daskaug.statistics.interval import Interval
from daskaug.statistics.moments import FloatMoments, IntegerMoments, Moments, WeightedTotals, is_exact
from daskaug.statistics.whitening import Whitening
from daskaug.statistics.whitening.entries import save_directions

Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class Statistics:
    """Statistics of a set of images: channel moments and, where asked for, ZCA whitening.

    Two objects are equal when every number in them is; which data the numbers are of (`seen`) is not compared.

    Parameters
    ----------
    image_shape : tuple of int
        Shape of an image as stored: (h, w, c) or (c, h, w).
    data_format : str
        ``"channels_last"`` or ``"channels_first"``.
    dtype : str
        dtype that the images were reduced in.
    moments : IntegerMoments, FloatTotals or WeightedTotals
        Counts, sums and extremes of the images as read, before any rescaling.
    rescale : float or None
        Factor that `mean`, `std` and `whitening` take into account.
    whitening : Whitening or None
        For images that are rescaled and centred by `mean`.
    histogram : Histogram or None
        Exact counts of the values of the images as read, where they were asked for.
    seen : tuple of Part
        The data that the numbers are of; empty where nobody knows.
    range_is_bound : bool
        Whether `minimum` and `maximum` are only bounds, since images were withdrawn that may have had them.
    is_complete : bool
        False where fitting stopped early, within its tolerance.
    interval : Interval or None
        How sure `mean` and `std` then are.

    Raises
    ------
    SourceError
        The parts do not fit each other.
    """

    image_shape: tuple[int, int, int]
    data_format: str
    dtype: str
    moments: Moments
    rescale: float | None = None
    whitening: Whitening | None = None
    histogram: Histogram | None = None
    seen: tuple[Part, ...] = ()
    range_is_bound: bool = False
    is_complete: bool = True
    interval: Interval | None = None

    def __post_init__(self) -> None:
        """Check that the parts fit each other."""
        if self.data_format not in ("channels_last", "channels_first"):
            raise SourceError(f"data_format must be 'channels_last' or 'channels_first', not {self.data_format!r}")
        if len(self.image_shape) != 3 or min(self.image_shape) < 1:
            raise SourceError(f"image_shape must be three positive numbers, not {self.image_shape}")
        exact, weighted = isinstance(self.moments, IntegerMoments), isinstance(self.moments, WeightedTotals)
        if not weighted and is_exact(self.dtype) != exact:
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

    @property
    def mean_interval(self) -> Vector | None:
        """Confidence interval (95 %) of `mean`, (c, 2) float64; None where all images were read."""
        return None if self.interval is None else _around(self.mean, self.interval.mean * abs(self._factor))

    @property
    def std_interval(self) -> Vector | None:
        """Confidence interval (95 %) of `std`, (c, 2) float64; None where all images were read."""
        return None if self.interval is None else _around(self.std, self.interval.std * abs(self._factor))

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of all numbers, 64 hexadecimal digits: the same on every machine, whatever file it came from."""
        return archive.digest(*encoding.encode(replace(self, seen=())))

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
        if self.range_is_bound:
            parts.append("minimum and maximum are bounds")
        if not self.is_complete:
            parts.append("fitted on a part")
        return f"Statistics({'; '.join(parts)})"

    def merge(self, other: Statistics) -> Statistics:
        """Statistics of the images of both: exact for integer images, in float64 for others; also ``a + b``.

        Whitening and intervals cannot be merged and are dropped, the former with a warning; a histogram that only one
        of them has is dropped too.

        Raises
        ------
        SourceError
            The images differ in shape, data format or dtype, or the rescaling differs.
        """
        self._check_alike(other, "merged")
        self._warn_of_whitening(other)
        digests = {part.content.digest for part in self.seen}
        twice = [part for part in other.seen if part.content.digest in digests]
        if twice:
            warnings.warn(
                f"{twice[0].content.rows:,} images are in both of the statistics that are merged, and count twice",
                stacklevel=2,
            )
        ours, theirs = self.histogram, other.histogram
        seen = self.seen + other.seen if self.seen and other.seen else ()
        return replace(
            self,
            moments=_both("merge", self.moments, other.moments),
            whitening=None,
            histogram=None if ours is None or theirs is None else ours.merge(theirs),
            seen=tuple(sorted(seen, key=lambda part: part.content.digest)),
            range_is_bound=self.range_is_bound or other.range_is_bound,
            is_complete=self.is_complete and other.is_complete,
            interval=None,
        )

    def withdraw(self, other: Statistics) -> Statistics:
        """Statistics without the images of `other`, which were merged into these or are some of them; also ``a - b``.

        Counts, sums and the histogram of integer images are exact: ``a + b - b`` has those of ``a`` bit for bit. For
        other images it is float64 arithmetic, and loses digits the less is left. Whitening is dropped with a warning.

        The range is exact where a histogram tells it, where the data that were seen together are withdrawn together, or
        where the range of `other` lies within; otherwise it stays, as a bound (`range_is_bound`).

        Raises
        ------
        SourceError
            The images differ in shape, data format or dtype, or the rescaling differs; those of `other` cannot have
            been among these; or none is left.
        """
        self._check_alike(other, "withdrawn")
        self._warn_of_whitening(other)
        moments = _both("withdraw", self.moments, other.moments)
        ours, theirs = self.histogram, other.histogram
        histogram = None if ours is None or theirs is None else ours.withdraw(theirs)
        seen: tuple[Part, ...] = ()
        left = list(self.seen)
        if other.seen and all(part in left for part in other.seen):
            for part in other.seen:
                left.remove(part)
            seen = tuple(left)
        low, high = np.array(moments.low), np.array(moments.high)
        inside = (np.array(other.moments.low) > low).all() and (np.array(other.moments.high) < high).all()
        bound = self.range_is_bound
        if histogram is not None:
            moments, bound = _with_range(moments, *histogram.range()), False
        elif seen:
            lows, highs = zip(*((part.low, part.high) for part in seen), strict=True)
            moments = _with_range(moments, tuple(map(min, *lows, lows[0])), tuple(map(max, *highs, highs[0])))
            bound = False
        elif not inside:
            bound = True
        return replace(
            self, moments=moments, whitening=None, histogram=histogram, seen=seen, range_is_bound=bound, interval=None
        )

    def update(self, x: Any) -> Statistics:
        """Statistics of these images and more; the same as merging with those of `x`.

        Parameters
        ----------
        x : (n, ...) array, or what :func:`daskaug.open_images` returns
            Images as these statistics were taken of them: of the same shape and dtype, and after the preprocessing
            function and samplewise normalising if there are any, but before rescaling. Read block by block in this
            thread; to read a large store with all workers, fit on it and merge.

        Returns
        -------
        Statistics
            Other objects of these statistics stay as they are.

        Raises
        ------
        SourceError
            The images differ in shape or dtype, are none, or have NaN or infinite pixels.
        """
        more: Statistics | None = None
        plan = [(0, len(x))] if isinstance(x, np.ndarray) else [(b.start, b.stop) for b in x.plan(0, x.shape[0])]
        for start, stop in plan:
            block = self._of_block(x if isinstance(x, np.ndarray) else x.read(start, stop), start)
            more = block if more is None else more.merge(block)
        if more is None:
            raise SourceError("there are no images to update with")
        content = functools.reduce(Content.merge, [part.content for part in more.seen])
        part = Part(content, tuple(more.moments.low), tuple(more.moments.high))
        return self.merge(replace(more, seen=(part,)))

    def _of_block(self, block: NDArray[Any], start: int) -> Statistics:
        """Statistics of the same kind of some more images."""
        if block.shape[1:] != self.image_shape or block.dtype.name != self.dtype:
            raise SourceError(
                f"the statistics are of {self.dtype} images of shape {self.image_shape}, and cannot be updated with "
                f"{block.dtype} of shape {block.shape[1:]}"
            )
        images = block if self.data_format == "channels_last" else block.transpose(0, 2, 3, 1)
        moments: Moments
        if isinstance(self.moments, IntegerMoments):
            moments = IntegerMoments.partial(images).finalise()
        else:
            omit = isinstance(self.moments, WeightedTotals)
            moments = FloatMoments.partial(images, start, omit=omit).finalise()
        part = Part(Content.partial(block, start), tuple(moments.low), tuple(moments.high))
        histogram = None if self.histogram is None else Histogram.partial(images)
        return replace(
            self,
            moments=moments,
            histogram=histogram,
            seen=(part,),
            range_is_bound=False,
            is_complete=True,
            interval=None,
            whitening=None,
        )

    def check(self, x: Any) -> None:
        """Compare with images that these statistics are going to be used on.

        Parameters
        ----------
        x : (n, ...) array, or what :func:`daskaug.open_images` returns
            Up to 16 images of it are read.

        Raises
        ------
        SourceError
            They have another number of channels, or another size where these statistics whiten.

        Warns
        -----
        UserWarning
            They are other images than those that the statistics were fitted on, or of another size.
        """
        shape = tuple(x.shape[1:])
        channels = shape[2 if self.data_format == "channels_last" else 0]
        fits = shape == self.image_shape if self.whitening is not None else channels == self.channels
        if not fits:
            raise SourceError(
                f"the statistics were fitted on images of shape {self.image_shape} ({self.data_format}), and cannot be "
                f"used on images of shape {shape}. Fit again on these"
            )
        if len(self.seen) != 1 or not self.seen[0].content.probe[0]:
            return
        content = self.seen[0].content
        layout = Content.identity(shape, x.dtype.name).layout
        rows = probe_rows(x.shape[0])[: content.probe[0]]
        images = x[rows] if isinstance(x, np.ndarray) else x.take(rows)
        if layout != content.layout or probe_of(images, rows) != content.probe:
            warnings.warn(
                f"the statistics were fitted on other images ({content.rows:,} of {content.layout}, content "
                f"{content.digest[:12]}) than these ({x.shape[0]:,} of {layout}). Fit again, unless that is meant",
                stacklevel=2,
            )

    def _check_alike(self, other: Statistics, verb: str) -> None:
        for name in ("image_shape", "data_format", "dtype", "rescale"):
            ours, theirs = getattr(self, name), getattr(other, name)
            if ours != theirs:
                raise SourceError(f"statistics can be {verb} when their {name} is the same: {ours} and {theirs} differ")

    def _warn_of_whitening(self, other: Statistics) -> None:
        if self.whitening is not None or other.whitening is not None:
            warnings.warn(
                "ZCA whitening cannot be computed from the whitening of parts: the new statistics have none. "
                "Fit on all images to whiten",
                stacklevel=3,
            )

    def __add__(self, other: object) -> Statistics:
        return self.merge(other) if isinstance(other, Statistics) else NotImplemented

    def __sub__(self, other: object) -> Statistics:
        return self.withdraw(other) if isinstance(other, Statistics) else NotImplemented

    def to_json(self) -> str:
        """The numbers as plain JSON, without the whitening's factors. Exact sums are integers of any length."""
        return json.dumps(exports.as_json(self), sort_keys=True)

    def to_keras(self) -> dict[str, Any]:
        """Arguments of a Keras layer that standardises: ``keras.layers.Normalization(**statistics.to_keras())``.

        The layer divides by the standard deviation itself, where :class:`~daskaug.ImageDataGenerator` adds 1e-6 to it.
        """
        return exports.for_keras(self)

    def to_torchvision(self) -> dict[str, list[float]]:
        """Arguments of a transform of torchvision: ``transforms.Normalize(**statistics.to_torchvision())``.

        For uint8 images without `rescale` they are those of images that ``ToTensor`` or
        ``ToDtype(torch.float32, scale=True)`` has divided by 255; for others, of the (rescaled) images as they are.
        """
        return exports.for_torchvision(self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one NPZ file, which :func:`numpy.load` alone can read; it appears whole or not at all.

        Parameters
        ----------
        path : path
            Used as given; an existing file is replaced. The entries are ``mean`` and ``std`` (c,), ``minimum`` and
            ``maximum`` (c,), for float images ``raw_mean`` and ``raw_m2`` (c,) before rescaling, for whitened ones
            ``zca_u`` (d, rank) and ``zca_scale`` (rank,), all float64 (`zca_u` of more than 64 MiB in float32 lies
            beside the file, in the Zarr array ``PATH.directions.zarr``), and ``header``, a string of JSON: the counts,
            for integer images the exact sums as decimal strings, and hashes of the data that were seen. With a
            histogram there is also ``histogram`` (c, levels) int64, whose first column counts ``histogram_start``; for
            images whose pixels do not count alike ``weight`` (c,); after stopping early ``interval_mean`` and
            ``interval_std`` (c,), before rescaling.
        """
        save_directions(self.whitening, Path(path))
        archive.write(Path(path), *encoding.encode(self))

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
            statistics = cls(**encoding.decode(header, arrays, Path(path)))
            # What can be computed from the rest must come out as it was read.
            agrees = archive.digest(*encoding.encode(statistics)) == archive.digest(header, arrays)
        except (ArithmeticError, KeyError, TypeError, ValueError) as error:
            detail = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
            raise StoreError(f"{path} is no complete statistics file: {detail}. Fit again or restore it") from error
        if not agrees:
            raise StoreError(f"the numbers in {path} contradict each other. Fit again or restore it")
        return statistics


def _both(verb: str, ours: Moments, theirs: Moments) -> Moments:
    """``ours.merge(theirs)`` or ``ours.withdraw(theirs)`` of moments of one kind."""
    if type(ours) is not type(theirs):
        raise SourceError(
            "statistics can be combined when they were taken in the same way, and these hold "
            f"{type(ours).__name__} and {type(theirs).__name__}. Use the same dtype, nan_policy and sample_weight"
        )
    combined: Moments = getattr(ours, verb)(theirs)
    return combined


def _with_range(moments: Moments, low: tuple[Any, ...], high: tuple[Any, ...]) -> Moments:
    if isinstance(moments, IntegerMoments):
        return replace(moments, low=low, high=high)
    return replace(moments, low=np.array(low), high=np.array(high))


def _around(centre: Vector, half_width: Vector) -> Vector:
    return np.stack([centre - half_width, centre + half_width], axis=1)


def _readonly(values: Vector) -> Vector:
    values.flags.writeable = False
    return values


def _short(values: Any) -> str:
    """Few enough digits of a few channels to read."""
    shown = ", ".join(f"{value:.6g}" for value in values[:4])
    return f"[{shown}{', …' if len(values) > 4 else ''}]"
