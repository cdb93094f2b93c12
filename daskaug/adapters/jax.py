"""JAX: batches on their way to the device before they are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax

from daskaug.adapters.epochs import Batches, Epochs, map_arrays
from daskaug.errors import ConfigError


class JaxBatches(Epochs):
    """Batches as JAX arrays; one pass is one epoch.

    Parameters
    ----------
    batches : iterator
        As a `flow` method returns it. Each process of a distributed run takes one with its ``shard``.
    device : jax.Device or jax.sharding.Sharding, optional
        Where they go; by default JAX' own.
    ahead : int
        Batches that are sent before they are asked for: copying to a device then goes on beside computing on it.

    Raises
    ------
    ConfigError
        `ahead` is negative or no integer.
    """

    def __init__(self, batches: Batches, device: Any = None, ahead: int = 2) -> None:
        super().__init__(batches)
        if not isinstance(ahead, int) or isinstance(ahead, bool) or ahead < 0:
            raise ConfigError(f"`ahead` must be an integer, 0 or more. Received: ahead={ahead!r}.")
        self.device, self.ahead = device, ahead

    def __iter__(self) -> Iterator[Any]:
        """Begin the next epoch."""
        return self.passing(self._sent, self.ahead)

    def _sent(self, batch: Any) -> Any:
        return map_arrays(lambda array: jax.device_put(array, self.device), batch)
