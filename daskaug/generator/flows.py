"""The third sink: batches for training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from daskaug.generator.single import SingleImages

if TYPE_CHECKING:
    from daskaug.iterators import DataFrameIterator, DirectoryIterator, NumpyArrayIterator


class Flows(SingleImages):
    """Streaming from arrays, folders and dataframes."""

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
        shard: tuple[int, int] | None = None,
        drop_last: bool = False,
        with_ids: bool = False,
        cache: str | Path | None = None,
        cache_nbytes: int | None = None,
        memory_budget: int | None = None,
        transform_on: str | None = None,
    ) -> NumpyArrayIterator:
        """Batches of augmented, standardised images.

        Parameters
        ----------
        x : array, Zarr array, dask array, path or URL; or a tuple (images, extra) or (images, [extra, ...]); or a dict
            Images of rank 4, and further model inputs with as many rows. Of a dict, whose names the inputs of a batch
            have, the first array of rank 4 (or else the first path) are the images.
        y : array-like, or a dict or list of arrays, optional
            Labels; NumPy, dask or Zarr, with as many rows. Beside images in a Zarr group, the name of an array in it
            will do. For several outputs of a model a dict of arrays, or a list
            of them (a list of as many entries as there are images is one array of labels, as in Keras).
        batch_size : int
            For each rank, where there is a `shard`.
        shuffle : bool or {"global", "block", "none"}
            True is ``"global"`` for arrays in memory and ``"block"`` for chunked ones: units of `shuffle_unit` rows in
            random order, the rows of `shuffle_mix` units mixed.
        sample_weight : array-like, or a dict or list of arrays, optional
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
            ``[y, masks]``; beside several outputs as one more, in a dict by the name ``"masks"``.
        mask_order : int
            Interpolation of the masks; 0 keeps their values.
        mask_cval : float
            What lies outside of a mask for ``fill_mode="constant"``.
        ids : (n,) integers, optional
            Sample ids that key the draws; by default the row in `x`.
        shuffle_unit, shuffle_mix : int, optional
            Rows of a unit, 256 by default, and units that are mixed, 4 by default.
        shard : (rank, world_size), optional
            Share the epochs with other processes, which make the same iterator with the same `seed`. Step by step the
            batches of all ranks, one after the other, are the order of the epoch, which does not depend on
            `world_size`: together the ranks have every row once, and all have equally many batches. What is left for
            the last step is spread evenly. `n`, `samples` and `index_array` are those of all ranks together, ``len()``
            and ``[i]`` this rank's.
        drop_last : bool
            Leave out the rows at the end of an epoch that do not fill a batch on every rank.
        with_ids : bool
            Hand out the sample ids, (b,) integers, as one more element at the end of each batch: ``(x, ids)``,
            ``(x, y, ids)`` or ``(x, y, sample_weight, ids)``. Not for Keras' ``fit``, which would take them for
            something else, and refuses.
        cache : "memory" or path, optional
            Keep decoded images (and masks), for sources that are slow to read or to decode: in this process' memory,
            or in a Zarr array on a local disk, which later runs find again; one for each set of images (of files, the
            subsets are two). What is kept first stays: with epochs in random order that is worth most.
        cache_nbytes : int, optional
            Bytes that may be kept so. By default 2 GiB in memory, and everything on disk.
        memory_budget : int, optional
            Bytes that batches under way and blocks of chunked sources may take in this process. By default 256 MiB for
            either, or what the shuffle needs.
        transform_on : {"workers", "consumer"}, optional
            With an active distributed client: where batches are transformed. Workers that send raw images, often a
            quarter of the bytes, leave the work to this process. By default both are tried on the first batches.

        Returns
        -------
        NumpyArrayIterator
            Yields ``x``, ``(x, y)`` or ``(x, y, sample_weight)``; with extra inputs `x` is a list or a dict. It is a
            ``keras.utils.PyDataset`` if Keras was loaded before. It has shuffled already: call
            ``model.fit(iterator, shuffle=False)``.

        Raises
        ------
        SourceError
            For data of the wrong rank or length.
        ConfigError
            For bad arguments; for more ranks than images; for `shard` or `drop_last` with ``compat="keras"``; for a
            `memory_budget` that cannot hold what the shuffle needs.
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
            shard=shard,
            drop_last=drop_last,
            with_ids=with_ids,
            cache=cache,
            cache_nbytes=cache_nbytes,
            memory_budget=memory_budget,
            transform_on=transform_on,
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
        shard: tuple[int, int] | None = None,
        drop_last: bool = False,
        with_ids: bool = False,
        cache: str | Path | None = None,
        cache_nbytes: int | None = None,
        memory_budget: int | None = None,
        transform_on: str | None = None,
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
            Folder of masks: for each image a file of the same relative path, with any image ending. Pixels are read
            as the numbers they are (of a palette the indices; several channels are an error), and resized to the size
            of the images by ``"nearest"``, whatever `interpolation` is. With `keep_aspect_ratio` a mask needs the
            proportions of its image. `on_error` goes for masks as well. Used as in :meth:`flow`.
        mask_order, mask_cval, shard, drop_last, with_ids, cache, cache_nbytes, memory_budget, transform_on
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
            shard=shard,
            drop_last=drop_last,
            with_ids=with_ids,
            cache=cache,
            cache_nbytes=cache_nbytes,
            memory_budget=memory_budget,
            transform_on=transform_on,
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
        shard: tuple[int, int] | None = None,
        drop_last: bool = False,
        with_ids: bool = False,
        cache: str | Path | None = None,
        cache_nbytes: int | None = None,
        memory_budget: int | None = None,
        transform_on: str | None = None,
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
        target_size, color_mode
            As in :meth:`flow_from_directory`.
        classes : sequence of str, optional
            Classes that count, in the order of their indices; rows of others are left out. By default all, in
            alphabetical order.
        class_mode : {"categorical", "binary", "sparse", "input", "multi_output", "raw", None}
            As in :meth:`flow_from_directory`; for ``"categorical"`` a label may be a list or tuple of several.
            ``"raw"`` hands out the values of `y_col`, ``"multi_output"`` a list with the values of each of them.
        batch_size, shuffle, seed, save_to_dir, save_prefix, save_format
            As in :meth:`flow_from_directory`.
        subset : {"training", "validation"}, optional
            Part of the rows, as `validation_split` cuts them.
        interpolation : str
            As in :meth:`flow_from_directory`.
        validate_filenames : bool
            Look for the files first, and leave out the rows without one; a warning says how many, why, and which.
        keep_aspect_ratio, on_error
            As in :meth:`flow_from_directory`.
        masks : str, optional
            Column that names the mask of each image, relative to `directory`; read and resized (by ``"nearest"``) as
            in :meth:`flow_from_directory`.
        mask_order, mask_cval, shard, drop_last, with_ids, cache, cache_nbytes, memory_budget, transform_on
            As in :meth:`flow`.
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
            shard=shard,
            drop_last=drop_last,
            with_ids=with_ids,
            cache=cache,
            cache_nbytes=cache_nbytes,
            memory_budget=memory_budget,
            transform_on=transform_on,
        )
