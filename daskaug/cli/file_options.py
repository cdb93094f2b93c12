"""Options of the commands that read image files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Target = Annotated[Path, typer.Argument(help="Folder of image files, or CSV table that names them.")]
Size = Annotated[
    tuple[int, int] | None,
    typer.Option("--target-size", metavar="HEIGHT WIDTH", help="Resize to this; by default all have the same size."),
]
ColorMode = Annotated[str, typer.Option("--color-mode", help="rgb, rgba or grayscale.")]
XCol = Annotated[str, typer.Option("--x-col", help="Column of a table with the file names.")]
YCol = Annotated[str, typer.Option("--y-col", help="Column of a table with the labels.")]
Directory = Annotated[
    Path | None, typer.Option("--directory", help="Folder of the table's file names; by default the table's own.")
]
