"""Executing the notebooks of ``examples/``, and comparing what comes out with what is stored in them.

Run as ``python -m tests.examples.notebooks`` it executes all of them, or those that are named, and stores the outputs.

A notebook works in a folder of its own, which is empty, and writes nowhere else. It asserts what it says. What it
shows is the same every time, but for times, rates, paths and addresses, which are not compared; where a cell shows
other things that vary, as how far a run had come when it was killed, it has the tag "varies".
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
SECONDS = 120
"""For a whole notebook."""

_VARYING = [
    (re.compile(r"[\d,.]+(e[+-]\d+)? (?=(s|ms|µs|min|h|images/s|shards/s|files/s|MB/s)\b)"), "# "),
    (re.compile(r"\b(tcp|tls|inproc|http)://[^\s'\"<>]+"), "ADDRESS"),
    (re.compile(r"(/[\w.-]+)+/(?=[\w.-]+)"), "PATH/"),
]


def execute(path: Path, folder: Path) -> Any:
    """The notebook with the outputs that it has when it is run in a folder.

    Parameters
    ----------
    path : Path
    folder : Path
        Empty.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        Where a cell fails.
    """
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    paths = filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "IPYTHONDIR": str(folder / ".ipython")}
    client = NotebookClient(
        notebook,
        timeout=SECONDS,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        store_widget_state=False,
        record_timing=False,
    )
    client.execute(env=environment)
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return notebook


def shown(cell: Any) -> list[str]:
    """What a cell shows, without what differs from run to run; for a cell that varies, only of which kinds it is."""
    told = []
    for output in cell.get("outputs", []):
        if output.output_type == "stream":
            kind, text = output.name, output.text
        elif output.output_type == "error":
            kind, text = "error", f"{output.ename}: {output.evalue}"
        else:
            kind, text = " ".join(sorted(output.data)), output.data.get("text/plain", "")
        for pattern, instead in _VARYING:
            text = pattern.sub(instead, text)
        told.append(kind if "varies" in cell.metadata.get("tags", []) else f"{kind}: {text}")
    return told


def main(names: list[str]) -> None:
    import nbformat

    for path in [Path(name) for name in names] or sorted(EXAMPLES.glob("*.ipynb")):
        with tempfile.TemporaryDirectory() as folder:
            nbformat.write(execute(path, Path(folder)), path)
        print(path)


if __name__ == "__main__":
    main(sys.argv[1:])
