"""Masks that go through the same movements as their images."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskaug.errors import SourceError
from daskaug.kernels.images import round_to_integer
from daskaug.stages import offer, stage
from daskaug.transforms.block import BlockTransform
from daskaug.transforms.draws import Draws


@dataclasses.dataclass(frozen=True, eq=False)
class PairTransform:
    """Transforms images and their masks with one draw for both.

    The mask is moved and flipped like its image. It sees no colour operation and is not standardised, and with order 0,
    the default, its values stay the values they were.

    Attributes
    ----------
    images : BlockTransform
    order : int
        Of the masks' interpolation, 0 to 5.
    cval : float
        What lies outside of a mask for ``fill_mode="constant"``.
    """

    images: BlockTransform
    order: int = 0
    cval: float = 0.0

    @property
    def uses_blas(self) -> bool:
        """See :class:`BlockTransform`."""
        return self.images.uses_blas

    def __call__(
        self, blocks: list[NDArray[Any]], ids: NDArray[Any], epoch: int, *, draws: Draws | None = None
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Transform samples.

        Parameters
        ----------
        blocks : [images, masks]
            (b, ...) each, in the data format, of the same height and width.
        ids : (b,) integers
        epoch : int
        draws : Draws, optional
            Instead of drawn ones.
        """
        images, masks = blocks
        with stage("transform", len(images), images.nbytes + masks.nbytes):
            if draws is None and self.images.augment:
                draws = self.images.draws_of(images.shape[1:], ids, epoch)
            made = self.images(images, ids, epoch, draws=draws), self.move(masks, ids, epoch, draws)
        offer(made[0], ids, epoch, self.images.config.data_format)
        return made

    def move(self, masks: NDArray[Any], ids: NDArray[Any], epoch: int, draws: Draws | None) -> NDArray[Any]:
        """The masks alone.

        Returns
        -------
        array of the shape and dtype of `masks`
        """
        if draws is not None:
            draws = dataclasses.replace(draws, channel_shift_intensity=None, brightness=None)
        if masks.dtype.itemsize == 8 and masks.dtype.kind in "iu" and masks.size and int(masks.max()) > 2**53:
            raise SourceError(
                f"These masks are {masks.dtype} with values above 2**53, which cannot be moved exactly. Number what "
                "they stand for: numpy.unique(masks, return_inverse=True)."
            )
        moved = self._masks(masks, ids, epoch, draws=draws)
        if masks.dtype.kind in "iu":
            return round_to_integer(moved, masks.dtype)
        return np.rint(moved).astype(np.bool_) if masks.dtype.kind == "b" else moved.astype(masks.dtype, copy=False)

    @functools.cached_property
    def _masks(self) -> BlockTransform:
        config = self.images.config.replace(
            **self.images.config.without_standardizing(),
            brightness_range=None,
            channel_shift_range=0.0,
            interpolation_order=self.order,
            cval=self.cval,
            dtype="float64",  # holds every integer up to 2**53
        )
        return BlockTransform(config, seed=self.images.seed, augment=self.images.augment, standardize=False)


@dataclasses.dataclass(frozen=True, eq=False)
class MaskTransform:
    """The masks of a :class:`PairTransform` by themselves, drawing what their images draw."""

    pair: PairTransform

    def __call__(self, masks: NDArray[Any], ids: NDArray[Any], epoch: int) -> NDArray[Any]:
        """masks : (b, ...) in the data format."""
        images = self.pair.images
        draws = images.draws_of(masks.shape[1:], ids, epoch) if images.augment else None
        return self.pair.move(masks, ids, epoch, draws)
