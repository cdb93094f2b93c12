"""What a generator has fitted, or was given."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from daskaug.errors import ConfigError, NotFittedError
from daskaug.generator.options import Options
from daskaug.statistics import Statistics
from daskaug.transforms.block import FittedArrays
from daskaug.transforms.whitening import Factors, allows_matrix


class Fitted(Options):
    """Statistics of a generator: settable, checked, saved and loaded."""

    @property
    def mean(self) -> NDArray[Any] | None:
        """Mean of each channel after rescaling, (1, 1, c) or (c, 1, 1) float64; None before :meth:`fit`."""
        return self._statistic("mean", self.config.featurewise_center)

    @mean.setter
    def mean(self, value: ArrayLike | None) -> None:
        self._assigned["mean"] = _checked_statistic("mean", value)

    @property
    def std(self) -> NDArray[Any] | None:
        """Deviation of each channel after rescaling, (1, 1, c) or (c, 1, 1) float64; None before :meth:`fit`."""
        return self._statistic("std", self.config.featurewise_std_normalization)

    @std.setter
    def std(self, value: ArrayLike | None) -> None:
        self._assigned["std"] = _checked_statistic("std", value)

    @property
    def zca_whitening_matrix(self) -> NDArray[Any] | None:
        """ZCA matrix for flattened images, (d, d); None before :meth:`fit`.

        Raises
        ------
        ConfigError
            Where it is too large to be made. Its factors are in ``statistics.whitening``.
        """
        if "zca_whitening_matrix" in self._assigned:
            return self._assigned["zca_whitening_matrix"]
        whitening = None if self.statistics is None else self.statistics.whitening
        if whitening is not None:
            if not allows_matrix(whitening.features):
                raise ConfigError(
                    f"`zca_whitening_matrix` would be a {whitening.features:,} × {whitening.features:,} matrix of "
                    f"{8 * whitening.features**2 / 1e9:,.1f} GB. Use its factors, `statistics.whitening.u` and "
                    "`.scale`: the matrix is (u * scale) @ u.T. The generator itself needs no matrix."
                )
            if self._made_matrix is None or self._made_matrix[0] is not whitening:
                matrix = whitening.matrix()
                matrix.flags.writeable = False  # the factors are what is applied: assign another matrix instead
                self._made_matrix = whitening, matrix
            return self._made_matrix[1]
        return None

    @zca_whitening_matrix.setter
    def zca_whitening_matrix(self, value: ArrayLike | None) -> None:
        matrix = _checked_statistic("zca_whitening_matrix", value)
        if matrix is not None and (matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]):
            raise ConfigError(
                "`zca_whitening_matrix` must be square, (d, d) with d = height * width * channels; "
                f"found shape {matrix.shape}."
            )
        self._assigned["zca_whitening_matrix"] = matrix

    def _statistic(self, name: str, is_used: bool) -> NDArray[Any] | None:
        from daskaug.fitting import as_image_shape

        if name in self._assigned:
            return self._assigned[name]
        if self.statistics is None or not is_used:
            return None
        return as_image_shape(getattr(self.statistics, name), self.config)

    def save(self, path: str | Path) -> None:
        """Write the fitted statistics to one file (NPZ, readable with NumPy alone).

        Parameters
        ----------
        path : path
            An existing file is replaced, as a whole.

        Raises
        ------
        NotFittedError
            Where there are none.
        ConfigError
            Where some were assigned, which a file of what was fitted does not hold.
        """
        if self._assigned:
            raise ConfigError(
                f"{', '.join(sorted(self._assigned))} were assigned and not fitted, and a file of statistics holds "
                "what was fitted. Save the arrays themselves (numpy.savez), or fit again."
            )
        if self.statistics is None:
            raise NotFittedError(f"There is nothing to save to {path}: call `datagen.fit(x)` first.")
        self.statistics.save(path)

    def load(self, path: str | Path, x: Any = None) -> Self:
        """Take the statistics that :meth:`save` wrote.

        Parameters
        ----------
        path : path
        x : array, Zarr array, dask array, path, URL or iterator made by a `flow` method, optional
            Images that they are going to be used on, to compare: up to 16 of them are read.

        Returns
        -------
        Self
            Itself.

        Raises
        ------
        ConfigError
            They were fitted with another data format or rescaling than this generator has.
        SourceError
            `x` has another number of channels, or another size where the statistics whiten.

        Warns
        -----
        UserWarning
            They were fitted on other images than `x`.
        """
        statistics = Statistics.load(path)
        for name in ("data_format", "rescale"):
            there, here = getattr(statistics, name), getattr(self.config, name) or None
            # Integer images are reduced raw and the factor noted; others may have been rescaled before they were.
            unknown = name == "rescale" and there is None and not np.issubdtype(statistics.dtype, np.integer)
            if there != here and not unknown:
                raise ConfigError(
                    f"The statistics in {path} were fitted with {name}={there!r}, and this generator has "
                    f"{name}={here!r}: they would be wrong for its images. Use the same option, or fit again."
                )
        if x is not None:
            from daskaug.sources import open_images

            statistics.check(open_images(getattr(x, "source", x)))
        self.statistics = statistics
        self._assigned.clear()
        return self

    @property
    def _fitted(self) -> FittedArrays:
        return FittedArrays(self.mean, self.std, self._fitted_whitening)

    @property
    def _fitted_whitening(self) -> NDArray[Any] | Factors | None:
        """What is applied: what was assigned, Keras' own matrix where that is asked for, or else the factors."""
        whitening = None if self.statistics is None else self.statistics.whitening
        if whitening is None or "zca_whitening_matrix" in self._assigned or self.config.compat == "keras":
            return self.zca_whitening_matrix
        return whitening.factors


def _checked_statistic(name: str, value: ArrayLike | None) -> NDArray[Any] | None:
    if value is None:
        return None
    array = np.asarray(value)
    if array.dtype.kind not in "biuf" or not np.isfinite(array).all():
        raise ConfigError(f"`{name}` must be finite numbers; found {array.dtype} of shape {array.shape}.")
    return array
