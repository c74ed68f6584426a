"""Code that grpcio-tools makes in the session of the tests, in a folder of its own."""

from __future__ import annotations

import atexit
import functools
import importlib
import sys
import tempfile
from pathlib import Path
from typing import Any

from grpc_tools import protoc

IDL = Path(__file__).parent / "idl"


@functools.cache
def generated(stem: str) -> tuple[Any, Any]:
    """Give the modules of messages and of services that are made of ``idl/STEM.proto``."""
    folder = generated_folder()
    arguments = ["protoc", f"-I{IDL}", f"--python_out={folder}", f"--grpc_python_out={folder}"]
    status = protoc.main([*arguments, str(IDL / f"{stem}.proto")])
    assert status == 0
    if folder not in sys.path:
        sys.path.insert(0, folder)
    return importlib.import_module(f"{stem}_pb2"), importlib.import_module(f"{stem}_pb2_grpc")


@functools.cache
def generated_folder() -> str:
    """Give the folder in which the modules are."""
    folder = tempfile.TemporaryDirectory(prefix="sparts-grpc-")
    atexit.register(folder.cleanup)
    return folder.name
