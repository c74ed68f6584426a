"""The image and the Kubernetes manifests of docs/how-to agree with the code."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from sparts.option_types import duration
from sparts.settings import Settings
from sparts.tasks.tornado.status import StatusHTTPTask
from sparts.this_process import GUARD_GRACE

from scripts.build_distributions import ROOT
from tests.ecosystem.documentation import Block, find_blocks
from tests.processes import ServiceProcess, clean_environment

PAGE = ROOT / "docs" / "how-to" / "container.md"


@pytest.fixture(params=["container.md", "deploy.md"])
def each_page(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a test look at each page with a manifest."""
    monkeypatch.setattr(sys.modules[__name__], "PAGE", PAGE.with_name(request.param))


def block(kind: str) -> Block:
    return next(b for b in find_blocks(PAGE, PAGE.read_text(encoding="utf-8")) if b.kind == kind)


def manifest() -> tuple[dict[str, Any], dict[str, Any]]:
    """Give the pod's specification, and that of its only container."""
    deployment, _ = yaml.safe_load_all(block("yaml").code)
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    return pod, container


def value_of(container: dict[str, Any], flag: str) -> str:
    args = container["args"]
    return str(args[args.index(flag) + 1])


@pytest.mark.usefixtures("each_page")
def test_manifests_deadlines_agree_with_the_defaults() -> None:
    pod, container = manifest()
    stop: Any = Settings.stop_timeout.default
    drain = duration(value_of(container, "--drain-time"))
    assert drain < stop
    assert stop + GUARD_GRACE < pod["terminationGracePeriodSeconds"]
    readiness = container["readinessProbe"]
    assert readiness["periodSeconds"] * readiness["failureThreshold"] < drain
    assert pod["enableServiceLinks"] is False


@pytest.mark.usefixtures("each_page")
def test_manifests_probes_ask_where_the_status_task_listens() -> None:
    _, container = manifest()
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"http": 8000, "status": StatusHTTPTask.DEFAULT_PORT}
    assert value_of(container, "--status-host") == "0.0.0.0"
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["port"] == "status"


@pytest.mark.needs_namespace("pid")
def test_image_runs_as_process_1_and_drains(wheels: dict[str, Path], tmp_path: Path) -> None:
    """As the image does it: packages in a folder, a bare Python, process 1 of a namespace."""
    app = tmp_path / "app"
    uv = str(Path(sys.executable).with_name("uv"))
    install = [uv, "pip", "install", "--quiet", "--target", str(app), "--python", sys.executable]
    install += ["--constraint", str(ROOT / "requirements.lock")]
    ours = [str(wheels[name]) for name in ("sparts-core", "sparts-net", "sparts-tornado")]
    subprocess.run([*install, *ours], env=clean_environment(), check=True)
    (app / "myservice.py").write_text(block("python").code, encoding="utf-8")
    _, container = manifest()
    lines = dict(re.findall(r"(?m)^(ENTRYPOINT|CMD) (.*)$", block("dockerfile").code))
    entry, arguments = json.loads(lines["ENTRYPOINT"]), json.loads(lines["CMD"])
    assert container["args"][: len(arguments)] == arguments
    python = getattr(sys, "_base_executable", sys.executable)
    command = ["unshare", "--pid", "--fork", "--kill-child", python, "-s", *entry[1:]]
    command += [*container["args"], "--http-port", "0", "--status-port", "0"]
    command[command.index("5s")] = "200ms"
    env = clean_environment(PYTHONPATH=str(app))
    with ServiceProcess(command, cwd=app, env=env) as service:
        port = service.listening_port("StatusHTTPTask")
        service.read_until_started()
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            url = f"http://127.0.0.1:{port}{container[probe]['httpGet']['path']}"
            with urllib.request.urlopen(url) as answer:
                assert answer.status == 200
        children = Path(f"/proc/{service.process.pid}/task/{service.process.pid}/children")
        subprocess.run(["kill", "-TERM", *children.read_text().split()], check=True)
        assert service.finish() == 0, service.output
    assert all(json.loads(line) for line in service.lines)
