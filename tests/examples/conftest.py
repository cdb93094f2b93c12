"""The examples are scripts: run_example.py runs them where their data lie."""

from __future__ import annotations

collect_ignore = ["array.py", "dataframe.py", "directory.py", "masks.py"]
