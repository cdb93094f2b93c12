"""Working on a cluster that somebody else has started, for a while."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import distributed

from daskaug.errors import ConfigError


@contextlib.contextmanager
def connected(address: str) -> Iterator[None]:
    """Make the workers of a scheduler the ones that tasks run on.

    Parameters
    ----------
    address : str
        As ``tcp://host:8786``.

    Raises
    ------
    ConfigError
        Where no scheduler answers.
    """
    try:
        client = distributed.Client(address)
    except (OSError, ValueError) as error:
        raise ConfigError(f"No dask scheduler answers at {address!r}: {error}. Check the address.") from error
    with client:
        yield
