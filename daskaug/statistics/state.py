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

from daskaug.errors import ConfigError, SourceError, StoreError
from daskaug.statistics import archive, encoding, exports
from daskaug.statistics.content import Content, Part, probe_of, probe_rows
from daskaug.statistics.histogram import Histogram
from daskaug.statistics.moments import FloatMoments, IntegerMoments, Moments
from daskaug.statistics.numbers import Numbers
from daskaug.statistics.totals import WeightedTotals
from daskaug.statistics.whitening import (
    Gram,
    channel_moments,
    components_of,
    gram_of,
    merge_grams,
    whitening_from_gram,
    withdraw_gram,
)
from daskaug.statistics.whitening.entries import save_directions


@dataclass(frozen=True, eq=False, repr=False)
class Statistics(Numbers):
    """Statistics of a set of images: channel moments and, where asked for, ZCA whitening.

    Two objects are equal when every number in them is; which data the numbers are of (`seen`) is not compared.

    Parameters
    ----------
    image_shape : tuple of int
        Shape of an image as stored: (h, w, c) or (c, h, w).
    data_format : str
        ``"channels_last"`` or ``"channels_first"``.
    dtype : str
        Of the images as they were reduced.
    moments : IntegerMoments, FloatTotals or WeightedTotals
        Counts, sums and extremes of the images as read, before any rescaling.
    rescale : float or None
        Factor that `mean`, `std` and `whitening` take into account.
    whitening : Whitening or None
        For images that are rescaled and centred by `mean`.
    histogram : Histogram or None
        Exact counts of the values of the images as read, where they were asked for.
    gram : IntegerGram or FloatGram or None
        Second moments of all pairs of values of an image as read, (d, d), where they were kept: what whitening can be
        computed from.
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

    def merge(self, other: Statistics) -> Statistics:
        """Statistics of the images of both: exact for integer images, in float64 for others; also ``a + b``.

        Whitening and intervals cannot be merged and are dropped, the former with a warning: from Gram matrices, which
        are merged, :meth:`whiten` computes it again. A histogram or (with a warning) a Gram matrix that only one of
        them has is dropped too.

        Parameters
        ----------
        other : Statistics
            Of other images.

        Returns
        -------
        Statistics
            Of all of them.

        Raises
        ------
        SourceError
            The images differ in shape, data format or dtype, or the rescaling differs.
        """
        self._check_alike(other, "merged")
        self._warn_of_dropped(other)
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
            gram=None if self.gram is None or other.gram is None else merge_grams(self.gram, other.gram),
            seen=tuple(sorted(seen, key=lambda part: part.content.digest)),
            range_is_bound=self.range_is_bound or other.range_is_bound,
            is_complete=self.is_complete and other.is_complete,
            interval=None,
        )

    def withdraw(self, other: Statistics) -> Statistics:
        """Statistics without the images of `other`, which were merged into these or are some of them; also ``a - b``.

        Counts, sums, histogram and Gram matrix of integer images are exact: ``a + b - b`` has those of ``a`` bit for
        bit. For other images it is float64 arithmetic, and loses digits the less is left. Whitening is dropped with a
        warning, as by :meth:`merge`.

        The range is exact where a histogram tells it, where the data that were seen together are withdrawn together, or
        where the range of `other` lies within; otherwise it stays, as a bound (`range_is_bound`).

        Parameters
        ----------
        other : Statistics
            Of some of the images.

        Returns
        -------
        Statistics
            Of the others.

        Raises
        ------
        SourceError
            The images differ in shape, data format or dtype, or the rescaling differs; those of `other` cannot have
            been among these; or none is left.
        """
        self._check_alike(other, "withdrawn")
        self._warn_of_dropped(other)
        moments = _both("withdraw", self.moments, other.moments)
        gram: Gram | None = None
        if self.gram is not None and other.gram is not None:
            gram = withdraw_gram(self.gram, other.gram)
        ours, theirs = self.histogram, other.histogram
        histogram = None if ours is None or theirs is None else ours.withdraw(theirs)
        seen = self._seen_without(other)
        moments, bound = self._range_without(other, moments, histogram, seen)
        return replace(
            self,
            moments=moments,
            whitening=None,
            histogram=histogram,
            gram=gram,
            seen=seen,
            range_is_bound=bound,
            interval=None,
        )

    def _seen_without(self, other: Statistics) -> tuple[Part, ...]:
        """What was seen and is left, where everything that is withdrawn was seen by itself."""
        if not other.seen or not all(part in self.seen for part in other.seen):
            return ()
        left = list(self.seen)
        for part in other.seen:
            left.remove(part)
        return tuple(left)

    def _range_without(
        self, other: Statistics, moments: Moments, histogram: Histogram | None, seen: tuple[Part, ...]
    ) -> tuple[Moments, bool]:
        """The moments that are left with their range, and whether that is only a bound."""
        if histogram is not None:
            return _with_range(moments, *histogram.range()), False
        if seen:
            lows, highs = zip(*((part.low, part.high) for part in seen), strict=True)
            return _with_range(moments, tuple(map(min, *lows, lows[0])), tuple(map(max, *highs, highs[0]))), False
        low, high = np.array(moments.low), np.array(moments.high)
        inside = (np.array(other.moments.low) > low).all() and (np.array(other.moments.high) < high).all()
        return moments, self.range_is_bound or not inside

    def whiten(self, *, epsilon: float = 1e-6, components: float | None = None) -> Statistics:
        """The same with ZCA whitening, computed from the Gram matrix that was kept; no image is read.

        So images that were appended, or taken away, need no second look at the others.

        Parameters
        ----------
        epsilon : float
            Added to the singular values, as ``zca_epsilon`` of :class:`~daskaug.ImageDataGenerator`.
        components : int or float, optional
            How many directions are kept, as ``zca_components`` of its ``fit``; None: all.

        Returns
        -------
        Statistics
            Assigned to ``generator.statistics`` it is what the generator whitens with.

        Raises
        ------
        ConfigError
            There is no Gram matrix, or an argument cannot work.

        Notes
        -----
        Takes four d × d matrices of float64 beside the one that is kept, and some 18 · d³ flops.
        """
        rank, fraction = components_of(components)
        if not (isinstance(epsilon, float | int) and 0 <= epsilon < math.inf):
            raise ConfigError(f"`epsilon` must be a finite number, 0 or more. Received: epsilon={epsilon!r}.")
        if self.gram is None:
            raise ConfigError(
                "Whitening is computed from a Gram matrix, and these statistics have none. Fit with keep_gram=True, or "
                "with zca_whitening=True on all images."
            )
        whitening = whitening_from_gram(
            self.gram,
            self.moments.mean,
            self.image_shape,
            self.data_format,
            epsilon=epsilon,
            rescale=self._factor,
            rank=rank,
            fraction=fraction,
        )
        return replace(self, whitening=whitening)

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
        _check_readable(x)
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
            # Where pixels were left out, others may be; weights alone are no reason to.
            omit, weights = False, None
            if isinstance(self.moments, WeightedTotals):
                omit, weights = self.moments.omitted > 0, np.ones(len(images))
            moments = FloatMoments.partial(images, start, omit=omit, weights=weights).finalise()
        part = Part(Content.partial(block, start), tuple(moments.low), tuple(moments.high))
        histogram = None if self.histogram is None else Histogram.partial(images)
        return replace(
            self,
            moments=moments,
            histogram=histogram,
            gram=None if self.gram is None else gram_of(block),
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
            They are other images than those that the statistics were fitted on, or of another size. Of statistics that
            were merged it is not known which of the images these should be, and only their shape is compared.
        """
        _check_readable(x)
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

    def plot(self, x: Any = None) -> Any:
        """A figure of mean and deviation of each channel, with its histogram where the fit has counted one.

        Where there is whitening, the standard deviation along its directions is drawn as well.

        Parameters
        ----------
        x : (n, ...) array, or what :func:`daskaug.open_images` returns, optional
            Images as for :meth:`update`: up to 8 of them are read, and shown as they are and whitened (or, without
            whitening, standardised). Grey is then 0.

        Returns
        -------
        matplotlib.figure.Figure
            A notebook shows it, whether or not ``pyplot`` is used.

        Raises
        ------
        DaskaugError
            Where matplotlib is not installed.
        SourceError
            `x` is none, or of images that these statistics do not fit.
        """
        from daskaug.statistics.plotting import plot

        if x is not None:
            _check_readable(x)
        return plot(self, x)

    def _gram_agrees(self) -> bool:
        """Whether the Gram matrix and the sums of the channels can be of the same images."""
        if self.gram is None:
            return True
        mean, variance, scale = channel_moments(self.gram, self.image_shape, self.data_format)
        mean_agrees = np.abs(mean - self.moments.mean) <= 1e-6 * scale
        return bool((mean_agrees & (np.abs(variance - self.moments.variance) <= 1e-6 * scale**2)).all())

    def _check_alike(self, other: Statistics, verb: str) -> None:
        for name in ("image_shape", "data_format", "dtype", "rescale"):
            ours, theirs = getattr(self, name), getattr(other, name)
            if ours != theirs:
                raise SourceError(f"statistics can be {verb} when their {name} is the same: {ours} and {theirs} differ")

    def _warn_of_dropped(self, other: Statistics) -> None:
        """Say what the combined statistics will lack, and how to have it."""
        both = self.gram is not None and other.gram is not None
        if self.whitening is not None or other.whitening is not None:
            way = "Call whiten() on them: they keep a Gram matrix"
            if not both:
                way = "Fit on all images to whiten, or fit each part with keep_gram=True: then they have whiten()"
            warnings.warn(
                f"ZCA whitening cannot be computed from the whitening of parts: the new statistics have none. {way}",
                stacklevel=3,
            )
        elif not both and (self.gram is not None or other.gram is not None):
            warnings.warn(
                "only one of the statistics has a Gram matrix, and the new ones have none. Fit both with "
                "keep_gram=True to keep it",
                stacklevel=3,
            )

    def __add__(self, other: object) -> Statistics:
        return self.merge(other) if isinstance(other, Statistics) else NotImplemented

    def __sub__(self, other: object) -> Statistics:
        return self.withdraw(other) if isinstance(other, Statistics) else NotImplemented

    def to_json(self) -> str:
        """The numbers as plain JSON, without the whitening's factors. Exact sums are integers of any length.

        Returns
        -------
        str
            An object with sorted names.
        """
        return json.dumps(exports.as_json(self), sort_keys=True)

    def to_keras(self) -> dict[str, Any]:
        """Arguments of a Keras layer that standardises: ``keras.layers.Normalization(**statistics.to_keras())``.

        The layer divides by the standard deviation itself, where :class:`~daskaug.ImageDataGenerator` adds 1e-6 to it.

        Returns
        -------
        dict
            ``axis``, and ``mean`` and ``variance``, a list of c numbers each.
        """
        return exports.for_keras(self)

    def to_torchvision(self) -> dict[str, list[float]]:
        """Arguments of a transform of torchvision: ``transforms.Normalize(**statistics.to_torchvision())``.

        For uint8 images without `rescale` they are those of images that ``ToTensor`` or
        ``ToDtype(torch.float32, scale=True)`` has divided by 255; for others, of the (rescaled) images as they are.

        Returns
        -------
        dict
            ``mean`` and ``std``, a list of c numbers each.
        """
        return exports.for_torchvision(self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one NPZ file, which :func:`numpy.load` alone can read; it appears whole or not at all.

        Parameters
        ----------
        path : path
            Used as given; an existing file is replaced. Among the entries are ``mean``, ``std``, ``minimum`` and
            ``maximum``, (c,) float64, and ``header``, a string of JSON; the guide to statistics lists them all. The
            directions of a whitening of more than 64 MiB in float32 lie beside the file, in the Zarr array
            ``PATH.directions.zarr``.
        """
        save_directions(self.whitening, Path(path))
        archive.write(Path(path), *encoding.encode(self))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Statistics:
        """Read a file that :meth:`save` wrote and check every number in it.

        Parameters
        ----------
        path : path
            Large directions of a whitening are looked for beside it, when they are needed.

        Returns
        -------
        Statistics
            Equal to what was saved.

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
            agrees = agrees and statistics._gram_agrees()
        except (ArithmeticError, KeyError, TypeError, ValueError) as error:
            detail = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
            raise StoreError(f"{path} is no complete statistics file: {detail}. Fit again or restore it") from error
        if not agrees:
            raise StoreError(f"the numbers in {path} contradict each other. Fit again or restore it")
        return statistics


def _check_readable(x: Any) -> None:
    if not isinstance(x, np.ndarray) and not hasattr(x, "plan"):
        raise SourceError(
            f"images must be a NumPy array, or what daskaug.open_images makes of paths and other arrays; found "
            f"{type(x).__name__}. Pass daskaug.open_images(x)"
        )


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
