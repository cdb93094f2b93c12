"""How a fit reads its source: options, blocks, what they take, and what makes a checkpoint fit."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from daskaug.cards import Fact, Told
from daskaug.config import Config
from daskaug.errors import ConfigError, StoreError
from daskaug.execution.executor import Executor
from daskaug.execution.limits import budget_within
from daskaug.execution.reducing import Running, Task
from daskaug.planning.blocks import TARGET_NBYTES, Plan, plan_blocks
from daskaug.planning.memory import DEFAULT_BUDGET, INTERPRETER_NBYTES, PassMemory, target_for
from daskaug.planning.order import order_of_blocks
from daskaug.progress import Progress, check_progress
from daskaug.sources.base import Source
from daskaug.statistics import StatisticsRecipe, checkpoint
from daskaug.statistics.whitening import WhiteningPlan
from daskaug.statistics.whitening.plan import checked_budget
from daskaug.transforms.block import BlockTransform

_NOT_WITH_PRODUCTS = {
    "nan_policy": '`nan_policy="omit"` leaves out single pixels, and whitening is computed from the products of all '
    "pixels of an image. Repair such images or leave them out",
    "sample_weight": "`sample_weight` is for mean and std, and in the products that whitening is computed from every "
    "image counts once. Fit on those images that are to count",
    "tolerance": "`tolerance` stops when mean and std are known, and whitening is computed from all images. Fit on a "
    "part of them",
}
"""Options that have no meaning where products of pixels are summed: why, and what to do."""

CORES_OF_TARGET = 32
"""Cores of a cluster that blocks of the usual size do for: 20 a second on each of them, and hundreds in all."""

LARGEST_NBYTES = 512 * 2**20
"""Decoded bytes of a block on however large a cluster."""

BLOCKS_OF_CORE = 16
"""Blocks that each core should have at least, before they are made larger."""

FEWEST_ROWS_OF_GRAM = 2048
"""Images below which adding up Gram matrices would take longer than computing them."""


@dataclasses.dataclass(frozen=True, eq=False)
class FitOptions:
    """How a fit reads and what it counts; each as in :meth:`daskaug.ImageDataGenerator.fit`.

    Raises
    ------
    ConfigError
        For values that cannot work.
    """

    nan_policy: str = "raise"
    sample_weight: Any = None
    tolerance: float | None = None
    checkpoint: str | Path | None = None
    histogram: bool = False
    keep_gram: bool = False
    memory_budget: int | None = None
    progress: Progress = None
    monitor: Callable[[Running], None] | None = None

    def __post_init__(self) -> None:
        """Check the options by themselves."""
        check_progress(self.progress)
        if self.nan_policy not in ("raise", "omit"):
            raise ConfigError(f'`nan_policy` must be "raise" or "omit". Received: nan_policy={self.nan_policy!r}.')
        if self.tolerance is not None and not _is_share(self.tolerance):
            raise ConfigError(
                "`tolerance` must be a float between 0 and 1 (standard deviations), or None to read everything. "
                f"Received: tolerance={self.tolerance!r}."
            )
        if self.memory_budget is not None:
            checked_budget(self.memory_budget)
        if self.histogram and self.sample_weight is not None:
            raise ConfigError(
                "`histogram` counts every pixel once, whatever `sample_weight` says. Fit with one of them at a time."
            )
        if self.checkpoint is not None:
            _check_place(self.checkpoint)
        if self.tolerance is not None and self.checkpoint is not None:
            raise ConfigError(
                "`checkpoint` continues a fit that reads everything, and `tolerance` stops early. Use one of them."
            )

    @property
    def budget(self) -> int:
        """Bytes that the blocks of one process may take."""
        return DEFAULT_BUDGET if self.memory_budget is None else self.memory_budget

    @property
    def budget_with_gram(self) -> int:
        """Bytes that the blocks and the sums of products may take together."""
        return checked_budget(self.memory_budget)

    def check(self, config: Config, rows_in_all: int, augment: bool) -> FitOptions:
        """With weights as an array, and checked against what is fitted on."""
        given = {
            "nan_policy": self.nan_policy != "raise",
            "sample_weight": self.sample_weight is not None,
            "tolerance": self.tolerance is not None,
            "checkpoint": self.checkpoint is not None,
        }
        special = [name for name, is_given in given.items() if is_given]
        products = [name for name in special if name in _NOT_WITH_PRODUCTS]
        if products and (config.zca_whitening or self.keep_gram):
            option = "zca_whitening" if config.zca_whitening else "keep_gram"
            raise ConfigError(f"{_NOT_WITH_PRODUCTS[products[0]]}, or fit without `{option}`.")
        if special and config.compat == "keras" and augment:
            raise ConfigError(
                f'`{special[0]}` needs draws that do not depend on the order of the images, and compat="keras" draws '
                "them one after the other. Fit without `compat`, or without `augment`."
            )
        if self.checkpoint is not None and config.compat == "keras" and config.zca_whitening:
            raise ConfigError(
                '`checkpoint` keeps sums, and zca_whitening with compat="keras" is computed from all images at once. '
                'Fit with compat=None and zca_route="features", or without checkpoint.'
            )
        if self.sample_weight is None:
            return self
        weights = np.asarray(self.sample_weight)
        weights = weights.astype(np.float64) if weights.dtype.kind in "buif" else np.full(weights.shape, np.nan)
        if weights.shape != (rows_in_all,) or not (np.isfinite(weights) & (weights >= 0)).all() or not weights.any():
            raise ConfigError(
                f"`sample_weight` must have one finite number, 0 or more, for each of the {rows_in_all:,} images, not "
                f"all of them 0. Found shape {weights.shape}."
            )
        return dataclasses.replace(self, sample_weight=weights)


def _is_share(value: Any) -> bool:
    return isinstance(value, float | np.floating) and bool(0 < value < 1)


def _check_place(checkpoint: Any) -> None:
    """Refuse a place where no file can be written, before hours of work end there."""
    if not isinstance(checkpoint, str | os.PathLike) or not str(checkpoint):
        raise ConfigError(f"`checkpoint` must be the path of a file. Received: checkpoint={checkpoint!r}.")
    path = Path(checkpoint)
    if path.is_dir():
        raise ConfigError(f"`checkpoint` must be the path of a file, and {path} is a folder. Name a file in it.")
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise ConfigError(
            f"`checkpoint` is to be written to {path.parent}, which is no folder that can be written to. Make it, or "
            "name another place."
        )


def only_rescales(config: Config) -> bool:
    """Whether rescaling is all that happens to images before their statistics are applied.

    Then they are reduced raw, and integer images exactly; the factor is applied to the result.
    """
    samplewise = config.samplewise_center or config.samplewise_std_normalization
    return config.compat == "keras" or (config.preprocessing_function is None and not samplewise)


def before_statistics(config: Config) -> Config:
    """The options without what statistics are needed for."""
    return config.replace(
        featurewise_center=False,
        featurewise_std_normalization=False,
        zca_whitening=False,
        dtype="float64" if config.dtype == "float64" else "float32",
    )


@dataclasses.dataclass(frozen=True, eq=False)
class Work:
    """The samples of a fit: those of round r see epoch r, and follow those of round r - 1 in the merge tree."""

    source: Source
    rows: tuple[int, int]
    ids: Any
    rounds: int
    weights: NDArray[np.float64] | None
    plan: Plan

    def ranges(self, shuffled_by: int | None) -> Iterator[tuple[int, int]]:
        """First and last index of the samples of each block and round; in random order, if there is a seed."""
        number = len(self.plan)
        order = range(number * self.rounds)
        for each in order if shuffled_by is None else map(int, order_of_blocks(len(order), shuffled_by)):
            block, first = self.plan[each % number], each // number * self.source.shape[0]
            yield first + block.start, first + block.stop

    def task(self, start: int, stop: int) -> Task:
        """The task for samples of one block and round, by their indices."""
        epoch, first = divmod(start, self.source.shape[0])
        last = first + stop - start
        weights = None if self.weights is None else self.weights[first:last]
        return self.source.reader(first, last), (start, self.ids[first:last], epoch, None, weights)


def most_of_gram(samples: int, row_nbytes: int, cores: int) -> int:
    """Bytes that a block has at most where products of features are summed: they take long, so all should have some."""
    fair = -(-samples // (2 * cores))
    return min(TARGET_NBYTES, max(fair, FEWEST_ROWS_OF_GRAM) * row_nbytes)


def most_of_block(nbytes: int, executor: Executor) -> int:
    """Bytes that a block has at most where sums are a few numbers: more on a large cluster.

    Its scheduler hands out some thousand tasks a second, however many workers wait for them.

    Parameters
    ----------
    nbytes : int
        Decoded bytes of all images.
    executor : Executor
    """
    if not executor.is_remote:
        return TARGET_NBYTES
    cores = executor.parallelism
    wanted = min(TARGET_NBYTES * (cores // CORES_OF_TARGET), LARGEST_NBYTES)
    return max(TARGET_NBYTES, min(wanted, nbytes // (BLOCKS_OF_CORE * cores)))


def least_of_images(source: Source, rows: tuple[int, int], growth: float, executor: Executor) -> PassMemory:
    """What the images take where each thread has the smallest block that can be read."""
    chunk = min(source.decoded_rows, rows[1] - rows[0]) * source.row_nbytes
    return PassMemory(chunk, math.ceil(chunk * growth), executor.threads_per_process)


def blocks_of(
    source: Source,
    rows: tuple[int, int],
    budget: int,
    growth: float,
    executor: Executor,
    *,
    most: int = TARGET_NBYTES,
    sums: int = 0,
) -> Plan:
    """Blocks within the budget: whole shards where they fit, otherwise whole chunks.

    Parameters
    ----------
    source : Source
    rows : (start, stop)
    budget : int
        Bytes of one process.
    growth : float
        Bytes of what a block is transformed to, relative to its own.
    executor : Executor
    most : int
        Bytes of a block, however large the budget is.
    sums : int
        Bytes of the budget that are for something else than blocks.

    Raises
    ------
    ConfigError
        Not even one chunk for each thread fits.
    """
    threads = executor.threads_per_process
    target = max(0, target_for(budget - sums, threads, growth))
    plan = source.plan(*rows, min(most, target))
    if len(plan[0]) * source.row_nbytes <= target:
        return plan
    if source.decoded_rows < source.natural_rows:
        plan = plan_blocks(rows, source.decoded_rows, source.row_nbytes, target_nbytes=min(most, target))
    chunk = len(plan[0]) * source.row_nbytes
    if chunk > target:
        needed = PassMemory(chunk, int(chunk * growth), threads).nbytes + sums
        beside = f", beside {sums:,} for the sums of products," if sums else ""
        limit = executor.memory_limit if executor.is_remote else None
        if limit is not None and budget == budget_within(limit):
            raise ConfigError(
                f"A worker has a memory limit of {limit:,} bytes, of which {budget:,} are for blocks, and {threads} "
                f"threads that each hold a chunk of {len(plan[0]):,} images of {source.locator} ({chunk:,} bytes "
                f"decoded){beside} need {needed:,}. Give workers more memory (dask worker --memory-limit), use fewer "
                "threads per worker, or store smaller chunks."
            )
        raise ConfigError(
            f"`memory_budget` is {budget:,} bytes per process, and {threads} threads that each hold a chunk of "
            f"{len(plan[0]):,} images of {source.locator} ({chunk:,} bytes decoded){beside} need {needed:,}. Pass "
            f"memory_budget={needed}, use fewer threads per process, or store smaller chunks."
        )
    return plan


def growth_of(source: Source, config: Config) -> float:
    """Bytes of what is made of a block where it is transformed, relative to its own."""
    return np.dtype(before_statistics(config).dtype).itemsize / source.dtype.itemsize


@dataclasses.dataclass(frozen=True, repr=False)
class FitPlan(Told):
    """What a fit would do; its text says it in words.

    Attributes
    ----------
    blocks, images, nbytes : int
        Tasks, images and decoded bytes to read, rounds included.
    window : int
        Tasks that are submitted and not merged at the same time.
    memory : PassMemory
        Of one process.
    memory_budget : int
    order, runs_on : str
        For people.
    covered : int
        Images that a checkpoint knows already.
    gram_nbytes : int
        Bytes that the sums of products take beside the blocks, where they are kept (``keep_gram``) and nothing is
        whitened.
    whitening : WhiteningPlan or None
        How ZCA whitening will be computed; all other attributes are of the first of its passes.
    """

    blocks: int
    images: int
    nbytes: int
    window: int
    memory: PassMemory
    memory_budget: int
    order: str
    runs_on: str
    covered: int = 0
    gram_nbytes: int = 0
    whitening: WhiteningPlan | None = None

    @property
    def peak_nbytes(self) -> int:
        """Expected peak of a process, over all passes."""
        if self.whitening is None:
            return self.memory.peak_nbytes + self.gram_nbytes
        first = self.memory.peak_nbytes + self.whitening.memory_of_first_pass
        return max(first, INTERPRETER_NBYTES + self.whitening.memory_of_later_passes)

    def _card_facts(self) -> list[Fact]:
        known = f", of which a checkpoint knows {self.covered:,}" if self.covered else ""
        blocks, budget = f"{self.memory.block_nbytes / 1e6:,.1f} MB", f"{self.memory_budget / 1e6:,.0f} MB"
        peak = f"peak about {self.peak_nbytes / 1e6:,.0f} MB"
        facts = [
            Fact("images", f"{self.images:,}{known}; {self.nbytes / 1e9:,.3f} GB decoded"),
            Fact("blocks", f"{self.blocks:,} of up to {blocks}, {self.order}"),
            Fact("tasks", f"at most {self.window} at a time, on {self.runs_on}", ""),
            Fact(
                "memory",
                f"up to {self.memory.nbytes / 1e6:,.0f} MB of blocks per process (budget {budget}), {peak}",
                peak,
            ),
        ]
        if self.gram_nbytes:
            facts.append(Fact("Gram", f"{self.gram_nbytes / 1e6:,.1f} MB beside the blocks"))
        if self.whitening is not None:
            facts.append(Fact("whitening", str(self.whitening), f"ZCA by the route {self.whitening.route!r}"))
        return facts


SAMPLED_ROWS = 16
"""Rows that a checkpoint compares, to notice that it belongs to other data."""


def contract_of(
    work: Work, recipe: StatisticsRecipe, transform: BlockTransform | None, options: FitOptions
) -> dict[str, Any]:
    """What a checkpoint must agree with: everything that the numbers depend on, besides which rows were seen."""
    if options.checkpoint is None:
        return {}
    source, (first, last) = work.source, work.rows
    written = checkpoint.peek(Path(options.checkpoint)) or {"covered": [], "contract": {}}
    known = max((stop for _, stop in written["covered"]), default=0)
    if work.rounds == 1 and known > last:
        raise StoreError(
            f"{options.checkpoint} knows rows up to {known:,}, and now rows {first:,} to {last:,} are to be fitted on: "
            "data can be appended and not taken away. Name another file"
        )
    # Rows and weights that were compared before; data that were appended since are not among them.
    sampled = written["contract"].get("sampled rows") or np.unique(
        np.linspace(first, last - 1, SAMPLED_ROWS, dtype=int)
    )
    found: dict[str, Any] = {
        "recipe": {**dataclasses.asdict(recipe), "image_shape": list(recipe.image_shape)},
        "source dtype": source.dtype.name,
        "first row": first,
        "sampled rows": [int(row) for row in sampled],
        "their pixels": _sha256(source.take(np.array(sampled, np.int64))),
    }
    if work.weights is not None:
        weighted = written["contract"].get("weighted rows") or last
        found |= {"weighted rows": weighted, "weights": _sha256(work.weights[first:weighted])}
    if transform is not None:
        found |= {"transform": transform.config.to_dict(), "augment": transform.augment}
        if transform.augment:
            ids = np.concatenate([work.ids[row : row + 1] for row in map(int, sampled)])
            found |= {"seed": transform.seed, "rounds": work.rounds, "sample ids": [int(each) for each in ids]}
    if work.rounds > 1:  # rounds after the first are numbered from there
        found["rows in all"] = source.shape[0]
    return found


def _sha256(array: NDArray[Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()
