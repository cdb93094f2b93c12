"""``daskaug demo``: the whole flow on real images that come inside two Python packages."""

from __future__ import annotations

import dataclasses
import hashlib
import resource
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table

from daskaug.config import FILL_MODES
from daskaug.errors import DaskaugError
from daskaug.execution import current_executor
from daskaug.generator import ImageDataGenerator
from daskaug.kernels import images as kernels
from daskaug.materialize import open_materialized
from daskaug.pictures.sheet import Band, draw_sheet
from daskaug.progress import showing

TILE = 96
"""Pixels of a side of the photographs' tiles."""

COPIES = 3
SHEET_COLUMNS = 10


def run(out: Path, seed: int) -> None:
    """Do it all in the folder `out`, and print what was done.

    Parameters
    ----------
    out : Path
        Stores of an earlier demo in it are replaced.
    seed : int
    """
    console = Console()
    out.mkdir(parents=True, exist_ok=True)
    with console.status("Cutting photographs into tiles"):
        digits, digit_labels = load_digits()
        tiles, tile_labels = load_tiles()
    rows = [_step("digits", *_write_store(out / "digits.zarr", digits, digit_labels, chunk=128))]
    rows += [_step("photographs", *_write_store(out / "tiles.zarr", tiles, tile_labels, chunk=16))]

    rows += [_warm(console)]
    whitener = ImageDataGenerator(
        featurewise_center=True, zca_whitening=True, rotation_range=15, width_shift_range=0.1, zoom_range=0.1
    )
    datagen = ImageDataGenerator(
        featurewise_center=True,
        featurewise_std_normalization=True,
        rotation_range=20,
        width_shift_range=0.1,
        height_shift_range=0.1,
        shear_range=10,
        zoom_range=0.2,
        horizontal_flip=True,
        channel_shift_range=20,
        brightness_range=(0.8, 1.2),
        fill_mode="reflect",
    )
    store = out / "augmented.zarr"
    shutil.rmtree(store, ignore_errors=True)
    rows += [_fit("digits: mean + ZCA", whitener, out / "digits.zarr/images", len(digits))]
    rows += [_fit("photographs: mean + std", datagen, out / "tiles.zarr/images", len(tiles))]
    rows += [_stream("digits", whitener, out / "digits.zarr", seed)]
    rows += [_stream("photographs", datagen, out / "tiles.zarr", seed)]
    with showing(True, "materialise photographs") as shown:
        report = datagen.materialize(
            out / "tiles.zarr/images", store, y=tile_labels, epochs=COPIES, seed=seed, progress=shown
        )
    rows += [
        Step(f"materialise {COPIES} augmented copies", report.rows, report.nbytes, report.seconds),
    ]
    sheet = out / "contact-sheet.png"
    contact_sheet(tiles, tile_labels, open_materialized(store).images, digits, whitener, seed).save(sheet)
    console.print(_table(rows))
    assert datagen.statistics is not None
    console.print(f"mean {np.round(datagen.statistics.mean, 4)}   std {np.round(datagen.statistics.std, 4)}")
    console.print(f"ran on {current_executor().description}; peak memory {_peak_memory() / 2**20:,.0f} MiB")
    for name, value in (
        ("store", store),
        ("source", f"{hashlib.sha256(tiles.data).hexdigest()}   (the photographs as decoded here)"),
        ("hash", f"{report.store_hash}   (the same on every machine that has the same source)"),
        ("picture", sheet),
    ):
        console.print(f"{name:8}{value}", soft_wrap=True, highlight=False)


# --- the steps ---------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Step:
    """A line of the table."""

    name: str
    images: int
    nbytes: int
    seconds: float


def _warm(console: Console) -> Step:
    began = time.perf_counter()
    with console.status("Compiling the kernels, once for this machine"):
        kernels.warm()
    return Step("compile the kernels, or load them", 0, 0, time.perf_counter() - began)


def _step(name: str, images: int, nbytes: int, seconds: float) -> Step:
    return Step(f"write {name} as chunked Zarr", images, nbytes, seconds)


def _write_store(
    store: Path, images: NDArray[np.uint8], labels: NDArray[np.int64], chunk: int
) -> tuple[int, int, float]:
    began = time.perf_counter()
    shutil.rmtree(store, ignore_errors=True)
    group = zarr.create_group(str(store))
    group.create_array("images", data=images, chunks=(chunk, *images.shape[1:]))
    group.create_array("labels", data=labels)
    return len(images), images.nbytes, time.perf_counter() - began


def _fit(name: str, generator: ImageDataGenerator, images: Path, n: int) -> Step:
    began = time.perf_counter()
    with showing(True, f"fit {name}") as shown:
        generator.fit(images, progress=shown)
    assert generator.statistics is not None
    nbytes = n * int(np.prod(generator.statistics.image_shape))
    return Step(f"fit {name}", n, nbytes, time.perf_counter() - began)


def _stream(name: str, generator: ImageDataGenerator, store: Path, seed: int) -> Step:
    began, step = time.perf_counter(), f"stream {name}, two epochs"
    batches = generator.flow(store / "images", store / "labels", batch_size=32, seed=seed)
    images = nbytes = 0
    with showing(True, step) as shown:
        assert shown is not None
        for epoch in batches.epochs(2):
            for x, _ in epoch:
                images, nbytes = images + len(x), nbytes + x.nbytes
                shown(images, 2 * batches.n)
    return Step(step, images, nbytes, time.perf_counter() - began)


def _table(rows: list[Step]) -> Table:
    table = Table(title="daskaug demo")
    table.add_column("step")
    for heading in ("images", "MB", "seconds", "images/s"):
        table.add_column(heading, justify="right")
    for row in rows:
        rate = row.images / row.seconds if row.seconds else float("inf")
        counted = (f"{row.images:,}", f"{row.nbytes / 1e6:,.1f}") if row.images else ("", "")
        table.add_row(row.name, *counted, f"{row.seconds:.2f}", f"{rate:,.0f}" if row.images else "")
    return table


def _peak_memory() -> int:
    """Bytes of memory that this process had at its largest."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


# --- the images --------------------------------------------------------------------------------------------------


def load_digits() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """scikit-learn's 1,797 handwritten digits: (1797, 8, 8, 1) uint8 grey levels 0 to 240, and their classes."""
    datasets = _import("sklearn.datasets")
    bunch = datasets.load_digits()
    return (bunch.images * 15).astype(np.uint8)[..., np.newaxis], bunch.target.astype(np.int64)


def load_tiles() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Photographs of scikit-learn and scikit-image as (n, 96, 96, 3) uint8 tiles, and the number of the photograph."""
    cut = [tiles_of(photograph) for photograph in load_photographs()]
    labels = [np.full(len(tiles), number, np.int64) for number, tiles in enumerate(cut)]
    return np.concatenate(cut), np.concatenate(labels)


def load_photographs() -> list[NDArray[np.uint8]]:
    """Photographs that ship inside scikit-image and scikit-learn, (h, w, 3) uint8 each."""
    data, datasets = _import("skimage.data"), _import("sklearn.datasets")
    names = ("astronaut", "chelsea", "coffee", "rocket", "immunohistochemistry", "hubble_deep_field")
    return [getattr(data, name)() for name in names] + list(datasets.load_sample_images().images)


def tiles_of(photograph: NDArray[np.uint8], size: int = TILE) -> NDArray[np.uint8]:
    """Cut a photograph (h, w, 3) into whole tiles (n, size, size, 3)."""
    rows, columns = photograph.shape[0] // size, photograph.shape[1] // size
    whole = photograph[: rows * size, : columns * size, :3]
    return whole.reshape(rows, size, columns, size, 3).swapaxes(1, 2).reshape(-1, size, size, 3)


def _import(name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise DaskaugError(
            f"The demo takes its images from {name.partition('.')[0]}, which is not installed. "
            "Install the extra: pip install 'daskaug[demo]'."
        ) from error


# --- the picture -------------------------------------------------------------------------------------------------


def contact_sheet(
    tiles: NDArray[np.uint8],
    labels: NDArray[np.int64],
    augmented: Any,
    digits: NDArray[np.uint8],
    whitener: ImageDataGenerator,
    seed: int,
) -> Image.Image:
    """Originals above, augmented images below; then what each fill mode puts outside of an image.

    Parameters
    ----------
    tiles : (n, 96, 96, 3) uint8
    labels : (n,) int64
        Number of the photograph of each tile.
    augmented : Source
        The materialised copies of the tiles.
    digits : (m, 8, 8, 1) uint8
    whitener : ImageDataGenerator
        Of the digits; they are shown as streamed, before standardising.
    seed : int
    """
    chosen = _spread(labels)
    bands = [Band("photographs", tiles[chosen])]
    bands += [Band(f"copy {copy}", augmented.take(chosen + copy * len(tiles))) for copy in range(COPIES)]
    bands.append(Band("digits", digits[:SHEET_COLUMNS]))
    for epoch in range(2):
        lazy = whitener.augment(digits, seed=seed, epoch=epoch, standardize=False)[:SHEET_COLUMNS]
        bands.append(Band(f"epoch {epoch}", np.asarray(lazy.compute(scheduler="synchronous"))))
    telling, moved = tiles[chosen[-2]], {"theta": 30, "tx": 12, "zx": 1.6, "zy": 1.6}
    for parameters in ({"tx": TILE * 0.4, "ty": TILE * 0.25}, moved):
        modes = [ImageDataGenerator(fill_mode=mode, cval=255 * 0.8) for mode in FILL_MODES]
        shown = [telling, *(mode.apply_transform(telling, parameters) for mode in modes)]
        bands.append(Band("fill modes", np.stack(shown), ("original", *FILL_MODES)))
    return draw_sheet(bands, tile=TILE, columns=SHEET_COLUMNS)


def _spread(labels: NDArray[np.int64]) -> NDArray[np.intp]:
    """Tiles of every photograph, from its middle and, as far as there is room, from its first third."""
    places = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    middle = [place[len(place) // 2] for place in places]
    return np.sort([*middle, *(place[len(place) // 3] for place in places)][:SHEET_COLUMNS])
