"""The iterator over arrays: NumPy, Zarr and dask alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from numpy.typing import ArrayLike, NDArray

from daskaug import seeding
from daskaug.config import Config
from daskaug.errors import SourceError
from daskaug.iterators.columns import (
    MASKS,
    Masks,
    check_class_split,
    check_subset,
    open_input,
    warn_about_channels,
)
from daskaug.iterators.source import PictureSaver, SourceIterator
from daskaug.planning.order import Shuffle, split_rows
from daskaug.transforms.block import BlockTransform


class Generator(Protocol):
    """What an iterator asks of an ``ImageDataGenerator``."""

    config: Config

    def block_transform(
        self, *, seed: int = 0, augment: bool = True, standardize: bool = True, config: Config | None = None
    ) -> BlockTransform:
        """What is done to the images."""


class NumpyArrayIterator(SourceIterator):
    """Batches from an array in memory, a Zarr array or a dask array.

    Made by :meth:`daskaug.ImageDataGenerator.flow`, whose documentation describes the arguments. Keras' name is kept,
    though arrays need not be NumPy's.

    Parameters
    ----------
    x, y
        As in ``flow``.
    image_data_generator : ImageDataGenerator
    batch_size, shuffle, sample_weight, seed
        As in ``flow``; `shuffle` is off by default here, as in Keras.
    data_format : str, optional
        By default the generator's.
    save_to_dir, save_prefix, save_format, subset, ignore_class_split
        As in ``flow``.
    dtype : str, optional
        By default the generator's.
    masks, mask_order, mask_cval
        As in ``flow``.
    ids : (n,) integers, optional
        As in ``flow``.
    shuffle_unit, shuffle_mix, **serving
        As in ``flow``.

    Raises
    ------
    SourceError
        For data of the wrong rank or length; for an output of the name that the masks are handed out by.
    """

    def __init__(
        self,
        x: Any,
        y: Any,
        image_data_generator: Generator,
        batch_size: int = 32,
        shuffle: bool | str = False,
        sample_weight: Any = None,
        seed: int | None = None,
        data_format: str | None = None,
        save_to_dir: str | Path | None = None,
        save_prefix: str = "",
        save_format: str = "png",
        subset: str | None = None,
        ignore_class_split: bool = False,
        dtype: Any = None,
        *,
        masks: Any = None,
        mask_order: int = 0,
        mask_cval: float = 0.0,
        ids: ArrayLike | None = None,
        shuffle_unit: int | None = None,
        shuffle_mix: int | None = None,
        **serving: Any,
    ) -> None:
        config = image_data_generator.config
        if data_format is not None or dtype is not None:
            config = config.replace(data_format=data_format or config.data_format, dtype=dtype or config.dtype)
        source, columns = open_input(x, y, sample_weight, ids)
        n = source.shape[0]
        rows = split_rows(n, config.validation_split, subset)
        check_subset(subset, rows, config)
        if subset is not None and columns.y is not None and not ignore_class_split:
            check_class_split(columns.y, split_rows(n, config.validation_split, "validation")[1])
        if masks is not None and isinstance(columns.y, dict) and MASKS in columns.y:
            raise SourceError(f"Masks are handed out as the output {MASKS!r}, which `y` has as well. Rename that one.")
        seed_used = seeding.fresh_seed() if seed is None else seeding.check_seed(seed)
        warn_about_channels(source.shape, config.data_format, "`.flow()`")
        augment = subset != "validation" or config.compat == "keras"
        super().__init__(
            source,
            image_data_generator.block_transform(seed=seed_used, augment=augment, config=config),
            columns,
            rows=rows,
            batch_size=batch_size,
            shuffle=Shuffle.of(shuffle, random_access=source.random_access, unit=shuffle_unit, mix=shuffle_mix),
            seed=seed,
            seed_used=seed_used,
            dtype=config.dtype,
            masks=Masks.of(masks, source, config, mask_order, mask_cval),
            saver=PictureSaver.of(save_to_dir, save_prefix, save_format, config.data_format),
            **serving,
        )
        self.image_data_generator = image_data_generator
        self.data_format = config.data_format
        self.save_to_dir, self.save_prefix, self.save_format = save_to_dir, save_prefix, save_format

    @property
    def x(self) -> NDArray[Any]:
        """The raw images that are iterated over; read into memory where they are not there."""
        return self.source.read(*self._rows)

    @property
    def x_misc(self) -> list[NDArray[Any]]:
        """The further inputs of the images that are iterated over."""
        return [extra[slice(*self._rows)] for extra in self.columns.extras]
