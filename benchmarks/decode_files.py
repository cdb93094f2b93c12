"""Decode and augment a folder of JPEG photographs, beside pure Pillow decoding and beside Keras.

    python -m benchmarks.decode_files [--files 300] [--repeat 5]

All in one process and interleaved, on as many threads as there are processors (Keras has only one).
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.contestants import AUGMENTING

SIZES = ((375, 500), (750, 1000))
TARGET = (224, 224)


def write_photographs(folder: Path, count: int, size: tuple[int, int]) -> None:
    """`count` JPEG files of real photographs, cropped and brought to `size` (height, width)."""
    from daskaug.demo import load_photographs

    photographs = [Image.fromarray(photograph) for photograph in load_photographs()]
    state = np.random.RandomState(0)
    (folder / "class").mkdir(parents=True)
    for number in range(count):
        photograph = photographs[state.randint(len(photographs))]
        left, top = (state.randint(extent // 4) for extent in photograph.size)
        box = (left, top, left + photograph.width * 3 // 4, top + photograph.height * 3 // 4)
        picture = photograph.resize((size[1], size[0]), Image.Resampling.BICUBIC, box=box)
        picture.save(folder / "class" / f"{number:05d}.jpg", quality=88)


def pillow(folder: Path) -> None:
    def decode(path: Path) -> np.ndarray:
        with Image.open(path) as picture:
            return np.asarray(picture.convert("RGB").resize(TARGET[::-1], Image.Resampling.NEAREST))

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for _ in pool.map(decode, sorted((folder / "class").iterdir())):
            pass


def ours(folder: Path) -> None:
    from daskaug import ImageDataGenerator

    batches = ImageDataGenerator(**AUGMENTING).flow_from_directory(folder, target_size=TARGET, seed=1)
    for _ in batches.one_epoch():
        pass


def keras(folder: Path) -> None:
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

    batches = ImageDataGenerator(**AUGMENTING).flow_from_directory(folder, target_size=TARGET, seed=1)
    for _ in range(len(batches)):
        next(batches)


CONTESTANTS: dict[str, Callable[[Path], None]] = {"pure Pillow": pillow, "daskaug": ours, "Keras": keras}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=300)
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    os.environ.setdefault("KERAS_BACKEND", "jax")
    warnings.simplefilter("ignore")
    print(f"{options.files} JPEG files brought to {TARGET}, medians of {options.repeat} interleaved runs, images/s")
    for size in SIZES:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_photographs(folder, options.files, size)
            seconds: dict[str, list[float]] = {name: [] for name in CONTESTANTS}
            for _ in range(options.repeat + 1):
                for contestant, function in CONTESTANTS.items():
                    began = time.perf_counter()
                    function(folder)
                    seconds[contestant].append(time.perf_counter() - began)
            for contestant, found in seconds.items():
                pairs = zip(seconds["pure Pillow"][1:], found[1:], strict=True)
                share = statistics.median(pure / own for pure, own in pairs)
                rate = options.files / statistics.median(found[1:])
                print(f"{size[0]}×{size[1]}  {contestant:12} {rate:8.0f}   {share:5.2f} of pure decoding")


if __name__ == "__main__":
    main()
