"""Check the language of what people read: `python -m scripts.check_words [FILE ...]`.

It looks at the prose of pages, changelog fragments and comments, at docstrings and other strings,
and at the names of tests, and refuses:

- words of `WORDS`, which readers of another mother tongue do not know; the replacement is shown;
- a page of README.md or docs/ whose sentences have more than `LONGEST_AVERAGE` words on average;
- names of tests with more than `LONGEST_NAME` words; `LONG_NAMES` says how many a folder may have.

The exit status is 1 if something was found.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from scripts.build_distributions import ROOT

WORDS = {
    r"shall": "must, or: is to",
    r"anew": "again",
    r"whoever": "who, anybody who, or the actor's name",
    r"borne": "withstood, or: carried",
    r"kin": "related",
    r"upstairs": "above",
    r"beneath": "below",
    r"for ever": "forever; of a time limit: no limit, or: never",
    r"a text": "a string",
    r"tells? of": "reports, or: says about",
    r"takes? nothing of": "reads nothing of",
    r"works? off|worked off": "processes, processed",
    r"one's own": "your own",
    r"thereby|whilst|amongst|henceforth|hence": "a plainer word",
    r"(?:is|are|was|were|be|been) told": "is asked to, gets, or: the actor says",
    r"for want of": "because something is missing",
    r"in vain": "without effect",
    r"to be had": "available",
    r"of its own accord": "by itself",
    r"whence|thence": "from where, from there",
    r"upon": "on",
    r"lest": "so that nothing",
    r"behold|befall|abide|heed|nought|hitherto|thereof|therein|whereby": "a plainer word",
}
"""What is refused, as regular expressions of whole words, and what to write instead."""
LONGEST_AVERAGE = 25
"""Words of a sentence, on average over a page."""
LONGEST_NAME = 8
"""Words of a test's name, after ``test_``."""
LONG_NAMES: dict[str, int] = {}
"""How many longer names each folder of tests still has; the numbers may only fall."""


WRONG = {re.compile(rf"\b(?:{each})\b", re.IGNORECASE): word for each, word in WORDS.items()}
LEFT_OUT = re.compile(
    r"\.lock$|^CHANGELOG|LICENSE|^bench/days/|\.(js|css|svg|png|json)$|/known\.txt$"
    r"|^scripts/check_words\.py$|^tests/ecosystem/test_words\.py$|^docs/performance"
)
"""Files whose words are not ours, or generated, or the rule itself."""
FENCE = re.compile(r"^(`{3,}|~{3,})[^\n]*\n.*?^\1[ \t]*$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]*`")
REFERENCE = re.compile(r"^::: .*$", re.MULTILINE)
LINK = re.compile(r"\]\([^)]*\)")
SENTENCE_END = re.compile(r"[.!?](?=\s|$)|\n\s*\n|\n(?=\s*(?:[-*|#>]|\d+\.\s))|\|")
TEST = re.compile(r"^\s*(?:async )?def test_(\w+)", re.MULTILINE)


class Found(NamedTuple):
    """Something that is refused: where, and what to do."""

    path: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"


def prose_of_page(text: str) -> str:
    """Return the text of a Markdown page without code and addresses, each line where it was."""

    def blank(found: re.Match[str]) -> str:
        return "\n" * found[0].count("\n")

    return LINK.sub("]", CODE.sub("code", REFERENCE.sub("", FENCE.sub(blank, text))))


def prose_of_code(source: str) -> Iterator[tuple[int, str]]:
    """Return the comments and strings of Python code, each with the number of its first line."""
    kinds = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", -1)}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in kinds:
            yield token.start[0], token.string


def wrong_words(path: str, text: str) -> Iterator[Found]:
    """Find the words of one file that are refused."""
    if path.endswith(".py"):
        parts = list(prose_of_code(text))
    else:
        parts = [(1, prose_of_page(text) if path.endswith(".md") else text)]
    for first, part in parts:
        for pattern, instead in WRONG.items():
            for found in pattern.finditer(part):
                line = first + part.count("\n", 0, found.start())
                yield Found(path, line, f"{found[0]!r} is refused: write {instead}")


def average(text: str) -> float:
    """Return how many words the sentences of a Markdown page have on average."""
    sentences = [len(re.findall(r"\w[\w'-]*", each)) for each in SENTENCE_END.split(text)]
    long = [count for count in sentences if count > 2]  # cells and headings are no sentences
    return sum(long) / len(long) if long else 0.0


def long_sentences(path: str, text: str) -> Iterator[Found]:
    """Find out whether the sentences of a page are too long."""
    found = average(prose_of_page(text))
    if found > LONGEST_AVERAGE:
        yield Found(path, 1, f"sentences have {found:.1f} words, at most {LONGEST_AVERAGE}")


def is_page(path: str) -> bool:
    """Tell whether a file is one of the pages whose sentences are measured."""
    return path.endswith(".md") and (path.startswith("docs/") or path.endswith("README.md"))


def long_names(path: str, text: str) -> list[str]:
    """Return the names of a file's tests that have too many words."""
    if not path.startswith("tests/"):
        return []
    return [name for name in TEST.findall(text) if len(name.split("_")) > LONGEST_NAME]


def check(files: Sequence[str]) -> list[Found]:
    """Check files, given relative to the repository."""
    found: list[Found] = []
    names: Counter[str] = Counter()
    for path in files:
        if LEFT_OUT.search(path) or not (ROOT / path).is_file():
            continue
        try:
            text = (ROOT / path).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += wrong_words(path, text)
        if is_page(path):
            found += long_sentences(path, text)
        if long := long_names(path, text):
            names["/".join(path.split("/")[:2])] += len(long)
    for folder, count in sorted(names.items()):
        if count > LONG_NAMES.get(folder, 0):
            allowed = LONG_NAMES.get(folder, 0)
            message = f"{count} test names have over {LONGEST_NAME} words, at most {allowed} may"
            found.append(Found(folder, 1, message))
    return found


def main(argv: Sequence[str]) -> int:
    """Check the files of the command line, or all that git knows; the exit status."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    found = check(argv or listed.splitlines())
    for each in found:
        print(each)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
