"""What fitting knows about a data set: moments of the channels, ZCA whitening, and the file that keeps them."""

from daskaug.statistics.content import Content
from daskaug.statistics.histogram import Histogram
from daskaug.statistics.interval import Interval
from daskaug.statistics.moments import FloatMoments, IntegerMoments
from daskaug.statistics.recipe import Partial, StatisticsRecipe
from daskaug.statistics.state import Statistics
from daskaug.statistics.totals import FloatTotals, WeightedTotals
from daskaug.statistics.whitening import (
    FloatGram,
    IntegerGram,
    Whitening,
    whitening_from_gram,
    whitening_from_svd,
)

__all__ = [
    "Content",
    "FloatGram",
    "FloatMoments",
    "FloatTotals",
    "Histogram",
    "IntegerGram",
    "IntegerMoments",
    "Interval",
    "Partial",
    "Statistics",
    "StatisticsRecipe",
    "WeightedTotals",
    "Whitening",
    "whitening_from_gram",
    "whitening_from_svd",
]
