"""The code of the fb303 interface is what Debian's compiler makes of its IDL."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import sparts.thrift.fb303
from sparts.fb303 import FB303, FB303Status
from sparts.thrift.compiler import CompileContext
from sparts.thrift.fb303 import FacebookService, ttypes
from sparts.thrift.services import find_service

FOLDER = Path(sparts.thrift.fb303.__file__).parent


@pytest.mark.needs("thrift-compiler")
def test_the_committed_code_is_what_the_compiler_makes(tmp_path: Path) -> None:
    command = ["thrift", "--gen", "py", "-out", str(tmp_path), str(FOLDER / "fb303.thrift")]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    made = {path.name: path.read_text() for path in (tmp_path / "sparts/thrift/fb303").glob("*.py")}
    assert made == {path.name: path.read_text() for path in FOLDER.glob("*.py")}


# contrib/fb303/if/fb303.thrift of Apache Thrift: number and type of each parameter, then the result
STRING, I32, I64, MAP = 11, 8, 10, 13
WIRE = {
    "getName": ([], STRING),
    "getVersion": ([], STRING),
    "getStatus": ([], I32),
    "getStatusDetails": ([], STRING),
    "getCounters": ([], MAP),
    "getCounter": ([(1, STRING, "key")], I64),
    "setOption": ([(1, STRING, "key"), (2, STRING, "value")], None),
    "getOption": ([(1, STRING, "key")], STRING),
    "getOptions": ([], MAP),
    "getCpuProfile": ([(1, I32, "profileDurationInSec")], STRING),
    "aliveSince": ([], I64),
    "reinitialize": ([], "oneway"),
    "shutdown": ([], "oneway"),
}


@pytest.mark.parametrize("name", WIRE)
def test_method_is_on_wire_what_it_always_was(name: str) -> None:
    parameters, returns = WIRE[name]
    spec = getattr(FacebookService, f"{name}_args").thrift_spec or ()
    assert [field[:3] for field in spec if field] == parameters
    result: Any = getattr(FacebookService, f"{name}_result", None)
    if returns == "oneway":
        assert result is None
    else:
        types = [field[1] for field in result.thrift_spec or () if field]
        assert types == ([] if returns is None else [returns])


def test_statuses_have_numbers_that_service_gives() -> None:
    numbers = {status.name: int(status) for status in FB303Status}
    assert numbers == ttypes.fb_status._NAMES_TO_VALUES


def test_every_method_of_the_interface_has_its_facts() -> None:
    methods = find_service(FacebookService).methods
    assert all(callable(getattr(FB303, name)) for name in methods)
    facts = {name for name in vars(FB303) if not name.startswith("_")}
    assert facts == set(methods)


@pytest.mark.needs("thrift-compiler")
@pytest.mark.parametrize("compiler", ["thrift", "thriftpy2"])
def test_extending_interface_compiles(compiler: str) -> None:
    text = 'include "fb303.thrift"\nservice Calculator extends fb303.FacebookService { void f() }'
    module = CompileContext(compiler=compiler).importThriftStr(text)
    assert set(WIRE) < set(find_service(module).methods)
    assert module.fb303.fb_status.ALIVE == 2
