"""``daskaug materialize``, ``plan`` and ``preview``."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Annotated, Any

import typer

from daskaug.cli.clusters import Scheduler, cluster
from daskaug.cli.making_options import GENERATOR, MAKING, SOURCE, generator_of, storage_options_of, taking
from daskaug.cli.running import in_options
from daskaug.cli.sources import class_indices_of_source, open_source

_Source = Annotated[str, typer.Argument(help="Zarr array or group (path or URL), folder of images, or CSV table.")]
_Store = Annotated[str, typer.Argument(metavar="TARGET", help="Path or URL of the store.")]


@taking(GENERATOR, SOURCE, MAKING)
def materialize(
    source: _Source,
    target: _Store,
    only_plan: Annotated[bool, typer.Option("--plan", help="Only say what it would take; write nothing.")] = False,
    **given: Any,
) -> None:
    """Write augmented copies of images to a Zarr store; run again, it finishes what was interrupted."""
    with cluster(given["scheduler"]):
        generator, x, options = _prepared(source, target, given)
        if only_plan:
            typer.echo(generator.plan_materialize(x, target, **options))
            return
        try:
            report = generator.materialize(x, target, progress=True, **options)
        except KeyboardInterrupt as interruption:
            notes = in_options(" ".join(getattr(interruption, "__notes__", ())))
            typer.echo(f"daskaug materialize: interrupted. {notes} Run the same command again to finish it.", err=True)
            raise typer.Exit(130) from None
    speed = report.rows_written / max(report.seconds, 1e-9)
    written = "all there already" if not report.rows_written else f"{report.rows_written:,} written"
    typer.echo(
        f"{report.rows:,} images ({report.nbytes / 1e6:,.1f} MB), {written} in {report.seconds:,.1f} s: "
        f"{speed:,.0f} images/s\nstore  {report.store}\nhash   {report.store_hash}"
    )


@taking(GENERATOR, SOURCE, MAKING)
def plan(source: _Source, target: _Store, **given: Any) -> None:
    """Say what `materialize` with the same arguments would take; a few blocks are tried, nothing is written."""
    with cluster(given["scheduler"]):
        generator, x, options = _prepared(source, target, given)
        planned = generator.plan_materialize(x, target, **options)
        typer.echo(planned)
        planned.check()


@taking(GENERATOR, SOURCE)
def preview(
    source: _Source,
    out: Annotated[Path, typer.Option("--out", "-o", help="Picture file to write.")] = Path("preview.png"),
    images: Annotated[int, typer.Option("--images", min=1, help="Images to show.")] = 6,
    draws: Annotated[int, typer.Option("--draws", min=1, help="Augmented copies of each.")] = 5,
    seed: Annotated[int, typer.Option("--seed", help="Of the draws.")] = 0,
    scheduler: Scheduler = None,
    **given: Any,
) -> None:
    """Draw a sheet of images and what augmenting makes of them, with the drawn parameters."""
    with cluster(scheduler):
        generator = generator_of(given | {"statistics": None})
        x, _ = open_source(source, given)
        generator.preview(x, images, draws=draws, seed=seed).save(out)
    typer.echo(f"picture  {out}")


def _prepared(source: str, target: str, given: dict[str, Any]) -> tuple[Any, Any, dict[str, Any]]:
    """The generator, the images, and the arguments of ``materialize`` that were given."""
    generator = generator_of(given)
    if generator.config.needs_statistics and given["statistics"] is None:
        warnings.warn(
            "the store will have no statistics to standardise with, which whoever streams from it needs for "
            "--featurewise-center, --featurewise-std-normalization and --zca-whitening: pass those that `daskaug fit` "
            "saved as --statistics FILE.",
            UserWarning,
            stacklevel=2,
        )
    x, y = open_source(source, given)
    options = {name: given[name] for name in MAKING if name != "scheduler" and given[name] is not None}
    if y is not None:
        options["y"] = y
        options["class_indices"] = class_indices_of_source(source, given)
    if "://" in target and (found := storage_options_of(given)) is not None:
        options["storage_options"] = found
    return generator, x, options
