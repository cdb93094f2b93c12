"""A real Jupyter kernel, asked as JupyterLab asks it."""

from __future__ import annotations

import contextlib
import os
import queue
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
WAIT_SECONDS = 120


class Kernel:
    """A kernel in a process group of its own.

    Parameters
    ----------
    manager : jupyter_client.KernelManager
        Of one that runs.
    """

    def __init__(self, manager: Any) -> None:
        self.manager, self.client = manager, manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=WAIT_SECONDS)

    def begin(self, code: str) -> str:
        """Run a cell, and do not wait for it."""
        return self.client.execute(code)

    def interrupt(self) -> None:
        """What the stop button does."""
        self.manager.interrupt_kernel()

    def reply(self, cell: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Wait for the end of a cell: how it ended, and its messages."""
        end = time.monotonic() + WAIT_SECONDS
        while True:
            found = self.client.get_shell_msg(timeout=max(0, end - time.monotonic()))
            if found["parent_header"].get("msg_id") == cell:
                break
        messages = []
        while True:
            message = self.client.get_iopub_msg(timeout=max(0, end - time.monotonic()))
            if message["parent_header"].get("msg_id") != cell:
                continue
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                return found["content"], messages
            messages.append(message)

    def run(self, code: str) -> str:
        """Run a cell to its end; what it printed or came to."""
        content, messages = self.reply(self.begin(code))
        assert content["status"] == "ok", "\n".join(content["traceback"])
        return "".join(
            message["content"].get("text") or message["content"].get("data", {}).get("text/plain", "")
            for message in messages
            if message["msg_type"] in ("stream", "execute_result")
        )

    def close(self) -> None:
        """End it."""
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)
        self.manager.cleanup_resources()


@contextlib.contextmanager
def started(folder: Path) -> Iterator[Kernel]:
    """A kernel that works in a folder, and finds daskaug and these tests."""
    from jupyter_client.manager import KernelManager

    paths = filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])
    own = {"PYTHONPATH": os.pathsep.join(paths), "IPYTHONDIR": str(folder / ".ipython")}
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(cwd=str(folder), env=os.environ | own)
    try:
        kernel = Kernel(manager)
    except BaseException:
        manager.shutdown_kernel(now=True)
        raise
    try:
        yield kernel
    finally:
        with contextlib.suppress(queue.Empty):
            kernel.close()
