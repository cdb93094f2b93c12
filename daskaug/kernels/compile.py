"""Compile numba kernels on first use and keep the machine code on disk.

Importing daskaug must not compile anything, and two processes that start at the same moment on a read-only
installation must both work. So a kernel here is a plain Python function plus a rule that names its argument types;
:func:`compiled` turns the pair into machine code when somebody first calls it.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

_COMPILE_LOCK = threading.RLock()

LONGEST_WAIT = 60.0
"""Seconds to wait for another process that compiles, before doing the same side by side."""


@functools.cache
def source_digest() -> str:
    """Hash of every file in this package: numba itself does not see an edit in a function that a kernel calls."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


@functools.cache
def cache_directory() -> Path:
    """Folder of the compiled kernels.

    The first of these that can be written: ``$DASKAUG_CACHE_DIR``, ``$NUMBA_CACHE_DIR``, the user's cache folder
    (``$XDG_CACHE_HOME`` or ``~/.cache``), a folder of this user's own below the system's temporary folder, and as a
    last resort a fresh temporary folder, which only this process will use.
    """
    cache_home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    owner = os.getuid() if hasattr(os, "getuid") else 0
    candidates = [
        os.environ.get("DASKAUG_CACHE_DIR"),
        os.environ.get("NUMBA_CACHE_DIR"),
        os.path.join(cache_home, "daskaug"),
        os.path.join(tempfile.gettempdir(), f"daskaug-{owner}"),
    ]
    for candidate in candidates:
        if candidate and _usable(path := Path(candidate) / f"kernels-{source_digest()}"):
            return path
    return Path(tempfile.mkdtemp(prefix="daskaug-kernels-"))


def _usable(path: Path) -> bool:
    """Whether this user owns the folder and may write into it (compiled code is loaded from there, so both count)."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
        return not hasattr(os, "getuid") or path.stat().st_uid == os.getuid()
    except OSError:
        return False


@functools.cache
def _cache_class() -> type:
    """numba's function cache, pointed at :func:`cache_directory` for our kernels alone.

    The public setting, ``NUMBA_CACHE_DIR``, would move the cache of everybody else's functions in this process too.
    """
    from numba.core import caching

    class Locator(caching._CacheLocator):  # type: ignore[misc]
        def __init__(self, py_func: Callable[..., Any]) -> None:
            self._line = py_func.__code__.co_firstlineno

        def get_cache_path(self) -> str:
            return str(cache_directory())

        def get_source_stamp(self) -> str:
            return source_digest()

        def get_disambiguator(self) -> str:
            return str(self._line)

        @classmethod
        def from_function(cls, py_func: Callable[..., Any], py_file: str) -> Locator:
            return cls(py_func)

    class Impl(caching.CompileResultCacheImpl):  # type: ignore[misc]
        _locator_classes = [Locator]  # noqa: RUF012  numba reads a plain class attribute

    class KernelCache(caching.FunctionCache):  # type: ignore[misc]
        _impl_class = Impl

    return KernelCache


@contextlib.contextmanager
def _straight_code_vectorized() -> Iterator[None]:
    """Let LLVM turn neighbouring scalar statements into vectors, as C compilers do and numba by default does not.

    It reorders nothing, so results stay the same to the bit. The setting belongs to the process: it is changed while
    numba's own lock keeps everybody else from compiling.
    """
    from numba.core import config
    from numba.core.compiler_lock import global_compiler_lock

    with global_compiler_lock:
        before = config.SLP_VECTORIZE
        config.SLP_VECTORIZE = 1
        try:
            yield
        finally:
            config.SLP_VECTORIZE = before


@contextlib.contextmanager
def _one_process_at_a_time() -> Iterator[None]:
    """Let the others find on the disk what one process compiles: a node may start a hundred workers at once.

    Nothing depends on it but time, so nobody waits for ever, nor where the file system knows no locks.
    """
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(ImportError, OSError):  # not on Windows
            import fcntl

            file = stack.enter_context(open(cache_directory() / "lock", "w"))
            deadline = time.monotonic() + LONGEST_WAIT
            while time.monotonic() < deadline:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    time.sleep(0.02)
        yield


def compiled(function: Callable[..., Any], *signature: Any) -> Callable[..., Any]:
    """Machine code of a kernel for one signature, from the cache on disk where it is there.

    Parameters
    ----------
    function : callable
        A module-level function, undecorated. It releases the GIL while it runs.
    *signature
        numba types of the arguments. Declare input arrays with ``readonly=True`` and layout ``"A"``: numba then
        accepts any array of that type and rank, writable or not, of whatever strides.

    Returns
    -------
    callable
        Accepts exactly this signature (and arrays that convert to it without a copy); never compiles another.
    """
    with _COMPILE_LOCK:
        return _compiled(function, signature)


@functools.cache
def _compiled(function: Callable[..., Any], signature: tuple[Any, ...]) -> Callable[..., Any]:
    import numba

    dispatcher = numba.njit(nogil=True, fastmath=False, error_model="numpy")(function)
    dispatcher._cache = _cache_class()(function)
    with _one_process_at_a_time(), _straight_code_vectorized():
        dispatcher.compile(signature)
    dispatcher.disable_compile()
    return dispatcher  # type: ignore[no-any-return]
