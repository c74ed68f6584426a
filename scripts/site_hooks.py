"""Called by mkdocs: makes of a page's text what the site can show.

The fences of our pages carry marks for the tests (see tests/ecosystem/documentation.py), which
mkdocs does not know: only ``file=NAME`` is of interest to a reader, and becomes the block's title.
"""

from __future__ import annotations

import re
from typing import Any

FENCE = re.compile(r"^(`{3,}|~{3,})([\w-]+)[ \t]+([^\n]*)$", re.MULTILINE)
FILE = re.compile(r"\bfile=(\S+)")


def on_page_markdown(markdown: str, **_page: Any) -> str:
    """Return a page's text with the marks of its fences translated; called for every page."""
    return FENCE.sub(_translate, markdown)


def _translate(fence: re.Match[str]) -> str:
    name = FILE.search(fence[3])
    title = f' title="{name[1]}"' if name else ""
    return f"{fence[1]}{fence[2]}{title}"
