"""The first sink: statistics over a source."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike

from daskaug import seeding
from daskaug.errors import ConfigError, SourceError
from daskaug.generator.flows import Flows
from daskaug.progress import Progress

if TYPE_CHECKING:
    from daskaug.execution.reducing import Running
    from daskaug.fit_plan import FitPlan
    from daskaug.sources import Source
    from daskaug.statistics.whitening import WhiteningPlan


class Fits(Flows):
    """Fitting mean, std and ZCA whitening, and planning it."""

    def fit(
        self,
        x: Any,
        augment: bool = False,
        rounds: int = 1,
        seed: int | None = None,
        *,
        nan_policy: str = "raise",
        sample_weight: ArrayLike | None = None,
        histogram: bool = False,
        tolerance: float | None = None,
        checkpoint: str | Path | None = None,
        memory_budget: int | None = None,
        progress: Progress = None,
        monitor: Callable[[Running], None] | None = None,
        keep_gram: bool = False,
        zca_route: str | None = None,
        zca_components: float | None = None,
        zca_store: str | Path | None = None,
    ) -> Self:
        """Fit mean, std and ZCA whitening, whichever the options need, reading the images block by block.

        Parameters
        ----------
        x : array, Zarr array, dask array, path, URL or iterator made by a `flow` method
            Images of rank 4. An iterator stands for the images it iterates over.
        augment : bool
            Fit on augmented images.
        rounds : int
            With `augment`: how many epochs of augmented images.
        seed : int, optional
            With `augment`: the draws are those of ``flow(..., seed=seed)`` in its first `rounds` epochs. With
            `tolerance`: the order of the blocks.
        nan_policy : {"raise", "omit"}
            What NaN and infinite pixels are: an error that names the first image and their number, or left out, each
            in its own channel; ``statistics.moments.omitted`` is how many.
        sample_weight : (n,) array-like, optional
            How much each image of the source counts, 0 or more; weighted sums are float64. Weights of an iterator are
            not taken: pass them.
        histogram : bool
            Count the values of each channel as well (``statistics.histogram``); exact, for 8- and 16-bit integers.
        tolerance : float, optional
            Read the blocks in random order, and stop as soon as mean and std of every channel are known to within so
            many standard deviations, with 95 % confidence: ``statistics.is_complete`` is False then, and
            ``statistics.mean_interval`` says how near. None reads everything.
        checkpoint : path, optional
            Keep what has been summed in this file, every few seconds and at the end. A fit with the same data and
            options that finds it goes on from there, and gives the same bits as one that was never interrupted. Left
            beside the data, it makes a fit after appending read only the new images. With `zca_whitening` for
            ``zca_route="features"`` alone; the file then has 8 · d² bytes, twice that while it is being written, and is
            written less often the larger it is. Of float images, products have the same bits if the blocks are the
            same, which depend on the number of cores; mean and std always do.
        memory_budget : int, optional
            Bytes that the blocks in work may take in each process, 2 GiB by default; with `zca_whitening` or
            `keep_gram`, what these take as well, 8 GB by default.
        progress : bool or callable, optional
            True: show it on the terminal, in the notebook, or as lines of a log. A function is called as
            ``progress(images done, images in all)`` after each block.
        monitor : callable, optional
            Called with an object that has `samples`, `of_samples`, `mean`, `std` and `interval` so far, before
            rescaling, after each block.
        keep_gram : bool
            Keep the second moments of all pairs of values, d × d, in ``statistics.gram``, with or without
            `zca_whitening`. They are merged and withdrawn with the other sums, and ``statistics.whiten()`` makes a
            whitening of them without reading an image.
        zca_route : {"features", "samples", "randomized"}, optional
            How whitening is computed, see :meth:`plan_zca`. None: the cheapest way that fits.
        zca_components : int or float, optional
            An integer: keep at most so many directions. A float up to 1: as few as hold this share of the variance.
            None: all of them where a matrix of d × d float64 stays below 1 GiB, or else the 128 strongest.
        zca_store : path or URL, optional
            A Zarr array for the directions of the whitening. Without it more than 64 MiB of them (in float32) lie in a
            temporary folder for as long as this process uses them; workers on other machines need a place that they
            see too.

        Returns
        -------
        Self
            Itself.

        Raises
        ------
        SourceError
            For data that are no images of rank 4, or no images at all.
        ConfigError
            For bad arguments, and where chunks or whitening do not fit in `memory_budget`: before anything is read.
        StoreError
            Where `zca_store` or `checkpoint` holds something else.

        Notes
        -----
        Sums over integer images are exact; for floats they are added along a tree that depends on the sample index
        alone. Either way the result has the same bits for any chunking and any number of workers.
        """
        from daskaug.fit_plan import FitOptions
        from daskaug.fitting import fit_statistics
        from daskaug.iterators import warn_about_channels
        from daskaug.whitening_fit import WhiteningOptions

        source, rows, ids = self._fit_input(x, rounds)
        warn_about_channels(source.shape, self.config.data_format, "`.fit()`")
        statistics = fit_statistics(
            source,
            self.config,
            self.block_transform,
            rows=rows,
            ids=ids,
            augment=bool(augment),
            rounds=int(rounds),
            seed=None if seed is None else seeding.check_seed(seed),
            options=FitOptions(
                nan_policy=nan_policy,
                sample_weight=sample_weight,
                tolerance=tolerance,
                checkpoint=checkpoint,
                histogram=bool(histogram),
                keep_gram=bool(keep_gram),
                memory_budget=memory_budget,
                progress=progress,
                monitor=monitor,
            ),
            zca=WhiteningOptions(zca_route, zca_components, memory_budget, zca_store),
        )
        self.statistics = statistics
        self._assigned.clear()
        return self

    def plan_fit(
        self,
        x: Any,
        augment: bool = False,
        rounds: int = 1,
        *,
        tolerance: float | None = None,
        checkpoint: str | Path | None = None,
        memory_budget: int | None = None,
        keep_gram: bool = False,
        zca_route: str | None = None,
        zca_components: float | None = None,
    ) -> FitPlan:
        """What :meth:`fit` would do; no image is read.

        Parameters
        ----------
        x, augment, rounds, tolerance, checkpoint, memory_budget, keep_gram, zca_route, zca_components
            As for :meth:`fit`.

        Returns
        -------
        FitPlan
            Blocks, bytes, tasks at a time and projected memory, and where the options whiten, how
            (:meth:`plan_zca`); printed it is a few lines.

        Raises
        ------
        ConfigError
            Where :meth:`fit` would refuse.
        """
        from daskaug.fit_plan import FitOptions
        from daskaug.fitting import plan_fit
        from daskaug.whitening_fit import WhiteningOptions

        source, rows, ids = self._fit_input(x, rounds)
        return plan_fit(
            source,
            self.config,
            rows=rows,
            ids=ids,
            augment=bool(augment),
            rounds=int(rounds),
            options=FitOptions(
                tolerance=tolerance, checkpoint=checkpoint, memory_budget=memory_budget, keep_gram=bool(keep_gram)
            ),
            zca=WhiteningOptions(zca_route, zca_components, memory_budget),
        )

    def plan_zca(
        self,
        x: Any,
        augment: bool = False,
        rounds: int = 1,
        *,
        zca_route: str | None = None,
        zca_components: float | None = None,
        memory_budget: int | None = None,
    ) -> WhiteningPlan:
        """How :meth:`fit` would compute ZCA whitening, and what that takes; no image is read.

        Parameters
        ----------
        x, augment, rounds, zca_route, zca_components, memory_budget
            As for :meth:`fit`.

        Returns
        -------
        WhiteningPlan
            Route, rank, passes, bytes, flops, memory, expected time, and the price of applying the whitening; printed
            it is a sentence.

        Raises
        ------
        ConfigError
            Where :meth:`fit` would refuse.

        Notes
        -----
        ``"features"`` takes the second moment of the pixels, d × d, in one pass. ``"samples"`` takes the products of
        the images with each other, n × n, in as many passes as `memory_budget` makes necessary. Both are exact but for
        rounding. ``"randomized"`` finds the strongest directions of many large images by subspace iteration from
        random signs, keyed by `seed`, and tells how good they are: ``statistics.whitening.captured`` and ``.error``.

        References
        ----------
        Halko, Martinsson, Tropp, "Finding structure with randomness", SIAM Review 53 (2011), for ``"randomized"``.
        """
        from daskaug.fit_plan import FitOptions
        from daskaug.fitting import plan_fit
        from daskaug.whitening_fit import WhiteningOptions

        source, rows, ids = self._fit_input(x, rounds)
        plan = plan_fit(
            source,
            self.config.replace(zca_whitening=True),
            rows=rows,
            ids=ids,
            augment=bool(augment),
            rounds=int(rounds),
            options=FitOptions(memory_budget=memory_budget),
            zca=WhiteningOptions(zca_route, zca_components, memory_budget),
        ).whitening
        if plan is None:
            raise ConfigError('compat="keras" whitens in the one way that Keras knows; there is nothing to plan.')
        return plan

    def _fit_input(self, x: Any, rounds: int) -> tuple[Source, tuple[int, int], Any]:
        from daskaug.iterators import SourceIterator, sample_ids
        from daskaug.sources import open_images

        if not isinstance(rounds, int | np.integer) or isinstance(rounds, bool) or rounds < 1:
            raise ConfigError(f"`rounds` must be an integer, 1 or more. Received: rounds={rounds!r}.")
        if isinstance(x, SourceIterator):
            source, rows, ids = x.source, x._rows, x.columns.ids
        else:
            source = open_images(x)
            rows, ids = (0, source.shape[0]), sample_ids(None, source.shape[0])
        if rows[1] - rows[0] == 0:
            raise SourceError(
                f"There is nothing to fit on: `x` has shape {tuple(source.shape)} and rows {rows[0]} to {rows[1]} of "
                "it were asked for. At least one image is needed."
            )
        return source, rows, ids
