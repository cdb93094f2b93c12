"""Making an iterator a real ``keras.utils.PyDataset`` where Keras is loaded, without loading it."""

from __future__ import annotations

import functools
import sys
from typing import Any


def instance_class(cls: type) -> type:
    """The class to instantiate: `cls` itself, or with Keras' ``PyDataset`` among its bases if Keras is loaded.

    ``model.fit`` takes an object for a data set only if it is an instance of that class.
    """
    keras = sys.modules.get("keras")
    base = getattr(getattr(keras, "utils", None), "PyDataset", None)
    return cls if base is None else _combined(cls, base)


def is_pydataset(iterator: Any) -> bool:
    """Whether an object is one of Keras' ``PyDataset``s."""
    keras = sys.modules.get("keras")
    base = getattr(getattr(keras, "utils", None), "PyDataset", None)
    return base is not None and isinstance(iterator, base)


@functools.cache
def _combined(cls: type, base: type) -> type:
    combined = type(cls.__name__, (cls, base), {"__doc__": cls.__doc__, "__module__": cls.__module__})
    combined.__reduce__ = _reduce  # type: ignore[method-assign,assignment]
    return combined


def _reduce(self: Any) -> tuple[Any, ...]:
    """The combined class has no address to import it from; its first base has."""
    return _rebuild, (type(self).__mro__[1], self.__getstate__())


def _rebuild(cls: type, state: dict[str, Any]) -> Any:
    made: Any = object.__new__(instance_class(cls))
    made.__setstate__(state)
    return made
