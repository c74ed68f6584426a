"""Makes modules of interface files by the `thrift` compiler of Apache Thrift."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from sparts.thrift.compiler.errors import CompileError
from sparts.thrift.compiler.idl import line_of
from sparts.thrift.compiler.loading import Package

if TYPE_CHECKING:
    from sparts.thrift.compiler.layout import Layout
    from sparts.thrift.compiler.sources import Source

TIME_LIMIT = 60.0
"""Seconds that the compiler may take for one file."""

_MARK = re.compile(r"\[(?P<kind>[A-Z]+):(?P<file>[^\]]*?):(?P<line>\d+)\]\s*")


class ThriftCompiler:
    """Runs the `thrift` compiler.

    Args:
        executable: its path.
    """

    def __init__(self, executable: str) -> None:
        self._executable = executable

    def make(self, source: Source, layout: Layout, options: tuple[str, ...] = ()) -> None:
        """Make modules of a file and of all that it includes, with options of the generator.

        Raises:
            CompileError: the compiler complains, or what it makes is not valid Python.
        """
        for each in source.in_order():
            if each.module is None:
                each.module, each.options = self._make(each, layout, options), options

    def _make(self, source: Source, layout: Layout, options: tuple[str, ...]) -> Package:
        out = layout.new_folder()
        self._run(source, layout, out, options)
        ttypes = next(out.rglob("ttypes.py"))
        name = ".".join(ttypes.parent.relative_to(out).parts)
        codes = {
            path.stem: path.read_text(encoding="utf-8")
            for path in sorted(ttypes.parent.glob("*.py"))
            if path.stem != "__init__"
        }
        includes = [other.module for other in source.included.values()]
        return Package(
            name, source, codes, [each for each in includes if isinstance(each, Package)]
        )

    def _run(self, source: Source, layout: Layout, out: Path, options: tuple[str, ...]) -> None:
        generator = f"py:{','.join(options)}" if options else "py"
        command = [self._executable, "--gen", generator, "-out", str(out), str(layout.path(source))]
        try:
            done = subprocess.run(  # noqa: S603 - the user's compiler, on the user's files
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=TIME_LIMIT,
                check=False,
            )
        except OSError as error:
            raise CompileError(f"{self._executable} cannot be run: {error.strerror}.") from error
        except subprocess.TimeoutExpired as error:
            raise CompileError(
                f"{self._executable} has not ended within {TIME_LIMIT:g} seconds.", source.name
            ) from error
        if done.returncode or not any(out.rglob("ttypes.py")):
            output = done.stdout.decode(errors="replace")
            raise _complaint(output, source, layout) or CompileError(
                f"{self._executable} ended with status {done.returncode}, and said nothing.",
                source.name,
            )


def _complaint(output: str, source: Source, layout: Layout) -> CompileError | None:
    """Return the compiler's words with the files named as their user names them."""
    names = {str(layout.path(each)): each for each in source.in_order()}
    marks = [mark for mark in _MARK.finditer(output) if mark["kind"] in ("ERROR", "FAILURE")]
    found, line = source, None
    for mark in marks:
        if mark["file"] in names:
            found, line = names[mark["file"]], int(mark["line"])
            break
    parts = re.split(r"(?=\[[A-Z]+:[^\]]*:\d+\])|\n", output)
    words = [_MARK.sub("", part).strip() for part in parts if not part.startswith("[WARNING:")]
    text = "; ".join(dict.fromkeys(filter(None, words)))
    for path, each in names.items():
        text = text.replace(path, each.name)
    line = line or line_of(text, found.text)
    return CompileError(text, found.name, line) if text else None
