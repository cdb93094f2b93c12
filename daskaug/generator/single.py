"""Keras' methods for single images, and what the sinks make of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from daskaug import seeding
from daskaug.config import Config
from daskaug.errors import SourceError
from daskaug.generator.fitted import Fitted
from daskaug.overrides import PerImageTransform, overridden_methods
from daskaug.transforms.block import BlockTransform, FittedArrays
from daskaug.transforms.draws import Draws, draw_like_keras


class SingleImages(Fitted):
    """Drawing for, transforming and standardising one image."""

    def get_random_transform(self, img_shape: tuple[int, ...], seed: int | None = None) -> dict[str, Any]:
        """Draw the parameters of one transformation: the numbers that Keras draws from this seed, bit for bit.

        NumPy's global generator is neither read nor written.

        Parameters
        ----------
        img_shape : (height, width, channels) or (channels, height, width), by the data format
        seed : int, optional
            None: fresh entropy, or, while the generator works on a sample, that sample's own stream.

        Returns
        -------
        dict
            ``theta`` and ``shear`` in degrees, ``tx`` and ``ty`` in pixels, ``zx`` and ``zy`` factors,
            ``flip_horizontal``, ``flip_vertical``, ``channel_shift_intensity`` in grey levels or None, ``brightness``
            a factor or None.
        """
        size = self.config.size_of(img_shape)
        if seed is not None:
            state = np.random.RandomState(seeding.check_seed(seed))
        else:
            state = getattr(self._fallback_state, "state", None) or np.random.RandomState(seeding.fresh_seed())
        return draw_like_keras(self.config, size, state)

    def apply_transform(self, x: ArrayLike, transform_parameters: Mapping[str, Any]) -> NDArray[Any]:
        """Transform one image as the parameters say.

        Parameters
        ----------
        x : array of rank 3
            In the data format. Not changed.
        transform_parameters : mapping
            As :meth:`get_random_transform` returns them; what is missing is not done.

        Returns
        -------
        array of the same shape
            Of the dtype of `x` if that is a float type, else of the generator's.

        Raises
        ------
        SourceError
            `x` has another rank.
        """
        image = np.asarray(x)
        if image.ndim != 3:
            raise SourceError(f"`x` must be one image of rank 3; found shape {image.shape}. For batches use `.flow()`.")
        dtype = image.dtype.name if image.dtype.kind == "f" else self.config.dtype
        transform = BlockTransform(
            self.config.replace(**self.config.without_standardizing(), dtype=dtype), standardize=False
        )
        draws = Draws.from_dicts([transform_parameters])
        transformed: NDArray[Any] = transform(image[np.newaxis], np.zeros(1, np.int64), 0, draws=draws)[0]
        return transformed

    def random_transform(self, x: ArrayLike, seed: int | None = None) -> NDArray[Any]:
        """Transform one image at random: :meth:`get_random_transform`, then :meth:`apply_transform`.

        Parameters
        ----------
        x : (h, w, c) or (c, h, w) array
            Not changed.
        seed : int, optional
            Of the draw. None: fresh entropy.

        Returns
        -------
        array of the same shape
            Of the generator's dtype.
        """
        image = np.asarray(x)
        return self.apply_transform(image, self.get_random_transform(image.shape, seed))

    def standardize(self, x: NDArray[Any]) -> NDArray[Any]:
        """Preprocess, rescale, centre, normalise and whiten, as the options say.

        Parameters
        ----------
        x : array of rank 3 or 4
            One image or a batch; each image of a batch is standardised by itself (with ``compat="keras"`` the
            samplewise options take the whole batch for one sample). Floats are changed in place, as in Keras;
            integers are copied.

        Returns
        -------
        array of the same shape
            Of `x` itself, where that is of floats; otherwise of the generator's dtype.
        """
        from daskaug.transforms.standardize import standardize_in_place

        return standardize_in_place(x, self.config, self._fitted)

    def block_transform(
        self,
        *,
        seed: int = 0,
        augment: bool = True,
        standardize: bool = True,
        config: Config | None = None,
        honours_standardize: bool = True,
    ) -> BlockTransform:
        """What the sinks apply to blocks of images.

        Methods that a subclass overrides are honoured, image by image; `standardize` not while fitting, when what it
        needs is not there yet.
        """
        # A whitening matrix is large and would travel with every task.
        fitted = self._fitted if standardize else FittedArrays()
        transform = BlockTransform(config or self.config, fitted, seed, augment, standardize)
        overridden = overridden_methods(self, SingleImages)
        if not honours_standardize:
            overridden = tuple(name for name in overridden if name != "standardize")
        if overridden:
            return PerImageTransform.of(transform, self, overridden)
        return transform
