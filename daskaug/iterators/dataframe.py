"""The iterator over image files that a dataframe names."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from daskaug.iterators.file_masks import masks_in_column
from daskaug.iterators.files import FileColumns, FilesFlow, FilesIterator, check_class_mode, config_of
from daskaug.iterators.numpy_array import Generator
from daskaug.iterators.table import NO_CLASSES, Table
from daskaug.sources import Decoding

_DEPRECATED = {
    "has_ext": "has_ext is deprecated, filenames in the dataframe have to match the exact filenames in disk.",
    "sort": (
        "sort is deprecated, batches will be created in the same order than the filenames provided if `shuffle` is "
        "set to `False`."
    ),
    "drop_duplicates": (
        "drop_duplicates is deprecated, you can drop duplicates by using the pandas.DataFrame.drop_duplicates method."
    ),
}


class DataFrameIterator(FilesIterator):
    """Batches from image files that a dataframe names.

    Made by :meth:`daskaug.ImageDataGenerator.flow_from_dataframe`, whose documentation describes the arguments.

    Parameters
    ----------
    dataframe, directory
        As in ``flow_from_dataframe``.
    image_data_generator : ImageDataGenerator or None
        None: the images as they are.
    x_col, y_col, weight_col, target_size, color_mode, classes, class_mode, batch_size, shuffle, seed
        As in ``flow_from_dataframe``.
    data_format : str, optional
        By default the generator's.
    save_to_dir, save_prefix, save_format, subset, interpolation, keep_aspect_ratio
        As in ``flow_from_dataframe``.
    dtype : str, optional
        By default the generator's.
    validate_filenames, on_error, masks, mask_order, mask_cval, **serving
        As in ``flow_from_dataframe``.

    Attributes
    ----------
    filenames, filepaths : list of str
    classes : list
        Class index of each file, or a list of them; only for ``"categorical"``, ``"binary"`` and ``"sparse"``.
    class_indices : dict
        Index of each class name; only for these as well.
    labels : list, array, list of arrays, or None
        The `classes`, what `y_col` holds, or None, by the class mode.
    num_classes, samples, n : int
    bad_files : tuple of BadFile
    """

    allowed_class_modes = ("binary", "categorical", "input", "multi_output", "raw", "sparse", None)

    def __init__(
        self,
        dataframe: Any,
        directory: str | Path | None = None,
        image_data_generator: Generator | None = None,
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
        data_format: str | None = None,
        save_to_dir: str | Path | None = None,
        save_prefix: str = "",
        save_format: str = "png",
        subset: str | None = None,
        interpolation: str = "nearest",
        keep_aspect_ratio: bool = False,
        dtype: Any = None,
        validate_filenames: bool = True,
        *,
        on_error: str = "raise",
        masks: str | None = None,
        mask_order: int = 0,
        mask_cval: float = 0.0,
        **serving: Any,
    ) -> None:
        config = config_of(image_data_generator, data_format, dtype)
        flow = FilesFlow(
            image_data_generator,
            config,
            Decoding(color_mode, target_size, interpolation, bool(keep_aspect_ratio), config.data_format),
            batch_size,
            shuffle,
            seed,
            save_to_dir,
            save_prefix,
            save_format,
            subset,
            on_error,
            serving,
        )
        check_class_mode(class_mode, self.allowed_class_modes)
        table = Table(os.fspath(directory or ""), x_col, y_col, weight_col, classes, class_mode, masks)
        table.check(dataframe)
        chosen = table.select(
            dataframe, self.white_list_formats if validate_filenames else None, config.validation_split, subset
        )
        kind = "validated" if validate_filenames else "non-validated"
        belonging = "" if class_mode in NO_CLASSES else f" belonging to {len(chosen.class_names)} classes"
        print(f"Found {len(chosen.rows)} {kind} image filenames{belonging}.")
        self.num_classes = len(chosen.class_names)
        if class_mode not in NO_CLASSES:
            self.class_indices = {name: index for index, name in enumerate(chosen.class_names)}
        columns = FileColumns(
            ids=chosen.rows,
            y=chosen.y,
            sample_weight=chosen.sample_weight,
            class_mode=class_mode,
            num_classes=self.num_classes,
            dtype=config.dtype,
            outputs=chosen.outputs,
        )
        beside = masks_in_column(chosen.masks, directory, validate_filenames, mask_order, mask_cval)
        super().__init__(chosen.filenames, directory or "", chosen.rows, columns, flow, beside)
        if class_mode not in NO_CLASSES:
            self.classes = [chosen.numbers[row] for row in self._kept]

    @property
    def labels(self) -> Any:
        """What the images are labelled with."""
        if self.class_mode == "multi_output":
            return list(self.columns.outputs)
        if self.class_mode == "raw":
            return self.columns.y
        return getattr(self, "classes", None)


def accept_deprecated(options: Mapping[str, Any], class_mode: str | None) -> str | None:
    """Warn of the old keywords of ``flow_from_dataframe`` as Keras does; they change nothing.

    Returns
    -------
    str or None
        The class mode by its present name.

    Raises
    ------
    TypeError
        For keywords that never were any.
    """
    unknown = [name for name in options if name not in _DEPRECATED]
    if unknown:
        raise TypeError(f"flow_from_dataframe() got unexpected keyword arguments: {', '.join(unknown)}.")
    for name in options:
        warnings.warn(_DEPRECATED[name], DeprecationWarning, stacklevel=3)
    if class_mode == "other":
        message = '`class_mode="other"` is deprecated, please use `class_mode="raw"`.'
        warnings.warn(message, DeprecationWarning, stacklevel=3)
        return "raw"
    return class_mode
