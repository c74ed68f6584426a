"""The hook plugin: what every service of this environment imports. It is light on purpose.

OpenTelemetry itself is imported when an endpoint is given, and not before.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, ClassVar
from weakref import WeakKeyDictionary

from sparts.errors import OptionError, message_of
from sparts.hookspecs import hookimpl
from sparts.option_types import Expected
from sparts.options import Option, OptionGroup, option
from sparts.shown import ours, service_of
from sparts.states import ServiceStatus

if TYPE_CHECKING:
    from sparts.calls import Wrapper
    from sparts.kernel import Instance
    from sparts.otel.telemetry import Telemetry
    from sparts.vservice import VService
    from sparts.vtask import VTask

SIGNALS = ("TRACES", "METRICS", "LOGS")

_running: WeakKeyDictionary[Instance, Telemetry] = WeakKeyDictionary()
"""By instances, which have a hash also where services have none."""


def _url(text: str) -> str:
    from sparts.otel.reaching import url_parts

    try:
        url_parts(text)
    except OptionError:
        raise Expected("a URL such as http://localhost:4318") from None
    return text


class OtelOptions(OptionGroup):
    """OpenTelemetry; the variables OTEL_* of its specification go first."""

    OPT_PREFIX: ClassVar[str | None] = "otel"
    TITLE: ClassVar[str | None] = "telemetry"

    endpoint: Option[str] = option(
        type=_url,
        metavar="URL",
        help="send traces and metrics there by OTLP over HTTP",
        reloadable=False,
    )
    traces: Option[bool] = option(
        type=bool, default=True, help="send traces", reloadable=False, advanced=True
    )
    metrics: Option[bool] = option(
        type=bool, default=True, help="send metrics", reloadable=False, advanced=True
    )
    logs: Option[bool] = option(
        type=bool, default=False, help="send log lines", reloadable=False, advanced=True
    )


def wanted(service: VService) -> dict[str, set[str]]:
    """Return what is to be sent, of ``SIGNALS``, and how: by ``otlp``, to the ``console``.

    By OTLP if there is an endpoint; to the console if a variable says so.
    """
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return {}
    options = OtelOptions(service)
    everywhere = options.endpoint or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "").strip()
    chosen = {"TRACES": options.traces, "METRICS": options.metrics, "LOGS": options.logs}
    found: dict[str, set[str]] = {}
    for signal in SIGNALS:
        said = os.environ.get(f"OTEL_{signal}_EXPORTER", "").replace(" ", "")
        exporters = set(said.split(",")) if said else {"otlp"} if chosen[signal] else set()
        if unknown := exporters - {"otlp", "console", "none"}:
            ours(service).logger.warning(
                "OTEL_%s_EXPORTER: sparts sends by otlp or to the console, not by %s",
                signal, ", ".join(sorted(unknown)),
            )  # fmt: skip
        if not (everywhere or os.environ.get(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT", "").strip()):
            exporters.discard("otlp")
        if used := exporters & {"otlp", "console"}:
            found[signal] = used
    return found


def telemetry_of(service: VService) -> Telemetry | None:
    """Return what sends the telemetry of a running service; None: nothing does."""
    return _running.get(service._instance)


@hookimpl
def sparts_options_add(service_class: type[VService]) -> type[OptionGroup]:
    """Add --otel-endpoint and the other options."""
    return OtelOptions


@hookimpl
def sparts_service_create(service: VService) -> None:
    """Begin to send telemetry."""
    signals = wanted(service)
    if not signals:
        return
    try:
        from sparts.otel.telemetry import Telemetry

        _running[service._instance] = Telemetry(service, OtelOptions(service).endpoint, signals)
    except ImportError as error:
        raise OptionError(f"OpenTelemetry cannot be imported: {error}") from error
    except ValueError as error:
        reason = " ".join(message_of(error).split())
        raise OptionError(f"OpenTelemetry refuses a variable OTEL_*: {reason}") from error


@hookimpl
def sparts_service_check(service: VService) -> None:
    """See whether the collector answers; for ``--dryrun``."""
    from sparts.otel.reaching import check_endpoint

    for signal in sorted(each for each, used in wanted(service).items() if "otlp" in used):
        check_endpoint(OtelOptions(service).endpoint, signal)


@hookimpl(tryfirst=True)  # so that refusals of others are seen
def sparts_call_wrap(task: VTask, kind: str) -> Wrapper | None:
    """Trace the calls of a task."""
    telemetry = _running.get(service_of(task)._instance)
    return telemetry.call_wrapper(kind) if telemetry is not None else None


@hookimpl(trylast=True)
def sparts_service_change(service: VService, old: ServiceStatus, new: ServiceStatus) -> None:
    """Send what is left at the end of an instance."""
    if new in (ServiceStatus.STOPPED, ServiceStatus.DEAD):
        telemetry = _running.pop(service._instance, None)
        if telemetry is not None:
            telemetry.end(ours(service).health.stop_deadline)
