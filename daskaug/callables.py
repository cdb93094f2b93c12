"""How a user's function is written down, so that a stored result says what made it.

A function is recorded by module, qualified name and a hash of its code. That is enough to import it again and to
notice that it has changed since; a lambda or a closure cannot be imported and must be handed in anew.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import types
import warnings
from collections.abc import Callable
from typing import Any

from daskaug.errors import ConfigError


def code_digest(function: Callable[..., Any]) -> str:
    """Hash of a function's code: bytecode, constants and names, but no file names, line numbers or docstrings.

    Python's version takes part, since it decides the bytecode. A built-in or a callable object has no code of its
    own; its type's name stands in.
    """
    code = getattr(inspect.unwrap(function), "__code__", None)
    if code is None:
        kind = type(function)
        return hashlib.sha256(f"{kind.__module__}.{kind.__qualname__}".encode()).hexdigest()[:16]
    digest = hashlib.sha256()
    _feed(digest, code)
    return digest.hexdigest()[:16]


def _feed(digest: Any, code: types.CodeType) -> None:
    digest.update(code.co_code)
    digest.update(repr((code.co_names, code.co_varnames, code.co_freevars)).encode())
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            _feed(digest, constant)
        else:
            digest.update(_stable(constant).encode())


def _stable(constant: Any) -> str:
    """A constant as text: a set's own order differs from process to process."""
    if isinstance(constant, frozenset):
        return f"frozenset({sorted(map(_stable, constant))})"
    if isinstance(constant, tuple):
        return f"({','.join(map(_stable, constant))})"
    return repr(constant)


def importable(function: Callable[..., Any]) -> bool:
    """Whether another process can find this very function by its module and qualified name."""
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    if not module or not name or "<" in name or module == "__main__":
        return False
    try:
        return _find(module, name) is function
    except (ImportError, AttributeError):
        return False


def record(function: Callable[..., Any]) -> dict[str, str]:
    """Describe a function as JSON: ``{"module", "qualname", "code"}``."""
    return {
        "module": str(getattr(function, "__module__", "")),
        "qualname": str(getattr(function, "__qualname__", type(function).__qualname__)),
        "code": code_digest(function),
    }


def recall(recorded: dict[str, str], option: str) -> Callable[..., Any]:
    """Import the function that :func:`record` described.

    Raises
    ------
    ConfigError
        Where it cannot be imported; the message asks for it.

    Warns
    -----
    UserWarning
        Where its code is not what it was.
    """
    module, name = recorded["module"], recorded["qualname"]
    try:
        if "<" in name or module == "__main__":
            raise ImportError("lambdas, closures and functions of a script have no address that can be imported")
        function = _find(module, name)
    except (ImportError, AttributeError) as reason:
        raise ConfigError(
            f"The configuration uses `{option}` = {module}.{name}, which cannot be imported here ({reason}). "
            f"Hand it in: from_config(config, {option}=...)."
        ) from reason
    if code_digest(function) != recorded["code"]:
        warnings.warn(
            f"`{option}` = {module}.{name} has other code than when the configuration was written "
            f"({code_digest(function)} now, {recorded['code']} then); its results may differ.",
            UserWarning,
            stacklevel=3,
        )
    return function


def _find(module: str, qualname: str) -> Callable[..., Any]:
    found: Any = importlib.import_module(module)
    for part in qualname.split("."):
        found = getattr(found, part)
    return found  # type: ignore[no-any-return]
