"""Interface files to modules at run time, by Debian's compiler and by thriftpy2's parser."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sparts.errors import UsageError
from sparts.thrift.compiler import CompileContext, CompileError
from sparts.thrift.services import find_service

pytestmark = pytest.mark.needs("thrift-compiler")
BACKENDS = ["thrift", "thriftpy2"]

SHARED = """
namespace py acme.shared
struct Point { 1: i32 x, 2: i32 y = 7 }
exception Wrong { 1: string why }
enum Color { RED = 1, BLUE = 4 }
service Base { string ping() }
"""
MAIN = """
include "shared.thrift"
const i32 LIMIT = 3
const shared.Point ORIGIN = {"x": 0, "y": 0}
struct Line { 1: shared.Point a, 2: shared.Point b, 3: optional shared.Color color }
union Either { 1: i32 number, 2: string word }
service Drawing extends shared.Base {
  list<Line> lines(1: i32 most, 2: string name) throws (1: shared.Wrong wrong)
  oneway void clear(1: shared.Point where)
}
service Sketch extends Drawing { void rub() }
"""


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shared.thrift").write_text(SHARED)
    (tmp_path / "main.thrift").write_text(MAIN)
    return tmp_path


@pytest.fixture(autouse=True)
def nothing_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hold after every test that compiling left nothing behind."""
    import thriftpy2.parser.parser

    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    cache = thriftpy2.parser.parser._thrift_cache
    before = (set(sys.modules), list(sys.path), dict(cache), os.getcwd())
    yield
    left = {name for name in set(sys.modules) - before[0] if not name.startswith("thriftpy2")}
    assert not {name for name in left if re.match("acme|main|shared|text|a$|b$", name)}
    assert (list(sys.path), dict(cache), os.getcwd()) == before[1:]
    assert list(scratch.iterdir()) == []


def test_file_becomes_module_of_what_it_defines(folder: Path, backend: str) -> None:
    module = CompileContext(compiler=backend).importThrift(folder / "main.thrift")
    assert module.__name__ == "main"
    assert module.__file__ == str(folder / "main.thrift")
    assert module.LIMIT == 3
    assert (module.ORIGIN.x, module.ORIGIN.y) == (0, 0)
    line = module.Line(a=module.shared.Point(x=1), color=module.shared.Color.BLUE)
    assert (line.a.x, line.a.y, line.b, line.color) == (1, 7, None, 4)
    assert module.Either(word="x").word == "x"
    assert issubclass(module.shared.Wrong, Exception)
    drawing = find_service(module, "Drawing")
    assert set(drawing.methods) == {"ping", "lines", "clear"}
    assert drawing.methods["lines"].parameters == ("most", "name")
    assert [name for name, method in drawing.methods.items() if method.oneway] == ["clear"]
    assert set(find_service(module, "Sketch").methods) == {"ping", "lines", "clear", "rub"}


def test_one_of_several_services_has_to_be_named(folder: Path, backend: str) -> None:
    module = CompileContext(compiler=backend).importThrift(folder / "main.thrift")
    with pytest.raises(UsageError, match=r"main has several services: Drawing, Sketch\. Name one"):
        find_service(module)
    with pytest.raises(UsageError, match=r"main has no service 'Paint'\. It has: Drawing, Sketch"):
        find_service(module, "Paint")
    assert find_service(module.shared).name == "Base"
    assert find_service(module.Drawing).name == "Drawing"


def test_a_text_becomes_a_module_and_includes_texts(backend: str) -> None:
    context = CompileContext(compiler=backend)
    context.addDependentFileContents("shared.thrift", SHARED)
    module = context.importThriftStr(MAIN, name="drawing.thrift")
    assert module.__name__ == "drawing"
    assert module.Line(a=module.shared.Point(x=1)).a.y == 7
    with pytest.raises(CompileError, match=r"shared\.thrift: It was included already"):
        context.addDependentFileContents("shared.thrift", "")


def test_what_two_files_include_is_one_module(folder: Path, backend: str) -> None:
    (folder / "deep").mkdir()
    (folder / "deep" / "other.thrift").write_text('include "../shared.thrift"\nstruct O {}')
    top = 'include "main.thrift"\ninclude "deep/other.thrift"\ninclude "shared.thrift"\n'
    (folder / "top.thrift").write_text(top + "struct T { 1: main.Line a, 2: shared.Point p }")
    context = CompileContext(compiler=backend)
    main = context.importThrift(folder / "main.thrift")
    module = context.importThrift(folder / "top.thrift")
    assert module.main is main
    assert module.shared is main.shared is module.other.shared
    assert module.shared is context.importThrift(folder / "deep" / ".." / "shared.thrift")
    assert context.importThrift(folder / "main.thrift") is main
    again = CompileContext(compiler=backend).importThrift(folder / "main.thrift")
    assert again.Line is not main.Line


def test_files_of_one_name_do_not_meet(tmp_path: Path, backend: str) -> None:
    for name, fields in (("a", "1: i32 x"), ("b", "1: string y")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "types.thrift").write_text(f"struct T {{ {fields} }}")
        text = f'include "types.thrift"\nstruct {name.upper()} {{ 1: types.T t }}'
        (tmp_path / name / f"use_{name}.thrift").write_text(text)
    text = 'include "a/use_a.thrift"\ninclude "b/use_b.thrift"\n'
    text += "struct X { 1: use_a.A a, 2: use_b.B b }"
    (tmp_path / "x.thrift").write_text(text)
    module = CompileContext(compiler=backend).importThrift(tmp_path / "x.thrift")
    assert module.use_a.types.T(x=1).x == 1
    assert module.use_b.types.T(y="z").y == "z"


def test_files_of_one_namespace_do_not_meet(backend: str) -> None:
    context = CompileContext(compiler=backend)
    context.addDependentFileContents("base.thrift", "namespace py acme\nstruct S { 1: i32 x }")
    text = 'namespace py acme\ninclude "base.thrift"\nstruct T { 1: base.S s }\nservice V {T f()}'
    module = context.importThriftStr(text)
    assert module.T(s=module.base.S(x=3)).s.x == 3
    assert find_service(module).name == "V"


def test_files_are_found_by_the_include_path(folder: Path, tmp_path: Path, backend: str) -> None:
    context = CompileContext([tmp_path / "nowhere", str(folder)], compiler=backend)
    assert context.importThriftStr(MAIN).shared.__file__ == str(folder / "shared.thrift")


def test_what_only_looks_like_an_include_is_none(backend: str) -> None:
    text = """
    // include "a.thrift"
    # include "b.thrift"
    /* include "c.thrift"
     */
    const string TEXT = 'include "d.thrift"'
    """
    module = CompileContext(compiler=backend).importThriftStr(text)
    assert module.TEXT == 'include "d.thrift"'


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("struct P {\n 1: i32 x )\n}", 2, r"'\)'"),
        ("\n\nstruct P { 1: Foo x }", 3, "Foo"),
        ("\nstruct P { 1: i32 x\n 1: i32 y }", 3, "1: ?y"),
        ("\nservice S extends T {}", 2, "T"),
        ("struct P {\n 1: i32 from }", 2, "reserved language keyword: .from"),
        ("struct P {\n 1: i32 self }", 2, "self"),
        ("struct P { 1: i32 x", None, "[Gg]rammar error at EOF|syntax error"),
        ("\n$", 2, r"\$"),
    ],
)
def test_error_names_file_and_line_in_compilers_words(
    text: str, line: int | None, words: str, backend: str
) -> None:
    with pytest.raises(CompileError, match=words) as caught:
        CompileContext(compiler=backend).importThriftStr(text, name="wrong.thrift")
    assert str(caught.value).startswith("wrong.thrift")
    assert caught.value.file == "wrong.thrift"
    if line is not None:
        assert f"wrong.thrift, line {line}: " in str(caught.value)
        assert caught.value.line == line
    assert tempfile.gettempdir() not in str(caught.value)


def test_an_error_in_an_included_file_names_that(folder: Path, backend: str) -> None:
    (folder / "shared.thrift").write_text("struct Point {\n  1: i32 x\n  2: }\n")
    with pytest.raises(CompileError) as caught:
        CompileContext(compiler=backend).importThrift(folder / "main.thrift")
    assert str(caught.value).startswith(f"{folder / 'shared.thrift'}, line 3: ")


def test_a_name_that_python_has_taken_is_told() -> None:
    with pytest.raises(CompileError, match=r"text\.thrift, line 2: 'await' cannot be a name in P"):
        CompileContext(compiler="thrift").importThriftStr("struct P {\n 1: i32 await }")


def test_file_with_an_impossible_name_is_reported() -> None:
    text = "service S { void f() }\nservice T extends S {}"
    with pytest.raises(
        CompileError, match="'my-types' cannot be the name of a module in Python: w"
    ):
        CompileContext(compiler="thrift").importThriftStr(text, name="my-types.thrift")
    CompileContext(compiler="thrift").importThriftStr(f"namespace py my\n{text}", "my-types.thrift")


def test_files_that_cannot_be_read_are_told(tmp_path: Path, backend: str) -> None:
    context = CompileContext(["/somewhere"], compiler=backend)
    with pytest.raises(CompileError, match=r"none\.thrift: It cannot be read: No such file"):
        context.importThrift(tmp_path / "none.thrift")
    with pytest.raises(CompileError, match=r"It cannot be read: Is a directory"):
        context.importThrift(tmp_path)
    (tmp_path / "latin.thrift").write_bytes(b"// \xe9\n")
    with pytest.raises(CompileError, match=r"latin\.thrift: It is not UTF-8"):
        context.importThrift(tmp_path / "latin.thrift")
    with pytest.raises(CompileError, match=r"line 2: No file 'none.thrift' to include.*/somewhere"):
        context.importThriftStr('\ninclude "none.thrift"')


def test_files_that_include_each_other_are_told(tmp_path: Path, backend: str) -> None:
    (tmp_path / "a.thrift").write_text('include "b.thrift"')
    (tmp_path / "b.thrift").write_text('include "a.thrift"')
    with pytest.raises(CompileError, match=r"a\.thrift includes b\.thrift includes a\.thrift"):
        CompileContext(compiler=backend).importThrift(tmp_path / "a.thrift")
    context = CompileContext(compiler=backend)
    context.addDependentFileContents("a.thrift", 'include "a.thrift"')
    with pytest.raises(CompileError, match="circle"):
        context.importThriftStr('include "a.thrift"')


def test_threads_compile_side_by_side(folder: Path, backend: str) -> None:
    shared, start = CompileContext(compiler=backend), threading.Barrier(4)

    def work(number: int) -> object:
        start.wait(30)
        own = CompileContext(compiler=backend).importThrift(folder / "main.thrift")
        assert own.Line(a=own.shared.Point(x=number)).a.x == number
        return shared.importThrift(folder / "main.thrift")

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(work, range(4)))) == 1


def test_thriftpy2_parses_where_there_is_no_compiler(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(folder))
    module = CompileContext().importThrift(folder / "main.thrift")
    assert find_service(module, "Drawing").by_thriftpy2


def test_without_compiler_and_parser_both_remedies_are_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setitem(sys.modules, "thriftpy2.parser", None)
    with pytest.raises(CompileError) as caught:
        CompileContext().importThrift(folder / "main.thrift")
    assert "apt install thrift-compiler" in str(caught.value)
    assert "pip install 'sparts-thrift[thriftpy2]'" in str(caught.value)


def test_a_compiler_that_is_none_is_told(folder: Path) -> None:
    with pytest.raises(CompileError, match="No program '/no/thrift' was found"):
        CompileContext(compiler="/no/thrift").importThrift(folder / "main.thrift")
    silent = folder / "silent"
    silent.touch(0o755)
    for text, why in (
        ("#!/bin/sh\nexit 3\n", "silent ended with status 3, and said nothing"),
        ("no program\n", "cannot be run"),
    ):
        silent.write_text(text)
        with pytest.raises(CompileError, match=why):
            CompileContext(compiler=str(silent)).importThrift(folder / "main.thrift")
