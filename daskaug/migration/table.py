"""Where daskaug and Keras part, row by row.

The command ``daskaug migrate`` and the tables of ``docs/migrating-from-keras.md`` are both made from these rows, and
``tests/test_migration.py`` shows each of them on real images: its tests carry the names of the rows.
"""

from __future__ import annotations

import dataclasses
import enum

COMPAT = '`compat="keras"`'


class Kind(enum.StrEnum):
    """What kind of row it is."""

    CHANGED = "changed"
    """daskaug's default does something else."""
    EDIT = "edit"
    """Keras 3 itself refuses the old form."""
    KEPT = "kept"
    """Surprising, and the same in both."""


@dataclasses.dataclass(frozen=True)
class Row:
    """One difference, edit or surprise.

    Attributes
    ----------
    name : str
        Its test is ``test_<name>``.
    kind : Kind
    keras : str
        What Keras does; for an edit, the old form.
    daskaug : str
        What daskaug does; for an edit, the line to write instead.
    why : str
        For an edit, what Keras 3 says to the old form.
    switch : str
        How to get what Keras does, or what to write. Empty for what is kept.
    """

    name: str
    kind: Kind
    keras: str
    daskaug: str
    why: str
    switch: str = ""


TOPICS = {
    "Random numbers": (
        Row(
            "keyed_draws",
            Kind.CHANGED,
            "One stream of random numbers, seeded anew for each batch with the seed plus the batches seen so far.",
            "Every image has numbers of its own, given by seed, epoch, image and operation.",
            "Batch size, order and workers cannot change a pixel; and seed 7's second batch does not repeat the "
            "numbers of seed 8's first.",
            COMPAT,
        ),
        Row(
            "sample_order",
            Kind.CHANGED,
            "`shuffle=True` permutes with that same stream.",
            "The order is a function of seed and epoch. Chunked sources are shuffled in blocks.",
            "Any epoch's order is known without running those before it.",
            COMPAT,
        ),
        Row(
            "unseeded",
            Kind.CHANGED,
            "Without `seed`, numbers come from NumPy's global generator: `np.random.seed(0)` somewhere repeats a run.",
            "Without `seed`, fresh entropy; the iterator's `seed_used` tells which.",
            "Whatever else draws from the global generator would change the images.",
            "`seed=0` in `flow`, `flow_from_directory`, `random_transform` and so on",
        ),
        Row(
            "global_numbers",
            Kind.CHANGED,
            "Each batch with a seed sets the seed of NumPy's global generator, and so the numbers of a "
            "`preprocessing_function` that asks it.",
            "The global generator is neither read nor written.",
            "Functions run side by side, in no fixed order.",
            "a parameter named `rng` in the function: it gets a NumPy generator of the image's own",
        ),
        Row(
            "integer_seeds",
            Kind.CHANGED,
            "A seed is whatever `np.random.seed` takes: arrays and True as well.",
            "An integer from 0 to 2³² − 1; anything else is an error.",
            "It is written down with every result.",
            "an integer",
        ),
    ),
    "Pixels": (
        Row(
            "interpolation",
            Kind.CHANGED,
            "Interpolates in float64.",
            "Interpolates in the precision of the result, float32 unless asked otherwise. The difference is below "
            "0.001 grey levels of 255.",
            "Several times as fast.",
            COMPAT,
        ),
        Row(
            "brightness",
            Kind.CHANGED,
            "Goes through 8-bit levels: fractions are lost, images of 0 to 1 go black. An image that leaves 0 to 255 "
            "is stretched to it and back. Fails for `channels_first` and for more than four channels.",
            "Multiplies. Integer images are clipped to the range of their type, floats to `value_range` if that is "
            "given.",
            "Images of 16 bits, or of 0 to 1, keep their precision.",
            f"{COMPAT} (up to four channels)",
        ),
        Row(
            "negative_shifts",
            Kind.CHANGED,
            "A shift list with nothing above −1, such as `[-3, -2]`, is taken for fractions of the size, as its "
            "largest value is below 1.",
            "It is pixels, like any list whose values reach 1.",
            "The signs are drawn anyway: `[-3, -2]` and `[3, 2]` mean the same.",
            f"{COMPAT}; `get_random_transform` has Keras' numbers in any case",
        ),
        Row(
            "integer_dtype",
            Kind.CHANGED,
            'With `dtype="uint8"` images are computed in that type: fractions are cut off, and `rescale` and '
            "centring fail at the first batch.",
            "Computed in floats; rounded half to even and kept within the type's range at the end. Centring is refused "
            "when the generator is made.",
            "A rounded result is closer than a truncated one.",
            "a float `dtype`, and `.astype` afterwards",
        ),
        Row(
            "integer_images",
            Kind.CHANGED,
            "`apply_transform` and `random_transform` return an integer image for an integer image; `standardize` "
            "fails on it.",
            "They return the generator's `dtype`.",
            "The result of an interpolation is no integer.",
            '`np.rint(...).astype("uint8")`',
        ),
        Row(
            "validation_subset",
            Kind.CHANGED,
            '`subset="validation"` is augmented too.',
            "It is standardised only.",
            "A validation score should not depend on luck.",
            COMPAT,
        ),
    ),
    "Fit and standardise": (
        Row(
            "fit_sees_training",
            Kind.CHANGED,
            "`fit` leaves out the `preprocessing_function` and the samplewise options.",
            "`fit` measures what training will see.",
            "Otherwise the standardised images have another mean than 0 and another deviation than 1.",
            COMPAT,
        ),
        Row(
            "fit_augmented",
            Kind.CHANGED,
            "`fit(augment=True)` rescales first, and draws from one stream of its own.",
            "It sees the images that `flow` with the same seed hands out in its first `rounds` epochs.",
            "It measures the very images.",
            COMPAT,
        ),
        Row(
            "exact_statistics",
            Kind.CHANGED,
            "Mean and deviation are summed in float32: over some million pixels the fourth digit is wrong, over a "
            "billion the first.",
            "Sums are exact for integers, and in float64 for floats.",
            "4,096 photographs of 224 × 224 gave a mean of 20.9 for a true 136.3.",
            "assign `datagen.mean` and `datagen.std`",
        ),
        Row(
            "unfitted",
            Kind.CHANGED,
            "A generator that has not been fitted warns, and hands out images that are not standardised.",
            "`NotFittedError`, naming the line to add.",
            "Nobody wants those images.",
            COMPAT,
        ),
        Row(
            "standardize_batch",
            Kind.CHANGED,
            "`standardize` takes a batch for one sample: one samplewise mean for all, and the `preprocessing_function` "
            "gets the batch.",
            "Every image of the batch by itself.",
            "So do `flow` and training.",
            COMPAT,
        ),
        Row(
            "null_directions",
            Kind.CHANGED,
            "ZCA magnifies directions in which nothing varies by √n / ε, and with them rounding errors.",
            "They are dropped.",
            "Pixels that are always black would outweigh all others.",
            COMPAT,
        ),
    ),
    "Iterators": (
        Row(
            "batch_by_index",
            Kind.CHANGED,
            "`it[i]` depends on how many batches were asked for before.",
            "`it[i]` is the i-th batch of the epoch, the one that `next(it)` gives.",
            "Batches can be fetched again, and side by side.",
            COMPAT,
        ),
        Row(
            "epoch_end",
            Kind.CHANGED,
            "Every `on_epoch_end()` draws a new order.",
            "It goes on to the next epoch only if a whole epoch was served through `it[i]`.",
            "Keras' `fit` calls it after probing one batch, and twice after a validation pass.",
            COMPAT,
        ),
        Row(
            "ends",
            Kind.CHANGED,
            "`it[len(it)]` is a ValueError; `next()` without any image gives an empty batch.",
            "An IndexError; StopIteration.",
            "Python's own protocols.",
            "catch the other error",
        ),
        Row(
            "save_to_dir",
            Kind.CHANGED,
            "The folder `save_to_dir` must exist.",
            "It is made. The numbers in the file names depend on seed, epoch and image.",
            "The files of a run can be found again.",
            f"{COMPAT} for Keras' file names",
        ),
    ),
    "Files": (
        Row(
            "paired_folders",
            Kind.CHANGED,
            "Two `flow_from_directory` with one seed are paired by the order of their files, whatever these are "
            "called.",
            "They are paired by path: the same name below both folders, `images/a/1.jpg` and `masks/a/1.png`; the "
            "ending may differ.",
            "A file keeps its draws when others are added beside it.",
            f"{COMPAT}; `masks=` makes one draw for both",
        ),
        Row(
            "bad_files",
            Kind.CHANGED,
            "A file that cannot be read ends the epoch with Pillow's message.",
            'The message names path and row. `on_error="skip"` and `"replace"` go on, and list the files.',
            "Pillow's message seldom says which file it is.",
            "nothing to do",
        ),
        Row(
            "dataframe_keywords",
            Kind.CHANGED,
            "`flow_from_dataframe` passes over keywords it does not know, `keep_aspect_ratio` among them.",
            "Unknown keywords are errors, and `keep_aspect_ratio` is heeded.",
            "A misspelt `traget_size` should be noticed.",
            "leave the keyword out",
        ),
    ),
    "Checks": (
        Row(
            "checked_options",
            Kind.CHANGED,
            'Takes what is not documented, such as `fill_mode="mirror"`, a negative shift or a zoom through zero; '
            "other bad values fail at the first batch.",
            "An error when the generator is made or an option assigned, saying what is allowed.",
            "A run should not die an hour in.",
            "one of the documented values",
        ),
        Row(
            "warnings",
            Kind.CHANGED,
            "Warns of any number of channels but 1, 3 and 4, and twice where ZCA overrides the deviation.",
            "Warns of channels only where they seem to be on the other axis, and once of each option overridden.",
            "Five channels are fine.",
            "nothing to do",
        ),
    ),
}
"""What daskaug does otherwise, by topic."""

CHANGED = tuple(row for rows in TOPICS.values() for row in rows)

EDITS = (
    Row(
        "import_line",
        Kind.EDIT,
        "`from keras.preprocessing.image import ImageDataGenerator`",
        "`from daskaug import ImageDataGenerator`, or `from daskaug.image import ...` for the other names too",
        "ImportError (from `tensorflow.keras` it still comes)",
    ),
    Row(
        "generator_methods",
        Kind.EDIT,
        "`model.fit_generator(batches, ...)`, `evaluate_generator`, `predict_generator`",
        "`model.fit(batches, ...)`, `evaluate`, `predict`",
        "AttributeError",
    ),
    Row(
        "whole_steps",
        Kind.EDIT,
        "`steps_per_epoch=len(x) / 32`, `validation_steps=...`, `steps=...`",
        "nothing, as the iterator knows its length; or a whole number, `steps_per_epoch=len(batches)`",
        "TypeError: a float where an integer belongs. With fewer steps than batches, every second epoch ends early",
    ),
    Row(
        "zipped_generators",
        Kind.EDIT,
        "`model.fit(zip(images, masks), ...)`",
        "`model.fit((pair for pair in zip(images, masks)), shuffle=False, ...)`; or one iterator with `masks=`",
        "ValueError: unrecognized data type. Without `shuffle=False` it warns that a generator cannot be shuffled",
    ),
    Row(
        "fit_workers",
        Kind.EDIT,
        "`model.fit(batches, workers=4, use_multiprocessing=True, max_queue_size=10)`",
        "`model.fit(batches)`; batches are computed ahead on all cores, or on the active dask client",
        "TypeError: unexpected keyword",
    ),
    Row(
        "keras_1_names",
        Kind.EDIT,
        "`samples_per_epoch=2000, nb_epoch=50, nb_val_samples=800`",
        "`epochs=50`, and steps only if they are fewer than the batches there are: `steps_per_epoch=60`",
        "TypeError: unexpected keyword",
    ),
    Row(
        "np_utils",
        Kind.EDIT,
        "`from keras.utils import np_utils`",
        "`from keras.utils import to_categorical`",
        "ImportError",
    ),
    Row(
        "endless_loop",
        Kind.EDIT,
        "`for x_batch, y_batch in datagen.flow(...):` without a `break` in this loop",
        "a counter and a `break` inside the loop over batches; or `for x_batch, y_batch in batches.one_epoch():`",
        "nothing: the iterator goes on for ever, here as there",
    ),
)

KEPT = (
    Row(
        "shift_axes",
        Kind.KEPT,
        "`height_shift_range` moves an image sideways and `width_shift_range` up and down, as Keras swaps the axes of "
        "its matrix.",
        "The same; `tx` and `ty` in `apply_transform` too.",
        "Pixels agree with Keras'.",
    ),
    Row(
        "shift_of_one",
        Kind.KEPT,
        "A shift range of int 1 is no shift at all, since ints go to 0 … n − 1; 1.0 is up to one pixel. Every value of "
        "a list may come with the other sign.",
        "The same.",
        "So Keras documents it.",
    ),
    Row(
        "shear_degrees",
        Kind.KEPT,
        "`shear_range` is in degrees: the 0.2 of many examples is a fifth of a degree.",
        "The same.",
        "So Keras documents it.",
    ),
    Row(
        "wrap_period",
        Kind.KEPT,
        '`fill_mode="wrap"` repeats an image of n pixels after n − 1.',
        "The same.",
        'It is what SciPy calls "wrap".',
    ),
    Row(
        "first_rows_validate",
        Kind.KEPT,
        "`validation_split` takes the first rows, of each class with `flow_from_directory`.",
        "The same. Shuffle sorted arrays beforehand.",
        "Both subsets stay what they were.",
    ),
    Row(
        "weights_without_labels",
        Kind.KEPT,
        "`sample_weight` without `y` is handed to nobody.",
        "The same.",
        "`fit` has no use for it.",
    ),
    Row(
        "fit_shuffles",
        Kind.KEPT,
        "`model.fit` takes the batches of an epoch in random order, by Python's own unseeded generator.",
        "The same. The images have been shuffled already: pass `shuffle=False` to `fit`.",
        "It happens in Keras. Without it, two runs are the same.",
    ),
)

ROWS = {row.name: row for row in (*CHANGED, *EDITS, *KEPT)}
"""All rows by name."""
