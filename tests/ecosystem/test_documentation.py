"""Every example in the README files and in docs/ works, and every link leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from sparts.entry_points import MODULES, known_providers

from scripts.build_distributions import ROOT
from tests.ecosystem.documentation import (
    TUTORIAL,
    Block,
    find_blocks,
    find_links,
    find_pages,
    run_block,
    write_files,
)

PAGES = find_pages()
CURL = pytest.mark.needs("curl")
BRINGING = {"sparts-rpc": ("[rpc]", "sparts-amqp")}
"""Other words of an install line that bring a distribution."""


def collect_blocks() -> list[object]:
    """Collect the blocks of all pages, marked with the system packages that they need."""
    collected: list[object] = []
    for page in PAGES:
        if page.parent == TUTORIAL:
            continue
        for block in find_blocks(page, page.read_text(encoding="utf-8")):
            marks = [CURL] if "$ curl" in block.code else []
            name = f"{page.relative_to(ROOT)}:{block.line}"
            collected.append(pytest.param(block, id=name, marks=marks))
    return collected


@pytest.mark.parametrize("block", collect_blocks())
def test_the_example_works(block: Block, tmp_path: Path) -> None:
    write_files(block.page, tmp_path)
    run_block(block, tmp_path)


def test_examples_start_their_service_as_main_alone() -> None:
    shown = {
        str(block): block.code
        for page in PAGES
        for block in find_blocks(page, page.read_text(encoding="utf-8"))
    }
    written = [*ROOT.glob("examples/**/*.py"), *ROOT.glob("sparts-*/src/**/*.in")]
    shown |= {str(path): path.read_text(encoding="utf-8") for path in written}
    bare = re.compile(r"^\w+\.initFromCLI\(", re.MULTILINE)
    assert [place for place, code in shown.items() if bare.search(code)] == []


def test_commands_are_shown_in_console_blocks() -> None:
    """Those in text blocks of two pages are run by tests/core/test_option_pages.py."""
    shown = {
        block.page.name
        for page in PAGES
        for block in find_blocks(page, page.read_text(encoding="utf-8"))
        if block.kind == "text" and block.code.startswith("$ ")
    }
    assert shown <= {"configure.md", "secrets.md"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file(page: Path) -> None:
    links = find_links(page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_page_names_what_its_examples_import(page: Path) -> None:
    text, known = page.read_text(encoding="utf-8"), known_providers(MODULES)
    code = "\n".join(block.code for block in find_blocks(page, text))
    for name in re.findall(r"^ *(?:from|import) (sparts\.[\w.]+)", code, re.MULTILINE):
        parts = name.split(".")
        package = ".".join(parts[: 3 if parts[1] == "tasks" else 2])
        if needed := known.get(package):
            assert any(each in text for each in (needed, *BRINGING.get(needed, ()))), name


NO_MODULES = {"sparts.commands", "sparts.task", "sparts.kind", "sparts.NAME"}
"""What has a dot in its name too: a group of entry points, and what telemetry calls things."""


def test_modules_that_prose_names_exist() -> None:
    pages = [*PAGES, *ROOT.glob("changes/*.md"), *ROOT.glob("sparts-*/src/**/*.py")]
    stale = [
        f"{page.relative_to(ROOT)}: {name}"
        for page in pages
        if page.name != "from-sparts-0.7.md"
        for name in re.findall(r"`~?(sparts(?:\.\w+)+)`", page.read_text(encoding="utf-8"))
        if name not in NO_MODULES and not exists(name.split("."))
    ]
    assert stale == []


def exists(parts: list[str]) -> bool:
    """Whether this is a module, or a word in one."""
    for size in range(len(parts), 1, -1):
        for form in ("{}.py", "{}/__init__.py"):
            for path in ROOT.glob("sparts-*/src/" + form.format("/".join(parts[:size]))):
                rest = parts[size : size + 1]
                return all(re.search(rf"\b{each}\b", path.read_text()) for each in rest)
    return "/".join(parts) == "sparts/tasks"


def test_first_readme_has_blocks_of_every_kind() -> None:
    readme = ROOT / "README.md"
    kinds = [block.kind for block in find_blocks(readme, readme.read_text(encoding="utf-8"))]
    assert kinds[0] == "python"
    assert kinds[1:3] == ["console", "console"]


SERVICE = "from sparts.vservice import VService\nVService.initFromCLI()\n"


@pytest.mark.parametrize(
    ("info", "code"),
    [
        ("", "make test\n"),
        ("bash", "make test\n"),
        ("python", "raise SystemExit(3)\n"),
        ("python", "initFromCLI = print\ninitFromCLI('never starts')\n"),
        ("python fails=2", "print('well')\n"),
        ("python whatever=1", "print('well')\n"),
        ("python", f"import atexit, os\natexit.register(os._exit, 9)\n{SERVICE}"),
        ("python pytest", "def test_it():\n    assert False\n"),
        ("python pytest", "print('no test at all')\n"),
        ("mermaid", "graph TD\n"),
        ("console status=2", "$ python -V\n"),
        ("console", "$ python -V\nPython 2.7\n"),
        ("console", "$ python -c 'print(1); print(2)'\n2\n1\n"),
        ("console", "$ make no-such-target\n"),
        ("console", "$ rm -rf somewhere\n"),
        ("console", "$ pip install no-such-distribution\n"),
        ("console", "$ python missing.py\n"),
        pytest.param("console", f"$ curl file://{__file__}\nGood bye\n", marks=CURL),
        ("console", "output of nothing\n"),
    ],
)
def test_example_that_does_not_hold_is_found_out(info: str, code: str, tmp_path: Path) -> None:
    block = Block(ROOT / "README.md", 1, info, code)
    with pytest.raises(AssertionError):
        run_block(block, tmp_path)


CONFIGURED = """```python file=service.py
from sparts.options import option
from sparts.vservice import VService

class Service(VService):
    size = option(type=int, default=1)

Service.initFromCLI()
```
"""


@pytest.mark.parametrize("config", ["sise = 2\n", "size = 'large'\n", "# nothing\n"])
def test_refused_configuration_is_found_out(config: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(CONFIGURED, encoding="utf-8")
    write_files(page, tmp_path)
    with pytest.raises(AssertionError):
        run_block(Block(page, 9, "toml config=service.py", config), tmp_path)


@pytest.mark.parametrize(
    ("kind", "code"),
    [("ini", "Type=notify\n"), ("ini", "[Unit]\n[Unit]\n"), ("ini", "[Service]\nnothing\n"),
     ("toml", "a = = 1\n")],
)  # fmt: skip
def test_a_malformed_file_is_found_out(kind: str, code: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"(?i)section|pars|line 1"):
        run_block(Block(ROOT / "README.md", 1, kind, code), tmp_path)
