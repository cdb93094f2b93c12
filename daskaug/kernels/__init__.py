"""Pure NumPy and numba: arrays in, arrays out. Nothing here knows of dask, files or options."""
