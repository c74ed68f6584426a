"""``sparts grafana``: a dashboard for the Prometheus that scrapes ``/metrics``.

It is for any service: an overview, and one row for each kind of task, whose panels show all tasks
of that kind.
"""

from __future__ import annotations

import argparse
import json
from typing import Any, NamedTuple

_WIDTH, _HEIGHT = 8, 7  # of a panel, in Grafana's grid, which is 24 wide


class Panel(NamedTuple):
    """What a panel shows: its title, its unit by Grafana's name, expressions and their legends."""

    title: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    stat: bool = False


_OF = 'job=~"$job",instance=~"$instance"'
_TASKS = f'{_OF},task=~"$task"'


_GRPC = ',method=~".*/.*"'
"""Labels of gRPC's calls alone: their methods have the name of the service before a slash."""


def _rate(name: str, more: str = "") -> str:
    return f"rate({name}{{{_TASKS}{more}}}[$__rate_interval])"


def _p99(name: str, more: str = "") -> str:
    return f'{name}_window_quantile_ms{{{_TASKS},quantile="0.99",window="60"{more}}}'


ROWS: tuple[tuple[str, tuple[Panel, ...]], ...] = (
    (
        "Overview",
        (
            Panel("Ready", "bool_yes_no",
                  ((f"min(sparts_service_ready{{{_OF}}})", "ready"),), stat=True),
            Panel("Healthy", "bool_yes_no",
                  ((f"min(sparts_service_healthy{{{_OF}}})", "healthy"),), stat=True),
            Panel("Up for", "s",
                  ((f"time() - sparts_service_start_time_seconds{{{_OF}}}", "{{instance}}"),),
                  stat=True),
            Panel("Warnings", "none", ((f"sparts_service_warnings{{{_OF}}}", "{{instance}}"),)),
            Panel("Failures and restarts of tasks", "ops",
                  ((_rate("sparts_n_failures_total"), "{{task}} failures"),
                   (_rate("sparts_n_restarts_total"), "{{task}} restarts"))),
            Panel("Memory", "bytes",
                  ((f"process_resident_memory_bytes{{{_OF}}}", "{{instance}}"),)),
        ),
    ),
    (
        "HTTP",
        (
            Panel("Requests", "reqps", ((_rate("sparts_requests_total"), "{{task}}"),)),
            Panel("Responses", "reqps",
                  ((_rate("sparts_responses_total"), "{{task}} {{status}}"),)),
            Panel("Slowest of a hundred", "ms",
                  ((_p99("sparts_request_duration"), "{{task}}"),)),
        ),
    ),
    (
        "HTTP clients",
        (
            Panel("Failed requests", "reqps", ((_rate("sparts_failures_total"), "{{task}}"),)),
            Panel("Requests sent again", "reqps", ((_rate("sparts_retried_total"), "{{task}}"),)),
        ),
    ),
    (
        "Thrift and RPC",
        (
            Panel("Calls", "ops", ((_rate("sparts_n_calls_total"), "{{task}} {{method}}"),)),
            Panel("Errors", "ops", ((_rate("sparts_n_errors_total"), "{{task}} {{method}}"),)),
            Panel("Slowest of a hundred", "ms",
                  ((_p99("sparts_call_duration", ',method!~".*/.*"'), "{{task}} {{method}}"),)),
        ),
    ),
    (
        "gRPC",
        (
            Panel("Calls", "ops",
                  ((_rate("sparts_calls_total", _GRPC), "{{task}} {{method}} {{code}}"),)),
            Panel("Errors", "ops",
                  ((_rate("sparts_calls_total", f'{_GRPC},code!="OK"'),
                    "{{task}} {{method}} {{code}}"),)),
            Panel("Slowest of a hundred", "ms",
                  ((_p99("sparts_call_duration", _GRPC), "{{task}} {{method}}"),)),
        ),
    ),
    (
        "D-Bus",
        (
            Panel("Calls", "ops",
                  ((_rate("sparts_calls_total", ',method=""'), "{{task}}"),)),
            Panel("Errors", "ops", ((_rate("sparts_errors_total"), "{{task}}"),)),
        ),
    ),
    (
        "Queues",
        (
            Panel("Waiting items", "none", ((f"sparts_queue_depth{{{_TASKS}}}", "{{task}}"),)),
            Panel("Items", "ops",
                  ((_rate("sparts_n_completed_total"), "{{task}} done"),
                   (_rate("sparts_n_trylater_total"), "{{task}} tried again"),
                   (_rate("sparts_n_dead_letters_total"), "{{task}} given up"))),
            Panel("Time for an item", "ms",
                  ((f'sparts_execute_duration_window_avg_ms{{{_TASKS},window="60"}}',
                    "{{task}} average"),
                   (f'sparts_execute_duration_window_max_ms{{{_TASKS},window="60"}}',
                    "{{task}} longest"))),
        ),
    ),
    (
        "Events on RabbitMQ, and files",
        (
            Panel("Events published", "ops", ((_rate("sparts_n_published_total"), "{{task}}"),)),
            Panel("Changes of files", "ops", ((_rate("sparts_n_events_total"), "{{task}}"),)),
        ),
    ),
    (
        "Periodic and event tasks",
        (
            Panel("Runs", "ops", ((_rate("sparts_n_iterations_total"), "{{task}}"),)),
            Panel("Runs that took too long, or were left out", "ops",
                  ((_rate("sparts_n_slow_iterations_total"), "{{task}} slow"),
                   (_rate("sparts_n_missed_total"), "{{task}} left out"))),
        ),
    ),
    (
        "Event loops and commands",
        (
            Panel("Errors in callbacks", "ops",
                  ((_rate("sparts_n_callback_errors_total"), "{{task}}"),)),
            Panel("Blocked loops", "ops", ((_rate("sparts_n_slow_callbacks_total"), "{{task}}"),)),
            Panel("Commands that run", "none",
                  ((f"sparts_n_running{{{_TASKS}}} or sparts_n_children{{{_TASKS}}}",
                    "{{task}}"),)),
        ),
    ),
)  # fmt: skip


def dashboard(title: str = "sparts") -> dict[str, Any]:
    """Return the dashboard as Grafana imports it."""
    panels: list[dict[str, Any]] = []
    y = 0
    for name, row in ROWS:
        panels.append({"type": "row", "title": name, "collapsed": False, "panels": [],
                       "gridPos": {"x": 0, "y": y, "w": 24, "h": 1}})  # fmt: skip
        y += 1
        for index, panel in enumerate(row):
            x, down = index * _WIDTH % 24, index * _WIDTH // 24 * _HEIGHT
            panels.append(_panel(panel, x, y + down))
        y += (len(row) * _WIDTH + 23) // 24 * _HEIGHT
    for number, each in enumerate(panels, 1):
        each["id"] = number
    return {
        "title": title,
        "uid": "sparts",
        "tags": ["sparts"],
        "schemaVersion": 39,
        "time": {"from": "now-1h", "to": "now"},
        "refresh": "30s",
        "templating": {
            "list": [
                {"name": "datasource", "type": "datasource", "query": "prometheus"},
                _variable("job", "label_values(sparts_service_info, job)"),
                _variable("instance", 'label_values(sparts_service_info{job=~"$job"}, instance)'),
                _variable("task", f"label_values(sparts_task_state{{{_OF}}}, task)"),
            ]
        },
        "panels": panels,
    }


def _panel(panel: Panel, x: int, y: int) -> dict[str, Any]:
    return {
        "type": "stat" if panel.stat else "timeseries",
        "title": panel.title,
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "gridPos": {"x": x, "y": y, "w": _WIDTH, "h": _HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + number), "expr": expression, "legendFormat": legend}
            for number, (expression, legend) in enumerate(panel.queries)
        ],
    }


def _variable(name: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "type": "query",
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "includeAll": True,
        "multi": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


def main(argv: list[str]) -> int:
    """Print a Grafana dashboard for services."""
    parser = argparse.ArgumentParser(
        prog="sparts grafana",
        description="Print a Grafana dashboard (JSON) for the Prometheus that scrapes /metrics of "
        "sparts services: an overview, and a row for each kind of task.",
        epilog="example: sparts grafana > sparts.json",
    )
    parser.add_argument("--title", default="sparts", help="of the dashboard (default: %(default)s)")
    options = parser.parse_args(argv)
    print(json.dumps(dashboard(options.title), indent=2))
    return 0
