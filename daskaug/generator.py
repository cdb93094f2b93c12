"""The facade: Keras' ``ImageDataGenerator``, over sources of any size."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from daskaug import seeding
from daskaug.config import DTYPES, Config
from daskaug.errors import ConfigError, SourceError
from daskaug.overrides import PerImageTransform, overridden_methods
from daskaug.statistics import Statistics
from daskaug.transforms.block import BlockTransform, FittedArrays
from daskaug.transforms.draws import Draws, draw_like_keras
from daskaug.transforms.masks import MaskTransform, PairTransform

if TYPE_CHECKING:
    from daskaug.iterators import DataFrameIterator, DirectoryIterator, NumpyArrayIterator
    from daskaug.materialize import Report
    from daskaug.sources import Source


class _Option:
    """A constructor argument as an attribute that can be read and assigned, checked like the argument itself."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: ImageDataGenerator | None, owner: type) -> Any:
        return self if instance is None else getattr(instance.config, self._name)

    def __set__(self, instance: ImageDataGenerator, value: Any) -> None:
        instance.config = instance.config.replace(**{self._name: value})


class ImageDataGenerator:
    """Augments and standardises batches of images; fits the statistics it needs out-of-core.

    A drop-in replacement for Keras' class of this name: the same arguments in the same order with the same defaults.
    Where Keras takes a NumPy array, every method here also takes a Zarr array, a path or URL of one, or a dask array.

    Parameters
    ----------
    featurewise_center : bool
        Subtract the mean of each channel over the data set. Needs :meth:`fit`.
    samplewise_center : bool
        Subtract the mean of each image.
    featurewise_std_normalization : bool
        Divide by the standard deviation of each channel over the data set, plus 1e-6. Needs :meth:`fit`.
    samplewise_std_normalization : bool
        Divide each image by its standard deviation, plus 1e-6.
    zca_whitening : bool
        Multiply by the ZCA matrix. Needs :meth:`fit`; switches `featurewise_center` on and
        `featurewise_std_normalization` off.
    zca_epsilon : float
        Added to the singular values before they are inverted.
    rotation_range : float
        Degrees; angles are drawn from -rotation_range to rotation_range.
    width_shift_range, height_shift_range : float, int or 1-D array-like
        A float below 1 is a fraction of the size, a larger one pixels; an int n draws whole pixels from
        -(n - 1) to n - 1; an array-like gives the amounts to choose from, with a random sign.
    brightness_range : pair of float, optional
        Range of the factor. Results are clipped to the range of the source's dtype; floats are not clipped unless
        `value_range` says to what. An alpha channel is left alone.
    shear_range : float
        Degrees.
    zoom_range : float or pair of float
        ``[1 - zoom_range, 1 + zoom_range]`` or the range of the factors itself; one factor for each direction.
    channel_shift_range : float
        In grey levels; the amount is added to all channels, and the result clipped to the image's own range.
    fill_mode : {"constant", "nearest", "reflect", "wrap"}
        What lies outside the image: ``cval``, the nearest pixel, the mirrored image, or the image again.
    cval : float
        Value outside the image for ``fill_mode="constant"``.
    horizontal_flip, vertical_flip : bool
        Flip every other image, at random.
    rescale : float, optional
        Factor applied after augmenting. None or 0: none.
    preprocessing_function : callable, optional
        From one image (rank 3, float) to one of the same shape, called after augmenting, from several threads at once.
        If it takes an argument named `rng`, it gets a NumPy generator of the sample's own.
    data_format : {"channels_last", "channels_first"}, optional
        Where the channels are. By default as the user's keras.json says, or ``"channels_last"``.
    validation_split : float
        Share of the rows, from the first, that are for validation; 0 to 1.
    interpolation_order : int
        Order of the spline, 0 to 5: 0 nearest, 1 bilinear.
    dtype : str or dtype, optional
        Of the results. By default as the user's keras.json says, or ``"float32"``. Integer types round half to even
        and saturate.
    compat : {None, "keras"}
        ``"keras"`` replays Keras' own arithmetic and random numbers.
    value_range : pair of float, optional
        Lowest and highest possible pixel, for brightness of float images.

    Attributes
    ----------
    mean, std : (1, 1, c) or (c, 1, 1) float64 array, or None
        Fitted, or assigned: anything that broadcasts to an image.
    zca_whitening_matrix : (d, d) array or None
        Fitted, or assigned; ``d = height * width * channels``.
    statistics : Statistics or None
        All that was fitted.
    config : Config
        The checked options.

    Raises
    ------
    ConfigError
        For a value that cannot work, naming the argument.

    Notes
    -----
    The pixels of a sample depend on (seed, epoch, sample id, operation) and on nothing else; see the documentation on
    reproducibility.

    Examples
    --------
    >>> import numpy as np
    >>> from daskaug import ImageDataGenerator
    >>> x = np.arange(4 * 8 * 8 * 3, dtype=np.uint8).reshape(4, 8, 8, 3)
    >>> datagen = ImageDataGenerator(featurewise_center=True, rotation_range=20, horizontal_flip=True).fit(x)
    >>> batch, labels = next(datagen.flow(x, [0, 1, 0, 1], batch_size=2, seed=1))
    >>> batch.shape, batch.dtype, labels.shape
    ((2, 8, 8, 3), dtype('float32'), (2,))
    """

    def __init__(
        self,
        featurewise_center: bool = False,
        samplewise_center: bool = False,
        featurewise_std_normalization: bool = False,
        samplewise_std_normalization: bool = False,
        zca_whitening: bool = False,
        zca_epsilon: float = 1e-6,
        rotation_range: float = 0,
        width_shift_range: float | ArrayLike = 0.0,
        height_shift_range: float | ArrayLike = 0.0,
        brightness_range: tuple[float, float] | None = None,
        shear_range: float = 0.0,
        zoom_range: float | tuple[float, float] = 0.0,
        channel_shift_range: float = 0.0,
        fill_mode: str = "nearest",
        cval: float = 0.0,
        horizontal_flip: bool = False,
        vertical_flip: bool = False,
        rescale: float | None = None,
        preprocessing_function: Callable[..., Any] | None = None,
        data_format: str | None = None,
        validation_split: float = 0.0,
        interpolation_order: int = 1,
        dtype: Any = None,
        *,
        compat: str | None = None,
        value_range: tuple[float, float] | None = None,
    ) -> None:
        given = locals()
        self._set_up(Config(**{field.name: given[field.name] for field in dataclasses.fields(Config)}))

    def _set_up(self, config: Config) -> None:
        self.config = config
        self.statistics: Statistics | None = None
        self._assigned: dict[str, NDArray[Any] | None] = {}
        self._fallback_state = threading.local()

    # --- the options, as attributes ------------------------------------------------------------------------------

    featurewise_center = _Option()
    samplewise_center = _Option()
    featurewise_std_normalization = _Option()
    samplewise_std_normalization = _Option()
    zca_whitening = _Option()
    zca_epsilon = _Option()
    rotation_range = _Option()
    width_shift_range = _Option()
    height_shift_range = _Option()
    brightness_range = _Option()
    shear_range = _Option()
    zoom_range = _Option()
    channel_shift_range = _Option()
    fill_mode = _Option()
    cval = _Option()
    horizontal_flip = _Option()
    vertical_flip = _Option()
    rescale = _Option()
    preprocessing_function = _Option()
    data_format = _Option()
    validation_split = _Option()
    interpolation_order = _Option()
    dtype = _Option()
    compat = _Option()
    value_range = _Option()
    channel_axis = property(lambda self: self.config.channel_axis, doc="Axis of the channels in a batch.")
    row_axis = property(lambda self: self.config.row_axis, doc="Axis of the rows in a batch.")
    col_axis = property(lambda self: self.config.col_axis, doc="Axis of the columns in a batch.")

    # --- fitting -------------------------------------------------------------------------------------------------

    def fit(
        self,
        x: Any,
        augment: bool = False,
        rounds: int = 1,
        seed: int | None = None,
        *,
        progress: Callable[[int, int], None] | None = None,
    ) -> ImageDataGenerator:
        """Fit mean, std and the ZCA matrix, whichever the options need, reading the images once and block by block.

        Parameters
        ----------
        x : array, Zarr array, dask array, path, URL or iterator made by a `flow` method
            Images of rank 4. An iterator stands for the images it iterates over.
        augment : bool
            Fit on augmented images.
        rounds : int
            With `augment`: how many epochs of augmented images.
        seed : int, optional
            With `augment`: the draws are those of ``flow(..., seed=seed)`` in its first `rounds` epochs.
        progress : callable, optional
            Called as ``progress(images done, images in all)`` after each block.

        Returns
        -------
        ImageDataGenerator
            Itself.

        Raises
        ------
        SourceError
            For data that are no images of rank 4, or no images at all.
        ConfigError
            For bad arguments.

        Notes
        -----
        Sums over integer images are exact; for floats they are added along a tree that depends on the sample index
        alone. Either way the result has the same bits for any chunking and any number of workers.
        """
        from daskaug.fitting import fit_statistics
        from daskaug.iterators import warn_about_channels

        if not isinstance(rounds, int | np.integer) or isinstance(rounds, bool) or rounds < 1:
            raise ConfigError(f"`rounds` must be an integer, 1 or more. Received: rounds={rounds!r}.")
        source, rows, ids = self._fit_input(x)
        if rows[1] - rows[0] == 0:
            raise SourceError(
                f"There is nothing to fit on: `x` has shape {tuple(source.shape)} and rows {rows[0]} to {rows[1]} of "
                "it were asked for. At least one image is needed."
            )
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
            progress=progress,
        )
        self.statistics = statistics
        self._assigned.clear()
        return self

    def _fit_input(self, x: Any) -> tuple[Source, tuple[int, int], Any]:
        from daskaug.iterators import SourceIterator, sample_ids
        from daskaug.sources import open_images

        if isinstance(x, SourceIterator):
            return x.source, x._rows, x.columns.ids
        source = open_images(x)
        return source, (0, source.shape[0]), sample_ids(None, source.shape[0])

    @property
    def mean(self) -> NDArray[Any] | None:
        """Mean of each channel, after rescaling; None before :meth:`fit`."""
        return self._statistic("mean", self.config.featurewise_center)

    @mean.setter
    def mean(self, value: ArrayLike | None) -> None:
        self._assigned["mean"] = _checked_statistic("mean", value)

    @property
    def std(self) -> NDArray[Any] | None:
        """Standard deviation of each channel, after rescaling; None before :meth:`fit`."""
        return self._statistic("std", self.config.featurewise_std_normalization)

    @std.setter
    def std(self, value: ArrayLike | None) -> None:
        self._assigned["std"] = _checked_statistic("std", value)

    @property
    def zca_whitening_matrix(self) -> NDArray[Any] | None:
        """ZCA matrix for flattened images; None before :meth:`fit`."""
        if "zca_whitening_matrix" in self._assigned:
            return self._assigned["zca_whitening_matrix"]
        whitening = None if self.statistics is None else self.statistics.whitening
        if whitening is not None:
            self._assigned["zca_whitening_matrix"] = whitening.matrix()
        return self._assigned.get("zca_whitening_matrix")

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

        Raises
        ------
        NotFittedError
            Where there are none.
        """
        from daskaug.errors import NotFittedError

        if self._assigned.keys() - {"zca_whitening_matrix"}:
            raise ConfigError(
                f"{', '.join(sorted(self._assigned))} were assigned and not fitted, and a file of statistics holds "
                "what was fitted. Save the arrays themselves (numpy.savez), or fit again."
            )
        if self.statistics is None:
            raise NotFittedError(f"There is nothing to save to {path}: call `datagen.fit(x)` first.")
        self.statistics.save(path)

    def load(self, path: str | Path) -> ImageDataGenerator:
        """Take the statistics that :meth:`save` wrote.

        Returns
        -------
        ImageDataGenerator
            Itself.
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
        self.statistics = statistics
        self._assigned.clear()
        return self

    def to_config(self) -> dict[str, Any]:
        """The options as JSON values (without what was fitted)."""
        return self.config.to_dict()

    @classmethod
    def from_config(cls, config: Mapping[str, Any], **functions: Callable[..., Any] | None) -> ImageDataGenerator:
        """A generator with the options that :meth:`to_config` gave.

        Parameters
        ----------
        config : mapping
        **functions
            ``preprocessing_function=...`` where it has no name by which it could be imported.
        """
        made = cls.__new__(cls)
        made._set_up(Config.from_dict(config, **functions))
        return made

    # --- streaming -----------------------------------------------------------------------------------------------

    def flow(
        self,
        x: Any,
        y: Any = None,
        batch_size: int = 32,
        shuffle: bool | str = True,
        sample_weight: Any = None,
        seed: int | None = None,
        save_to_dir: str | Path | None = None,
        save_prefix: str = "",
        save_format: str = "png",
        ignore_class_split: bool = False,
        subset: str | None = None,
        *,
        masks: Any = None,
        mask_order: int = 0,
        mask_cval: float = 0.0,
        ids: ArrayLike | None = None,
        shuffle_unit: int | None = None,
        shuffle_mix: int | None = None,
    ) -> NumpyArrayIterator:
        """Batches of augmented, standardised images.

        Parameters
        ----------
        x : array, Zarr array, dask array, path or URL; or a tuple (images, extra) or (images, [extra, ...])
            Images of rank 4, and further model inputs with as many rows.
        y : array-like, optional
            Labels; NumPy, dask or Zarr, with as many rows.
        batch_size : int
        shuffle : bool or {"global", "block", "none"}
            True is ``"global"`` for arrays in memory and ``"block"`` for chunked ones: units of `shuffle_unit` rows in
            random order, the rows of `shuffle_mix` units mixed.
        sample_weight : array-like, optional
            With as many rows; handed out only together with `y`, as in Keras.
        seed : int, optional
            Of order and draws. None: fresh entropy; the iterator's `seed_used` tells it.
        save_to_dir, save_prefix, save_format
            Save every image handed out, for looking at.
        ignore_class_split : bool
            Allow a `subset` whose two sides hold different classes.
        subset : {"training", "validation"}, optional
            Part of the rows, as `validation_split` cuts them. Validation images are standardised but not augmented
            (with ``compat="keras"`` they are augmented too).
        masks : array, Zarr array, dask array, path or URL, optional
            Rank 4, with as many rows and the height and width of the images: moved and flipped like their images, but
            untouched by colour operations and standardising. They take the place of `y`, or stand beside it:
            ``[y, masks]``.
        mask_order : int
            Interpolation of the masks; 0 keeps their values.
        mask_cval : float
            What lies outside of a mask for ``fill_mode="constant"``.
        ids : (n,) integers, optional
            Sample ids that key the draws; by default the row in `x`.

        Returns
        -------
        NumpyArrayIterator
            Yields ``x``, ``(x, y)`` or ``(x, y, sample_weight)``; with extra inputs `x` is a list. It is a
            ``keras.utils.PyDataset`` if Keras was loaded before. It has shuffled already: call
            ``model.fit(iterator, shuffle=False)``.

        Raises
        ------
        SourceError
            For data of the wrong rank or length.
        ConfigError
            For bad arguments.
        NotFittedError
            At the first batch, where statistics are needed and missing.
        """
        from daskaug.iterators import NumpyArrayIterator

        return NumpyArrayIterator(
            x,
            y,
            self,
            batch_size=batch_size,
            shuffle=shuffle,
            sample_weight=sample_weight,
            seed=seed,
            save_to_dir=save_to_dir,
            save_prefix=save_prefix,
            save_format=save_format,
            subset=subset,
            ignore_class_split=ignore_class_split,
            masks=masks,
            mask_order=mask_order,
            mask_cval=mask_cval,
            ids=ids,
            shuffle_unit=shuffle_unit,
            shuffle_mix=shuffle_mix,
        )

    def flow_from_directory(
        self,
        directory: str | Path,
        target_size: Sequence[int] | None = (256, 256),
        color_mode: str = "rgb",
        classes: Sequence[str] | None = None,
        class_mode: str | None = "categorical",
        batch_size: int = 32,
        shuffle: bool | str = True,
        seed: int | None = None,
        save_to_dir: str | Path | None = None,
        save_prefix: str = "",
        save_format: str = "png",
        follow_links: bool = False,
        subset: str | None = None,
        interpolation: str = "nearest",
        keep_aspect_ratio: bool = False,
        *,
        on_error: str = "raise",
        masks: str | Path | None = None,
        mask_order: int = 0,
        mask_cval: float = 0.0,
    ) -> DirectoryIterator:
        """Batches from a folder with a subfolder of image files for each class.

        Parameters
        ----------
        directory : path
            Files that end in png, jpg, jpeg, bmp, ppm, tif or tiff, in any case, in its subfolders and those below.
        target_size : (height, width) or None
            In pixels; images of another size are resized. None: the images' own size, which has to be the same.
        color_mode : {"rgb", "rgba", "grayscale"}
            Greyscale keeps 16 and 32 bits; everything else becomes 8 bits.
        classes : sequence of str, optional
            Names of the subfolders that are classes, in the order of their indices. By default all, in alphabetical
            order.
        class_mode : {"categorical", "binary", "sparse", "input", None}
            Labels as 0 and 1 for each class, as the index of the class (binary and sparse), the images themselves, or
            none.
        batch_size, shuffle, seed, save_to_dir, save_prefix, save_format
            As in :meth:`flow`; ``shuffle=True`` draws from all files.
        follow_links : bool
            Descend into links to folders, but not into one that leads back up.
        subset : {"training", "validation"}, optional
            Part of the files of each class, as `validation_split` cuts them.
        interpolation : {"nearest", "bilinear", "bicubic", "box", "lanczos", "hamming"}
            For resizing.
        keep_aspect_ratio : bool
            Cut the largest centred piece of the right proportions before resizing, instead of stretching.
        on_error : {"raise", "skip", "replace"}
            What happens at a file that cannot be read. To leave such files out, or to put black in their place, all
            files are decoded once when the iterator is made; its `bad_files` lists them, and a warning counts them.
        masks : path, optional
            Folder of masks: for each image a file of the same relative path, with any image ending, read as grey
            levels. Used as in :meth:`flow`.
        mask_order, mask_cval
            As in :meth:`flow`.

        Returns
        -------
        DirectoryIterator
            Yields ``(x, y)``, or ``x`` for ``class_mode=None``. Sample ids are hashes of the path relative to
            `directory`, so that a file is augmented alike whichever other files there are.

        Raises
        ------
        SourceError
            For a folder that cannot be listed; at a batch with a bad file, with its path and row.
        ConfigError
            For bad arguments.
        """
        from daskaug.iterators import DirectoryIterator

        return DirectoryIterator(
            directory,
            self,
            target_size=target_size,
            color_mode=color_mode,
            classes=classes,
            class_mode=class_mode,
            batch_size=batch_size,
            shuffle=shuffle,
            seed=seed,
            save_to_dir=save_to_dir,
            save_prefix=save_prefix,
            save_format=save_format,
            follow_links=follow_links,
            subset=subset,
            interpolation=interpolation,
            keep_aspect_ratio=keep_aspect_ratio,
            on_error=on_error,
            masks=masks,
            mask_order=mask_order,
            mask_cval=mask_cval,
        )

    def flow_from_dataframe(
        self,
        dataframe: Any,
        directory: str | Path | None = None,
        x_col: str = "filename",
        y_col: Any = "class",
        weight_col: str | None = None,
        target_size: Sequence[int] | None = (256, 256),
        color_mode: str = "rgb",
        classes: Sequence[str] | None = None,
        class_mode: str | None = "categorical",
        batch_size: int = 32,
        shuffle: bool | str = True,
        seed: int | None = None,
        save_to_dir: str | Path | None = None,
        save_prefix: str = "",
        save_format: str = "png",
        subset: str | None = None,
        interpolation: str = "nearest",
        validate_filenames: bool = True,
        *,
        keep_aspect_ratio: bool = False,
        on_error: str = "raise",
        masks: str | None = None,
        mask_order: int = 0,
        mask_cval: float = 0.0,
        **kwargs: Any,
    ) -> DataFrameIterator:
        """Batches from image files that a dataframe names.

        Parameters
        ----------
        dataframe : pandas.DataFrame
            Not changed.
        directory : path, optional
            Folder of file names that are not absolute; the working directory by default.
        x_col : str
            Column of the file names.
        y_col : str or list of str
            Column or columns of the labels.
        weight_col : str, optional
            Column of sample weights, handed out together with labels.
        classes : sequence of str, optional
            Classes that count, in the order of their indices; rows of others are left out. By default all, in
            alphabetical order.
        class_mode : {"categorical", "binary", "sparse", "input", "multi_output", "raw", None}
            As in :meth:`flow_from_directory`; for ``"categorical"`` a label may be a list or tuple of several.
            ``"raw"`` hands out the values of `y_col`, ``"multi_output"`` a list with the values of each of them.
        target_size, color_mode, batch_size, shuffle, seed, save_to_dir, save_prefix, save_format, interpolation,
        keep_aspect_ratio, on_error
            As in :meth:`flow_from_directory`.
        masks : str, optional
            Column that names the mask of each image, relative to `directory`; read as grey levels. Used as in
            :meth:`flow`.
        mask_order, mask_cval
            As in :meth:`flow`.
        subset : {"training", "validation"}, optional
            Part of the rows, as `validation_split` cuts them.
        validate_filenames : bool
            Look for the files first, and leave out the rows without one; a warning says how many, why, and which.
        **kwargs
            Keras' old keywords `has_ext`, `sort` and `drop_duplicates`, which do nothing but warn.

        Returns
        -------
        DataFrameIterator
            Yields ``x``, ``(x, y)`` or ``(x, y, sample_weight)``. Sample ids are the positions of the rows in
            `dataframe`, whichever of them are left out.

        Raises
        ------
        SourceError
            For columns of the wrong type; at a batch with a bad file, with its path and row.
        ConfigError
            For bad arguments.
        TypeError
            For unknown keywords.
        """
        from daskaug.iterators import DataFrameIterator, accept_deprecated

        class_mode = accept_deprecated(kwargs, class_mode)
        return DataFrameIterator(
            dataframe,
            directory,
            self,
            x_col=x_col,
            y_col=y_col,
            weight_col=weight_col,
            target_size=target_size,
            color_mode=color_mode,
            classes=classes,
            class_mode=class_mode,
            batch_size=batch_size,
            shuffle=shuffle,
            seed=seed,
            save_to_dir=save_to_dir,
            save_prefix=save_prefix,
            save_format=save_format,
            subset=subset,
            interpolation=interpolation,
            keep_aspect_ratio=keep_aspect_ratio,
            validate_filenames=validate_filenames,
            on_error=on_error,
            masks=masks,
            mask_order=mask_order,
            mask_cval=mask_cval,
        )

    # --- the other two sinks -------------------------------------------------------------------------------------

    def augment(
        self,
        x: Any,
        *,
        seed: int,
        epoch: int = 0,
        standardize: bool = True,
        ids: ArrayLike | None = None,
        masks: Any = None,
        mask_order: int = 0,
        mask_cval: float = 0.0,
    ) -> Any:
        """The augmented images of one epoch as a lazy dask array.

        Parameters
        ----------
        x : array, Zarr array, dask array, path, URL or iterator made by a `flow` method
            Images of rank 4. An iterator stands for the images it iterates over, with their sample ids.
        seed : int
            Of the draws; the pixels are those that ``flow(x, seed=seed)`` yields in that epoch.
        epoch : int
        standardize : bool
            Standardise as well.
        ids : (n,) integers, optional
            Sample ids; by default the row in `x`.
        masks, mask_order, mask_cval
            As in :meth:`flow`.

        Returns
        -------
        dask.array.Array, or a pair of them
            Of the shape of `x` and the generator's dtype, chunked along the samples; with `masks` also these. Nothing
            is computed.
        """
        from daskaug.execution.lazy import map_blocks
        from daskaug.iterators import Masks, open_input

        source, columns = open_input(x, None, None, ids)
        beside = Masks.of(_masks_of(x, masks), source, self.config, mask_order, mask_cval)
        transform = self.block_transform(seed=seeding.check_seed(seed), standardize=standardize)
        transform.check_images(source.shape[1:])
        keys, epoch = columns.ids, seeding.check_epoch(epoch)
        images = map_blocks(source, transform, keys, epoch, np.dtype(self.config.dtype))
        if beside is None:
            return images
        moved = MaskTransform(PairTransform(transform, beside.order, beside.cval))
        return images, map_blocks(beside.source, moved, keys, epoch, beside.source.dtype)

    def materialize(
        self,
        x: Any,
        store: str | Path,
        *,
        y: Any = None,
        sample_weight: Any = None,
        masks: Any = None,
        mask_order: int = 0,
        mask_cval: float = 0.0,
        ids: ArrayLike | None = None,
        epochs: int = 1,
        seed: int = 0,
        standardize: bool = False,
        dtype: Any = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Report:
        """Write augmented copies of the data set to a Zarr store.

        Parameters
        ----------
        x : array, Zarr array, dask array, path, URL or iterator made by a `flow` method
            Images of rank 4. An iterator stands for the images it iterates over, with their labels (classes as their
            indices), weights and sample ids.
        store : path or URL
            Where to write; must not exist, or hold an unfinished run of the same work, which is then completed.
        y, sample_weight : array-like, optional
            Stored along, with as many rows as `x`.
        masks, mask_order, mask_cval
            As in :meth:`flow`; the moved masks are stored beside the images.
        ids : (n,) integers, optional
            Sample ids; by default the row in `x`.
        epochs : int
            Copies of each image; copy e has the pixels of epoch e of ``flow(x, seed=seed)``.
        seed : int
            Of the draws.
        standardize : bool
            Store standardised pixels. By default augmented pixels are stored in the source's dtype, and a flow over
            the opened store standardises.
        dtype : str or dtype, optional
            Of the stored images. By default the source's, or the generator's with `standardize`.
        progress : callable, optional
            Called as ``progress(rows done, rows in all)`` after each shard.

        Returns
        -------
        Report
            Rows, bytes, seconds and the hash of the store.

        Raises
        ------
        StoreError
            Where the store holds something else.
        """
        from daskaug.iterators import Masks, open_input
        from daskaug.materialize import Job, materialize

        source, columns = open_input(x, y, sample_weight, ids)
        seed = seeding.check_seed(seed)
        if dtype is None:
            dtype = self.config.dtype if standardize else source.dtype.name
            if dtype not in DTYPES:
                raise ConfigError(
                    f"The images are {dtype}, which augmented images cannot be stored in. Pass dtype=, one of "
                    f"{', '.join(DTYPES)}."
                )
        changes = {"dtype": dtype} if standardize else {"dtype": dtype} | self.config.without_standardizing()
        transform = self.block_transform(seed=seed, standardize=standardize, config=self.config.replace(**changes))
        job = Job(
            source=source,
            columns=columns,
            transform=transform,
            config=self.config,
            fitted=self._fitted,
            epochs=epochs,
            masks=Masks.of(_masks_of(x, masks), source, self.config, mask_order, mask_cval),
        )
        return materialize(job, store, progress=progress)

    # --- single images -------------------------------------------------------------------------------------------

    def get_random_transform(self, img_shape: tuple[int, ...], seed: int | None = None) -> dict[str, Any]:
        """Draw the parameters of one transformation: the numbers that Keras draws from this seed, bit for bit.

        NumPy's global generator is neither read nor written.

        Parameters
        ----------
        img_shape : (height, width, channels) or (channels, height, width), by the data format
        seed : int, optional
            None: fresh entropy, or, while the generator works on a sample, that sample's own stream.

        Returns
        -------
        dict
            ``theta`` and ``shear`` in degrees, ``tx`` and ``ty`` in pixels, ``zx`` and ``zy`` factors,
            ``flip_horizontal``, ``flip_vertical``, ``channel_shift_intensity`` in grey levels or None, ``brightness``
            a factor or None.
        """
        size = img_shape[self.config.row_axis - 1], img_shape[self.config.col_axis - 1]
        if seed is not None:
            state = np.random.RandomState(seeding.check_seed(seed))
        else:
            state = getattr(self._fallback_state, "state", None) or np.random.RandomState(seeding.fresh_seed())
        return draw_like_keras(self.config, size, state)

    def apply_transform(self, x: ArrayLike, transform_parameters: Mapping[str, Any]) -> NDArray[Any]:
        """Transform one image as the parameters say.

        Parameters
        ----------
        x : array of rank 3
            In the data format. Not changed.
        transform_parameters : mapping
            As :meth:`get_random_transform` returns them; what is missing is not done.

        Returns
        -------
        array of the same shape
            Of the dtype of `x` if that is a float type, else of the generator's.
        """
        image = np.asarray(x)
        if image.ndim != 3:
            raise SourceError(f"`x` must be one image of rank 3; found shape {image.shape}. For batches use `.flow()`.")
        dtype = image.dtype.name if image.dtype.kind == "f" else self.config.dtype
        transform = BlockTransform(
            self.config.replace(**self.config.without_standardizing(), dtype=dtype), standardize=False
        )
        draws = Draws.from_dicts([transform_parameters])
        transformed: NDArray[Any] = transform(image[np.newaxis], np.zeros(1, np.int64), 0, draws=draws)[0]
        return transformed

    def random_transform(self, x: ArrayLike, seed: int | None = None) -> NDArray[Any]:
        """Transform one image at random: :meth:`get_random_transform`, then :meth:`apply_transform`."""
        image = np.asarray(x)
        return self.apply_transform(image, self.get_random_transform(image.shape, seed))

    def standardize(self, x: NDArray[Any]) -> NDArray[Any]:
        """Preprocess, rescale, centre, normalise and whiten, as the options say.

        Parameters
        ----------
        x : array of rank 3 or 4
            One image or a batch; each image of a batch is standardised by itself (with ``compat="keras"`` the
            samplewise options take the whole batch for one sample). Floats are changed in place, as in Keras;
            integers are copied.

        Returns
        -------
        array of the same shape
        """
        from daskaug.transforms.standardize import standardize_in_place

        return standardize_in_place(x, self.config, self._fitted)

    # --- how ----------------------------------------------------------------------------------------------------

    @property
    def _fitted(self) -> FittedArrays:
        return FittedArrays(self.mean, self.std, self.zca_whitening_matrix)

    def block_transform(
        self,
        *,
        seed: int = 0,
        augment: bool = True,
        standardize: bool = True,
        config: Config | None = None,
        honours_standardize: bool = True,
    ) -> BlockTransform:
        """What the sinks apply to blocks of images.

        Methods that a subclass overrides are honoured, image by image; `standardize` not while fitting, when what it
        needs is not there yet.
        """
        # A whitening matrix is large and would travel with every task.
        fitted = self._fitted if standardize else FittedArrays()
        transform = BlockTransform(config or self.config, fitted, seed, augment, standardize)
        overridden = overridden_methods(self, ImageDataGenerator)
        if not honours_standardize:
            overridden = tuple(name for name in overridden if name != "standardize")
        if overridden:
            return PerImageTransform.of(transform, self, overridden)
        return transform

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_fallback_state"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._fallback_state = threading.local()

    def __repr__(self) -> str:
        fitted = "fitted" if self.statistics is not None else "not fitted"
        return f"ImageDataGenerator{repr(self.config).removeprefix('Config')[:-1]}) <{fitted}>"


def _checked_statistic(name: str, value: ArrayLike | None) -> NDArray[Any] | None:
    if value is None:
        return None
    array = np.asarray(value)
    if array.dtype.kind not in "biuf" or not np.isfinite(array).all():
        raise ConfigError(f"`{name}` must be finite numbers; found {array.dtype} of shape {array.shape}.")
    return array


def _masks_of(x: Any, masks: Any) -> Any:
    """The masks that were given, or those of an iterator that stands for its images."""
    return getattr(x, "masks", None) if masks is None and hasattr(x, "columns") else masks
