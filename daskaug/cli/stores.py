"""``daskaug verify``, ``replay`` and ``info``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from daskaug.cli.clusters import Scheduler, cluster
from daskaug.cli.making_options import FILES, storage_options_of, taking
from daskaug.cli.running import in_options
from daskaug.cli.sources import open_source

_Store = Annotated[str, typer.Argument(help="Path or URL of a materialised store.")]
_From = Annotated[
    str | None,
    typer.Option("--source", help="What it was made from: Zarr path or URL, folder or table read as for ingest."),
]


@taking(FILES)
def verify(
    store: _Store,
    sample: Annotated[
        int | None, typer.Option("--sample", help="Shards to read and images to make again; 16 by default.")
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Read and make again everything.")] = False,
    source: _From = None,
    scheduler: Scheduler = None,
    **given: Any,
) -> None:
    """Check a store against its commit records and against what made it. The exit code is 1 if anything is wrong."""
    from daskaug.errors import ConfigError
    from daskaug.materialize import verify as run

    with cluster(scheduler):
        if full and sample is not None:
            raise ConfigError("--full checks everything, and --sample a part. Pass one of them.")
        found = run(
            store,
            sample=16 if sample is None else sample,
            full=full,
            source=_opened(source, given),
            storage_options=_options_for(store, given),
            progress=True,
        )
    typer.echo(in_options(str(found)))
    if not found.ok:
        raise typer.Exit(1)


@taking(FILES)
def replay(
    store: _Store,
    i: Annotated[int, typer.Argument(metavar="I", help="Row of the store, from 0.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Picture: before, after and as stored.")] = None,
    source: _From = None,
    **given: Any,
) -> None:
    """Say what made an image of a store: its key, and every parameter drawn from it."""
    from daskaug.materialize import replay as run

    found = run(store, i, source=_opened(source, given), storage_options=_options_for(store, given))
    typer.echo(in_options(str(found)))
    if out is not None:
        found.save(out)
        typer.echo(f"picture  {out}")


def info(
    store: _Store,
    storage_option: Annotated[
        list[str] | None, typer.Option("--storage-option", help="KEY=VALUE for URLs, again and again.")
    ] = None,
) -> None:
    """Say what a store holds and what made it."""
    from daskaug.materialize import info as run

    typer.echo(in_options(run(store, storage_options=_options_for(store, {"storage_option": storage_option}))))


def _opened(source: str | None, given: dict[str, Any]) -> Any:
    return None if source is None else open_source(source, given)[0]


def _options_for(store: str, given: dict[str, Any]) -> dict[str, Any] | None:
    return storage_options_of(given) if "://" in store else None
