"""Plans in whole numbers: which rows a task works on, and in which order an epoch visits them."""
