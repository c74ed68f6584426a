"""Find hook plugins once, by one of the contenders, and print the time: `find.py CONTENDER`.

The time, in seconds, runs from the interpreter's readiness to the end of the search, imports of
what searches included: that is what a process pays. `-scan` leaves the imports out.
"""

import importlib
import sys
import time


def find_by_sparts() -> None:
    """Find as a service does."""
    from sparts import plugins

    assert plugins.load_hooks().broken == []


def find_by_pluggy() -> None:
    """Find by pluggy's own loader."""
    import pluggy

    assert pluggy.PluginManager("sparts").load_setuptools_entrypoints("sparts.plugins") == 0


def find_by_stevedore() -> None:
    """Find by stevedore, with its cache of entry points as it comes."""
    from stevedore import ExtensionManager

    assert ExtensionManager("sparts.plugins").names() == []


if __name__ == "__main__":
    name, _, imported = sys.argv[1].partition("-")
    if imported:
        for module in ("importlib.metadata", "pluggy", "sparts.plugins", "stevedore"):
            importlib.import_module(module)
    find = {
        "sparts": find_by_sparts,
        "pluggy": find_by_pluggy,
        "stevedore": find_by_stevedore,
    }[name]
    began = time.perf_counter()
    find()
    print(time.perf_counter() - began)
