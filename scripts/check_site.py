"""Check that the site that was built fetches nothing: `python -m scripts.check_site FOLDER`.

A page may link to other sites; it may not load scripts, styles, fonts, pictures or frames from
them. Neither may a style sheet. Ends with 1, and a line for each address, if one does.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

#: What a browser fetches by itself: the attribute of each element, and the kinds of `link` to skip.
FETCHED = {
    "script": "src",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "audio": "src",
    "embed": "src",
    "object": "data",
    "link": "href",
}
NOT_FETCHED = {"canonical", "prev", "next", "alternate", "edit", "author", "license"}
ELSEWHERE = re.compile(r"^\s*(?:https?:)?//", re.IGNORECASE)
IN_STYLES = re.compile(r"""(?:url\(|@import)\s*["']?((?:https?:)?//[^"')\s]+)""", re.IGNORECASE)


class _Fetches(HTMLParser):
    """Collects what a page fetches from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Look at one element."""
        values = {name: value or "" for name, value in attrs}
        kinds = set(values.get("rel", "").lower().split())
        address = values.get(FETCHED.get(tag, ""), "")
        if ELSEWHERE.match(address) and not (tag == "link" and kinds & NOT_FETCHED):
            self.found.append(address)
        if "mermaid" in values.get("class", "").split():
            self.found.append("mermaid, to draw a diagram: use a picture of plain text")
        self.found += IN_STYLES.findall(values.get("style", ""))


def find_fetches(folder: Path) -> Iterator[tuple[Path, str]]:
    """Find what the pages and style sheets in `folder` fetch from elsewhere."""
    for path in sorted(folder.rglob("*.html")):
        parser = _Fetches()
        text = path.read_text(encoding="utf-8")
        parser.feed(text)
        inline = "".join(re.findall(r"<style[^>]*>(.*?)</style>", text, re.DOTALL))
        for address in [*parser.found, *IN_STYLES.findall(inline)]:
            yield path, address
    for path in sorted(folder.rglob("*.css")):
        for address in IN_STYLES.findall(path.read_text(encoding="utf-8")):
            yield path, address


def main(folder: Path) -> int:
    """Check the site in `folder`; the exit status."""
    if not (folder / "index.html").is_file():
        print(f"check_site: {folder} holds no site: build it first.", file=sys.stderr)
        return 1
    found = list(find_fetches(folder))
    for path, address in found:
        print(f"check_site: {path} fetches {address}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
