"""Opening what a command is to read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from daskaug.cli.making_options import SOURCE_DEFAULTS, storage_options_of


def open_source(source: str, given: Mapping[str, Any]) -> tuple[Any, Any]:
    """Images and labels: of a Zarr store, a folder or a table.

    Parameters
    ----------
    source : str
        Path, or URL of a store.
    given : mapping
        The options of :data:`daskaug.cli.making_options.SOURCE`, or of ``FILES`` where no labels are wanted.

    Returns
    -------
    x : Source or iterator
    y : array or None
        None for files, whose iterator has its own, and where none are wanted.

    Raises
    ------
    SourceError
        Where there is nothing of the kind.
    """
    from daskaug.errors import ConfigError
    from daskaug.ingest import Reading
    from daskaug.materialize import is_materialized, is_store, open_materialized
    from daskaug.sources import open_images

    if not is_store(source):
        if given.get("y") is not None:
            raise ConfigError("`--y` is for stores; labels of files come from folders, or from --y-col of a table.")
        reading = Reading(
            target_size=given["target_size"],
            color_mode=given["color_mode"],
            on_error=given["on_error"] or "raise",
            x_col=given["x_col"],
            y_col=given["y_col"],
            directory=given["directory"],
        )
        return reading.open(Path(source)), None
    ignored = [name for name in ("target_size", "directory", "on_error") if given[name] is not None]
    ignored += [name for name, usual in SOURCE_DEFAULTS.items() if given[name] != usual]
    if ignored:
        told = ", ".join(f"--{name.replace('_', '-')}" for name in ignored)
        raise ConfigError(f"{told} say how files are read, and {source} is a Zarr store. Leave them out.")
    options = storage_options_of(given) if "://" in source else None
    if is_materialized(source, options):
        # All of it, with what was appended, and only if it is complete.
        x: Any = open_materialized(source, storage_options=options)
    else:
        x = open_images(source, storage_options=options)
    return open_images(x), _labels(source, given.get("y"), options) if "y" in given else None


def class_indices_of_source(source: str, given: Mapping[str, Any]) -> dict[str, int] | None:
    """Names of the classes that the labels of a store number, if they are its own."""
    from daskaug.materialize import class_indices_of

    own = given["y"] in (None, "y")
    return class_indices_of(source, storage_options_of(given) if "://" in source else None) if own else None


def _labels(source: str, y: str | None, options: dict[str, Any] | None) -> Any:
    """The labels by their name beside the images, or by path; those of a store of ours without being asked."""
    from daskaug.errors import SourceError
    from daskaug.materialize import labels_of

    found = labels_of(source, y, options) if y is None or "://" not in y else None
    if found is None and y is not None and ("://" in y or Path(y).exists()):
        found = labels_of(y, None, options if "://" in y else None)
    if found is None and y is not None:
        raise SourceError(f"There is no Zarr array for --y at {y!r}, nor one of that name in {source}.")
    return found
