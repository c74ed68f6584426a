"""The test kit for services and for plugins.

The fixtures for pytest are in `sparts.testing.fixtures`, the contracts for tests to inherit in
`sparts.testing.loops` and `sparts.testing.servers`; everything else can be had from here.
"""

from sparts.testing import leftovers
from sparts.testing.cases import (
    BaseSpartsTestCase,
    MultiTaskTestCase,
    ServiceTestCase,
    SingleTaskTestCase,
    Skip,
)
from sparts.testing.clock import TurnableClock
from sparts.testing.conformance import check_task
from sparts.testing.distributions import make_distribution
from sparts.testing.leftovers import Leftovers
from sparts.testing.plugin_conformance import check_plugin
from sparts.testing.processes import ProcessFactory, ServiceProcess
from sparts.testing.running import ServiceFactory, make_service, running, running_task, service_of
from sparts.testing.waiting import (
    LogRecorder,
    Recorder,
    log_of,
    restart,
    wait_ended,
    wait_for_event,
    wait_for_result,
    wait_ready,
    wait_state,
    wait_status,
)

__all__ = [
    "BaseSpartsTestCase", "Leftovers", "LogRecorder", "MultiTaskTestCase", "ProcessFactory",
    "Recorder", "ServiceFactory", "ServiceProcess", "ServiceTestCase", "SingleTaskTestCase",
    "Skip", "TurnableClock", "check_plugin", "check_task", "leftovers", "log_of",
    "make_distribution", "make_service", "restart", "running", "running_task", "service_of",
    "wait_ended", "wait_for_event", "wait_for_result", "wait_ready", "wait_state", "wait_status",
]  # fmt: skip
