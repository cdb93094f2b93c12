"""Second example of the Keras page: batches from folders, one for training and one for validation.

``model`` and ``epochs`` are defined by who runs this. Lines that had to change are marked.
"""

from daskaug import ImageDataGenerator  # edit: the import

train_datagen = ImageDataGenerator(rescale=1.0 / 255, shear_range=0.2, zoom_range=0.2, horizontal_flip=True)
test_datagen = ImageDataGenerator(rescale=1.0 / 255)

train_generator = train_datagen.flow_from_directory(
    "data/train", target_size=(150, 150), batch_size=32, class_mode="binary"
)
validation_generator = test_datagen.flow_from_directory(
    "data/validation", target_size=(150, 150), batch_size=32, class_mode="binary"
)

model.fit(  # noqa: F821  # edit: `fit_generator`
    train_generator,
    steps_per_epoch=train_generator.samples // 32,  # edit: whole steps
    epochs=epochs,  # noqa: F821
    validation_data=validation_generator,
    validation_steps=validation_generator.samples // 32,  # edit: whole steps
)
