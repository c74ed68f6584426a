"""Type checkers know every public name of the distributions, whichever they are."""

from __future__ import annotations

import pytest

from scripts.verify_types import ROOT, problems, verify


@pytest.mark.one_python
@pytest.mark.needs_module("gi")
@pytest.mark.timeout(300)
def test_pyright_knows_all_public_types() -> None:
    found = verify()
    assert problems(found) == []
    assert found["exportedSymbolCounts"]["withKnownType"] > 5000


def test_every_package_of_ours_is_marked_as_typed() -> None:
    packages = [path for source in ROOT.glob("sparts-*/src/sparts") for path in source.rglob("*")]
    roots = {
        path
        for path in packages
        if (path / "__init__.py").is_file() and not (path.parent / "__init__.py").is_file()
    }
    core = ROOT / "sparts-core" / "src" / "sparts"
    assert len(roots) > 10
    assert [
        path for path in roots if core not in path.parents and not (path / "py.typed").is_file()
    ] == []
    assert (core / "py.typed").is_file()
