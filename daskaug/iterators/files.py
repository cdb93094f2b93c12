"""What the iterators over image files have in common."""

from __future__ import annotations

import dataclasses
import functools
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskaug import seeding
from daskaug.cards import Fact
from daskaug.config import Config, keras_default
from daskaug.errors import ConfigError, SourceError
from daskaug.execution import current_executor, run_ordered
from daskaug.iterators.columns import Columns
from daskaug.iterators.file_masks import FileMasks, refuse_unfit
from daskaug.iterators.numpy_array import Generator
from daskaug.iterators.source import PictureSaver, SourceIterator
from daskaug.planning.order import Shuffle
from daskaug.progress import Progress, showing
from daskaug.sources import BadFile, BlockReader, Decoding, ImageFiles
from daskaug.sources.image_files import CheckingReader
from daskaug.transforms.block import BlockTransform

ON_ERROR = ("raise", "skip", "replace")

SHOWN_CLASSES = 10
"""Names of classes on a card."""


@dataclasses.dataclass(frozen=True, eq=False)
class FileColumns(Columns):
    """What belongs to image files; labels are kept as class indices and written out batch by batch.

    Attributes
    ----------
    y : array or None
        ``(n,)`` class indices; for several labels per image ``(n, classes)`` zeros and ones; for
        ``class_mode="raw"`` what the dataframe holds.
    class_mode : str or None
    num_classes : int
    dtype : str
        Of a batch.
    outputs : tuple of (n, ...) arrays
        For ``class_mode="multi_output"``.
    """

    class_mode: str | None = None
    num_classes: int = 0
    dtype: str = "float32"
    outputs: tuple[NDArray[Any], ...] = ()

    def pack(self, images: NDArray[Any], rows: NDArray[np.int64], masks: NDArray[Any] | None = None) -> Any:
        """See :meth:`Columns.pack`."""
        return super().pack(images.astype(self.dtype, copy=False), rows, masks)

    def targets(self, images: NDArray[Any], rows: NDArray[np.int64]) -> Any:
        """See :meth:`Columns.targets`: in the form and dtype of Keras."""
        if self.class_mode == "input":
            return images.copy()
        if self.class_mode == "multi_output":
            return [output[rows] for output in self.outputs]
        if self.class_mode is None or self.y is None:
            return None
        labels = self.y[rows]
        if self.class_mode == "raw":
            return labels
        if self.class_mode == "categorical" and labels.ndim == 1:
            labels = labels[:, np.newaxis] == np.arange(self.num_classes)
        return labels.astype(self.dtype)

    def by_name(self) -> dict[str, NDArray[Any]]:
        """See :meth:`Columns.by_name`."""
        return super().by_name() | {f"output {i}": values for i, values in enumerate(self.outputs)}

    def stored(self) -> Columns:
        """See :meth:`Columns.stored`; classes as their indices.

        Raises
        ------
        SourceError
            For several outputs.
        """
        if self.class_mode == "multi_output":
            raise SourceError(
                'A store has one array of labels, and this iterator has class_mode="multi_output". Pass the labels to '
                "store: y=..."
            )
        return Columns(self.ids, self.y, self.sample_weight, self.extras)

    def only(self, rows: NDArray[np.int64]) -> FileColumns:
        """The columns of some rows."""
        return dataclasses.replace(
            self,
            ids=self.ids[rows],
            y=None if self.y is None else self.y[rows],
            sample_weight=None if self.sample_weight is None else self.sample_weight[rows],
            outputs=tuple(output[rows] for output in self.outputs),
        )


@dataclasses.dataclass(frozen=True)
class FilesFlow:
    """How image files are read, augmented and handed out: the arguments that both iterators share.

    Raises
    ------
    ConfigError
        For a value that cannot work.
    """

    generator: Generator | None
    config: Config
    decoding: Decoding
    batch_size: int
    shuffle: bool | str
    seed: int | None
    save_to_dir: str | Path | None
    save_prefix: str
    save_format: str
    subset: str | None
    on_error: str
    serving: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.on_error not in ON_ERROR:
            raise ConfigError(f"`on_error` must be one of {ON_ERROR}. Received: on_error={self.on_error!r}.")
        if self.subset not in ("training", "validation", None):
            raise ConfigError(f'Invalid subset name: {self.subset};expected "training" or "validation"')

    def transform(self, seed: int) -> BlockTransform:
        """What is done to the images; nothing, without a generator."""
        augment = self.subset != "validation" or self.config.compat == "keras"
        if self.generator is None:
            return BlockTransform(self.config, seed=seed, augment=False)
        config = self.config
        if config.compat == "keras":
            # Keras loads files in its own float type, works in that, and converts the batch.
            config = config.replace(dtype=keras_default("floatx", "float32"))
        return self.generator.block_transform(seed=seed, augment=augment, config=config)


def config_of(generator: Generator | None, data_format: str | None, dtype: Any) -> Config:
    """The generator's options, or the defaults without one, with another data format or dtype where it is given."""
    config = Config() if generator is None else generator.config
    return config.replace(data_format=data_format or config.data_format, dtype=dtype or config.dtype)


class FilesIterator(SourceIterator):
    """Batches from image files.

    Parameters
    ----------
    filenames : list of str
        Relative to `directory`, or absolute.
    directory : str
    row_numbers : (n,) int64
        What the caller calls the rows, for messages.
    columns : FileColumns
    flow : FilesFlow
    masks : FileMasks, optional

    Attributes
    ----------
    filenames, filepaths : list of str
        The second with the folder.
    bad_files : tuple of BadFile
        With ``on_error="skip"`` the files that are left out, with ``"replace"`` those for which black stands. Masks
        that cannot be read are among them, and images that have none.
    """

    file_numbers_below = 10_000_000
    source: ImageFiles
    columns: FileColumns

    def __init__(
        self,
        filenames: list[str],
        directory: str | Path,
        row_numbers: NDArray[np.int64],
        columns: FileColumns,
        flow: FilesFlow,
        masks: FileMasks | None = None,
    ) -> None:
        files = ImageFiles(filenames, directory, flow.decoding, row_numbers=row_numbers)
        read_masks = None if masks is None else masks.beside(files, flow.config)
        self.bad_files: tuple[BadFile, ...] = ()
        kept = np.arange(len(filenames))
        unfit = {} if masks is None or read_masks is None else masks.find_unfit(read_masks, files)
        if flow.on_error == "raise":
            refuse_unfit(unfit, len(filenames))
        else:
            bad = list(check_files(files))
            bad_masks = [] if read_masks is None else _bad_masks(read_masks, unfit)
            self.bad_files = tuple(sorted([*bad, *bad_masks], key=lambda file: file.row))
            is_bad, has_bad_mask = _are_among(row_numbers, bad), _are_among(row_numbers, bad_masks)
            if flow.on_error == "replace":
                files = files.replacing(np.flatnonzero(is_bad))
                read_masks = None if read_masks is None else read_masks.replacing(np.flatnonzero(has_bad_mask))
            elif self.bad_files:
                kept = np.flatnonzero(~(is_bad | has_bad_mask))
                files, columns = files.only(kept), columns.only(kept)
                read_masks = None if read_masks is None else read_masks.only(kept)
            _warn_of_bad_files(self.bad_files, len(bad), len(filenames), flow.on_error)
        self.filenames = [filenames[row] for row in kept]
        self._kept = kept
        seed_used = seeding.fresh_seed() if flow.seed is None else seeding.check_seed(flow.seed)
        super().__init__(
            files,
            flow.transform(seed_used),
            columns,
            rows=(0, len(kept)),
            batch_size=flow.batch_size,
            shuffle=Shuffle.of(flow.shuffle, random_access=True),
            seed=flow.seed,
            seed_used=seed_used,
            dtype=flow.config.dtype,
            saver=PictureSaver.of(flow.save_to_dir, flow.save_prefix, flow.save_format, flow.config.data_format),
            masks=None if masks is None or read_masks is None else masks.of(read_masks, files, flow.config),
            **flow.serving,
        )
        self.directory = directory
        self.image_data_generator = flow.generator
        self.data_format = flow.config.data_format
        self.color_mode = flow.decoding.color_mode
        self.target_size = _size_of(files)
        self.interpolation = flow.decoding.interpolation
        self.keep_aspect_ratio = flow.decoding.keep_aspect_ratio
        self.save_to_dir, self.save_prefix, self.save_format = flow.save_to_dir, flow.save_prefix, flow.save_format
        self.subset = flow.subset
        share = flow.config.validation_split
        self.split = {None: None, "validation": (0, share), "training": (share, 1)}[flow.subset]
        self.class_mode = columns.class_mode

    def _card_facts(self) -> list[Fact]:
        facts = super()._card_facts()
        names = list(getattr(self, "class_indices", ()))
        if names:
            shown = ", ".join(map(str, names[:SHOWN_CLASSES])) + (", …" if len(names) > SHOWN_CLASSES else "")
            facts.append(Fact("classes", f"{len(names):,}: {shown}", ""))
        if self.bad_files:
            facts.append(
                Fact("bad files", f"{len(self.bad_files):,}; the first is {self.bad_files[0]}", "", is_wrong=True)
            )
        return facts

    @functools.cached_property
    def filepaths(self) -> list[str]:
        """Paths of the files, with the folder as it was given."""
        return [os.path.join(self.directory, name) for name in self.filenames]


def check_files(files: ImageFiles, progress: Progress = None) -> Iterator[BadFile]:
    """Decode every file, side by side, and yield those that cannot be.

    Parameters
    ----------
    files : ImageFiles
    progress : bool or callable, optional
        True: show it; a function is called as ``progress(files done, files in all)``.
    """
    plan = files.plan(0, files.shape[0])
    tasks: Iterator[tuple[BlockReader, tuple[Any, ...]]] = (
        (CheckingReader(files.only(np.arange(block.start, block.stop))), ()) for block in plan
    )
    found = run_ordered(current_executor(), _as_loaded, tasks, name="daskaug-check")
    with showing(progress, "check", unit="files", total=files.shape[0]) as shown:
        for block, bad in zip(plan, found, strict=True):
            yield from bad
            if shown is not None:
                shown(block.stop, files.shape[0])


def check_class_mode(class_mode: str | None, allowed: tuple[str | None, ...]) -> None:
    """Refuse a mode that is none.

    Raises
    ------
    ConfigError
    """
    if class_mode not in allowed:
        raise ConfigError(f"Invalid class_mode: {class_mode}; expected one of: {', '.join(map(repr, allowed))}")


def _as_loaded(bad: list[BadFile]) -> list[BadFile]:
    return bad


def _size_of(files: ImageFiles) -> tuple[int, int]:
    shape = files.shape[1:]
    return (shape[1], shape[2]) if files.decoding.data_format == "channels_first" else (shape[0], shape[1])


def _bad_masks(masks: ImageFiles, unfit: Mapping[int, BadFile]) -> list[BadFile]:
    """Those that are known not to fit, and those of the others that cannot be decoded."""
    others = np.setdiff1d(np.arange(masks.shape[0]), list(unfit)).astype(np.int64)
    return [*unfit.values(), *check_files(masks.only(others))]


def _are_among(row_numbers: NDArray[np.int64], bad: Sequence[BadFile]) -> NDArray[np.bool_]:
    return np.isin(row_numbers, [file.row for file in bad])


def _warn_of_bad_files(bad_files: tuple[BadFile, ...], images: int, count: int, on_error: str) -> None:
    if not bad_files:
        return
    found = [f"{images} of {count} image files"] if images else []
    if len(bad_files) > images:
        found.append(f"the masks of {len(bad_files) - images} of {count} images")
    done = "are left out" if on_error == "skip" else "are replaced by black"
    examples = "; ".join(map(str, bad_files[:3]))
    more = "; ..." if len(bad_files) > 3 else ""
    warnings.warn(
        f"{' and '.join(found)} cannot be read and {done} (on_error={on_error!r}): {examples}{more}. "
        "The iterator's `bad_files` lists them.",
        UserWarning,
        stacklevel=5,
    )
