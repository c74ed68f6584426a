"""Make a release up to its upload: `make release RELEASE=1.2.0`.

It sets the version of all distributions, moves `changes/` into the changelog, builds wheels and
sdists into `dist/`, checks them, and installs them into clean environments in every combination
that users have. Nothing leaves this machine; what is left to do is printed. See docs/releasing.md.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from packaging.metadata import Metadata
from packaging.requirements import Requirement
from packaging.utils import parse_sdist_filename, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from scripts.build_distributions import find_projects
from scripts.build_distributions import main as build_all

ROOT = Path(__file__).resolve().parents[1]
VERSION_LINE = re.compile(r'(?m)^version = "([^"]+)"$')
COMBINATIONS: list[list[str]] = [
    ["sparts-core"],
    ["sparts-net"],
    ["sparts-tornado"],
    ["sparts-thrift"],
    ["sparts-thrift[tornado]"],
    ["sparts-twisted"],
    ["sparts-dbus"],
    ["sparts-asgi"],
    ["sparts-grpc"],
    ["sparts-amqp"],
    ["sparts-otel"],
    ["sparts-rpc"],
    ["sparts-dev"],
    [
        *("sparts-core", "sparts-net", "sparts-rpc", "sparts-tornado", "sparts-thrift"),
        *("sparts-twisted", "sparts-dbus", "sparts-asgi", "sparts-grpc", "sparts-amqp"),
        *("sparts-otel", "sparts-dev"),
    ],
]
"""What users install; what these need comes along."""


class ReleaseError(Exception):
    """The release cannot be made; the message says what to do."""


def run(*command: str, cwd: Path = ROOT) -> str:
    """Run a command and give its output; ReleaseError with its output if it fails."""
    done = subprocess.run(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        raise ReleaseError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


def check_version(text: str) -> Version:
    """Give the version, which must be the next one, and one that the plugins' ranges allow."""
    try:
        version = Version(text)
    except InvalidVersion:
        raise ReleaseError(f"{text!r} is no version: give one such as RELEASE=1.2.0") from None
    if str(version) != text or len(version.release) != 3:
        raise ReleaseError(f"{text!r}: write it with three numbers, as in 1.2.0 or 1.2.0rc1")
    released = re.findall(r"(?m)^## (\S+) \(", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    if released and version <= Version(released[0]):
        raise ReleaseError(f"{version} does not come after {released[0]}, the last in CHANGELOG.md")
    for project in find_projects():
        for line in re.findall(r'"(sparts-[^"]+)"', (project / "pyproject.toml").read_text()):
            wanted = Requirement(line)
            if not wanted.specifier.contains(version, prereleases=True):
                raise ReleaseError(f"{project.name} needs {line}: change that first, then release")
    return version


def check_tree() -> None:
    """See that nothing is changed that is not committed."""
    if changed := run("git", "status", "--porcelain"):
        raise ReleaseError(f"Commit or put aside what is changed first:\n{changed}")


def set_version(version: Version) -> None:
    """Give all distributions one version."""
    for project in find_projects():
        path = project / "pyproject.toml"
        text, count = VERSION_LINE.subn(f'version = "{version}"', path.read_text(encoding="utf-8"))
        if count != 1:
            raise ReleaseError(f"{path} has {count} versions of its own, not one")
        path.write_text(text, encoding="utf-8")


def check_files(folder: Path, version: Version) -> None:
    """Check names, metadata and contents of the wheels and sdists, as the registry will."""
    for project in find_projects():
        stem = f"{project.name.replace('-', '_')}-{version}"
        wheel, sdist = folder / f"{stem}-py3-none-any.whl", folder / f"{stem}.tar.gz"
        if parse_wheel_filename(wheel.name)[1] != version or not wheel.exists():
            raise ReleaseError(f"{wheel} was not built")
        if parse_sdist_filename(sdist.name)[1] != version or not sdist.exists():
            raise ReleaseError(f"{sdist} was not built")
        with zipfile.ZipFile(wheel) as archive:
            damaged = archive.testzip()
            texts = {wheel: archive.read(f"{stem}.dist-info/METADATA")}
        with tarfile.open(sdist) as archive:
            found = archive.extractfile(f"{stem}/PKG-INFO")
            texts[sdist] = found.read() if found else b""
        for path, text in texts.items():
            metadata = Metadata.from_email(text, validate=True)
            readme = (metadata.description or "").strip()
            if damaged or metadata.version != version or not readme or not metadata.summary:
                raise ReleaseError(f"{path}: damaged, of another version, or without a description")


def check_installed(folder: Path, wanted: list[str]) -> None:
    """Install a combination into a clean environment; everything in it must import and be well."""
    uv = str(Path(sys.executable).with_name("uv"))
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        run(uv, "venv", "--quiet", "--python", sys.executable, str(place / "venv"))
        python = str(place / "venv" / "bin" / "python")
        install = [uv, "pip", "install", "--quiet", "--python", python]
        install += ["--find-links", str(folder), "--constraint", str(ROOT / "requirements.lock")]
        wheels = {path.name.split("-")[0].replace("_", "-"): path for path in folder.glob("*.whl")}
        named = [Requirement(text) for text in wanted]
        run(*install, *(f"{each} @ file://{wheels[each.name]}" for each in named))
        run(uv, "pip", "check", "--quiet", "--python", python)
        run(str(place / "venv" / "bin" / "sparts"), "doctor", cwd=place)


def main(text: str) -> int:
    """Make the release of a version; the exit status is 1 if it cannot be made."""
    try:
        version = check_version(text)
        check_tree()
        set_version(version)
        run(sys.executable, "-m", "towncrier", "build", "--yes", "--version", str(version))
        folder = ROOT / "dist"
        build_all(folder)
        check_files(folder, version)
        for wanted in COMBINATIONS:
            check_installed(folder, wanted)
            print(f"installed in a clean environment and well: {', '.join(wanted)}")
    except (ReleaseError, subprocess.CalledProcessError) as error:
        print(f"release: {error}", file=sys.stderr)
        return 1
    print(
        f"All of {version} is in dist/. Left to do, when .ci/run passes:\n"
        f"  git commit --all --message 'Release {version}' && git tag v{version}\n"
        f"  git push --follow-tags\n"
        f"  uv publish dist/sparts_*-{version}*"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else ""))
