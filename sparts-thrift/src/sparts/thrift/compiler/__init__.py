"""Interface files to modules at run time: by the `thrift` compiler, or by thriftpy2's parser.

>>> context = CompileContext()
>>> calculator = context.importThrift("calculator.thrift")
>>> calculator.Point(x=1, y=2)
Point(x=1, y=2)

A module that `CompileContext` returns holds what its file defines: structs, enums, constants,
services, and under its name each file that it includes. It is in no cache of Python's, and no file
is left of it.
"""

from sparts.thrift.compiler.context import (
    CompileContext,
    compile,
    get_executable,
    require_executable,
)
from sparts.thrift.compiler.errors import CompileError

__all__ = ["CompileContext", "CompileError", "compile", "get_executable", "require_executable"]
