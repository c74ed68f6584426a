"""Finding hook plugins among 20 and among 300 installed distributions, none of which has any.

Against pluggy's `load_setuptools_entrypoints` and stevedore's `ExtensionManager` (its cache warm),
each in a fresh process whose path holds just these distributions.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from sparts.testing.distributions import make_distribution

from bench.harness import Report, interleave
from tests.processes import clean_environment

FEW, MANY = 20, 300
CONTENDERS = ("sparts", "pluggy", "stevedore")
SCRIPT = Path(__file__).with_name("discovery") / "find.py"


def make_site(folder: Path, count: int) -> Path:
    """Write `count` distributions as installers leave them, two of three with entry points."""
    for number in range(count):
        name = f"some-thing-{number}"
        points = {"console_scripts": {name: f"some_thing_{number}:main"}} if number % 3 else None
        requires = [f"some-thing-{other}>=1" for other in range(number % 7)]
        make_distribution(folder, name, entry_points=points, requires=requires)
        info = folder / f"some_thing_{number}-1.0.dist-info"
        lines = [f"some_thing_{number}/module_{each}.py,sha256=0,{each}" for each in range(40)]
        (info / "RECORD").write_text("\n".join(lines), encoding="utf-8")
        if points is None:
            (info / "entry_points.txt").unlink()
    return folder


def make_modules(folder: Path) -> Path:
    """Make what the contenders import importable, without the distributions around it."""
    folder.mkdir()
    for name in ("pluggy", "stevedore"):
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        (folder / name).symlink_to(Path(spec.origin).parent)
    (folder / "sparts").symlink_to(Path(__file__).parents[1] / "sparts-core" / "src" / "sparts")
    return folder


def find_once(contender: str, site: Path, modules: Path, cache: Path) -> float:
    """Find once in a process of its own, and give the seconds that it took."""
    environment = clean_environment(
        PYTHONPATH=f"{modules}:{site}", PYTHONNOUSERSITE="1", XDG_CACHE_HOME=str(cache)
    )
    command = [sys.executable, "-S", "-P", str(SCRIPT), contender]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout)


def measure(report: Report, folder: Path) -> None:
    """Compare the contenders at both numbers, with and without their imports."""
    modules = make_modules(folder / "modules")
    sites = {count: make_site(folder / str(count), count) for count in (FEW, MANY)}
    contenders = {
        (name, kind, count): partial(find_once, name + kind, site, modules, folder / "cache")
        for name in CONTENDERS
        for kind in ("", "-scan")
        for count, site in sites.items()
    }
    times = interleave({repr(key): find for key, find in contenders.items()}, rounds=15, warmup=2)
    found = {key: times[repr(key)] for key in contenders}
    for name in CONTENDERS:
        few, many = found[name, "-scan", FEW], found[name, "-scan", MANY]
        added = [(late - early) * 1e3 for early, late in zip(few, many, strict=True)]
        limit = 10.0 if name == "sparts" else None
        label = f"what {MANY} distributions add over {FEW}, {name}"
        report.value(label, added, unit="ms", at_most=limit)
    for peer in CONTENDERS[1:]:
        for kind, what in (("", "with imports"), ("-scan", "the scan alone")):
            for count in (FEW, MANY):
                label = f"finding among {count} distributions, {what}"
                report.ratio(
                    label, found["sparts", kind, count], found[peer, kind, count], peer=peer
                )


if __name__ == "__main__":
    with Report("discovery") as report, tempfile.TemporaryDirectory() as temporary:
        measure(report, Path(temporary))
