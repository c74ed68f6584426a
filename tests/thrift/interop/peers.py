"""Starts the peers, and calls everything that they serve."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.processes import clean_environment

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[2]
IDL = FOLDER / "interop.thrift"
UNICODE = "Grüße, 世界 🌍 \x00 end"


def generate(folder: Path) -> Path:
    """Have Debian's compiler generate the interface into `folder`."""
    command = ["thrift", "-r", "--gen", "py", "-out", str(folder), str(IDL)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return folder


@contextmanager
def peer(script: str, *arguments: str) -> Iterator[str]:
    """Run a server of these; give its port (or path) when it listens."""
    command = [sys.executable, "-m", f"tests.thrift.interop.{script}", *arguments]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=clean_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            line = process.stdout.readline().strip()
            assert line, f"{command} ended before it listened"
            yield line
        finally:
            process.stdin.close()
            process.wait()


def everything(types: Any, **changes: Any) -> Any:
    """Make a struct with a value in every field."""
    values = {
        "flag": True,
        "tiny": -(2**7),
        "small": 2**15 - 1,
        "middle": -(2**31),
        "large": 2**63 - 1,
        "real": -1.5e-300,
        "text": UNICODE,
        "bytes": bytes(range(256)),
        "color": types.included.Color.BLUE,
        "numbers": [-(2**63), -1, 0, 1, 2**63 - 1],
        "words": {"", "a", "ü"},
        "table": {"x": [0.0, 1e300], "empty": []},
    }
    return types.Everything(**(values | changes))


def calls(types: Any, infinite: bool = True) -> list[tuple[str, Any]]:
    """List the methods that give back what they get, with values at the edges.

    Apache's JSON protocol for Python cannot write `infinite` numbers.
    """
    one = everything(types)
    deep = types.Deep(
        items=[one, everything(types, text="", numbers=[], words=set(), table={}, bytes=b"")],
        choices={-1: {"n": types.Choice(number=-(2**63)), "w": types.Choice(word=UNICODE)}},
        nest=[[{1, -(2**15)}, set()], []],
    )
    return [
        *[("echoBool", value) for value in (True, False)],
        *[("echoByte", value) for value in (-(2**7), 0, 2**7 - 1)],
        *[("echoI16", value) for value in (-(2**15), 0, 2**15 - 1)],
        *[("echoI32", value) for value in (-(2**31), 0, 2**31 - 1)],
        *[("echoI64", value) for value in (-(2**63), -1, 0, 1, 2**53 + 1, 2**63 - 1)],
        *[("echoDouble", value) for value in (0.0, -0.1, 5e-324, 1.7e308)],
        *[("echoDouble", value) for value in (math.inf, -math.inf) if infinite],
        *[("echoString", value) for value in ("", UNICODE, "x" * 100_000)],
        *[("echoBinary", value) for value in (b"", bytes(range(256)), b"\xff" * 100_000)],
        ("echoColor", types.included.Color.RED),
        *[("echoList", value) for value in ([], [1], list(range(-500, 500)))],
        *[("echoSet", value) for value in (set(), {"a", UNICODE})],
        *[("echoMap", value) for value in ({}, {"": -(2**63), UNICODE: 2**63 - 1})],
        ("echoEverything", one),
        ("echoDeep", deep),
        *[
            ("echoChoice", value)
            for value in (
                types.Choice(number=0),
                types.Choice(word=""),
                types.Choice(all=everything(types, words=None, table=None)),
            )
        ],
    ]


def same(expected: Any, got: Any) -> bool:
    """Tell whether a value came back; thriftpy2 makes a list of what is a set on the wire."""
    if isinstance(expected, set):
        return len(got) == len(expected) and set(got) == expected
    if isinstance(expected, list):
        return len(got) == len(expected) and all(map(same, expected, got))
    if isinstance(expected, dict):
        return got.keys() == expected.keys() and all(same(expected[key], got[key]) for key in got)
    if hasattr(expected, "thrift_spec"):
        return type(got) is type(expected) and same(vars(expected), vars(got))
    return type(got) is type(expected) and bool(got == expected)


def exercise(
    call: Callable[..., Any], types: Any, failure: type[Exception], infinite: bool = True
) -> None:
    """Make every call by ``call(name, *arguments)``, and hold it against what must come back.

    Args:
        call: makes one call.
        types: the interface's module.
        failure: what is raised for an exception that is not declared.
        infinite: whether the protocol has infinite numbers.
    """
    for name, value in calls(types, infinite):
        answer = call(name, value)
        assert same(value, answer), f"{name}: {value!r} came back as {answer!r}"
    assert call("join", "a", "b") == "a|b"
    assert call("nothing") is None
    assert call("fail", "") is None
    assert call("failText", "") == "well"
    for name in ("fail", "failText"):
        with pytest.raises(types.included.Declared) as declared:
            call(name, "declared")
        assert (declared.value.why, declared.value.code) == ("it was asked for", 7)
    with pytest.raises(types.Other) as other:
        call("fail", "other")
    assert other.value.color == 4
    with pytest.raises(failure) as failed:
        call("fail", "secret details")
    assert "secret" not in str(failed.value)
    for text in ("first", UNICODE):
        assert call("note", text) is None
        assert call("noted") == text
