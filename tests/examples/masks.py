"""Third example of the Keras page: images and their masks, from two generators with one seed.

``model``, ``epochs``, ``images`` and ``masks`` are defined by who runs this. Lines that had to change are marked.
"""

from daskaug import ImageDataGenerator  # edit: the import

data_gen_args = {
    "featurewise_center": True,
    "featurewise_std_normalization": True,
    "rotation_range": 90,
    "width_shift_range": 0.1,
    "height_shift_range": 0.1,
    "zoom_range": 0.2,
}
image_datagen = ImageDataGenerator(**data_gen_args)
mask_datagen = ImageDataGenerator(**data_gen_args)

seed = 1
image_datagen.fit(images, augment=True, seed=seed)  # noqa: F821
mask_datagen.fit(masks, augment=True, seed=seed)  # noqa: F821

image_generator = image_datagen.flow_from_directory("data/images", class_mode=None, seed=seed)
mask_generator = mask_datagen.flow_from_directory("data/masks", class_mode=None, seed=seed)

# edit: a generator around `zip`
train_generator = (pair for pair in zip(image_generator, mask_generator))  # noqa: B905

model.fit(  # noqa: F821  # edit: `fit_generator`
    train_generator,
    steps_per_epoch=len(image_generator),  # edit: whole steps
    epochs=epochs,  # noqa: F821
)
