"""Images in, transformed images out: the whole chain of operations for a block of samples."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskaug import seeding, stopping
from daskaug.config import Config
from daskaug.errors import ConfigError, NotFittedError
from daskaug.kernels import images as kernels
from daskaug.seeding import Operation
from daskaug.stages import offer, stage
from daskaug.transforms import like_keras
from daskaug.transforms.affine import matrices
from daskaug.transforms.draws import Draws, draw, draw_like_keras
from daskaug.transforms.whitening import Factors, Whitener

STD_EPSILON = 1e-6
"""Added to a standard deviation before dividing by it, as in Keras."""


@dataclasses.dataclass(frozen=True, eq=False)
class FittedArrays:
    """The statistics that standardising applies.

    Attributes
    ----------
    mean, std : array or None
        Of any shape that broadcasts to an image; (1, 1, c) or (c, 1, 1) when fitted.
    whitening : (d, d) array, Factors or None
        ZCA matrix for images flattened in their data format, ``d = height * width * channels``, or its factors.
    """

    mean: NDArray[Any] | None = None
    std: NDArray[Any] | None = None
    whitening: NDArray[Any] | Factors | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class BlockTransform:
    """Augments and standardises blocks of images; pure, and small enough to travel with a task.

    The order is Keras': affine, channel shift, flips, brightness; then, for standardising, the preprocessing function,
    rescale, samplewise centre and std, featurewise centre and std, ZCA.

    Attributes
    ----------
    config : Config
    fitted : FittedArrays
    seed : int
        Of the draws.
    augment, standardize : bool
        Which of the two halves is done.
    """

    config: Config
    fitted: FittedArrays = FittedArrays()
    seed: int = 0
    augment: bool = True
    standardize: bool = True

    def __call__(
        self,
        block: NDArray[Any],
        ids: NDArray[Any],
        epoch: int,
        *,
        draws: Draws | None = None,
    ) -> NDArray[Any]:
        """Transform samples.

        Parameters
        ----------
        block : (b, h, w, c) or (b, c, h, w), by the data format
            Images of any real dtype, in their own value range. Not changed.
        ids : (b,) integers
            Sample ids, which key the draws.
        epoch : int
            Keys the draws.
        draws : Draws, optional
            Parameters to apply instead of drawn ones.

        Returns
        -------
        (b, ...) array
            Of the configuration's dtype.
        """
        with stage("transform", len(block), block.nbytes):
            out = self._transformed(block, ids, epoch, draws)
        offer(out, ids, epoch, self.config.data_format)
        return out

    def _transformed(self, block: NDArray[Any], ids: NDArray[Any], epoch: int, draws: Draws | None) -> NDArray[Any]:
        out = np.empty(block.shape, self.work_dtype)
        if len(block) == 0:
            return out.astype(self.config.dtype)
        if self.config.compat == "keras":
            block = block.astype(self.work_dtype, copy=False)  # before anything else, as Keras does
        images, view = self._channels_last(block), self._channels_last(out)
        if self.augment and draws is None:
            draws = self.draws_of(block.shape[1:], ids, epoch)
        fused = self._standardization if self._is_fused else None
        self._augment(images, draws, fused, block.dtype, view)
        if self.standardize and self.config.compat == "keras":
            fitted = self.fitted
            like_keras.standardize_block(out, draws, self.config, fitted.mean, fitted.std, fitted.whitening)
        elif self.standardize and fused is None:
            out = self._standardize(out, ids, epoch)
        return self._to_output(out)

    def draws_of(self, image_shape: tuple[int, ...], ids: NDArray[Any], epoch: int) -> Draws:
        """The parameters of some samples.

        Parameters
        ----------
        image_shape : (h, w, c) or (c, h, w), by the data format
        ids : (b,) integers
        epoch : int
        """
        return draw(self.config, self.config.size_of(image_shape), self.seed, epoch, ids)

    def draw_like_keras(self, image_shape: tuple[int, ...], count: int, state: np.random.RandomState) -> Draws | None:
        """The parameters of the next `count` images of one shape, from Keras' stream of random numbers."""
        if not self.augment:
            return None
        size = self.config.size_of(image_shape)
        return Draws.from_dicts([draw_like_keras(self.config, size, state) for _ in range(count)])

    # --- augmenting ----------------------------------------------------------------------------------------------

    def _augment(
        self,
        images: NDArray[Any],
        draws: Draws | None,
        standardization: kernels.Standardization | None,
        dtype: np.dtype[Any],
        out: NDArray[Any],
    ) -> None:
        """images : (b, h, w, c) view.  out : (b, h, w, c) view, float32 or float64, is filled."""
        config, index = self.config, np.arange(len(images))
        options: dict[str, Any] = {"resampling": self._resampling, "standardization": standardization}
        if draws is None:
            kernels.transform_images(images, index, out=out, **options)
            return
        find_matrices = like_keras.matrices if config.compat == "keras" else matrices
        grid = find_matrices(draws, (images.shape[1], images.shape[2]))
        if grid is not None and config.interpolation_order > 1:
            warped = np.empty_like(out)
            kernels.affine_spline(
                images, index, grid, config.interpolation_order, config.fill_mode, config.cval, out=warped
            )
            images, grid = warped, None
        brightness = draws.brightness
        if config.compat == "keras":
            brightness = None
        kernels.transform_images(
            images,
            index,
            matrices=grid,
            flips=_flips(draws),
            channel_shift=draws.channel_shift_intensity,
            brightness=brightness,
            value_range=self._value_range(dtype),
            out=out,
            **options,
        )
        if config.compat == "keras" and draws.brightness is not None:
            like_keras.brightness_shift(out, draws.brightness)

    def _value_range(self, dtype: np.dtype[Any]) -> tuple[float, float]:
        """What brightness clips to: the range of an integer source, nothing for floats unless the user says so."""
        if self.config.value_range is not None:
            return self.config.value_range
        if dtype.kind == "b":
            return 0.0, 1.0
        if dtype.kind in "iu":
            limits = np.iinfo(dtype)
            return float(limits.min), float(limits.max)
        return -np.inf, np.inf

    # --- standardising -------------------------------------------------------------------------------------------

    def _standardize(self, block: NDArray[Any], ids: NDArray[Any], epoch: int) -> NDArray[Any]:
        """block : (b, ...) float32 or float64 in the data format, changed in place where that is possible."""
        if self.config.preprocessing_function is not None:
            for i in range(len(block)):
                stopping.check()
                block[i] = self._preprocess(block[i], int(ids[i]), epoch)
        return self.normalize(block)

    def normalize(self, block: NDArray[Any]) -> NDArray[Any]:
        """Everything of standardising that comes after the preprocessing function.

        Parameters
        ----------
        block : (b, ...) float32 or float64
            In the data format; changed in place (ZCA returns another array).

        Returns
        -------
        array of the same shape and dtype
        """
        self.check_fitted()
        kernels.standardize_images(self._channels_last(block), self._standardization)
        mean, std = self.fitted.mean, self.fitted.std
        if not self._is_per_channel:
            if self.config.featurewise_center and mean is not None:
                block -= mean.astype(block.dtype)
            if self.config.featurewise_std_normalization and std is not None:
                block /= std.astype(block.dtype) + block.dtype.type(STD_EPSILON)
        if self.config.zca_whitening and self.fitted.whitening is not None:
            block = self._whitening(block).astype(block.dtype, copy=False)
        return block

    @functools.cached_property
    def _whitening(self) -> Whitener:
        """Whitening in the dtype of the work, made once by a process and not sent along."""
        assert self.fitted.whitening is not None
        return Whitener(self.fitted.whitening, self.work_dtype)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_whitening"}

    def check_images(self, image_shape: tuple[int, ...]) -> None:
        """Refuse images that the statistics do not fit, before any work.

        Parameters
        ----------
        image_shape : (h, w, c) or (c, h, w), by the data format

        Raises
        ------
        ConfigError
            Naming the statistic, its shape and the images'.
        """
        if not self.standardize:
            return
        options = (
            ("mean", self.fitted.mean, self.config.featurewise_center),
            ("std", self.fitted.std, self.config.featurewise_std_normalization),
        )
        for name, statistic, is_used in options:
            if is_used and statistic is not None and not _broadcasts(statistic.shape, image_shape):
                raise ConfigError(
                    f"`{name}` has shape {statistic.shape}, which does not fit images of shape {tuple(image_shape)}. "
                    "Fit the generator on images of this shape, or assign one that broadcasts to it."
                )
        whitening, features = self.fitted.whitening, int(np.prod(image_shape))
        if self.config.zca_whitening and whitening is not None:
            size = whitening.features if isinstance(whitening, Factors) else whitening.shape[0]
            if size != features:
                raise ConfigError(
                    f"`zca_whitening_matrix` has shape ({size}, {size}); images of shape {tuple(image_shape)} need "
                    f"({features}, {features}). Fit the generator on images of this shape."
                )

    def _preprocess(self, image: NDArray[Any], sample_id: int, epoch: int) -> NDArray[Any]:
        function = self.config.preprocessing_function
        assert function is not None
        keyed = {}
        if self._preprocessing_takes_rng:
            keyed["rng"] = seeding.keyed_generator(self.seed, epoch, Operation.PREPROCESSING, sample_id)
        result = np.asarray(function(image, **keyed))
        if result.shape != image.shape:
            raise ConfigError(
                f"`preprocessing_function` returned an image of shape {result.shape} for one of shape {image.shape}; "
                "it must keep the shape. Resize the images before they come here."
            )
        return result

    def check_fitted(self) -> None:
        """Refuse to standardise without the statistics that an option needs; with ``compat="keras"`` only warn."""
        wanted = (
            ("featurewise_center", self.fitted.mean),
            ("featurewise_std_normalization", self.fitted.std),
            ("zca_whitening", self.fitted.whitening),
        )
        for option, found in wanted:
            if getattr(self.config, option) and found is None:
                if self.config.compat == "keras":
                    like_keras.warn_unfitted(option)
                    continue
                raise NotFittedError(
                    f"`{option}` is on, but this generator has not been fitted. "
                    "Add `datagen.fit(x)` before this line, or `datagen.load(path)` for statistics saved earlier."
                )

    @property
    def uses_blas(self) -> bool:
        """Whether applying it multiplies large matrices (asked by the executor)."""
        return self.standardize and self.config.zca_whitening

    @property
    def is_quick(self) -> bool:
        """Whether a sample takes less time than some lines of Python: no function of the user, spline or product."""
        config = self.config
        slow = config.preprocessing_function is not None or config.interpolation_order > 1 or self.uses_blas
        return not slow and config.compat is None

    # --- what the configuration comes to -------------------------------------------------------------------------

    @property
    def work_dtype(self) -> np.dtype[Any]:
        """float64 for float64 output and for integers that float32 cannot hold, else float32."""
        return np.dtype(np.float64 if self.config.dtype in ("float64", "int32", "uint32") else np.float32)

    @functools.cached_property
    def _resampling(self) -> kernels.Resampling:
        config = self.config
        order = min(config.interpolation_order, 1)
        return kernels.Resampling(order, config.fill_mode, config.cval, double=config.compat == "keras")

    @functools.cached_property
    def _is_per_channel(self) -> bool:
        """Whether mean and std are one number per channel, which the kernel applies in passing."""
        return all(a is None or self._per_channel(a) is not None for a in (self.fitted.mean, self.fitted.std))

    @functools.cached_property
    def _is_fused(self) -> bool:
        """Whether the kernel that augments can standardise in the same pass."""
        config = self.config
        plain = config.preprocessing_function is None and not config.zca_whitening and self._is_per_channel
        fuses = self.standardize and plain and config.compat is None
        if fuses:
            self.check_fitted()
        return fuses

    @functools.cached_property
    def _standardization(self) -> kernels.Standardization:
        config, dtype = self.config, self.work_dtype
        mean = std = None
        if self._is_per_channel:
            if config.featurewise_center and self.fitted.mean is not None:
                mean = self._per_channel(self.fitted.mean)
            if config.featurewise_std_normalization and self.fitted.std is not None:
                std = self._per_channel(self.fitted.std)
        return kernels.Standardization(
            rescale=config.rescale or None,
            samplewise_center=config.samplewise_center,
            samplewise_std=config.samplewise_std_normalization,
            mean=None if mean is None else mean.astype(dtype),
            divisor=None if std is None else std.astype(dtype) + dtype.type(STD_EPSILON),
        )

    def _per_channel(self, statistic: NDArray[Any]) -> NDArray[Any] | None:
        """(c,) numbers, or None where the statistic differs within a channel. A scalar is left to broadcasting."""
        axis = self.config.channel_axis - 1
        if statistic.ndim == 3 and statistic.size == statistic.shape[axis]:
            return statistic.reshape(-1)
        return None

    @functools.cached_property
    def _preprocessing_takes_rng(self) -> bool:
        function = self.config.preprocessing_function
        try:
            return function is not None and "rng" in inspect.signature(function).parameters
        except (TypeError, ValueError):  # built-ins without a signature
            return False

    def _channels_last(self, block: NDArray[Any]) -> NDArray[Any]:
        """View (b, h, w, c) of a block in the data format."""
        return block if self.config.data_format == "channels_last" else np.moveaxis(block, 1, 3)

    def _to_output(self, block: NDArray[Any]) -> NDArray[Any]:
        dtype = np.dtype(self.config.dtype)
        if block.dtype == dtype:
            return block
        if dtype.kind in "iu":
            return kernels.round_to_integer(block, dtype)
        return block.astype(dtype)


def _broadcasts(shape: tuple[int, ...], image_shape: tuple[int, ...]) -> bool:
    """Whether an array of this shape broadcasts to an image without changing the image's shape."""
    try:
        return np.broadcast_shapes(shape, tuple(image_shape)) == tuple(image_shape)
    except ValueError:
        return False


def _flips(draws: Draws) -> NDArray[np.bool_]:
    """(b, 2) bool: horizontal, vertical."""
    flips = np.empty((len(draws), 2), np.bool_)
    flips[:, 0], flips[:, 1] = draws.flip_horizontal, draws.flip_vertical
    return flips
