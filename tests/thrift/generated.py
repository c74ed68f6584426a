"""Code that Debian's thrift compiler makes in the session of the tests, in a folder of its own."""

from __future__ import annotations

import functools
import importlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType

import pytest

from tests.needs import require

IDL = Path(__file__).parent / "idl"


@functools.cache
def generated(stem: str) -> ModuleType:
    """Give the package that the compiler makes of ``idl/STEM.thrift``, importing its modules.

    Without the compiler it skips the module of tests that is being imported.
    """
    try:
        require(["thrift-compiler"])
    except pytest.skip.Exception as missing:
        pytest.skip(str(missing), allow_module_level=True)
    folder = _folder()
    source = str(IDL / f"{stem}.thrift")
    compiler = shutil.which("thrift") or "thrift"
    subprocess.run([compiler, "--gen", "py", "-r", "-out", folder.name, source], check=True)
    package = importlib.import_module(stem)
    for path in (Path(folder.name) / stem).glob("*.py"):
        if path.stem != "__init__":
            importlib.import_module(f"{stem}.{path.stem}")
    return package


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    folder = tempfile.TemporaryDirectory(prefix="sparts-thrift-")
    sys.path.insert(0, folder.name)
    return folder
