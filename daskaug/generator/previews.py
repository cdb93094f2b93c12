"""Looking at what the options make of images, before anything long is begun."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from daskaug import seeding
from daskaug.config import DTYPES, Config
from daskaug.errors import ConfigError, SourceError
from daskaug.generator.fits import Fits
from daskaug.transforms.masks import PairTransform

if TYPE_CHECKING:
    from daskaug.generator.preview import Preview
    from daskaug.sources import Source


class Previews(Fits):
    """Previews of augmented images."""

    def preview(
        self,
        x: Any,
        n: int = 8,
        *,
        draws: int = 5,
        seed: int = 0,
        rows: ArrayLike | None = None,
        standardize: bool = False,
        ids: ArrayLike | None = None,
        masks: Any = None,
        mask_order: int = 0,
        mask_cval: float = 0.0,
    ) -> Preview:
        """Some images beside what augmenting makes of them, with the drawn parameters beneath.

        Parameters
        ----------
        x : array, Zarr array, dask array, path, URL or iterator made by a `flow` method
            Images of rank 4; only those that are shown are read.
        n : int
            Images to show, spread evenly over `x`.
        draws : int
            Augmented copies of each: what the first epochs of ``flow(x, seed=seed)`` show.
        seed : int
            Of the draws.
        rows : (n,) integers, optional
            Which images to show, in place of `n`.
        standardize : bool
            Standardise as well; pixels are then scaled to be shown, which the picture says.
        ids : (len(x),) integers, optional
            Sample ids; by default an iterator's own, or the row in `x`.
        masks, mask_order, mask_cval
            As in :meth:`flow`; they are shown below their images, from their lowest value in black to their highest in
            white.

        Returns
        -------
        Preview
            A notebook shows it. It has the pixels and parameters, `figure` for matplotlib, and `png()` and
            ``save(path)``, which need no matplotlib.

        Raises
        ------
        ConfigError
            For `n`, `draws` or `rows` that cannot be shown.
        SourceError
            For data that are no images of rank 4, or no images at all.
        NotFittedError
            With `standardize`, where statistics are needed and missing.

        Notes
        -----
        Captions name the options that a number was drawn from. As in Keras, ``height_shift_range`` moves sideways.

        With ``compat="keras"`` the draws of `flow` hang on the order of the samples and on the batches too; here they
        are keyed by the sample, so they are others.
        """
        from daskaug.execution import check_workers, current_executor
        from daskaug.generator.preview import Preview
        from daskaug.iterators import Masks, open_input

        for name, count in (("n", n), ("draws", draws)):
            if not isinstance(count, int | np.integer) or isinstance(count, bool) or count < 1:
                raise ConfigError(f"`{name}` must be a whole number, 1 or more. Received: {name}={count!r}.")
        seed = seeding.check_seed(seed)
        source, columns = open_input(x, None, None, ids)
        given = getattr(x, "masks", None) if masks is None and hasattr(x, "columns") else masks
        beside = Masks.of(given, source, self.config, mask_order, mask_cval)
        chosen = _chosen_rows(source, n, rows)
        executor = current_executor()
        if executor.is_remote:
            check_workers(source.probes())
        raw = _read(source, chosen)
        config = self.config
        if not standardize:
            dtype = raw.dtype.name if raw.dtype.name in DTYPES else "float32"
            config = config.replace(**config.without_standardizing(), dtype=dtype)
        transform = self.block_transform(seed=seed, standardize=standardize, config=config)
        transform.check_images(source.shape[1:])
        keys = columns.ids[chosen]
        by_epoch: list[Any] = [None] * draws
        if beside is not None or _tells(transform):
            by_epoch = [transform.draws_of(raw.shape[1:], keys, epoch) for epoch in range(draws)]
        made = _transformed(transform, raw, keys, by_epoch)
        moved = None
        if beside is not None:
            still, pair = _read(beside.source, chosen), PairTransform(transform, beside.order, beside.cval)
            moves = [pair.move(still, keys, epoch, drawn) for epoch, drawn in enumerate(by_epoch)]
            moved = np.stack([still, *moves], axis=1)
        note = ""
        if config.compat == "keras":
            note = 'compat="keras": in flow the draws hang on batches and order too, and are others than these.'
        return Preview(
            rows=chosen,
            ids=keys,
            seed=seed,
            originals=raw,
            drawn=np.stack(made, axis=1),
            masks=moved,
            parameters=tuple(
                tuple(None if drawn is None else drawn.row(i) for drawn in by_epoch) for i in range(len(chosen))
            ),
            active=_active(self.config),
            data_format=config.data_format,
            standardized=bool(standardize),
            note=note,
        )


def _chosen_rows(source: Source, n: int, rows: ArrayLike | None) -> NDArray[np.int64]:
    """The rows to show.

    Raises
    ------
    ConfigError, SourceError
    """
    count = source.shape[0]
    if not count:
        raise SourceError(f"There are no images to preview in {source.locator}.")
    if rows is None:
        return np.unique(np.linspace(0, count - 1, min(n, count)).astype(np.int64))
    chosen = np.atleast_1d(np.asarray(rows))
    if (
        chosen.ndim != 1
        or chosen.dtype.kind not in "iu"
        or not chosen.size
        or chosen.min() < 0
        or chosen.max() >= count
    ):
        raise ConfigError(f"`rows` must be whole numbers from 0 to {count - 1}, at least one. Received: rows={rows!r}.")
    return chosen.astype(np.int64)


def _read(source: Source, rows: NDArray[np.int64]) -> NDArray[Any]:
    from daskaug.execution import as_loaded, current_executor

    pixels: NDArray[Any] = (
        current_executor().submit(as_loaded, source.rows_reader(rows), (), "daskaug-preview").result()
    )
    return pixels


def _tells(transform: Any) -> bool:
    """Whether its parameters are known: a user's own method that transforms does not tell."""
    return not {"random_transform", "apply_transform"} & set(getattr(transform, "overridden", ()))


def _transformed(transform: Any, raw: NDArray[Any], keys: NDArray[Any], by_epoch: list[Any]) -> list[NDArray[Any]]:
    """The images of each epoch, made where the tasks of `flow` would be."""
    from daskaug.execution import current_executor
    from daskaug.sources.base import CarryingReader

    executor = current_executor()
    tasks = [
        executor.submit(
            functools.partial(transform, draws=drawn),
            CarryingReader(raw, "images of a preview"),
            (keys, epoch),
            "daskaug-preview",
        )
        for epoch, drawn in enumerate(by_epoch)
    ]
    return [task.result() for task in tasks]


def _active(config: Config) -> frozenset[str]:
    """Names of the parameters whose operations are switched on."""
    ranges = {
        "theta": config.rotation_range,
        "tx": config.height_shift_range,
        "ty": config.width_shift_range,
        "shear": config.shear_range,
        "zx": config.zoom_range != (1, 1),
        "zy": config.zoom_range != (1, 1),
        "channel_shift_intensity": config.channel_shift_range,
        "brightness": config.brightness_range,
    }
    return frozenset(name for name, is_on in ranges.items() if is_on)
