"""``daskaug fit``."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated, Any

import typer

from daskaug.cli.clusters import Scheduler, cluster
from daskaug.cli.making_options import FILES, taking
from daskaug.cli.sources import open_source

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


@taking(FILES)
def fit(
    source: Annotated[str, typer.Argument(help="Zarr array or group (path or URL), folder of images, or CSV table.")],
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
    scheduler: Scheduler = None,
    **given: Any,
) -> None:
    """Fit mean, standard deviation and range of the channels, and ZCA whitening, and save them."""
    from daskaug.generator import ImageDataGenerator

    with cluster(scheduler):
        how: dict[str, Any] = {
            "tolerance": tolerance,
            "checkpoint": checkpoint,
            "memory_budget": None if memory_budget is None else _nbytes(memory_budget),
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
        x, _ = open_source(source, given)
        typer.echo(generator.plan_fit(x, **how), err=not plan)
        if plan:
            return
        _check_folder(out)
        how |= {"seed": seed, "nan_policy": nan_policy, "histogram": histogram, "zca_store": zca_store}
        generator.fit(x, progress=True, **how)
        replaced = " (in place of another one)" if out.exists() else ""
        generator.save(out)
        statistics = generator.statistics
    assert statistics is not None
    typer.echo(statistics)
    if statistics.whitening is not None:
        found = statistics.whitening
        error = f", error at most {found.error:.2g}" if found.error else ""
        typer.echo(f"whitening by {found.route}: {found.captured:.4%} of the variance{error}")
    typer.echo(f"saved in {out}{replaced}")


def _nbytes(gigabytes: float) -> int:
    """Of the option for a memory budget."""
    from daskaug.errors import ConfigError

    if not gigabytes > 0:
        raise ConfigError(f"`--memory-budget` must be more than 0 GB. Received: {gigabytes}.")
    return max(1, int(gigabytes * 1e9))


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
