"""``sparts new service NAME --thrift FILE.thrift``: a service with every method of an interface.

The interface is copied into the project, and made a module when the service is imported, by
thriftpy2's parser, so that the service needs no compiler where it runs.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from sparts.cli import find_command
from sparts.errors import UsageError
from sparts.thrift.compiler import CompileContext
from sparts.thrift.compiler.idl import with_includes
from sparts.thrift.compiler.sources import BUILT_IN, Sources
from sparts.thrift.scaffold.skeleton import Skeleton

if TYPE_CHECKING:
    from sparts.thrift.compiler.sources import Source


def main(argv: list[str]) -> int:
    """Write a project of a Thrift service into a new folder.

    Raises:
        UsageError: the name is none for a project, its folder exists, or the interface cannot be
            compiled or has no service.
    """
    find_command("new")  # it says what to install
    from sparts.dev import scaffold

    parser = scaffold.parser(
        "sparts new-thrift",
        "Write a complete project for a service that has every method of a thrift interface. "
        "`sparts new service NAME --thrift FILE` does the same.",
        ["service"],
        "acme-calculator",
    )
    parser.add_argument("file", metavar="FILE.thrift", help="the interface")
    args = parser.parse_args(argv)
    scaffold.tell(write_thrift_service(args.name, Path(args.file), Path(args.parent)))
    return 0


def write_thrift_service(name: str, file: Path, parent: Path) -> Path:
    """Write a service with every method of an interface into ``parent / name``, and return that.

    Raises:
        UsageError: see `main`.
    """
    from sparts.dev import scaffold

    source = Sources([]).read(file)
    skeleton = Skeleton(CompileContext(compiler="thriftpy2").importThrift(file), source)
    package = scaffold.words_of("service", name)["package"]
    needs = scaffold.requirement("sparts-thrift").replace("thrift>", "thrift[thriftpy2]>")
    words = {
        **skeleton.words(package),
        "summary": f"Serves {skeleton.named}.",
        "stem": source.stem,
        "ignored": 'ignore = ["E741", "RUF002"]  # names and words are those of the interface\n',
        "needs": f', "{needs}"',
        "arguments": '        "--thrift-host",\n        "127.0.0.1",\n',
    }
    templates = resources.files("sparts.thrift.scaffold") / "templates"
    files = _copied(source, f"src/{package}/idl")
    return scaffold.write_project("service", name, parent, words, [templates], files)


def _copied(source: Source, folder: str) -> dict[str, str]:
    """Return the interface, and what it includes, as files beside each other."""
    sources = [each for each in source.in_order() if str(each.folder) != str(BUILT_IN)]
    names = {f"{each.stem}.thrift": each for each in sources}
    if len(names) < len(sources):
        raise UsageError(f"{source.name} includes different files of one name: rename one of them.")
    files: dict[str, str] = {}
    for name, each in names.items():
        paths = {path: f"{other.stem}.thrift" for path, other in each.included.items()}
        files[f"{folder}/{name}"] = with_includes(each.text, paths)
    return files
