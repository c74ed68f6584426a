"""``python -m sparts``: the `sparts` command."""

from __future__ import annotations

import sys

from sparts.cli import main

if __name__ == "__main__":
    sys.exit(main())
