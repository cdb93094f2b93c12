"""Fitting ZCA whitening over a source: planned, and computed in as many passes as its route takes."""

from daskaug.whitening_fit.passes import Images
from daskaug.whitening_fit.planning import WhiteningFit, WhiteningOptions

__all__ = ["Images", "WhiteningFit", "WhiteningOptions"]
