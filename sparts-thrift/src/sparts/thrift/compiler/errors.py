"""What is wrong with an interface file, and where."""

from __future__ import annotations

from sparts.errors import UsageError


class CompileError(UsageError):
    """An interface file cannot be compiled; the message names file and line, as far as known.

    Args:
        words: what is wrong, in the words of the parser.
        file: the file, as it was named.
        line: its line, counted from 1; None if unknown.
    """

    def __init__(self, words: str, file: str = "", line: int | None = None) -> None:
        where = f"{file}, line {line}: " if file and line else f"{file}: " if file else ""
        super().__init__(where + words)
        self.words = words
        self.file = file
        self.line = line
