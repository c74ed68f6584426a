"""`sparts new service NAME --thrift FILE`: whole projects, whose tests, style and types hold."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from sparts import entry_points
from sparts.dev.new import main
from sparts.errors import UsageError
from sparts.thrift.scaffold import write_thrift_service

from tests.ecosystem.conftest import Environment
from tests.ecosystem.test_scaffolds import check_project, check_style, projects_of

pytestmark = pytest.mark.timeout(300)  # it builds and checks whole projects

SHARED = """
/** Said once. */
struct Point { 1: required i32 x, 2: optional Point below }
exception Wrong { 1: string why }
service Base {
  /** Says that it is there. */
  string ping()
}
"""
BOTH = """
include "common/shared.thrift"

enum Op { ADD = 1 }
exception DivisionByZero { 1: string why }

service Sums extends shared.Base {
  /**
   * Adds "two" numbers \\d, and says so at length: this is a comment longer than a line of
   * code may be \u2013 and with a dash that ruff takes for another, and its end is a quote."
   */
  i64 add(1: i64 a, 2: i64 l)
  double divide(1: double a, 2: double b) throws (1: DivisionByZero wrong, 2: shared.Wrong other)
  oneway void forget()
  map<string, list<shared.Point>> much(1: shared.Point a_parameter_with_a_long_name,
      2: set<binary> another_parameter_with_a_long_name, 3: Op op)
  void stop(1: bool now)
}

service Other { bool start() void join() }
"""
STATUS = """
include "fb303.thrift"
service Status extends fb303.FacebookService { i32 more() void join() }
"""
FILES = {"both": BOTH, "status": STATUS}


def write_interfaces(folder: Path) -> None:
    (folder / "common").mkdir()
    (folder / "common" / "shared.thrift").write_text(SHARED, encoding="utf-8")
    for name, text in FILES.items():
        (folder / f"{name}.thrift").write_text(text, encoding="utf-8")


@pytest.fixture(scope="session")
def projects(tmp_path_factory: pytest.TempPathFactory, wheels: dict[str, Path]) -> Environment:
    """Give an environment with a project for each interface."""
    commands = {f"acme-{name}": ("service", "--thrift", f"{name}.thrift") for name in FILES}
    return projects_of(
        tmp_path_factory,
        "thrift-scaffolds",
        wheels,
        [f"{wheels['sparts-thrift']}[thriftpy2]"],
        commands,
        write_interfaces,
    )


@pytest.mark.parametrize("name", FILES)
def test_new_service_passes_its_checks_at_once(name: str, projects: Environment) -> None:
    check_project(f"acme-{name}", projects)


def test_it_has_every_method_with_its_types(projects: Environment) -> None:
    text = (projects.work / "acme-both/src/acme_both/tasks.py").read_text("utf-8")
    assert "class SumsTask(ThriftHandlerTask):" in text
    assert "    def ping(self) -> str:\n" in text
    assert '"""Says that it is there.' in text
    assert "    def add(self, a: int, l: int) -> int:\n" in text
    assert "    def forget(self) -> None:\n" in text
    assert "    def on_stop(self, now: bool) -> None:\n" in text
    assert "    ) -> dict[str, list[Any]]:\n" in text
    assert "            another_parameter_with_a_long_name: set<binary>\n" in text
    assert "        Raises:\n            interface.DivisionByZero\n            Wrong\n" in text
    status = (projects.work / "acme-status/src/acme_status/tasks.py").read_text("utf-8")
    assert "class StatusTask(FB303HandlerTask):" in status
    assert re.findall(r"def (\w+)\(", status) == ["implementation", "more", "on_join"]


@pytest.mark.parametrize("interface", FILES)
def test_the_style_holds_for_the_longest_name(interface: str, tmp_path: Path) -> None:
    write_interfaces(tmp_path)
    for name in ("z", "a" * 30):
        check_style(write_thrift_service(name, tmp_path / f"{interface}.thrift", tmp_path))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("struct S {}", r"x\.thrift has no service to write a skeleton of"),
        ("service S { Nope f() }", r"x\.thrift, line 1: No type found: 'Nope'"),
        ('include "none.thrift"', r"x\.thrift, line 1: No file 'none\.thrift' to include"),
    ],
)
def test_invalid_interface_writes_nothing(text: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "x.thrift").write_text(text)
    with pytest.raises(UsageError, match=why):
        main(["service", "acme", "--thrift", str(tmp_path / "x.thrift"), "--in", str(tmp_path)])
    assert [path.name for path in tmp_path.iterdir()] == ["x.thrift"]


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="It cannot be read: No such file"):
        main(["service", "acme", "--thrift", str(tmp_path / "none"), "--in", str(tmp_path)])


def test_without_plugin_option_says_what_it_comes_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entry_points, "installed", list)
    with pytest.raises(UsageError, match="No option '--thrift'. It comes with sparts-thrift: pip"):
        main(["service", "acme", "--thrift", "x.thrift", "--in", str(tmp_path)])
    with pytest.raises(UsageError, match="'--other' means nothing here"):
        main(["service", "acme", "--other=x", "--in", str(tmp_path)])
