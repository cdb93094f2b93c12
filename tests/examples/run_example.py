"""Run the examples on real images; called by test_examples.py, once for each backend.

For each of them, write its data into a folder, define what the Keras page leaves open, and run it there. The last line
printed is JSON, about what came of them.
"""

from __future__ import annotations

import contextlib
import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from PIL import Image

from tests import pictures

HERE = Path(__file__).parent
EPOCHS = 2


def save(folder: Path, images: np.ndarray) -> list[str]:
    """Write uint8 images of 1 or 3 channels as PNG files; their names."""
    folder.mkdir(parents=True)
    for number, image in enumerate(images):
        Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(folder / f"{number}.png")
    return [f"{number}.png" for number in range(len(images))]


def array() -> dict[str, Any]:
    """Tiles of four photographs; the label says which."""
    tiles = [pictures.demo.tiles_of(photograph, 32)[:50] for photograph in pictures.photographs()]
    images, labels = np.concatenate(tiles), np.repeat(np.arange(4), [len(t) for t in tiles])
    order = np.random.RandomState(0).permutation(len(images))
    np.savez("photographs.npz", images=images[order], labels=labels[order])
    return {"num_classes": 4, "model": classifier((32, 32, 3), 4, "categorical_crossentropy")}


def directory() -> dict[str, Any]:
    """Tiles of a cat and of a cup of coffee."""
    for name, photograph in zip(("cat", "coffee"), pictures.photographs()[1:3], strict=True):
        tiles = pictures.demo.tiles_of(photograph, 50)
        save(Path("data/train", name), tiles[:32])
        save(Path("data/validation", name), tiles[32:48])
    return {"model": classifier((150, 150, 3), 1, "binary_crossentropy")}


def masks() -> dict[str, Any]:
    """Tiles of a photograph, and where they are bright."""
    images = pictures.demo.tiles_of(pictures.photographs()[0], 128)
    bright = np.where(images.mean(axis=3, keepdims=True) > 127, 255, 0).astype(np.uint8).repeat(3, axis=3)
    save(Path("data/images/all"), images)
    save(Path("data/masks/all"), bright)
    model = keras.Sequential([keras.Input((256, 256, 3)), keras.layers.Conv2D(3, 3, padding="same")])
    model.compile(keras.optimizers.Adam(1e-2), "mean_squared_error")
    return {"images": images, "masks": bright, "model": model}


def dataframe() -> dict[str, Any]:
    """Zeros and ones among the handwritten digits."""
    digits, labels = pictures.digits()
    chosen = np.flatnonzero(labels < 2)[:128]
    names = save(Path("data/train"), digits[chosen])
    rows = [f"{name},{('zero', 'one')[labels[row]]}\n" for name, row in zip(names, chosen, strict=True)]
    for table, part in (("train.csv", rows[:96]), ("valid.csv", rows[96:])):
        Path(table).write_text("filename,class\n" + "".join(part), encoding="utf-8")
    return {"model": classifier((150, 150, 3), 1, "binary_crossentropy")}


def classifier(shape: tuple[int, ...], outputs: int, loss: str) -> keras.Model:
    """A small network; strides make it quick on larger images."""
    network = keras.Sequential(
        [
            keras.Input(shape),
            keras.layers.Conv2D(8, 5, strides=shape[0] // 16, activation="relu"),
            keras.layers.Conv2D(16, 3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(outputs, activation="softmax" if outputs > 1 else "sigmoid"),
        ]
    )
    network.compile(keras.optimizers.Adam(3e-3), loss, metrics=["accuracy"])
    return network


PREPARE: dict[str, Callable[[], dict[str, Any]]] = {
    "array": array,
    "directory": directory,
    "masks": masks,
    "dataframe": dataframe,
}


def main(names: list[str]) -> None:
    found = {}
    for name in names:
        Path(name).mkdir()
        with contextlib.chdir(name):
            found[name] = run(name)
    print(json.dumps(found))


def run(name: str) -> dict[str, Any]:
    """What came of an example, in the working directory."""
    keras.utils.set_random_seed(1)
    left = runpy.run_path(str(HERE / f"{name}.py"), init_globals={"epochs": EPOCHS} | PREPARE[name]())
    model = left["model"]
    found = {
        "backend": keras.backend.backend(),
        "steps": int(model.optimizer.iterations),
        "loss": [float(value) for value in model.history.history["loss"]],
        "validation": len(model.history.history.get("val_loss", ())),
    }
    if name == "masks":
        found["pairs"] = how_well_paired(left)
    return found


def how_well_paired(left: dict[str, Any]) -> float:
    """Correlation of the brightness of images with their masks, over one more batch."""
    images, bright = next(left["train_generator"])
    return float(np.corrcoef(images.mean(axis=3).ravel(), bright[..., 0].ravel())[0, 1])


if __name__ == "__main__":
    main(sys.argv[1:])
