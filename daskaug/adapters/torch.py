"""PyTorch: batches as tensors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import IterableDataset, get_worker_info

from daskaug.adapters.epochs import Batches, Epochs, map_arrays
from daskaug.errors import ConfigError


class TorchBatches(Epochs, IterableDataset):  # type: ignore[misc]
    """Whole batches as tensors, which share the memory of the arrays: one pass is one epoch.

    It can be looped over as it is, or handed to ``torch.utils.data.DataLoader(batches, batch_size=None)`` and, since it
    has ``state_dict`` and ``load_state_dict``, to torchdata's ``StatefulDataLoader``. Each rank of a distributed run
    takes an iterator of its own, ``flow(..., seed=s, shard=(rank, world_size))``, which needs no sampler: all ranks
    have the same number of batches, and nothing is seen twice.

    Parameters
    ----------
    batches : iterator
        As a `flow` method returns it.

    Notes
    -----
    Batches are computed by threads ahead of the loop, and the images are decoded and augmented without the
    interpreter's lock: worker processes (``num_workers``) would only copy them, and are refused.

    Examples
    --------
    >>> import numpy as np
    >>> from daskaug import ImageDataGenerator
    >>> from daskaug.adapters.torch import TorchBatches
    >>> x, y = np.zeros((8, 4, 4, 1), np.uint8), np.arange(8)
    >>> batches = TorchBatches(ImageDataGenerator().flow(x, y, batch_size=4, seed=1))
    >>> [(tuple(images.shape), len(labels)) for images, labels in batches]
    [((4, 4, 4, 1), 4), ((4, 4, 4, 1), 4)]
    """

    def __init__(self, batches: Batches) -> None:
        super().__init__(batches)

    def __iter__(self) -> Iterator[Any]:
        """Begin the next epoch.

        Raises
        ------
        ConfigError
            In a worker process of a DataLoader.
        """
        if get_worker_info() is not None:
            raise ConfigError(
                "A DataLoader with num_workers above 0 would compute every batch once in each of its processes. Use "
                "num_workers=0: the batches are computed ahead, by threads."
            )
        return self.passing(_tensors)


def _tensors(batch: Any) -> Any:
    return map_arrays(_tensor, batch)


def _tensor(array: NDArray[Any]) -> torch.Tensor:
    if array.dtype.kind not in "buif":
        raise ConfigError(
            f"PyTorch has no tensors of {array.dtype}: number the labels, numpy.unique(y, return_inverse=True)[1]."
        )
    native = array.astype(array.dtype.newbyteorder("="), copy=not array.flags.writeable)
    return torch.from_numpy(np.ascontiguousarray(native))
