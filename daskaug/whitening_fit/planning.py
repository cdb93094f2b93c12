"""Which route whitening takes over a source, and taking it."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

from daskaug.config import Config
from daskaug.errors import ConfigError
from daskaug.execution import Executor
from daskaug.progress import Tell
from daskaug.statistics import Statistics
from daskaug.statistics.whitening import Centre, Whitening, WhiteningPlan, gram_nbytes, plan_whitening
from daskaug.statistics.whitening.plan import STORED_NBYTES
from daskaug.transforms.block import BlockTransform
from daskaug.whitening_fit.by_samples import whitening_by_samples
from daskaug.whitening_fit.by_sketch import whitening_by_sketch
from daskaug.whitening_fit.passes import Count, Images
from daskaug.whitening_fit.storing import Finish

log = logging.getLogger("daskaug")

EIGHT_BITS = ("bool", "int8", "uint8")


@dataclasses.dataclass(frozen=True)
class WhiteningOptions:
    """How ZCA whitening is computed, and how much of it; checked when a plan is made.

    Attributes
    ----------
    route : {"features", "samples", "randomized"} or None
        None: the cheapest that fits.
    components : int, float or None
        Directions to keep, or the share of the variance that they hold.
    budget : int or None
        Bytes of memory.
    store : path, URL or None
        Where the factors are kept.
    """

    route: str | None = None
    components: float | None = None
    budget: int | None = None
    store: str | Path | None = None

    def refuse_with_keras(self) -> None:
        """Keras' own whitening takes no options.

        Raises
        ------
        ConfigError
        """
        given = [f"`{name}`" for name, value in self.by_name.items() if value is not None]
        if given:
            raise ConfigError(
                f'{", ".join(given)} cannot be used together with compat="keras", which whitens by the one route that '
                "Keras knows. Leave out one of the two."
            )

    def refuse_without_whitening(self) -> None:
        """Options of something that is not done.

        Raises
        ------
        ConfigError
        """
        given = [f"`{name}`" for name, value in self.by_name.items() if value is not None and name != "memory_budget"]
        if given:
            raise ConfigError(
                f"{', '.join(given)} says how to whiten, and this generator does not. Make it with "
                "zca_whitening=True, or leave that out."
            )

    def for_gram(self) -> WhiteningOptions:
        """The same on the route whose sums are kept.

        Raises
        ------
        ConfigError
            Another route is asked for.
        """
        if self.route not in (None, "features"):
            raise ConfigError(
                f"`keep_gram` keeps the sums of zca_route='features', and zca_route={self.route!r} is asked for. Leave "
                "out one of the two."
            )
        return dataclasses.replace(self, route="features")

    @property
    def by_name(self) -> dict[str, Any]:
        """The options as :meth:`daskaug.ImageDataGenerator.fit` calls them."""
        return {
            "zca_route": self.route,
            "zca_components": self.components,
            "memory_budget": self.budget,
            "zca_store": self.store,
        }


@dataclasses.dataclass(frozen=True)
class WhiteningFit:
    """A fit of ZCA whitening, planned.

    Attributes
    ----------
    plan : WhiteningPlan
    images : Images
    config : Config
    store : path, URL or None
    """

    plan: WhiteningPlan
    images: Images
    config: Config
    store: str | Path | None

    @classmethod
    def of(
        cls,
        options: WhiteningOptions,
        config: Config,
        images: Images,
        executor: Executor,
        *,
        keep_gram: bool = False,
        images_nbytes: int = 0,
    ) -> WhiteningFit | None:
        """Plan it, beside images that take so many bytes; None where this configuration has none, or Keras' own.

        Raises
        ------
        ConfigError
            For bad options, and where it does not fit in memory.
        StoreError
            Where the place for the factors holds something else, or has no room for them.
        """
        if not config.zca_whitening:
            return None
        if config.compat is not None:
            options.refuse_with_keras()
            return None
        if keep_gram:
            options = options.for_gram()
        plan = plan_whitening(
            len(images),
            images.features,
            images.dtype.itemsize,
            is_8bit=images.dtype.name in EIGHT_BITS,
            cores=executor.parallelism,
            route=options.route,
            components=options.components,
            budget=options.budget,
            images=images_nbytes,
        )
        if options.store is not None:
            from daskaug.statistics.whitening.stored import check_place

            check_place(options.store)
        nbytes = 4 * images.features * plan.rank
        if plan.fraction is None and (options.store is not None or nbytes > STORED_NBYTES):
            from daskaug.statistics.whitening.stored import check_room

            check_room(options.store, nbytes)
        return cls(plan, images, config, options.store)

    def refuse_checkpoint(self) -> None:
        """Only the sums of one route can be kept.

        Raises
        ------
        ConfigError
            Another one was chosen.
        """
        if self.plan.route == "features":
            return
        needed = gram_nbytes(self.plan.features, self.plan.cores) + self.plan.images
        size = f"{self.plan.features:,} × {self.plan.features:,}"
        way = "pass zca_route='features'"
        if needed > self.plan.budget:
            way += f", memory_budget={needed:_}"
        raise ConfigError(
            f"`checkpoint` keeps the sums of zca_route='features', one pass over the images, and zca_route="
            f"{self.plan.route!r} is to be taken ({self.plan.reason}), whose {self.plan.cost.passes} passes begin "
            f"anew when they are interrupted. Nothing was read. To be able to go on, {way}: its sums are matrices of "
            f"{size}, {needed / 1e9:,.2f} GB at the peak. Otherwise fit without checkpoint."
        )

    def finish(
        self,
        statistics: Statistics,
        executor: Executor,
        transform: BlockTransform | None,
        *,
        seed: int | None,
        progress: Tell | None = None,
    ) -> Whitening:
        """What is left to do after the first pass.

        Parameters
        ----------
        statistics : Statistics
            Of these images, on the route of features with the Gram matrix.
        executor : Executor
        transform : BlockTransform or None
            What is done to the images first.
        seed : int, optional
            Of the random signs; 0 by default.
        progress : callable, optional
            ``progress(images seen, images to see)``, over all passes.
        """
        plan, moments = self.plan, statistics.moments
        finish = Finish(self.config.zca_epsilon, statistics.rescale or 1.0, self.store)
        centre = Centre(moments.mean, statistics.image_shape, statistics.data_format)
        images = dataclasses.replace(self.images, transform=transform, memory=plan.memory_for_images)
        count = Count(progress, len(images), plan.cost.passes)
        if plan.route == "features":
            whitened = statistics.whiten(epsilon=finish.epsilon, components=plan.fraction or plan.rank)
            assert whitened.whitening is not None
            whitening = finish.keep_large(whitened.whitening)
        elif plan.route == "samples":
            whitening = whitening_by_samples(plan, images, centre, executor, finish, count)
        else:
            scatter = float(moments.variance.sum() * moments.pixels)
            whitening = whitening_by_sketch(plan, images, centre, scatter, executor, finish, seed or 0, count)
        log.info(
            "ZCA whitening: rank %d, %.6g of the variance, error at most %.2g",
            whitening.rank,
            whitening.captured,
            whitening.error,
        )
        return whitening
