"""Which rows of the table concern a script, and what in it they are about."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from daskaug.config import Config
from daskaug.errors import ConfigError
from daskaug.migration.script import UNKNOWN, Call, Script, parameters_of

Place = tuple[int, str]
"""A line number, and the words there."""

AFFINE = ("rotation_range", "width_shift_range", "height_shift_range", "shear_range", "zoom_range")
RANDOM = (*AFFINE, "horizontal_flip", "vertical_flip", "channel_shift_range", "brightness_range")
SHIFTS = ("width_shift_range", "height_shift_range")
SAMPLEWISE = ("samplewise_center", "samplewise_std_normalization")
FITTED = ("featurewise_center", "featurewise_std_normalization", "zca_whitening")
WORKERS = ("workers", "use_multiprocessing", "max_queue_size")
KERAS_1 = ("samples_per_epoch", "nb_epoch", "nb_val_samples", "nb_worker", "pickle_safe", "max_q_size")
STEPS = ("steps_per_epoch", "validation_steps", "steps")
OLD_MODULE = re.compile(r"\bkeras(?:\.src)?(?:\.legacy)?\.preprocessing(?:\.image)?\b|\bkeras_preprocessing\b")
STILL_THERE = {"array_to_img", "img_to_array", "load_img", "save_img", "smart_resize"}
"""What ``keras.preprocessing.image`` has in Keras 3."""


def is_on(call: Call, name: str) -> bool:
    """Whether an option is given and does something; what is no literal counts."""
    value = call.value(name)
    if name in SHIFTS and value == 1 and isinstance(value, int):
        return False  # an int goes to one less
    if name == "zoom_range" and isinstance(value, list | tuple):
        return list(value) != [1, 1]
    return value is UNKNOWN or (bool(value) if name != "brightness_range" else value is not None)


def switched_on(call: Call, names: tuple[str, ...]) -> tuple[str, ...]:
    """Those of the options, as written."""
    return call.written(*(name for name in names if is_on(call, name)))


def _options(names: tuple[str, ...]) -> Callable[[Script], Iterator[Place]]:
    """A rule: one of the options is switched on."""

    def rule(script: Script) -> Iterator[Place]:
        for made in script.generators:
            if found := switched_on(made, names):
                yield made.line, ", ".join(found)

    return rule


def keyed_draws(script: Script) -> Iterator[Place]:
    """Random options, in something that flows."""
    for made in script.generators:
        flows = script.of(made, script.flows)
        found = switched_on(made, RANDOM)
        if found and (script.is_call or flows):
            yield made.line, ", ".join(found)


def sample_order(script: Script) -> Iterator[Place]:
    """A flow that shuffles."""
    for flow in script.flows:
        if flow.value("shuffle", True) is not False:
            yield flow.line, _shown(flow, "shuffle")


def unseeded(script: Script) -> Iterator[Place]:
    """A method that draws, without a seed."""
    for call in [*script.flows, *script.image_calls]:
        draws = call.method not in ("apply_transform", "standardize")
        if draws and call.value("seed") is None and not call.unread:
            yield call.line, f"{call.method}(...) without seed"


def integer_seeds(script: Script) -> Iterator[Place]:
    """A literal seed that is none of ours."""
    for call in [*script.flows, *script.image_calls, *script.fits]:
        seed = call.value("seed")
        good = isinstance(seed, int) and not isinstance(seed, bool) and 0 <= seed < 2**32
        if seed is not None and seed is not UNKNOWN and not good:
            yield call.line, _shown(call, "seed")


def interpolation(script: Script) -> Iterator[Place]:
    """An affine option with linear interpolation; nearest has no arithmetic, splines are SciPy's in both."""
    for made in script.generators:
        found = switched_on(made, AFFINE)
        if found and made.value("interpolation_order", 1) in (1, UNKNOWN):
            yield made.line, ", ".join(found)


def negative_shifts(script: Script) -> Iterator[Place]:
    """Lists that Keras takes for fractions by their largest value."""
    for made in script.generators:
        for name in SHIFTS:
            values = made.value(name)
            if not isinstance(values, list | tuple) or not all(isinstance(v, int | float) for v in values):
                continue
            if values and max(values) < 1 <= max(abs(v) for v in values):
                yield made.line, _shown(made, name)


def integer_dtype(script: Script) -> Iterator[Place]:
    """An integer type of the results."""
    for made in script.generators:
        dtype = made.arguments.get("dtype")
        if dtype is not None and re.search(r"\bu?int\d*\b", str(dtype.text)):
            yield made.line, _shown(made, "dtype")


def integer_images(script: Script) -> Iterator[Place]:
    """Methods that take a single image; nobody knows its type."""
    for call in script.image_calls:
        if call.method in ("apply_transform", "random_transform", "standardize"):
            yield call.line, call.text


def validation_subset(script: Script) -> Iterator[Place]:
    """A validation subset of a generator that augments."""
    for made in script.generators:
        if script.is_call and is_on(made, "validation_split") and switched_on(made, RANDOM):
            yield made.line, _shown(made, "validation_split")
    for flow in script.flows:
        generator = script.generator_of(flow)
        if flow.value("subset") in ("validation", UNKNOWN) and (generator is None or switched_on(generator, RANDOM)):
            yield flow.line, _shown(flow, "subset")


def fit_sees_training(script: Script) -> Iterator[Place]:
    """Options that act before the fitted ones."""
    for made in script.generators:
        before = switched_on(made, ("preprocessing_function", *SAMPLEWISE))
        fitted = switched_on(made, FITTED)
        if before and fitted and (script.is_call or script.of(made, script.fits)):
            yield made.line, ", ".join((*before, *fitted))


def fit_augmented(script: Script) -> Iterator[Place]:
    """``fit(augment=True)``."""
    for call in script.fits:
        if call.value("augment", False) is not False:
            yield call.line, _shown(call, "augment")


def unfitted(script: Script) -> Iterator[Place]:
    """A generator with statistics that nobody fits, loads or assigns."""
    for made in script.generators:
        name = script.name_of(made)
        is_given = script.of(made, script.fits) or any(f"{name}.{part}" in script.assigned for part in ("mean", "std"))
        found = switched_on(made, FITTED)
        if found and not is_given:
            yield made.line, ", ".join(found) + ("" if script.is_call else ", never fitted here")


def standardize_batch(script: Script) -> Iterator[Place]:
    """``standardize`` by hand, with options that tell images and batches apart."""
    names = ("preprocessing_function", *SAMPLEWISE)
    for made in script.generators:
        if script.is_call and (found := switched_on(made, names)):
            yield made.line, ", ".join(found)
    for call in script.image_calls:
        generator = script.generator_of(call)
        if call.method == "standardize" and (generator is None or switched_on(generator, names)):
            yield call.line, call.text


def batch_by_index(script: Script) -> Iterator[Place]:
    """``it[i]``."""
    yield from script.indexed


def epoch_end(script: Script) -> Iterator[Place]:
    """A model that fits on a flow calls it."""
    for call, flow in _fits_on_flows(script):
        yield call.line, f"{call.method}({flow}, ...)"


def save_to_dir(script: Script) -> Iterator[Place]:
    """Flows that save what they hand out."""
    for flow in script.flows:
        if flow.value("save_to_dir") is not None:
            yield flow.line, _shown(flow, "save_to_dir")


def paired_folders(script: Script) -> Iterator[Place]:
    """Two folders with the same seed, without labels: images and masks."""
    folders = [f for f in script.flows if f.method == "flow_from_directory" and f.value("class_mode", "") is None]
    for flow in folders[1:]:
        yield flow.line, flow.text


def bad_files(script: Script) -> Iterator[Place]:
    """Flows that read files."""
    for flow in script.flows:
        if flow.method != "flow":
            yield flow.line, f"{flow.method}(...)"


def dataframe_keywords(script: Script) -> Iterator[Place]:
    """Keywords that Keras drops."""
    known = {*(parameters_of("flow_from_dataframe") or ()), "has_ext", "sort", "drop_duplicates"} - {
        "keep_aspect_ratio"
    }
    for flow in script.flows:
        if flow.method == "flow_from_dataframe":
            for name in flow.arguments.keys() - known:
                yield flow.line, _shown(flow, name)


def checked_options(script: Script) -> Iterator[Place]:
    """Options that daskaug refuses, with its own words."""
    for made in script.generators:
        known = {name: argument.value for name, argument in made.arguments.items() if argument.value is not UNKNOWN}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                Config(**known)
        except ConfigError as error:
            yield made.line, str(error)
        except TypeError as error:
            yield made.line, str(error).partition(" ")[2]


# --- what Keras 3 refuses ----------------------------------------------------------------------------------------


def import_line(script: Script) -> Iterator[Place]:
    """Keras' own address of the module."""
    for line, text in script.imports:
        module, _, names = text.partition(" import ")
        taken = {name.split()[0] for name in names.split(", ") if name}
        if not OLD_MODULE.search(module):
            continue
        # A module as a whole may be there for what Keras 3 still has.
        is_whole = not taken or (taken == {"image"} and not module.endswith("image"))
        if (is_whole and script.generators) or (not is_whole and "image" in module and taken - STILL_THERE):
            yield line, text


def generator_methods(script: Script) -> Iterator[Place]:
    """``fit_generator`` and its sisters."""
    for call in script.model_calls:
        if call.method.endswith("_generator"):
            yield call.line, f"{call.method}(...)"


def whole_steps(script: Script) -> Iterator[Place]:
    """Steps that are, or may be, floats."""
    for call in script.model_calls:
        for name in STEPS:
            argument = call.arguments.get(name)
            if argument is not None and (argument.divides or isinstance(argument.value, float)):
                yield call.line, _shown(call, name)


def zipped_generators(script: Script) -> Iterator[Place]:
    """A zip handed to a model."""
    for call in script.model_calls:
        given = call.arguments.get("x") or call.arguments.get("generator")
        if given is not None and given.meant.startswith("zip("):
            yield call.line, given.text if given.text == given.meant else f"{given.text} = {given.meant}"


def _keywords(names: tuple[str, ...]) -> Callable[[Script], Iterator[Place]]:
    """A rule: a model is called with one of the keywords."""

    def rule(script: Script) -> Iterator[Place]:
        for call in script.model_calls:
            if found := call.written(*names):
                yield call.line, ", ".join(found)

    return rule


def np_utils(script: Script) -> Iterator[Place]:
    """The module that is gone."""
    for line, text in script.imports:
        if "np_utils" in text:
            yield line, text


def endless_loop(script: Script) -> Iterator[Place]:
    """Loops that never end."""
    yield from script.loops


# --- what is kept ------------------------------------------------------------------------------------------------


def shift_of_one(script: Script) -> Iterator[Place]:
    """An int 1."""
    for made in script.generators:
        for name in SHIFTS:
            if made.value(name) == 1 and isinstance(made.value(name), int):
                yield made.line, _shown(made, name)


def shear_degrees(script: Script) -> Iterator[Place]:
    """Less than a degree."""
    for made in script.generators:
        shear = made.value("shear_range", 0)
        if isinstance(shear, int | float) and 0 < abs(shear) < 1:
            yield made.line, _shown(made, "shear_range")


def wrap_period(script: Script) -> Iterator[Place]:
    """The fill mode."""
    for made in script.generators:
        if made.value("fill_mode") == "wrap":
            yield made.line, _shown(made, "fill_mode")


def weights_without_labels(script: Script) -> Iterator[Place]:
    """Weights for nobody."""
    for flow in script.flows:
        if flow.method == "flow" and flow.value("sample_weight") is not None and flow.value("y") is None:
            yield flow.line, _shown(flow, "sample_weight")


def fit_shuffles(script: Script) -> Iterator[Place]:
    """A model that fits on a flow, without ``shuffle=False``."""
    for call, flow in _fits_on_flows(script):
        if call.value("shuffle", True) is not False:
            yield call.line, f"{call.method}({flow}, ...)"


def _never(_: Script) -> Iterator[Place]:
    """What no script shows."""
    return iter(())


RULES: dict[str, Callable[[Script], Iterator[Place]]] = {
    "keyed_draws": keyed_draws,
    "sample_order": sample_order,
    "unseeded": unseeded,
    "global_numbers": _options(("preprocessing_function",)),
    "integer_seeds": integer_seeds,
    "interpolation": interpolation,
    "brightness": _options(("brightness_range",)),
    "negative_shifts": negative_shifts,
    "integer_dtype": integer_dtype,
    "integer_images": integer_images,
    "validation_subset": validation_subset,
    "fit_sees_training": fit_sees_training,
    "fit_augmented": fit_augmented,
    "exact_statistics": _options(FITTED),
    "unfitted": unfitted,
    "standardize_batch": standardize_batch,
    "null_directions": _options(("zca_whitening",)),
    "batch_by_index": batch_by_index,
    "epoch_end": epoch_end,
    "ends": _never,
    "save_to_dir": save_to_dir,
    "paired_folders": paired_folders,
    "bad_files": bad_files,
    "dataframe_keywords": dataframe_keywords,
    "checked_options": checked_options,
    "warnings": _never,
    "import_line": import_line,
    "generator_methods": generator_methods,
    "whole_steps": whole_steps,
    "zipped_generators": zipped_generators,
    "fit_workers": _keywords(WORKERS),
    "keras_1_names": _keywords(KERAS_1),
    "np_utils": np_utils,
    "endless_loop": endless_loop,
    "shift_axes": _options(SHIFTS),
    "shift_of_one": shift_of_one,
    "shear_degrees": shear_degrees,
    "wrap_period": wrap_period,
    "first_rows_validate": _options(("validation_split",)),
    "weights_without_labels": weights_without_labels,
    "fit_shuffles": fit_shuffles,
}
"""By the name of the row."""


def lines_with_compat(script: Script) -> set[int]:
    """Lines of generators that replay Keras already, and of what is called on them."""
    replaying = [made for made in script.generators if made.value("compat") == "keras"]
    calls = [*script.flows, *script.image_calls, *script.fits]
    return {call.line for made in replaying for call in (made, *script.of(made, calls))}


def _shown(call: Call, name: str) -> str:
    """An argument as written, or the call where it was left at its default."""
    written: Any = call.written(name)
    return written[0] if written else f"{call.method}(...)"


def _fits_on_flows(script: Script) -> Iterator[tuple[Call, str]]:
    for call in script.model_calls:
        if call.method in ("fit", "fit_generator"):
            given = call.arguments.get("x") or call.arguments.get("generator")
            if given is not None and re.search(r"\.flow(_from_\w+)?\(", given.meant):
                yield call, given.text
