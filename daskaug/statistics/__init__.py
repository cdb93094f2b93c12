"""What fitting knows about a data set: moments of the channels, ZCA whitening, and the file that keeps them."""

from daskaug.statistics.moments import FloatMoments, FloatTotals, IntegerMoments
from daskaug.statistics.recipe import Partial, StatisticsRecipe
from daskaug.statistics.state import Statistics
from daskaug.statistics.whitening import (
    FloatGram,
    IntegerGram,
    Whitening,
    check_gram,
    whitening_from_gram,
    whitening_from_svd,
)

__all__ = [
    "FloatGram",
    "FloatMoments",
    "FloatTotals",
    "IntegerGram",
    "IntegerMoments",
    "Partial",
    "Statistics",
    "StatisticsRecipe",
    "Whitening",
    "check_gram",
    "whitening_from_gram",
    "whitening_from_svd",
]
