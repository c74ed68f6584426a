"""``sparts new service NAME --grpc FILE.proto``: a service with every method of an interface.

The interface is copied into the project, and made modules when the service is imported, by
grpcio-tools, so that no generated code has to be kept in step.
"""

from __future__ import annotations

import contextlib
import tempfile
from importlib import resources
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2
from sparts.cli import find_command
from sparts.errors import UsageError


def main(argv: list[str]) -> int:
    """Write a project of a gRPC service into a new folder.

    Raises:
        UsageError: the name is none for a project, its folder exists, grpcio-tools is missing, or
            the interface cannot be compiled, has no service or imports other files.
    """
    find_command("new")  # it says what to install
    from sparts.dev import scaffold

    parser = scaffold.parser(
        "sparts new-grpc",
        "Write a complete project for a service that has every method of a gRPC interface. "
        "`sparts new service NAME --grpc FILE` does the same.",
        ["service"],
        "acme-greeter",
    )
    parser.add_argument("file", metavar="FILE.proto", help="the interface")
    args = parser.parse_args(argv)
    scaffold.tell(write_grpc_service(args.name, Path(args.file), Path(args.parent)))
    return 0


def write_grpc_service(name: str, file: Path, parent: Path) -> Path:
    """Write a service with every method of an interface into ``parent / name``, and return that.

    Raises:
        UsageError: see `main`.
    """
    from sparts.dev import scaffold

    described = _described(file)
    prefix = f"{described.package}." if described.package else ""
    words = {
        "summary": f"Serves {' and '.join(each.name for each in described.service)}.",
        "stem": file.stem,
        "ignored": 'ignore = ["RUF002"]  # words are those of the interface\n',
        "needs": f', "{scaffold.requirement("sparts-grpc")}", "grpcio-tools>=1.80"',
        "arguments": '        "--grpc-port",\n        "0",\n',
        "servicers": "\n\n\n".join(map(_servicer, described.service)),
        "SERVICERS": "".join(f"        {each.name},\n" for each in described.service),
        "unwritten": "".join(
            f'    "/{prefix}{each.name}/{method.name}",\n'
            for each in described.service
            for method in each.method
        ),
    }
    templates = resources.files("sparts.tasks.grpc.scaffold") / "templates"
    package = scaffold.words_of("service", name)["package"]
    files = {f"src/{package}/idl/{file.stem}.proto": file.read_text(encoding="utf-8")}
    return scaffold.write_project("service", name, parent, words, [templates], files)


def _described(file: Path) -> Any:
    """Return what an interface holds.

    Raises:
        UsageError: see `main`.
    """
    try:
        from grpc_tools import protoc
    except ImportError:
        raise UsageError("grpcio-tools is missing. Install it: pip install grpcio-tools") from None
    if not file.is_file():
        raise UsageError(f"There is no file {file}.")
    if not file.stem.isidentifier():
        raise UsageError(f"{file.name} must have a name that a Python module can have.")
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder) / "found"
        with contextlib.ExitStack() as stack:
            well_known = stack.enter_context(
                resources.as_file(resources.files("grpc_tools") / "_proto")
            )
            arguments = [
                f"-I{file.parent}",
                f"-I{well_known}",
                f"--descriptor_set_out={found}",
            ]
            if protoc.main(["protoc", *arguments, str(file)]):
                raise UsageError(f"{file} cannot be compiled; the reason is above.")
        described = descriptor_pb2.FileDescriptorSet.FromString(found.read_bytes()).file[-1]
    others = [each for each in described.dependency if not each.startswith("google/protobuf/")]
    if others:
        raise UsageError(f"{file.name} imports {', '.join(others)}: put all of it into one file.")
    if not described.service:
        raise UsageError(f"{file.name} has no service to write a skeleton of.")
    return described


def _servicer(service: Any) -> str:
    """Return the class of a servicer, in which no method does anything yet."""
    lines = [
        f"{service.name}Base: Any = services.{service.name}Servicer",
        "",
        "",
        f"class {service.name}({service.name}Base):  # type: ignore[misc]",
        f'    """Implements {service.name}."""',
    ]
    for method in service.method:
        takes = "requests" if method.client_streaming else "request"
        what = "a stream of " if method.client_streaming else ""
        gives = "a stream of " if method.server_streaming else ""
        lines += [
            "",
            f"    async def {method.name}(self, {takes}: Any, context: Any) -> Any:",
            f'        """Answer {what}{method.input_type[1:]}',
            f"        with {gives}{method.output_type[1:]}.",
            '        """',
            '        await context.abort(StatusCode.UNIMPLEMENTED, "It is not written yet.")',
        ]
    return "\n".join(lines)
