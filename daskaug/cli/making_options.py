"""Options that several commands share, as tables: what a generator does, where images come from, what is written."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from daskaug.cli.clusters import Scheduler
from daskaug.cli.file_options import ColorMode, Directory, Size, XCol, YCol

_Flag = bool | None
_Text = str | None
_Pair = tuple[str, str] | None  # of numbers


def _option(kind: Any, name: str, help_text: str, **more: Any) -> Any:
    return Annotated[kind, typer.Option(name, help=help_text, show_default=False, **more)]


def _number_option(name: str, help_text: str, metavar: str = "NUMBER") -> Any:
    """A number that is taken as it is written: 25 is not 25.0 in the manifest of a store."""
    return _option(_Text, name, help_text, metavar=metavar)


def _flag(name: str, help_text: str) -> Any:
    return _option(_Flag, f"--{name}/--no-{name}", help_text)


CONFIG: dict[str, Any] = {
    "rotation_range": _number_option("--rotation-range", "Degrees, to either side."),
    "width_shift_range": _number_option("--width-shift-range", "As 0.1 (share), 5 (pixels) or 1,2,4 (to choose from)."),
    "height_shift_range": _number_option("--height-shift-range", "As --width-shift-range."),
    "brightness_range": _option(_Pair, "--brightness-range", "Lowest and highest factor.", metavar="LOW HIGH"),
    "shear_range": _number_option("--shear-range", "Degrees."),
    "zoom_range": _number_option("--zoom-range", "As 0.2 (factors 0.8 to 1.2), or as 0.9,1.5."),
    "channel_shift_range": _number_option("--channel-shift-range", "Grey levels."),
    "fill_mode": _option(_Text, "--fill-mode", "constant, nearest, reflect or wrap."),
    "cval": _number_option("--cval", "Beside the image with --fill-mode constant."),
    "horizontal_flip": _flag("horizontal-flip", "Flip every other image, at random."),
    "vertical_flip": _flag("vertical-flip", "The same upside down."),
    "interpolation_order": _option(int | None, "--interpolation-order", "0 nearest, 1 bilinear, up to 5."),
    "value_range": _option(_Pair, "--value-range", "Of float images, for brightness.", metavar="LOW HIGH"),
    "rescale": _number_option("--rescale", "Factor after augmenting."),
    "featurewise_center": _flag("featurewise-center", "Subtract the mean of the data set."),
    "featurewise_std_normalization": _flag("featurewise-std-normalization", "Divide by its standard deviation."),
    "samplewise_center": _flag("samplewise-center", "Subtract each image's mean."),
    "samplewise_std_normalization": _flag("samplewise-std-normalization", "Divide by each image's deviation."),
    "zca_whitening": _flag("zca-whitening", "Whiten with the statistics."),
    "data_format": _option(_Text, "--data-format", "channels_last or channels_first."),
    "compat": _option(_Text, "--compat", "keras: its arithmetic, bit for bit."),
}
"""Arguments of the generator."""

GENERATOR: dict[str, Any] = {
    "augment": _option(
        Path | None,
        "--augment",
        "JSON file of the generator's options, as to_config() gives them; the flags go over it.",
    ),
    **CONFIG,
    "statistics": _option(Path | None, "--statistics", "File that `daskaug fit` wrote."),
}

FILES: dict[str, Any] = {
    "target_size": Size,
    "color_mode": ColorMode,
    "x_col": XCol,
    "y_col": YCol,
    "directory": Directory,
    "on_error": _option(_Text, "--on-error", "At files that cannot be read: raise, skip or replace."),
    "storage_option": _option(
        list[str] | None, "--storage-option", "KEY=VALUE for URLs, again and again; a value may be JSON."
    ),
}
"""How files are found and read, and what stores far away need."""

LABELS = {"y": _option(_Text, "--y", "Labels: path or URL of a Zarr array, or the name of one beside the images.")}
SOURCE = LABELS | FILES
SOURCE_DEFAULTS = {"color_mode": "rgb", "x_col": "filename", "y_col": "class"}

MAKING: dict[str, Any] = {
    "epochs": _option(int | None, "--epochs", "Copies of each image; 1 by default."),
    "seed": _option(int | None, "--seed", "Of the draws; 0 by default."),
    "standardize": _option(_Flag, "--standardize", "Store standardised pixels."),
    "dtype": _option(_Text, "--dtype", "Of the stored images; the source's by default."),
    "codec": _option(_Text, "--codec", "Compression: zstd, lz4 or none."),
    "layout_for": _option(_Text, "--for", "Who reads: streaming (whole blocks) or random (single images)."),
    "chunk_rows": _option(int | None, "--chunk-rows", "Images of a chunk."),
    "shard_rows": _option(int | None, "--shard-rows", "Images of a shard, one file."),
    "balance": _option(_Flag, "--balance", "More copies of rare classes, so that all have as many."),
    "append": _option(_Flag, "--append", "The images come after those that the store was made from."),
    "recheck": _option(_Flag, "--recheck", "Read what is there, and redo what is damaged."),
    "scheduler": Scheduler,
}

NUMBERS = (
    "rotation_range", "width_shift_range", "height_shift_range", "shear_range", "zoom_range", "channel_shift_range",
    "cval", "rescale",
)  # fmt: skip
PAIRS = ("brightness_range", "value_range")


def taking(*tables: Mapping[str, Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Let a command have the options of some tables, which come to its ``**given`` by their names."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def run(**arguments: Any) -> None:
            command(**arguments)

        signature = inspect.signature(command, eval_str=True)
        own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        shared = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=kind, default=SOURCE_DEFAULTS.get(name))
            for table in tables
            for name, kind in table.items()
        ]
        run.__annotations__ = {p.name: p.annotation for p in [*own, *shared]}
        run.__signature__ = signature.replace(parameters=[*own, *shared])  # type: ignore[attr-defined]
        del run.__wrapped__  # whose hints would be asked for
        return run

    return decorate


def generator_of(given: Mapping[str, Any]) -> Any:
    """The generator that the options describe.

    Raises
    ------
    ConfigError
        For a value that cannot work, or statistics that nothing would use.
    """
    from daskaug.errors import ConfigError, NotFittedError
    from daskaug.generator import ImageDataGenerator

    options = {} if given["augment"] is None else _json_of(given["augment"])
    options |= {name: given[name] for name in CONFIG if given[name] is not None}
    for name in NUMBERS:
        if given[name] is not None:
            options[name] = _numbers(name, given[name])
    for name in PAIRS:
        if given[name] is not None:
            options[name] = [_numbers(name, each) for each in given[name]]
    made = ImageDataGenerator.from_config(options)
    if given["statistics"] is not None:
        if not made.config.needs_statistics:
            raise ConfigError(
                "--statistics is for --featurewise-center, --featurewise-std-normalization and --zca-whitening, and "
                "none of them is on. Add those that it was fitted for."
            )
        made.load(given["statistics"])
        try:
            made.block_transform(seed=0).check_fitted()
        except NotFittedError as error:
            raise ConfigError(
                f"--statistics {given['statistics']} has not all that these options need: "
                f"{str(error).partition(',')[0]}. Fit with `daskaug fit`, for --zca-whitening with its --zca."
            ) from error
    return made


def storage_options_of(given: Mapping[str, Any]) -> dict[str, Any] | None:
    """What ``--storage-option`` says, as a dict."""
    from daskaug.errors import ConfigError

    options: dict[str, Any] = {}
    for written in given["storage_option"] or ():
        name, separator, value = written.partition("=")
        if not name or not separator:
            raise ConfigError(f"`--storage-option` must be KEY=VALUE. Received: {written!r}.")
        try:
            options[name] = json.loads(value)
        except ValueError:
            options[name] = value
    return options or None


def _json_of(path: Path) -> dict[str, Any]:
    from daskaug.errors import ConfigError

    try:
        options = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"--augment {path} cannot be read as JSON: {error}.") from error
    if not isinstance(options, dict):
        raise ConfigError(f"--augment {path} must hold an object, as ImageDataGenerator.to_config() gives it.")
    return options


def _numbers(name: str, written: str) -> Any:
    """A number, or several after one another; whole ones stay whole."""
    from daskaug.errors import ConfigError

    try:
        found = [_number(word) for word in written.split(",")]
    except ValueError:
        told = f"--{name.replace('_', '-')}"
        raise ConfigError(f"`{told}` must be a number, or several as 1,2,4. Received: {written!r}.") from None
    return found if len(found) > 1 else found[0]


def _number(written: str) -> int | float:
    try:
        return int(written)
    except ValueError:
        return float(written)
