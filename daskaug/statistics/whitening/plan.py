"""Which way ZCA whitening is computed, and what it will cost: decided before any image is read."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from daskaug.errors import ConfigError
from daskaug.statistics.whitening.gram import gram_nbytes
from daskaug.statistics.whitening.sketch import POWER_PASSES
from daskaug.transforms.whitening import allows_matrix, flops_of_applying, uses_factors

ROUTES = ("features", "samples", "randomized")

MEMORY_BUDGET = 8_000_000_000
"""Bytes that a fit of ZCA whitening may take, unless it is told otherwise."""

STORED_NBYTES = 64 * 2**20
"""Bytes in float32 above which directions are kept in a Zarr array."""

DEFAULT_RANK = 128
"""Directions that are kept by default where the (d, d) matrix is out of reach. Applying them takes 512 flops for each
value of an image, some 6 times what augmenting it takes."""

APPLYING_LIMIT = 10.0
"""Multiples of the time of augmenting from which the plan says that applying is slow."""

FLOPS_PER_SECOND = 80e9
"""What one core of today does in float32 in a large matrix product; half of it in float64."""

APPLIED_FLOPS_PER_SECOND = 47e9
"""What one core does in float32 on batches of 32 images of 224 × 224 × 3 values: measured for 64 to 256 directions,
which are larger than its cache."""

KERNEL_SECONDS = 1.75e-9
"""Core-seconds that augmenting takes for each value of an image, with every option but whitening: measured."""

BYTES_PER_SECOND = 1e9
"""What one core decodes of a compressed store."""

PASS_NBYTES = 128 * 2**20
"""Bytes of the images that a task of a later pass reads: its result is large, so there should be few of them."""

_ENOUGH_TO_SAVE = 1e13  # flops: an exact route that takes minutes gives way to one that takes a tenth of it
_DOUBLE = 8


@dataclass(frozen=True)
class Cost:
    """What a route takes.

    Attributes
    ----------
    passes : int
        Times that the images are read, the pass for the channel means among them.
    flops : float
        In float32; one in float64 counts as two.
    memory : int
        Bytes at the peak, beside the blocks that are being read.
    tile_rows : int
        Images of one side of a tile of products (samples).
    slabs : int
        Parts in which the directions are put together (samples), each by one pass.
    sketch : int
        Columns of the sketch (randomized).
    """

    passes: int
    flops: float
    memory: int
    tile_rows: int = 0
    slabs: int = 1
    sketch: int = 0


@dataclass(frozen=True)
class WhiteningPlan:
    """How ZCA whitening will be computed.

    Attributes
    ----------
    route : {"features", "samples", "randomized"}
        Through the products of the features (d × d), of the samples (n × n), or of neither.
    samples, features : int
        n and d.
    rank : int
        Directions at most.
    fraction : float or None
        Share of the variance that is asked for.
    cost : Cost
    itemsize : int
        Bytes of a value of the images.
    cores : int
    budget : int
        Bytes that the fit may take.
    images : int
        How many of them the images take at least that are being read.
    reason : str
        Why this route, for people.
    """

    route: str
    samples: int
    features: int
    rank: int
    fraction: float | None
    cost: Cost
    itemsize: int
    cores: int
    budget: int
    images: int
    reason: str

    @property
    def nbytes(self) -> int:
        """Decoded bytes that will be read, over all passes."""
        return self.cost.passes * self.samples * self.features * self.itemsize

    @property
    def memory_for_images(self) -> int:
        """Bytes that are left for the images of the later passes."""
        return max(0, self.budget - self.cost.memory)

    @property
    def memory_of_later_passes(self) -> int:
        """Bytes that they take with their images, 0 where there are none."""
        images = min(self.memory_for_images, 2 * self.cores * PASS_NBYTES)
        return 0 if self.route == "features" else self.cost.memory + images

    @property
    def memory_of_first_pass(self) -> int:
        """Bytes that the first pass takes beside its blocks: the products of features are summed in it."""
        return self.cost.memory if self.route == "features" else 0

    @property
    def seconds(self) -> float:
        """Roughly how long it takes."""
        return self.cost.flops / (FLOPS_PER_SECOND * self.cores) + self.nbytes / (BYTES_PER_SECOND * self.cores)

    @property
    def factor_nbytes(self) -> int:
        """Bytes of the directions in float32."""
        return 4 * self.features * self.rank

    @property
    def is_stored(self) -> bool:
        """Whether the directions go into a Zarr array, if as many are found as there can be."""
        return self.factor_nbytes > STORED_NBYTES

    @property
    def applying(self) -> float:
        """Time that whitening an image takes, in multiples of augmenting it."""
        flops = flops_of_applying(self.features, self.rank)
        return flops / APPLIED_FLOPS_PER_SECOND / (KERNEL_SECONDS * self.features)

    def __str__(self) -> str:
        names = {"features": "feature-space Gram", "samples": "sample-space Gram", "randomized": "randomised"}
        passes = "1 pass" if self.cost.passes == 1 else f"{self.cost.passes} passes"
        rank = f"rank at most {self.rank:,} of {min(self.samples, self.features):,}"
        if self.fraction is not None:
            rank += f", as few as hold {self.fraction:.4g} of the variance"
        form = "factors" if uses_factors(self.features, self.rank) else "matrix"
        place = " in a Zarr array" if self.is_stored else ""
        return (
            f"ZCA whitening of {self.samples:,} images with {self.features:,} values: {names[self.route]} "
            f"({self.reason}); {rank}; {passes} over the images, {_size(self.nbytes)} read; "
            f"{self.cost.flops:.1e} flops, about {_duration(self.seconds)} on {self.cores} cores; "
            f"{_size(self.cost.memory)} of memory at the peak, of {_size(self.budget)}. "
            f"Factors of {_size(self.factor_nbytes)}{place}, applied as {form} in about {self.applying:.1f} times "
            f"what augmenting takes{self._slowness}."
        )

    @property
    def _slowness(self) -> str:
        """Where applying takes long: how few directions would be quick."""
        if self.applying <= APPLYING_LIMIT:
            return ""
        quick = int(APPLYING_LIMIT * KERNEL_SECONDS * APPLIED_FLOPS_PER_SECOND / 4)
        return f"; zca_components={quick} or fewer would take less than {APPLYING_LIMIT:.0f} times"


@dataclass(frozen=True)
class _Problem:
    """n, d and what is asked for."""

    samples: int
    features: int
    itemsize: int
    is_8bit: bool
    rank: int | None
    fraction: float | None
    budget: int
    cores: int
    images: int

    @property
    def room(self) -> int:
        """Bytes of the budget beside the images."""
        return max(0, self.budget - self.images)

    @property
    def most(self) -> int:
        """Directions that there can be."""
        return min(self.samples, self.features)

    def kept(self, *, capped: bool) -> int:
        if self.rank is not None:
            return min(self.rank, self.most)
        return min(self.most, DEFAULT_RANK) if capped and not allows_matrix(self.features) else self.most


def plan_whitening(
    samples: int,
    features: int,
    itemsize: int,
    *,
    is_8bit: bool,
    cores: int,
    route: str | None = None,
    components: float | None = None,
    budget: int | None = None,
    images: int = 0,
) -> WhiteningPlan:
    """Choose the cheapest route that fits in memory.

    The exact routes come first; the randomised one is taken where neither fits, or where both would take minutes and
    it a tenth of that.

    Parameters
    ----------
    samples, features : int
        n and d, at least 1.
    itemsize : int
        Bytes of a value as the statistics see it.
    is_8bit : bool
        bool or 8-bit images, whose products are taken in float32, exactly.
    cores : int
        Threads that work side by side.
    route : {"features", "samples", "randomized"}, optional
        Take this one.
    components : int or float, optional
        An integer: at most so many directions. A float up to 1: as few as hold this share of the variance. None: all,
        where a d × d matrix could be made, else the strongest :data:`DEFAULT_RANK`.
    budget : int, optional
        Bytes of memory, :data:`MEMORY_BUDGET` by default.
    images : int
        How many of them the images that are being read take at least.

    Raises
    ------
    ConfigError
        For bad arguments, and where no route (or not the one asked for) fits: with the numbers, and the call that
        would.
    """
    rank, fraction = components_of(components)
    if route is not None and route not in ROUTES:
        raise ConfigError(f"`zca_route` must be one of {', '.join(ROUTES)}, or None. Received: zca_route={route!r}.")
    budget = checked_budget(budget)
    problem = _Problem(samples, features, itemsize, is_8bit, rank, fraction, budget, max(1, cores), images)
    costs = {"features": _features(problem), "samples": _samples(problem), "randomized": _randomized(problem)}
    chosen, reason = (route, "asked for") if route is not None else _cheapest(problem, costs)
    cost = costs[chosen]
    if cost.memory > problem.room:
        raise ConfigError(_refusal(problem, costs, chosen, route))
    return WhiteningPlan(
        route=chosen,
        samples=samples,
        features=features,
        rank=problem.kept(capped=chosen != "features"),
        fraction=fraction,
        cost=cost,
        itemsize=itemsize,
        cores=problem.cores,
        budget=problem.budget,
        images=images,
        reason=reason,
    )


def check_gram(features: int, cores: int, budget: int | None = None, images: int = 0) -> None:
    """Refuse to keep a Gram matrix that does not fit, before any image is read.

    Parameters
    ----------
    features : int
        Length d = h · w · c of a flattened image.
    cores : int
        Threads that work side by side.
    budget : int, optional
        Bytes of memory, :data:`MEMORY_BUDGET` by default.
    images : int
        How many of them the images that are being read take at least.

    Raises
    ------
    ConfigError
        It takes more, see :func:`gram_nbytes`.
    """
    budget, needed = checked_budget(budget), gram_nbytes(features, cores) + images
    if needed > budget:
        largest = math.isqrt(max(0, budget - images) // gram_nbytes(1, cores))
        raise ConfigError(
            f"`keep_gram` keeps a {features:,} × {features:,} matrix for images with {features:,} values each, "
            f"{_size(_DOUBLE * features * features)}, and fitting takes some of them, {_size(needed)} in all; "
            f"memory_budget is {_size(budget)}, enough for {largest:,} values (height × width × channels). Nothing was "
            f"read. Fit without `keep_gram`, on smaller images or tiles, or with memory_budget={needed:_}."
        )


def checked_budget(budget: Any) -> int:
    """A memory budget in bytes; :data:`MEMORY_BUDGET` for None.

    Raises
    ------
    ConfigError
        For anything but an integer, 1 or more.
    """
    if budget is None:
        return MEMORY_BUDGET
    if not isinstance(budget, int | np.integer) or isinstance(budget, bool) or budget < 1:
        raise ConfigError(f"`memory_budget` must be a number of bytes, 1 or more. Received: memory_budget={budget!r}.")
    return int(budget)


def _cheapest(p: _Problem, costs: dict[str, Cost]) -> tuple[str, str]:
    """The route to take, and why."""
    fitting = [name for name, cost in costs.items() if cost.memory <= p.room]
    exact = sorted((name for name in fitting if name != "randomized"), key=lambda name: costs[name].flops)
    if not exact:
        return "randomized", "neither exact route fits in memory"
    slow, quick = costs[exact[0]].flops, costs["randomized"].flops
    if p.rank is not None and "randomized" in fitting and slow > max(_ENOUGH_TO_SAVE, 10 * quick):
        return "randomized", f"{slow / quick:.0f} times less work than an exact route"
    return exact[0], "exact, and " + ("the cheaper one" if len(exact) > 1 else "the one that fits")


def components_of(value: Any) -> tuple[int | None, float | None]:
    """(rank, share of the variance) that ``zca_components=`` asks for.

    Raises
    ------
    ConfigError
        It is neither.
    """
    if value is None:
        return None, None
    if isinstance(value, int | np.integer) and not isinstance(value, bool) and value >= 1:
        return int(value), None
    if isinstance(value, float | np.floating) and 0 < value <= 1:
        return None, float(value)
    raise ConfigError(
        "`zca_components` must be an integer, 1 or more (directions), a float above 0 and up to 1 (share of the "
        f"variance), or None. Received: zca_components={value!r}."
    )


def _features(p: _Problem) -> Cost:
    products = p.samples * p.features**2 * (1.0 if p.is_8bit else 2.0)
    return Cost(1, products + 18.0 * p.features**3, gram_nbytes(p.features, p.cores))


def _samples(p: _Problem) -> Cost:
    n, d, k = p.samples, p.features, p.kept(capped=True)
    square = _DOUBLE * n * n
    in_flight = p.cores + 1
    fixed = 2 * square
    # A task holds two tiles of images, their products twice over, and a band of both in floats.
    row = 2 * d * p.itemsize + 2 * 4 * 1024 * (1 if p.is_8bit else 8)
    room = max(p.room - fixed, 0) / in_flight
    tile = int((math.sqrt(row * row + 4 * 16 * room) - row) / 32)
    tiles = max(1, -(-n // max(tile, 1)))
    while tiles > 1 or n >= 512:  # and enough of them for everybody
        if tiles * (tiles + 1) // 2 >= 2 * p.cores:
            break
        tiles += 1
    tile = -(-n // tiles)
    tiling = fixed + in_flight * (row * tile + 16 * tile * tile)
    # The directions, one part after the other: the sum and the partials of the tasks.
    weights = 2 * _DOUBLE * n * k
    parts = (in_flight + 2) * _DOUBLE * d * k
    kept = 0 if 4 * d * k > STORED_NBYTES else _DOUBLE * d * k
    slabs = max(1, -(-parts // max(p.room - weights - kept, 1)))
    assembling = weights + kept + parts // slabs
    flops = n * n * d * (1.0 if p.is_8bit else 2.0) + 18.0 * n**3 + 4.0 * n * d * k + 8.0 * n * n * k
    # Products, vectors and what LAPACK takes.
    memory = max(tiling, 5 * square, assembling)
    if slabs > d:
        memory = max(memory, weights + parts // d)
    return Cost(1 + tiles + slabs, flops, memory, tile_rows=tile, slabs=min(slabs, d))


def sketch_columns(rank: int, most: int) -> int:
    """Columns for so many directions: half as many again make the weakest of these some times better."""
    return min(rank + max(16, rank // 2), most)


def sketch_dtype(features: int, columns: int) -> str:
    """float64 while a basis is small; float32 costs a weak direction some digits, and half of the time and memory."""
    return "float64" if features * columns <= 2**24 else "float32"


def _randomized(p: _Problem) -> Cost:
    n, d = p.samples, p.features
    columns = sketch_columns(p.kept(capped=True), p.most)
    dtype = sketch_dtype(d, columns)
    size, factor = (8, 2.0) if dtype == "float64" else (4, 1.0)
    basis = size * d * columns
    products = 2.0 * n * d * columns
    flops = POWER_PASSES * (2 * products * factor + 4.0 * d * columns**2 * factor)
    flops += (2.0 + factor) * products + 4.0 * d * columns**2
    # The basis, the sum, and partials in flight; while orthonormalising, the basis and what LAPACK takes.
    memory = max(p.cores + 4, 5) * basis + 3 * _DOUBLE * columns**2
    return Cost(1 + POWER_PASSES + 1, flops, memory, sketch=columns)


def _refusal(p: _Problem, costs: dict[str, Cost], chosen: str, asked: str | None) -> str:
    """What does not fit, and the call that would."""
    needs = ", ".join(f"{name} {_size(cost.memory)}" for name, cost in costs.items())
    wanted = f"zca_route={asked!r} does not fit" if asked else "no route fits"
    ways = []
    fits = [name for name in ROUTES if costs[name].memory <= p.room]
    if asked and fits:
        ways.append(f"fit(..., zca_route={fits[0]!r})")
    smaller = _largest_rank(p, chosen)
    if smaller:
        ways.append(f"fit(..., zca_components={smaller}{f', zca_route={asked!r}' if asked else ''})")
    least = min(costs.values(), key=lambda cost: cost.memory) if asked is None else costs[chosen]
    ways.append(f"fit(..., memory_budget={math.ceil((least.memory + p.images) / 1e6) * 1_000_000:_})")
    beside = f" (beside {_size(p.images)} of images)" if p.images >= 1e5 else ""
    return (
        f"zca_whitening of {p.samples:,} images with {p.features:,} values each: {wanted} in a memory_budget of "
        f"{_size(p.budget)}; they take{beside}: {needs}. Nothing was read. This would work: {', or '.join(ways)}."
    )


def _largest_rank(p: _Problem, route: str) -> int:
    """The largest rank that fits, 0 if none does."""
    if route != "randomized" or p.fraction is not None:
        return 0
    low, high = 0, p.kept(capped=True)
    while low < high:
        middle = (low + high + 1) // 2
        trial = _Problem(p.samples, p.features, p.itemsize, p.is_8bit, middle, None, p.budget, p.cores, p.images)
        low, high = (middle, high) if _randomized(trial).memory <= p.room else (low, middle - 1)
    return low


def _size(nbytes: float) -> str:
    return f"{nbytes / 1e9:,.2f} GB" if nbytes >= 1e8 else f"{nbytes / 1e6:,.1f} MB"


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.1f} min" if seconds >= 120 else f"{seconds:.2g} s"
