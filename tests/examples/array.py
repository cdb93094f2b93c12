"""First example of the Keras page: batches from an array, in ``fit`` and by hand.

``model``, ``epochs`` and ``num_classes`` are defined by who runs this. Lines that had to change are marked.
"""

import math

import numpy as np
from keras.utils import to_categorical  # edit: `np_utils`

from daskaug import ImageDataGenerator  # edit: the import

local = np.load("photographs.npz")  # edit: local data
x_train, y_train = local["images"], local["labels"]
y_train = to_categorical(y_train, num_classes)  # noqa: F821

datagen = ImageDataGenerator(
    featurewise_center=True,
    featurewise_std_normalization=True,
    rotation_range=20,
    width_shift_range=0.2,
    height_shift_range=0.2,
    horizontal_flip=True,
)
datagen.fit(x_train)

model.fit(  # noqa: F821  # edit: `fit_generator`
    datagen.flow(x_train, y_train, batch_size=32),
    steps_per_epoch=math.ceil(len(x_train) / 32),  # edit: whole steps
    epochs=epochs,  # noqa: F821
)

for e in range(epochs):  # noqa: F821
    print("Epoch", e)
    batches = 0
    for x_batch, y_batch in datagen.flow(x_train, y_train, batch_size=32):
        model.fit(x_batch, y_batch)  # noqa: F821
        batches += 1  # noqa: SIM113
        if batches >= len(x_train) / 32:
            break  # edit: the `break` inside the loop
