"""Train a small convolutional network on Fashion-MNIST out of a Zarr store; run by test_fashion.py.

    python -m tests.training.train_fashion [--workers 4] [--steps-per-epoch 40]

Prints a JSON line: accuracies on the test set, a hash of the weights, and what the iterators went through.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
import time

import keras
import numpy as np
import zarr

from daskaug import ImageDataGenerator
from tests import fashion

TRAIN, TEST = 20_480, 5_000
BATCH = 128
STEPS = TRAIN // BATCH
EPOCHS = 3


def network() -> keras.Model:
    made = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Conv2D(16, 3, strides=2, activation="relu", padding="same"),
            keras.layers.Conv2D(32, 3, strides=2, activation="relu", padding="same"),
            keras.layers.Flatten(),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    rate = keras.optimizers.schedules.CosineDecay(5e-3, EPOCHS * STEPS)
    made.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--steps-per-epoch", type=int, help="a divisor of an epoch's batches; as many more epochs")
    options = parser.parse_args()
    began = time.perf_counter()
    keras.utils.set_random_seed(7)
    images, labels = fashion.load("train")
    with tempfile.TemporaryDirectory() as folder:
        store = f"{folder}/train.zarr"
        zarr.create_array(store, data=images[:TRAIN], chunks=(256, 28, 28, 1))
        found = train(store, labels[:TRAIN], options.workers, options.steps_per_epoch)
    print(json.dumps(found | {"seconds": round(time.perf_counter() - began, 1)}))


def train(store: str, labels: np.ndarray, workers: int, steps_per_epoch: int | None) -> dict[str, object]:
    datagen = ImageDataGenerator(
        featurewise_center=True,
        featurewise_std_normalization=True,
        width_shift_range=0.05,
        height_shift_range=0.05,
        horizontal_flip=True,
    ).fit(store)
    still = ImageDataGenerator(featurewise_center=True, featurewise_std_normalization=True)
    still.mean, still.std = datagen.mean, datagen.std
    batches = datagen.flow(store, labels, batch_size=BATCH, seed=3)
    test_images, test_labels = fashion.load("t10k")
    held_out = still.flow(test_images[:TEST], test_labels[:TEST], batch_size=500, shuffle=False)
    batches.workers = held_out.workers = workers

    pieces = STEPS // (steps_per_epoch or STEPS)  # Keras' epochs in one of the iterator
    model = network()
    history = model.fit(
        batches,
        epochs=EPOCHS * pieces,
        steps_per_epoch=steps_per_epoch,
        shuffle=False,
        verbose=0,
        validation_data=held_out,
        validation_freq=pieces,
    ).history
    _, accuracy = model.evaluate(held_out, verbose=0)
    return {
        "backend": keras.backend.backend(),
        "accuracy": float(accuracy),
        "accuracies": [round(float(each), 4) for each in history["val_accuracy"]],
        "weights": hashlib.sha256(b"".join(np.asarray(w).tobytes() for w in model.get_weights())).hexdigest(),
        "epoch": batches.epoch,
        "validation_epoch": held_out.epoch,
    }


if __name__ == "__main__":
    main()
