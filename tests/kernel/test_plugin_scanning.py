"""What is found of an odd installation: strange paths, extras, names with dashes, leftovers."""

from __future__ import annotations

import os
import sys
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from sparts import entry_points, plugins
from sparts.cli import doctor
from sparts.entry_points.scanning import scan
from sparts.testing.distributions import make_distribution

from tests.processes import captured, clean_environment

ROOT = Path(__file__).parents[2]
HOOKS = "from sparts.hookspecs import hookimpl\n\n@hookimpl\ndef sparts_service_change(): ...\n"


def entry(name: str, value: str = "") -> dict[str, dict[str, str]]:
    return {"sparts.tasks": {name: value or f"{name.lower()}_module:{name}"}}


def found(name: str) -> list[tuple[str, str, str]]:
    entries = entry_points.find(entry_points.TASKS)
    return [(e.value, e.distribution, e.version) for e in entries if e.name == name]


def rename(folder: Path, old: str, new: str) -> None:
    (folder / old).rename(folder / new)


# -- sys.path --------------------------------------------------------------------------------------


JUNK = "Path('/tmp'), b'/tmp', b'\\xff', None, 5, ['x'], object()"
SCRIPT = """
import sys
from pathlib import Path
sys.path[:] = [{junk}, *sys.argv[1:], *sys.path, {junk}]
from sparts.cli import main
for words in (["tasks"], ["doctor"], ["--version"], ["plugins"]):
    sys.argv = ["sparts", *words]
    assert main() == 0, words
from sparts import entry_points
assert entry_points.load_task("Job").__name__ == "Job"
from sparts_command import find_strays
assert find_strays() == []
"""


def test_what_is_no_text_on_path_is_ignored(tmp_path: Path) -> None:
    job = "from sparts.vtask import VTask\nclass Job(VTask): LOOPLESS = True"
    points = entry("Job")
    make_distribution(tmp_path, "acme-jobs", entry_points=points, modules={"job_module": job})
    command = [sys.executable, "-c", SCRIPT.format(junk=JUNK), str(tmp_path)]
    done = captured(command, cwd=ROOT, env=clean_environment(), timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "acme-jobs" in done.stdout


def test_path_with_a_null_byte_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    before = entry_points.installed()
    monkeypatch.setattr(sys, "path", [*sys.path, "a\0b"])
    assert entry_points.installed() == before
    assert entry_points.distribution("sparts-core") is not None


def test_first_distribution_hides_later_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_distribution(tmp_path / "old", "acme-jobs", "1.0", entry_points=entry("Job"))
    make_distribution(tmp_path / "new", "acme.jobs", "2.0", entry_points=entry("Job"))
    monkeypatch.syspath_prepend(tmp_path / "old")
    monkeypatch.syspath_prepend(tmp_path / "new")
    assert found("Job") == [("job_module:Job", "acme-jobs", "2.0")]


def test_zip_file_is_left_to_importlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_distribution(tmp_path / "f", "zipped-jobs", "1.1", entry_points=entry("Job"))
    with zipfile.ZipFile(tmp_path / "jobs.zip", "w") as archive:
        for path in folder.rglob("*"):
            archive.write(path, path.relative_to(folder))
    monkeypatch.syspath_prepend(tmp_path / "jobs.zip")
    assert found("Job") == [("job_module:Job", "zipped-jobs", "1.1")]


def test_foreign_finder_is_left_to_importlib(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_distribution(tmp_path, "hidden-jobs", "1.0", entry_points=entry("Job"))

    class Finder:
        @staticmethod
        def find_spec(*_: object) -> None:
            return None

        @staticmethod
        def find_distributions(context: Any = None) -> Any:
            return metadata.MetadataPathFinder.find_distributions(
                metadata.DistributionFinder.Context(path=[str(tmp_path)])
            )

    monkeypatch.setattr(sys, "meta_path", [Finder, *sys.meta_path])
    monkeypatch.setattr(entry_points, "_scanned", {})
    assert found("Job") == [("job_module:Job", "hidden-jobs", "1.0")]
    entry_points._scanned.clear()


def test_scan_agrees_with_importlib_metadata_on_this_environment() -> None:
    ours = {(e.name, e.value) for e in entry_points.find(entry_points.TASKS)}
    assert ours == {(e.name, e.value) for e in metadata.entry_points(group="sparts.tasks")}
    assert ("TornadoHTTPTask", "sparts.tasks.tornado:TornadoHTTPTask") in ours


@pytest.mark.parametrize(
    ("variable", "value", "left"),
    [
        ("SPARTS_DISABLE_PLUGINS", "acme-jobs", ["Other"]),
        ("SPARTS_DISABLE_PLUGINS", "Acme_Jobs", ["Other"]),
        ("SPARTS_DISABLE_PLUGINS", "Other", ["Job"]),
        ("SPARTS_LOAD_PLUGINS", "acme-jobs", ["Job"]),
        ("SPARTS_LOAD_PLUGINS", "", []),
    ],
)
def test_environment_blocks_by_distribution_or_name(
    variable: str, value: str, left: list[str], site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_distribution(site, "acme-jobs", entry_points=entry("Job"))
    make_distribution(site, "beta-jobs", entry_points=entry("Other"))
    monkeypatch.delenv("SPARTS_DISABLE_PLUGINS", raising=False)
    monkeypatch.setenv(variable, value)
    assert [name for name in ("Job", "Other") if found(name)] == left


def test_garbage_in_entry_points_is_passed_over(site: Path) -> None:
    texts = [b"\xff\xfe sparts.", b"[sparts.tasks\n=x\nJob", b"[sparts.tasks]\n#a=b"]
    for number, text in enumerate(texts):
        info = site / f"garbage{number}-1.0.dist-info"
        info.mkdir()
        (info / "entry_points.txt").write_bytes(text)
    assert found("#a") == found("Job") == []


# -- extras ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["acme_hooks [prom]", "acme_hooks[prom,yaml]", "acme_hooks"])
def test_hook_module_with_extras_is_loaded(
    value: str, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_distribution(
        site,
        "acme-hooks",
        entry_points={"sparts.plugins": {"metrics": value}},
        modules={"acme_hooks": HOOKS},
    )
    monkeypatch.delitem(sys.modules, "acme_hooks", raising=False)
    assert plugins.load_hooks().broken == []
    assert "acme_hooks" in sys.modules
    del sys.modules["acme_hooks"]


@pytest.mark.parametrize(
    ("target", "wanted"),
    [
        ("os.path:join", os.path.join),
        ("os.path : join [a]", os.path.join),
        ("os:path.join[a, b]", os.path.join),
        ("os [a]", os),
        ("os", os),
    ],
)
def test_every_form_of_an_entry_point_is_loaded(target: str, wanted: Any) -> None:
    assert entry_points.load_object(target) is wanted


# -- names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "version", "folder"),
    [
        ("my-plugin", "1.0", "my-plugin-1.0.dist-info"),
        ("my-plugin", "1.0.dev1", "My-Plugin-1.0.dev1.dist-info"),
        ("plugin-2", "1.0", "plugin-2-1.0.dist-info"),
        ("a-b-c", "2!1.0", "a-b-c-2!1.0.dist-info"),
        ("plain", "1.0", "plain-1.0.dist-info"),
        ("Acme_Jobs", "2.0", "Acme_Jobs-2.0.dist-info"),
    ],
)
def test_name_with_dashes_comes_from_the_metadata(
    name: str, version: str, folder: str, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    never = {"job_module": "raise SystemExit('a search imports nothing')"}
    make_distribution(site, name, version, entry_points=entry("Job"), modules=never)
    before = next(path.name for path in site.glob("*.dist-info"))
    rename(site, before, folder)
    normal = name.lower().replace("_", "-")
    assert found("Job") == [("job_module:Job", normal, version)]
    monkeypatch.setenv("SPARTS_DISABLE_PLUGINS", name)
    assert found("Job") == []


def test_egg_info_with_dashes_is_named_by_metadata(tmp_path: Path) -> None:
    for folder in ("my-plugin.egg-info", "other_plugin-1.0-py3.11.egg-info"):
        info = tmp_path / folder
        info.mkdir()
        name = folder.partition(".")[0].partition("-1")[0].replace("_", "-")
        (info / "PKG-INFO").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[sparts.tasks]\n{name} = module:Job\n")
    names = {
        e.name: (e.distribution, e.version) for e in scan([str(tmp_path)], (entry_points.TASKS,))
    }
    assert names == {"my-plugin": ("my-plugin", "1.0"), "other-plugin": ("other-plugin", "1.0")}


# -- leftovers -------------------------------------------------------------------------------------


@pytest.fixture
def leftovers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """What pip leaves where it was stopped, beside the whole distribution."""
    make_distribution(tmp_path, "acme-jobs", "1.0", entry_points=entry("Old"))
    rename(tmp_path, "acme_jobs-1.0.dist-info", "~cme_jobs-1.0.dist-info")
    make_distribution(tmp_path, "acme-jobs", "1.1", entry_points=entry("Old"))
    (tmp_path / "acme_jobs-1.1.dist-info" / "METADATA").unlink()
    make_distribution(tmp_path, "acme-jobs", "2.0", entry_points=entry("Job"))
    monkeypatch.syspath_prepend(tmp_path)
    return [tmp_path / "acme_jobs-1.1.dist-info", tmp_path / "~cme_jobs-1.0.dist-info"]


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.usefixtures("leftovers")
def test_leftover_is_ignored_and_hides_nothing(
    backwards: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    listdir = os.listdir

    def in_order(path: str) -> list[str]:
        return sorted(listdir(path), reverse=backwards)

    monkeypatch.setattr(os, "listdir", in_order)
    assert found("Job") == [("job_module:Job", "acme-jobs", "2.0")]
    assert found("Old") == []
    installed = entry_points.distribution("acme-jobs")
    assert installed is not None
    assert installed.version == "2.0"


def test_doctor_names_leftovers(leftovers: list[Path]) -> None:
    told = [finding for finding in doctor.examine() if "leftover" in finding.text]
    assert [finding.text.split(" is the")[0] for finding in told] == list(map(str, leftovers))
    assert not any(finding.wrong for finding in told)


def test_standard_library_is_not_searched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    looked: list[str] = []

    def listdir(path: str) -> list[str]:
        looked.append(path)
        return []

    monkeypatch.setattr(os, "listdir", listdir)
    assert list(scan([os.path.dirname(os.__file__), str(tmp_path)], ["sparts.tasks"])) == []
    assert looked == [str(tmp_path)]
