"""Subclasses of the generator that override Keras' methods: honoured, image by image."""

from __future__ import annotations

import contextlib
import dataclasses
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskaug import seeding, stopping
from daskaug.errors import ConfigError
from daskaug.seeding import Operation
from daskaug.stages import offer, stage
from daskaug.transforms.block import BlockTransform
from daskaug.transforms.draws import Draws

METHODS = ("get_random_transform", "apply_transform", "random_transform", "standardize")


def overridden_methods(generator: Any, base: type) -> tuple[str, ...]:
    """Which of Keras' per-image methods the generator's class, or the object itself, replaces."""
    return tuple(
        name for name in METHODS if name in vars(generator) or getattr(type(generator), name) is not getattr(base, name)
    )


@dataclasses.dataclass(frozen=True, eq=False)
class PerImageTransform(BlockTransform):
    """Calls the overridden methods for each image; what is not overridden stays as it is, with the same draws.

    While a sample is worked on, ``get_random_transform`` without a seed draws from a generator of that sample's own,
    so results do not depend on batches or workers (unless the method draws from somewhere else).
    """

    is_quick = False

    generator: Any = None
    overridden: tuple[str, ...] = ()

    @classmethod
    def of(cls, transform: BlockTransform, generator: Any, overridden: tuple[str, ...]) -> PerImageTransform:
        """Wrap a transform, with a warning about the price."""
        warnings.warn(
            f"{type(generator).__name__} overrides {', '.join(overridden)}; images are therefore worked on one by one, "
            "in Python, which is many times slower than whole blocks.",
            UserWarning,
            stacklevel=4,
        )
        fields = {field.name: getattr(transform, field.name) for field in dataclasses.fields(transform)}
        return cls(**fields, generator=generator, overridden=overridden)

    def __call__(
        self,
        block: NDArray[Any],
        ids: NDArray[Any],
        epoch: int,
        *,
        draws: Draws | None = None,
    ) -> NDArray[Any]:
        """See :meth:`BlockTransform.__call__`."""
        with stage("transform", len(block), block.nbytes):
            images = np.empty(block.shape, self.work_dtype)
            for i, image in enumerate(block):
                stopping.check()
                images[i] = self._one(image, ids[i : i + 1], epoch, draws.row(i) if draws else None)
            made = self._to_output(images)
        offer(made, ids, epoch, self.config.data_format)
        return made

    def draws_of(self, image_shape: tuple[int, ...], ids: NDArray[Any], epoch: int) -> Draws:
        """See :meth:`BlockTransform.draws_of`."""
        own = [name for name in ("random_transform", "apply_transform") if name in self.overridden]
        if own:
            raise ConfigError(
                f"{type(self.generator).__name__} overrides {own[0]}, which may move an image in ways that its mask "
                "cannot follow. Override get_random_transform instead, or leave out masks=."
            )
        if "get_random_transform" not in self.overridden:
            return super().draws_of(image_shape, ids, epoch)
        return Draws.from_dicts([self._drawn_by_user(image_shape, int(sample), epoch) for sample in ids])

    def _drawn_by_user(self, image_shape: tuple[int, ...], sample: int, epoch: int) -> Any:
        with self._drawing_from(seeding.keyed_random_state(self.seed, epoch, Operation.OVERRIDDEN_METHOD, sample)):
            return self.generator.get_random_transform(image_shape)

    @contextlib.contextmanager
    def _drawing_from(self, state: np.random.RandomState) -> Iterator[None]:
        """Let the generator's methods draw from `state`, in this thread."""
        local = self.generator._fallback_state
        local.state = state
        try:
            yield
        finally:
            del local.state

    def draw_like_keras(self, image_shape: tuple[int, ...], count: int, state: np.random.RandomState) -> Draws | None:
        """See :meth:`BlockTransform.draw_like_keras`; an overridden method draws from `state` where it asks us."""
        if not self.augment or "get_random_transform" not in self.overridden:
            return super().draw_like_keras(image_shape, count, state)
        with self._drawing_from(state):
            return Draws.from_dicts([self.generator.get_random_transform(image_shape) for _ in range(count)])

    def _one(self, image: NDArray[Any], sample: NDArray[Any], epoch: int, parameters: Any) -> NDArray[Any]:
        """image : (h, w, c) or (c, h, w), raw.  sample : (1,) its id."""
        keyed = seeding.keyed_random_state(self.seed, epoch, Operation.OVERRIDDEN_METHOD, int(sample[0]))
        with self._drawing_from(keyed):
            if self.augment:
                image = self._augment_one(image, sample, epoch, parameters)
            if self.standardize:
                image = self._standardize_one(image, sample, epoch)
            return image

    def _augment_one(self, image: NDArray[Any], sample: NDArray[Any], epoch: int, parameters: Any) -> Any:
        generator, config = self.generator, self.config
        if "random_transform" in self.overridden:
            return np.asarray(generator.random_transform(image.astype(self.work_dtype)))
        if parameters is None and "get_random_transform" in self.overridden:
            parameters = generator.get_random_transform(image.shape)
        elif parameters is None:
            parameters = super().draws_of(image.shape, sample, epoch).row(0)
        if "apply_transform" in self.overridden:
            return np.asarray(generator.apply_transform(image.astype(self.work_dtype), parameters))
        only_augment = BlockTransform(
            config.replace(dtype=self.work_dtype.name), self.fitted, self.seed, augment=True, standardize=False
        )
        return only_augment(image[np.newaxis], sample, epoch, draws=Draws.from_dicts([parameters]))[0]

    def _standardize_one(self, image: NDArray[Any], sample: NDArray[Any], epoch: int) -> Any:
        if "standardize" in self.overridden or self.config.compat == "keras":
            return np.asarray(self.generator.standardize(image.astype(self.work_dtype)))
        return self._standardize(image[np.newaxis].astype(self.work_dtype), sample, epoch)[0]
