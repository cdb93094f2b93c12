"""ZCA whitening: three routes to its factors, the choice between them, and where large factors are kept."""

from daskaug.statistics.whitening.factors import Whitening, whitening_from_svd
from daskaug.statistics.whitening.gram import (
    FloatGram,
    Gram,
    IntegerGram,
    check_gram,
    gram_of,
    merge_grams,
    whitening_from_gram,
)
from daskaug.statistics.whitening.plan import WhiteningPlan, plan_whitening
from daskaug.statistics.whitening.samples import Centre

__all__ = [
    "Centre",
    "FloatGram",
    "Gram",
    "IntegerGram",
    "Whitening",
    "WhiteningPlan",
    "check_gram",
    "gram_of",
    "merge_grams",
    "plan_whitening",
    "whitening_from_gram",
    "whitening_from_svd",
]
