"""Batches for other frameworks than Keras: one module each, which imports its framework.

Keras takes the iterators as they are: they are ``keras.utils.PyDataset`` where Keras is loaded, for every backend.
"""
