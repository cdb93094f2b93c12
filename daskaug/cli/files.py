"""``daskaug ingest`` and ``check``."""

from __future__ import annotations

import warnings
from typing import Annotated

import typer

from daskaug.cli.clusters import Scheduler, cluster
from daskaug.cli.file_options import ColorMode, Directory, Size, Target, XCol, YCol


def ingest(
    source: Target,
    store: Annotated[str, typer.Argument(help="Where to write: a path or URL that does not exist.")],
    target_size: Size = None,
    color_mode: ColorMode = "rgb",
    interpolation: Annotated[
        str, typer.Option("--interpolation", help="nearest, bilinear, bicubic, box, lanczos or hamming.")
    ] = "nearest",
    keep_aspect_ratio: Annotated[
        bool, typer.Option("--keep-aspect-ratio", help="Crop instead of stretching, where images are resized.")
    ] = False,
    on_error: Annotated[
        str, typer.Option("--on-error", help="What happens at files that cannot be read: raise, skip or replace.")
    ] = "raise",
    x_col: XCol = "filename",
    y_col: YCol = "class",
    directory: Directory = None,
    scheduler: Scheduler = None,
) -> None:
    """Turn a folder or CSV table of image files into a sharded Zarr store with labels and file names."""
    from daskaug.cards.escaping import as_text
    from daskaug.ingest import ANY_ENDING, ENDINGS, Reading, other_endings
    from daskaug.ingest import ingest as run
    from daskaug.iterators import list_files

    reading = Reading(target_size, color_mode, interpolation, keep_aspect_ratio, on_error, x_col, y_col, directory)
    with cluster(scheduler), warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*cannot be read and are", UserWarning)  # they are listed below
        try:
            report, files = run(source, store, reading, progress=True)
        except KeyboardInterrupt:
            typer.echo("daskaug ingest: interrupted; run the same command again to finish", err=True)
            raise typer.Exit(130) from None
    if source.is_dir() and (others := other_endings(list_files(str(source), ANY_ENDING, skip_hidden=True))):
        typer.echo(f"left out, for their endings: {as_text(others)} ({', '.join(ENDINGS)} are read)", err=True)
    if files.bad_files:
        done = "left out" if on_error == "skip" else "replaced by black"
        typer.echo(f"{len(files.bad_files)} files could not be used and were {done}:", err=True)
        for bad in files.bad_files:
            typer.echo(f"  {bad}", err=True)
    size = "×".join(map(str, files.source.shape[1:]))
    typer.echo(
        f"{report.rows:,} images of {size} {files.source.dtype} ({report.nbytes / 1e6:,.1f} MB) in "
        f"{report.seconds:,.1f} s: {report.rows_written / max(report.seconds, 1e-9):,.0f} images/s\n"
        f"store  {report.store}\nhash   {report.store_hash}"
    )


def check(
    target: Annotated[str, typer.Argument(help="Folder of image files, CSV table, or Zarr store.")],
    target_size: Size = None,
    color_mode: ColorMode = "rgb",
    x_col: XCol = "filename",
    y_col: YCol = "class",
    directory: Directory = None,
    scheduler: Scheduler = None,
) -> None:
    """List what cannot be read: files, or chunks of a store. The exit code is 1 if there is anything."""
    from daskaug.cards.escaping import as_text
    from daskaug.checking import check as run
    from daskaug.ingest import Reading

    reading = Reading(target_size, color_mode, x_col=x_col, y_col=y_col, directory=directory)
    with cluster(scheduler):
        findings = run(target, reading, progress=True)
    for fact in findings.facts:
        typer.echo(as_text(fact))
    for fault in findings.faults:
        typer.echo(f"BAD  {as_text(fault)}")
    typer.echo(f"{len(findings.faults)} faults" if findings.faults else "nothing is wrong")
    if findings.faults:
        raise typer.Exit(1)
