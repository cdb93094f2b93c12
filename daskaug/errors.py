"""What daskaug raises.

Every message says what was asked, what was found, what the limit is and how to get on.
"""

from __future__ import annotations


class DaskaugError(Exception):
    """Base of all errors that daskaug raises on purpose."""


class ConfigError(DaskaugError, ValueError):
    """An option has a value that cannot work."""


class SourceError(DaskaugError, ValueError):
    """Data that were handed in cannot be read as images, labels or weights."""


class UnreadableError(SourceError):
    """Stored images cannot be read now, and can be once somebody has mended, restored or opened up what is stored."""


class ColumnTypeError(SourceError, TypeError):
    """A column of a dataframe holds values of a type that cannot be used."""


class NotFittedError(DaskaugError, RuntimeError):
    """Statistics are needed that nobody has fitted or set."""


class StoreError(DaskaugError, RuntimeError):
    """A materialised store is damaged, unfinished or made with something else."""


class IncompleteStoreError(StoreError):
    """A materialised store was opened before all of it was written."""


class LostClusterError(DaskaugError, ConnectionError):
    """The cluster that tasks were running on cannot be reached any more, or has dropped them."""
