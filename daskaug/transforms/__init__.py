"""From uniform numbers to transformed blocks, without I/O and without dask."""
