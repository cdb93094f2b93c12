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


_KeepGram = Annotated[
    bool, typer.Option("--keep-gram", help="Keep what whitening can be computed from when statistics are merged.")
]
_ZcaRoute = Annotated[
    str | None, typer.Option("--zca-route", help="features, samples or randomized; by default the cheapest.")
]
_ZcaComponents = Annotated[
    str | None, typer.Option("--zca-components", help="Directions to keep, as 64, or share of the variance, as 0.99.")
]
_ZcaEpsilon = Annotated[
    float | None, typer.Option("--zca-epsilon", help="Added to the singular values; 1e-6 by default.")
]
_ZcaStore = Annotated[str | None, typer.Option("--zca-store", help="Path or URL of a Zarr array for the directions.")]


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
    seed: Annotated[
        int | None,
        typer.Option("--seed", help="Of the order of reading with --tolerance, and of --zca-route randomized."),
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option("--checkpoint", help="File to go on from when this is interrupted, or data appended.")
    ] = None,
    memory_budget: Annotated[
        float | None,
        typer.Option("--memory-budget", help="GB of blocks in each process, 2 GiB by default, or of whitening, 8 GB."),
    ] = None,
    keep_gram: _KeepGram = False,
    zca: Annotated[bool, typer.Option("--zca", help="Fit ZCA whitening too.")] = False,
    zca_route: _ZcaRoute = None,
    zca_components: _ZcaComponents = None,
    zca_epsilon: _ZcaEpsilon = None,
    zca_store: _ZcaStore = None,
    plan: Annotated[bool, typer.Option("--plan", help="Only say what would be done; read no image.")] = False,
) -> None:
    """Fit mean, standard deviation and range of the channels, and ZCA whitening, and save them."""
    from daskaug.generator import ImageDataGenerator

    with _reported("fit"):
        how: dict[str, Any] = {
            "tolerance": tolerance,
            "checkpoint": checkpoint,
            "memory_budget": None if memory_budget is None else int(memory_budget * 1e9),
            "keep_gram": keep_gram,
            "zca_route": zca_route,
            "zca_components": _components(zca_components),
        }
        if not zca:
            _need_zca(zca_route=zca_route, zca_components=zca_components, zca_epsilon=zca_epsilon, zca_store=zca_store)
        generator = ImageDataGenerator(
            featurewise_center=True,
            featurewise_std_normalization=not zca,
            zca_whitening=zca,
            zca_epsilon=1e-6 if zca_epsilon is None else zca_epsilon,
            rescale=rescale,
            data_format=data_format,
        )
        typer.echo(generator.plan_fit(store, **how), err=not plan)
        if plan:
            return
        _check_folder(out)
        with _running_mean() as (monitor, progress):
            how |= {"seed": seed, "nan_policy": nan_policy, "histogram": histogram, "zca_store": zca_store}
            generator.fit(store, monitor=monitor, progress=progress, **how)
        generator.save(out)
        statistics = generator.statistics
    assert statistics is not None
    typer.echo(statistics)
    if statistics.whitening is not None:
        found = statistics.whitening
        error = f", error at most {found.error:.2g}" if found.error else ""
        typer.echo(f"whitening by {found.route}: {found.captured:.4%} of the variance{error}")
    typer.echo(f"saved in {out}")


def _components(written: str | None) -> int | float | None:
    """A number of directions, or a share of the variance: 1 is the former and 1.0 the latter."""
    from daskaug.errors import ConfigError

    if written is None:
        return None
    for number in (int, float):
        with contextlib.suppress(ValueError):
            return number(written)
    raise ConfigError(f"`--zca-components` must be a number, as 64 or 0.99. Received: {written!r}.")


def _need_zca(**given: Any) -> None:
    """Refuse options of a whitening that is not asked for."""
    from daskaug.errors import ConfigError

    names = [f"--{name.replace('_', '-')}" for name, value in given.items() if value is not None]
    if names:
        raise ConfigError(f"{', '.join(names)} says how to whiten, and nothing is whitened without --zca. Add --zca.")


def _check_folder(out: Path) -> None:
    """Refuse a file that cannot be written before hours are spent on its content."""
    from daskaug.errors import StoreError

    if out.is_dir() or not out.parent.is_dir():
        raise StoreError(
            f"--out {out} is a folder, or lies in one that does not exist. Name a file in an existing one."
        )


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
    """An error as one paragraph, and exit code 1; of what nobody foresaw, the kind of error and the task too."""
    from daskaug.errors import DaskaugError

    try:
        yield
    except (typer.Exit, typer.Abort):  # on purpose
        raise
    except Exception as error:
        kind = "" if isinstance(error, DaskaugError | OSError) else f"{type(error).__name__}: "
        told = " ".join([str(error), *getattr(error, "__notes__", ())])
        typer.echo(f"daskaug {command}: {kind}{' '.join(told.split())}", err=True)
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
def _running_mean() -> Iterator[tuple[Callable[[Any], None], Callable[[int, int], None]]]:
    """A bar with the mean so far and, where blocks come in random order, how near it is; and what moves it."""
    with _bar("fit") as (bar, task):

        def monitor(running: Any) -> None:
            near = [""] * len(running.mean)
            if running.interval is not None:
                near = [f" ± {half:.2g}" for half in running.interval.mean]
            means = ", ".join(f"{mean:.5g}{half}" for mean, half in zip(running.mean[:4], near, strict=False))
            bar.update(task, description=f"mean {means}")

        yield monitor, lambda done, total: bar.update(task, completed=done, total=total)


def main() -> None:
    """Entry point of the command ``daskaug``."""
    app()
