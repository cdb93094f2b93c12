"""The command line: ``daskaug``."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from daskaug._version import __version__

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Out-of-core statistics, augmentation and materialised data sets for images.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"daskaug {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options before the command."""


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for the stores and the contact sheet.")] = Path(
        "daskaug-demo"
    ),
    seed: Annotated[int, typer.Option("--seed", help="Of all draws.")] = 2026,
) -> None:
    """Fit, augment, stream and materialise real images, and draw a contact sheet."""
    from daskaug.demo import run

    with _reported("demo"):
        run(out, seed)


_Target = Annotated[Path, typer.Argument(help="Folder of image files, or CSV table that names them.")]
_Size = Annotated[
    tuple[int, int] | None,
    typer.Option("--target-size", metavar="HEIGHT WIDTH", help="Resize to this; by default all have the same size."),
]
_ColorMode = Annotated[str, typer.Option("--color-mode", help="rgb, rgba or grayscale.")]
_XCol = Annotated[str, typer.Option("--x-col", help="Column of a table with the file names.")]
_YCol = Annotated[str, typer.Option("--y-col", help="Column of a table with the labels.")]
_Directory = Annotated[
    Path | None, typer.Option("--directory", help="Folder of the table's file names; by default the table's own.")
]


@app.command()
def ingest(
    source: _Target,
    store: Annotated[str, typer.Argument(help="Where to write: a path or URL that does not exist.")],
    target_size: _Size = None,
    color_mode: _ColorMode = "rgb",
    interpolation: Annotated[
        str, typer.Option("--interpolation", help="nearest, bilinear, bicubic, box, lanczos or hamming.")
    ] = "nearest",
    keep_aspect_ratio: Annotated[
        bool, typer.Option("--keep-aspect-ratio", help="Crop instead of stretching, where images are resized.")
    ] = False,
    on_error: Annotated[
        str, typer.Option("--on-error", help="What happens at files that cannot be read: raise, skip or replace.")
    ] = "raise",
    x_col: _XCol = "filename",
    y_col: _YCol = "class",
    directory: _Directory = None,
) -> None:
    """Turn a folder or CSV table of image files into a sharded Zarr store with labels and file names."""
    from daskaug.ingest import Reading
    from daskaug.ingest import ingest as run

    reading = Reading(target_size, color_mode, interpolation, keep_aspect_ratio, on_error, x_col, y_col, directory)
    with _reported("ingest"), _progress("decode and write") as update, warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*cannot be read and are", UserWarning)  # they are listed below
        try:
            report, files = run(source, store, reading, update)
        except KeyboardInterrupt:
            typer.echo("daskaug ingest: interrupted; run the same command again to finish", err=True)
            raise typer.Exit(130) from None
    if files.bad_files:
        done = "left out" if on_error == "skip" else "replaced by black"
        typer.echo(f"{len(files.bad_files)} files could not be used and were {done}:", err=True)
        for bad in files.bad_files:
            typer.echo(f"  {bad}", err=True)
    size = "×".join(map(str, files.source.shape[1:]))
    typer.echo(
        f"{report.rows:,} images of {size} {files.source.dtype} ({report.nbytes / 2**20:,.1f} MiB) in "
        f"{report.seconds:,.1f} s: {report.rows_written / max(report.seconds, 1e-9):,.0f} images/s\n"
        f"store  {report.store}\nhash   {report.store_hash}"
    )


@app.command()
def fit(
    store: Annotated[str, typer.Argument(help="Path or URL of a Zarr array of images, or a group with one.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="File for the statistics (NPZ).")] = Path("statistics.npz"),
    rescale: Annotated[
        float | None, typer.Option("--rescale", help="Factor that images will be multiplied by.")
    ] = None,
    data_format: Annotated[
        str | None, typer.Option("--data-format", help="channels_last or channels_first.", show_default=False)
    ] = None,
    histogram: Annotated[bool, typer.Option("--histogram", help="Count the values of each channel too.")] = False,
    nan_policy: Annotated[str, typer.Option("--nan-policy", help="NaN pixels: raise or omit.")] = "raise",
    tolerance: Annotated[
        float | None,
        typer.Option("--tolerance", help="Stop when mean and std are known to within so many standard deviations."),
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Of the order of reading, with --tolerance.")] = None,
    checkpoint: Annotated[
        Path | None, typer.Option("--checkpoint", help="File to go on from when this is interrupted, or data appended.")
    ] = None,
    memory_budget: Annotated[
        float | None, typer.Option("--memory-budget", help="GB that blocks may take in each process; 2 GiB by default.")
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Only say what would be done; read no image.")] = False,
) -> None:
    """Fit mean, standard deviation and range of the channels, and save them."""
    from daskaug.generator import ImageDataGenerator

    budget = None if memory_budget is None else int(memory_budget * 1e9)
    with _reported("fit"):
        generator = ImageDataGenerator(
            featurewise_center=True, featurewise_std_normalization=True, rescale=rescale, data_format=data_format
        )
        typer.echo(
            generator.plan_fit(store, tolerance=tolerance, checkpoint=checkpoint, memory_budget=budget), err=not plan
        )
        if plan:
            return
        with _running_mean() as monitor:
            generator.fit(
                store,
                seed=seed,
                nan_policy=nan_policy,
                histogram=histogram,
                tolerance=tolerance,
                checkpoint=checkpoint,
                memory_budget=budget,
                monitor=monitor,
            )
        generator.save(out)
    assert generator.statistics is not None
    typer.echo(f"{generator.statistics}\nsaved in {out}")


@app.command()
def check(
    target: Annotated[str, typer.Argument(help="Folder of image files, CSV table, or Zarr store.")],
    target_size: _Size = None,
    color_mode: _ColorMode = "rgb",
    x_col: _XCol = "filename",
    y_col: _YCol = "class",
    directory: _Directory = None,
) -> None:
    """List what cannot be read: files, or chunks of a store. The exit code is 1 if there is anything."""
    from daskaug.checking import check as run
    from daskaug.ingest import Reading

    reading = Reading(target_size, color_mode, x_col=x_col, y_col=y_col, directory=directory)
    with _reported("check"), _progress("check") as update:
        findings = run(target, reading, update)
    for fact in findings.facts:
        typer.echo(fact)
    for fault in findings.faults:
        typer.echo(f"BAD  {fault}")
    typer.echo(f"{len(findings.faults)} faults" if findings.faults else "nothing is wrong")
    if findings.faults:
        raise typer.Exit(1)


@app.command()
def migrate(
    call: Annotated[str, typer.Argument(metavar="CALL|SCRIPT.py", help="A call in quotes, or the path of a script.")],
) -> None:
    """Say what differs from Keras for an ImageDataGenerator(...) call or a script. Nothing of it is run."""
    from daskaug.migration import explain, explain_file

    with _reported("migrate"):
        typer.echo(explain_file(call) if call.endswith(".py") else explain(call))


@app.command()
def warmup() -> None:
    """Compile the kernels, or load them from the cache, so that the first batch need not."""
    from daskaug.kernels.compile import cache_directory
    from daskaug.kernels.warming import warm

    total = 0.0
    for name, seconds in warm():
        typer.echo(f"{name:16}{seconds:6.2f} s")
        total += seconds
    typer.echo(f"{'all':16}{total:6.2f} s   {cache_directory()}")


@contextlib.contextmanager
def _reported(command: str) -> Iterator[None]:
    """An error on purpose as one line, and exit code 1."""
    from daskaug.errors import DaskaugError

    try:
        yield
    except DaskaugError as error:
        typer.echo(f"daskaug {command}: {error}", err=True)
        raise typer.Exit(1) from error


@contextlib.contextmanager
def _progress(description: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on the terminal, and what moves it."""
    with _bar(description) as (progress, task):
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextlib.contextmanager
def _bar(description: str) -> Iterator[tuple[Any, Any]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield progress, progress.add_task(description, total=None)


@contextlib.contextmanager
def _running_mean() -> Iterator[Callable[[Any], None]]:
    """A bar with the mean so far and, where blocks come in random order, how near it is."""
    with _bar("fit") as (progress, task):

        def monitor(running: Any) -> None:
            near = [""] * len(running.mean)
            if running.interval is not None:
                near = [f" ± {half:.2g}" for half in running.interval.mean]
            means = ", ".join(f"{mean:.5g}{half}" for mean, half in zip(running.mean[:4], near, strict=False))
            progress.update(task, completed=running.samples, total=running.of_samples, description=f"mean {means}")

        yield monitor


def main() -> None:
    """Entry point of the command ``daskaug``."""
    app()
