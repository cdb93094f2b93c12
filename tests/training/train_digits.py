"""Train a small network on digits through ``flow``; run by test_training.py, once for each backend and repetition.

Prints a JSON line: accuracy on unseen digits, a hash of the weights, and what the iterator went through.
"""

from __future__ import annotations

import hashlib
import json

import keras
import numpy as np

from daskaug import ImageDataGenerator
from daskaug.demo import load_digits

EPOCHS = 8


def main() -> None:
    keras.utils.set_random_seed(7)
    images, labels = load_digits()
    order = np.random.RandomState(0).permutation(len(images))
    images, labels = images[order], labels[order]
    train, test = slice(0, 1500), slice(1500, None)
    datagen = ImageDataGenerator(
        featurewise_center=True,
        featurewise_std_normalization=True,
        rotation_range=10,
        width_shift_range=0.1,
        height_shift_range=0.1,
        zoom_range=0.1,
        validation_split=0.1,
    ).fit(images[train])
    batches = datagen.flow(images[train], labels[train], batch_size=32, seed=3, subset="training")
    validation = datagen.flow(images[train], labels[train], batch_size=32, seed=3, subset="validation", shuffle=False)
    network = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(16, 3, activation="relu", padding="same"),
            keras.layers.Conv2D(32, 3, activation="relu", padding="same"),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    network.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = network.fit(batches, epochs=EPOCHS, shuffle=False, verbose=0, validation_data=validation)
    unseen = datagen.standardize(images[test].astype("float32"))
    _, accuracy = network.evaluate(unseen, labels[test], verbose=0)
    digest = hashlib.sha256(b"".join(np.asarray(w).tobytes() for w in network.get_weights())).hexdigest()
    found = {
        "backend": keras.backend.backend(),
        "is_pydataset": isinstance(batches, keras.utils.PyDataset),
        "accuracy": float(accuracy),
        "validation_accuracy": float(history.history["val_accuracy"][-1]),
        "weights": digest,
        "epoch": batches.epoch,
        "validation_epoch": validation.epoch,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
