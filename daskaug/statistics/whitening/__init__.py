"""ZCA whitening: three routes to its factors, the choice between them, and where large factors are kept."""

from daskaug.statistics.whitening.factors import Whitening, whitening_from_svd
from daskaug.statistics.whitening.gram import (
    FloatGram,
    Gram,
    IntegerGram,
    channel_moments,
    gram_nbytes,
    gram_of,
    merge_grams,
    whitening_from_gram,
    withdraw_gram,
)
from daskaug.statistics.whitening.plan import WhiteningPlan, check_gram, components_of, plan_whitening
from daskaug.statistics.whitening.samples import Centre

__all__ = [
    "Centre",
    "FloatGram",
    "Gram",
    "IntegerGram",
    "Whitening",
    "WhiteningPlan",
    "channel_moments",
    "check_gram",
    "components_of",
    "gram_nbytes",
    "gram_of",
    "merge_grams",
    "plan_whitening",
    "whitening_from_gram",
    "whitening_from_svd",
    "withdraw_gram",
]
