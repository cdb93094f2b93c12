"""``python -m daskaug``: the same as the command ``daskaug``."""

from __future__ import annotations

if __name__ == "__main__":
    from daskaug.cli import main

    main()
