"""The checker of our language finds what it refuses, and lets everything else be."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts import check_words
from scripts.check_words import average, check, prose_of_page, wrong_words


@pytest.mark.parametrize(
    ("path", "text", "lines"),
    [
        ("docs/a.md", "Fine.\n\nIt shall run.\n", [3]),
        ("docs/a.md", "```python\nshall = 1\n```\nThe option `shall` is fine, anew is not.\n", [4]),
        ("docs/a.md", "[A page](whoever.md) of ours\n", []),
        ("changes/+a.feature.md", "Whoever asks.\n", [1]),
        ("a.py", "def shall() -> None:\n    pass\n", []),
        ("a.py", '"""Run it for ever."""\n\nx = 1  # anew\n', [1, 3]),
        ("a.py", 'x = """\n\nexpected a text\n"""\n', [3]),
        ("Makefile", "lock: ## Choose versions anew\n", [1]),
        ("a.py", "# marshall, anewly, skin, talking\n", []),
        ("docs/a.md", "Fine.\nThe caller is told.\n\nIt waits in vain, upon nothing.\n", [2, 4, 4]),
        ("a.py", "# what a caller is told\n", [1]),
    ],
)
def test_wrong_words_are_found_where_people_read(path: str, text: str, lines: list[int]) -> None:
    assert [found.line for found in wrong_words(path, text)] == lines


def test_a_finding_says_where_and_what_instead() -> None:
    (found,) = wrong_words("docs/a.md", "\nIt starts anew.\n")
    assert str(found) == "docs/a.md:2: 'anew' is refused: write again"


def test_average_sentences_leave_out_code_and_headings() -> None:
    page = "# Title\n\nOne two three four. Five six\nseven `eight` nine ten?\n"
    page += "\n```\na b c d e f\n```\n\n::: sparts.a.b\n"
    assert average(prose_of_page(page)) == 5


def repository(folder: Path, monkeypatch: pytest.MonkeyPatch, **files: str) -> list[str]:
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    monkeypatch.setattr(check_words, "ROOT", folder)
    return [name.replace("__", "/") for name in files]


def test_a_page_of_long_sentences_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = {"docs__a.md": "word " * 26 + ".\n", "docs__b.md": "word " * 25 + ".\n"}
    files = repository(tmp_path, monkeypatch, **texts)
    assert [found.path for found in check(files)] == ["docs/a.md"]


def test_more_long_test_names_than_before_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "_".join("abcdefghi")
    texts = {"tests__core__test_a.py": f"def test_{name}(): pass\n"}
    files = repository(tmp_path, monkeypatch, **texts)
    monkeypatch.setattr(check_words, "LONG_NAMES", {"tests/core": 1})
    assert check(files) == []
    monkeypatch.setattr(check_words, "LONG_NAMES", {})
    (found,) = check(files)
    assert found.path == "tests/core"
