"""The facade: Keras' ``ImageDataGenerator``, over sources of any size."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from daskaug import seeding
from daskaug.config import DTYPES, Config
from daskaug.errors import ConfigError
from daskaug.generator.previews import Previews
from daskaug.progress import Progress
from daskaug.transforms.masks import MaskTransform, PairTransform

if TYPE_CHECKING:
    from daskaug.iterators import Columns
    from daskaug.materialize import Job, MaterializePlan, Report, StoreLike


class ImageDataGenerator(Previews):
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
        store: StoreLike,
        *,
        y: Any = None,
        sample_weight: Any = None,
        masks: Any = None,
        mask_order: int = 0,
        mask_cval: float = 0.0,
        ids: ArrayLike | None = None,
        class_indices: Mapping[str, int] | None = None,
        epochs: int = 1,
        seed: int = 0,
        standardize: bool = False,
        dtype: Any = None,
        balance: bool = False,
        codec: Any = None,
        layout_for: str = "streaming",
        chunk_rows: int | None = None,
        shard_rows: int | None = None,
        storage_options: dict[str, Any] | None = None,
        append: bool = False,
        recheck: bool = False,
        progress: Progress = None,
    ) -> Report:
        """Write augmented copies of the data set to a Zarr store.

        The same call goes on where an earlier one was broken off, on whatever machines, and mends what was damaged.

        Parameters
        ----------
        x : array, Zarr array, dask array, path, URL or iterator made by a `flow` method
            Images of rank 4. An iterator stands for the images it iterates over, with their labels (classes as their
            indices), weights and sample ids.
        store : path, URL or Zarr store
            Where to write; must not exist, or hold the same work, of which missing and damaged shards are then written.
        y, sample_weight : array-like, optional
            Stored along, with as many rows as `x`. Beside images in a Zarr group, the name of an array in it will do.
        masks, mask_order, mask_cval
            As in :meth:`flow`; the moved masks are stored beside the images.
        ids : (n,) integers, optional
            Sample ids; by default the row in `x`.
        class_indices : mapping of str to int, optional
            Names of the classes that `y` numbers, kept with the store. By default those of an iterator over files, and
            those of a materialised store whose labels are passed on (``y="y"``, or ``y=store.labels``).
        epochs : int
            Copies of each image; copy e has the pixels of epoch e of ``flow(x, seed=seed)``.
        seed : int
            Of the draws.
        standardize : bool
            Store standardised pixels. By default augmented pixels are stored in the source's dtype, and a flow over
            the opened store standardises.
        dtype : str or dtype, optional
            Of the stored images. By default the source's, or the generator's with `standardize`.
        balance : bool
            Give rare classes more copies: in each epoch, every class has as many images as the largest one. `y` has to
            be integers, or one-hot. Copy j of a sample in epoch e has the pixels of epoch ``e * most + j``, where
            `most` is the largest number of copies that a sample can have.
        codec : {"zstd", "lz4", "none"} or Zarr codec, optional
            How images are compressed: "zstd" by default, or what the store has. It changes no pixel and no hash.
        layout_for : {"streaming", "random"}
            Who will read: whole blocks one after the other (chunks of 1 MiB), or single images (64 KiB, or one image).
        chunk_rows, shard_rows : int, optional
            Images of a chunk and of a shard, in place of what `layout_for` and a shard of 64 MiB come to.
        storage_options : dict, optional
            Where `store` is a URL: what its file system needs (credentials, endpoint, ...). They are not stored.
        append : bool
            `store` was made of the first rows of `x`: write the others to it as well. What is there stays as it is.
        recheck : bool
            Read what is there, and redo the shards whose content is not what was written. By default only the sizes of
            their files are compared.
        progress : bool or callable, optional
            True: show it on the terminal, in the notebook, or as lines of a log. A function is called as
            ``progress(rows done, rows in all)`` after each shard.

        Returns
        -------
        Report
            Rows, bytes, seconds and the hash of the store.

        Raises
        ------
        StoreError
            Where the store holds something else, cannot be written to, or runs full.
        ConfigError
            For options that do not go together.
        """
        from daskaug.materialize import materialize

        job = self._job(
            x,
            y=y,
            sample_weight=sample_weight,
            masks=masks,
            mask_order=mask_order,
            mask_cval=mask_cval,
            ids=ids,
            class_indices=class_indices,
            epochs=epochs,
            seed=seed,
            standardize=standardize,
            dtype=dtype,
            balance=balance,
            layout_for=layout_for,
            chunk_rows=chunk_rows,
            shard_rows=shard_rows,
        )
        return materialize(
            job,
            store,
            codec=codec,
            storage_options=storage_options,
            append=append,
            recheck=recheck,
            progress=progress,
        )

    def plan_materialize(self, x: Any, store: StoreLike, **options: Any) -> MaterializePlan:
        """What :meth:`materialize` would take: shards, bytes, disk, memory and time. Nothing is written.

        A few blocks are read, augmented and encoded, to know time and bytes.

        Parameters
        ----------
        x, store, **options
            As for :meth:`materialize`.

        Returns
        -------
        MaterializePlan
            Its text says it in words; its method ``check()`` raises StoreError for what cannot fit.

        Raises
        ------
        StoreError, ConfigError, SourceError
            For what :meth:`materialize` would refuse.
        """
        from daskaug.materialize import plan

        for_writing = {"codec": None, "storage_options": None, "append": False}
        how = {name: options.pop(name, default) for name, default in for_writing.items()}
        for name in ("recheck", "progress"):
            options.pop(name, None)
        return plan(self._job(x, **options), store, **how)

    def _job(
        self,
        x: Any,
        *,
        y: Any = None,
        sample_weight: Any = None,
        masks: Any = None,
        mask_order: int = 0,
        mask_cval: float = 0.0,
        ids: ArrayLike | None = None,
        class_indices: Mapping[str, int] | None = None,
        epochs: int = 1,
        seed: int = 0,
        standardize: bool = False,
        dtype: Any = None,
        balance: bool = False,
        layout_for: str = "streaming",
        chunk_rows: int | None = None,
        shard_rows: int | None = None,
    ) -> Job:
        """What is to be materialised, checked."""
        from daskaug.iterators import Masks, open_input
        from daskaug.materialize import Cut, Job

        source, columns = open_input(x, y, sample_weight, ids)
        seed = seeding.check_seed(seed)
        if dtype is None:
            dtype = self.config.dtype if standardize else source.dtype.name
            if dtype not in DTYPES:
                raise ConfigError(
                    f"The images are {dtype}, which augmented images cannot be stored in. Pass dtype=, one of "
                    f"{', '.join(DTYPES)}."
                )
        if not standardize:
            self.block_transform(seed=seed).check_images(source.shape[1:])  # who reads it is to standardise with these
        changes = {"dtype": dtype} if standardize else {"dtype": dtype} | self.config.without_standardizing()
        transform = self.block_transform(seed=seed, standardize=standardize, config=self.config.replace(**changes))
        return Job(
            source=source,
            columns=columns,
            transform=transform,
            config=self.config,
            fitted=self._fitted,
            epochs=epochs,
            masks=Masks.of(_masks_of(x, masks), source, self.config, mask_order, mask_cval),
            cut=Cut(layout_for, chunk_rows, shard_rows),
            balance=bool(balance),
            class_indices=_class_indices_of(x, y, columns) if class_indices is None else class_indices,
        )


def _class_indices_of(x: Any, y: Any, columns: Columns) -> Mapping[str, int] | None:
    """Those of an iterator over files, or of a materialised store, where the labels are its own too."""
    if columns.y is None:
        return None
    if y is None or y is getattr(x, "labels", None):
        return getattr(x, "class_indices", None)
    if isinstance(y, str) and y == "y" and isinstance(x, str | os.PathLike):
        from daskaug.materialize import class_indices_of

        return class_indices_of(os.fspath(x))
    return None


def _masks_of(x: Any, masks: Any) -> Any:
    """The masks that were given, or those of an iterator that stands for its images."""
    return getattr(x, "masks", None) if masks is None and hasattr(x, "columns") else masks
