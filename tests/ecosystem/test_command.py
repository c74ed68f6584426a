"""The `sparts` command as installed from wheels, without anything of the checkout."""

from __future__ import annotations

from pathlib import Path

import pytest
from sparts.builtin.dryrun import dry_run
from sparts.cli import help_text
from sparts.errors import SpartsError, UsageError
from sparts.testing.running import make_service, running, service_of

from tests.ecosystem.conftest import Environment, make_environment
from tests.processes import run_to_end


@pytest.fixture
def environment(wheels: dict[str, Path], acme_wheel: Path, tmp_path: Path) -> Environment:
    """Give a fresh environment with the core and a third party's plugin."""
    made = make_environment(tmp_path, ["--without-pip"])
    made.uv_install(wheels["sparts-core"], acme_wheel)
    return made


SERVICE = """
from sparts.vservice import VService

class Service(VService):
    TASKS = []

if __name__ == "__main__":
    Service.initFromCLI()
"""


def call(environment: Environment, *words: str, by: str = "") -> tuple[int, str]:
    """Run the console script, or another program; its exit status and output, spaces made one."""
    command = [by or str(Path(environment.python).with_name("sparts")), *words]
    status, said = run_to_end(command, cwd=environment.work)
    return status, " ".join(said.split())


def test_help_describes_every_subcommand_of_ours() -> None:
    commands = help_text().partition("commands:\n")[2].partition("\n\n")[0].splitlines()
    described = [line.split(maxsplit=1)[1] for line in commands]
    assert len(described) > 20
    assert sorted(set(described)) == sorted(described)
    assert not [each for each in described if each.startswith("(of ")]
    assert max(map(len, commands)) <= 80


UNFIT = ["AMQPPublisherTask", "AMQPSubscriberTask", "DirectoryWatcherTask", "NBServerTask",
         "PeriodicTask", "RPCClientTask", "ThriftHTTPTask", "GrpcTask --grpc-max-calls 0",
         "GrpcClientTask --grpc-client-attempts 9", "GrpcClientTask --grpc-client-tls-ca /none",
         "FB303HandlerTask NBServerTask --thrift-threads 0",
         "FB303HandlerTask NBServerTask --thrift-max-frame 3GiB"]  # fmt: skip


@pytest.mark.parametrize("line", UNFIT)
def test_dry_run_finds_what_fails_the_start(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    names, _, rest = line.partition(" --")
    service, argv = service_of(*names.split()), f"--{rest}".split() if rest else []
    with pytest.raises(SpartsError) as started, running(service, *argv):
        pass
    try:
        dry_run(service, make_service(service, *argv).options)
        said = capsys.readouterr().out
    except UsageError as error:
        said = str(error)
    assert str(started.value) in said


def test_command_works_from_wheels_and_finds_the_plugin(environment: Environment) -> None:
    assert call(environment, "--version") == (0, "sparts-core 1.0.0")
    assert "usage: sparts COMMAND" in environment.run("-m", "sparts", "--help")
    for words, expected in (
        (("plugins",), "acme-jobs 2.3.0 tasks AcmeGreeter hooks acme (acme_jobs.hooks)"),
        (("tasks", "AcmeGreeter"), "--acme-greeting"),
        (("run", "AcmeGreeter", "--dryrun"), "AcmeGreeter"),
    ):
        status, told = call(environment, *words)
        assert (status, expected in told) == (0, True), told


def test_doctor_is_content_with_a_fresh_environment(environment: Environment) -> None:
    status, told = call(environment, "doctor")
    assert status == 0, told
    assert "that needs packaging" in told  # only pluggy came with the core
    assert "Examined: distributions 2, tasks " in told
    assert told.endswith("; all is well.")


def test_core_alone_names_where_the_rest_is(environment: Environment) -> None:
    script = environment.work / "service.py"
    script.write_text(SERVICE, encoding="utf-8")
    for words in (
        ("new", "service", "acme"),
        ("graph", "PeriodicTask"),
        ("doctor", "--compat", "service:Service"),
        ("run", "--reload", "service:Service"),
        ("run", "PeriodicTask", "--reload"),
        (str(script), "--reload"),
    ):
        by = environment.python if words[0] == str(script) else ""
        status, told = call(environment, *words, by=by)
        assert (status, "Traceback" in told) == (2, False), told
        assert "It comes with sparts-dev: pip install sparts-dev" in told


@pytest.mark.parametrize("package", ["sparts", "sparts/tasks"])
def test_doctor_names_a_stray_file_beside_the_core(environment: Environment, package: str) -> None:
    (site,) = (environment.folder / "venv" / "lib").glob("python*/site-packages")
    stray = site / package / "__init__.py"
    stray.touch()
    status, told = call(environment, "doctor")
    assert status == 1
    assert f"{stray} makes '{package.replace('/', '.')}' an ordinary package" in told
    assert "Traceback" not in told


def test_doctor_survives_an_old_sparts_that_overwrote_files(environment: Environment) -> None:
    (site,) = (environment.folder / "venv" / "lib").glob("python*/site-packages")
    (site / "sparts" / "__init__.py").touch()
    module = site / "sparts" / "vservice.py"
    module.unlink()  # it may be a link into the installer's cache
    module.write_text("print 'Python 2'\n")
    info = site / "sparts-0.7.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: sparts\nVersion: 0.7\n")
    status, told = call(environment, "doctor")
    assert status == 1
    assert "sparts 0.7, of which sparts-core is the successor" in told
    assert "sparts itself cannot be imported: SyntaxError" in told
    assert "pip uninstall sparts" in told
    assert "Traceback" not in told
