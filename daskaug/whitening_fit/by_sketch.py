"""The passes of the randomised route: subspace iteration from random signs."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

from numpy.typing import NDArray

from daskaug.execution import Executor
from daskaug.statistics.whitening import Centre, Whitening, WhiteningPlan
from daskaug.statistics.whitening import sketch as sketches
from daskaug.statistics.whitening.factors import kept_directions, scale_of, share
from daskaug.statistics.whitening.plan import sketch_dtype
from daskaug.whitening_fit.passes import Count, Images, Keys, PassTask, run_pass
from daskaug.whitening_fit.storing import Finish

SLAB_ROWS = 16384


@dataclasses.dataclass(frozen=True, eq=False)
class _Apply(PassTask):
    """Task: the second moment of a stretch, times a basis."""

    centre: Centre
    basis: NDArray[Any]
    last: bool

    def __call__(self, block: NDArray[Any], keys: Keys) -> sketches.Applied:
        return sketches.apply_to_basis(self.see(block, keys), self.basis, self.centre, last=self.last)


def whitening_by_sketch(
    plan: WhiteningPlan,
    images: Images,
    centre: Centre,
    scatter: float,
    executor: Executor,
    finish: Finish,
    seed: int,
    count: Count,
) -> Whitening:
    """Run the passes after the one for the channel means; `scatter` is n times the variance of all values together."""
    columns = plan.cost.sketch
    basis = sketches.first_basis(seed, centre.features, columns, sketch_dtype(centre.features, columns))
    for _ in range(sketches.POWER_PASSES):
        moved = _applied(images, centre, executor, basis, count, last=False).moved
        basis = sketches.orthonormal(moved)
    applied = _applied(images, centre, executor, basis, count, last=True)
    ritz = sketches.directions_within(applied)
    rank = kept_directions(
        ritz.variances, scatter, len(images), centre.features, rank=plan.rank, fraction=plan.fraction
    )
    error = float(sketches.relative_residuals(applied, basis, ritz, rank).max(initial=0.0))
    variances, rotation = ritz.variances[:rank], ritz.rotation[:, :rank]
    captured = share(float(variances.sum()), scatter)
    _warn_of_missing(plan.fraction, captured, rank)
    slabs = (basis[start : start + SLAB_ROWS] @ rotation for start in range(0, centre.features, SLAB_ROWS))
    directions = finish.keep(slabs, (centre.features, rank))
    scale = scale_of(variances, len(images), epsilon=finish.epsilon, rescale=finish.rescale)
    return Whitening(directions, scale, finish.epsilon, route="randomized", captured=captured, error=error)


def _applied(
    images: Images, centre: Centre, executor: Executor, basis: NDArray[Any], count: Count, *, last: bool
) -> sketches.Applied:
    """One pass: the second moment times a basis."""
    stretches = images.stretches(executor)
    tasks = ((images.reader(rows), (images.keys(rows),)) for rows in stretches)
    total: sketches.Applied | None = None
    for rows, part in zip(
        stretches, run_pass(executor, _Apply(images.transform, centre, basis, last), tasks), strict=True
    ):
        total = part if total is None else total.merge(part)
        count.add(len(rows))
    assert total is not None
    return total


def _warn_of_missing(fraction: float | None, captured: float, rank: int) -> None:
    """Tell where a share of the variance was asked for that the sketch does not reach."""
    if fraction is not None and captured < fraction * (1 - 1e-9):
        warnings.warn(
            f"zca_components={fraction:.6g} asks for more of the variance than the {rank} directions hold that "
            f"the sketch has: {captured:.6g} of it. Ask for a number of directions (zca_components={2 * rank}), or "
            "give an exact route the memory it takes.",
            UserWarning,
            stacklevel=2,
        )
