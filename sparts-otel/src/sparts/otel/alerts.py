"""``sparts alerts``: alerting rules for the Prometheus that scrapes ``/metrics``."""

from __future__ import annotations

import argparse
import re
from math import inf
from typing import NamedTuple


class Rule(NamedTuple):
    """One alert: its name, when it fires, after how long, how bad it is, and its text."""

    name: str
    expression: str
    after: str
    severity: str
    summary: str


RULES = (
    Rule(
        "SpartsNotReady",
        "sparts_service_ready == 0",
        "{for}",
        "critical",
        "{{ $labels.instance }} is not ready.",
    ),
    Rule(
        "SpartsCrashLoop",
        "changes(sparts_service_start_time_seconds[15m]) > 3 "
        "or sum without (task) (increase(sparts_n_restarts_total[15m])) > 5",
        "0m",
        "critical",
        "{{ $labels.instance }} or one of its tasks restarts again and again.",
    ),
    Rule(
        "SpartsQueueGrowing",
        "sparts_queue_depth > 100 and deriv(sparts_queue_depth[10m]) > 0",
        "{for}",
        "warning",
        "{{ $value }} items wait in {{ $labels.task }} of {{ $labels.instance }}, and more come.",
    ),
    Rule(
        "SpartsDeadLetters",
        "increase(sparts_n_dead_letters_total[10m]) > 0",
        "0m",
        "warning",
        "{{ $labels.task }} of {{ $labels.instance }} has given up items.",
    ),
    Rule(
        "SpartsSlowCalls",
        'sparts_request_duration_window_quantile_ms{quantile="0.99",window="60"} > {slow} '
        'or sparts_call_duration_window_quantile_ms{quantile="0.99",window="60"} > {slow}',
        "{for}",
        "warning",
        "One call in a hundred of {{ $labels.task }} takes longer than {{ $value }} ms.",
    ),
    Rule(
        "SpartsCertificateExpires",
        "sparts_certificate_expires_seconds - time() < {days} * 86400",
        "0m",
        "warning",
        "The certificate of {{ $labels.task }} of {{ $labels.instance }} expires in "
        "{{ $value | humanizeDuration }}.",
    ),
)


def rules(after: str = "5m", slow: float = 1000.0, days: float = 14.0) -> str:
    """Return the file of rules, as YAML.

    Args:
        after: how long most conditions must hold.
        slow: milliseconds from which on calls are slow.
        days: before a certificate expires.
    """
    filled = {"{for}": after, "{slow}": f"{slow:g}", "{days}": f"{days:g}"}
    lines = ["# Made by `sparts alerts`.", "groups:", "- name: sparts", "  rules:"]
    for rule in RULES:
        expression, wait = rule.expression, rule.after
        for place, value in filled.items():
            expression, wait = expression.replace(place, value), wait.replace(place, value)
        lines += [
            f"  - alert: {rule.name}",
            f"    expr: >-\n      {expression}",
            f"    for: {wait}",
            "    labels:",
            f"      severity: {rule.severity}",
            "    annotations:",
            f"      summary: '{rule.summary}'",
        ]
    return "\n".join(lines) + "\n"


def _time(text: str) -> str:
    """Return a time as Prometheus writes it."""
    if re.fullmatch(r"0|(\d+y)?(\d+w)?(\d+d)?(\d+h)?(\d+m)?(\d+s)?(\d+ms)?", text) and text:
        return text
    raise argparse.ArgumentTypeError(f"{text!r} is no time such as 5m or 1h30m")


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if 0 < number < inf:
        return number
    raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")


def main(argv: list[str]) -> int:
    """Print Prometheus alert rules for services."""
    parser = argparse.ArgumentParser(
        prog="sparts alerts",
        description="Print alerting rules for the Prometheus that scrapes /metrics: not ready, "
        "crash loop, growing queue, dead letters, slow calls, certificate expiry.",
        epilog="example: sparts alerts > /etc/prometheus/sparts.rules.yml",
    )
    shown = "(default: %(default)s)"
    parser.add_argument(
        "--for", dest="after", type=_time, default="5m", metavar="TIME",
        help=f"how long most conditions must hold {shown}",
    )  # fmt: skip
    parser.add_argument(
        "--slow", type=_positive, default=1000.0, metavar="MS",
        help=f"from how many milliseconds on calls are slow {shown}",
    )  # fmt: skip
    parser.add_argument(
        "--days",
        type=_positive,
        default=14.0,
        help=f"how long before a certificate expires {shown}",
    )
    options = parser.parse_args(argv)
    print(rules(options.after, options.slow, options.days), end="")
    return 0
