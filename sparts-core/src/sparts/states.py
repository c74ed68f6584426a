"""The words for where a service and a task are in their lives."""

from __future__ import annotations

import enum


class ServiceStatus(enum.StrEnum):
    """Where a service is in its life."""

    NEW = "NEW"
    """Made, not started."""
    STARTING = "STARTING"
    """Tasks are being initialised and started."""
    ALIVE = "ALIVE"
    """Every task has started."""
    WARNING = "WARNING"
    """Alive, with warnings or with a degraded task."""
    STOPPING = "STOPPING"
    """A stop was requested: it drains, or stops its tasks."""
    STOPPED = "STOPPED"
    """Ended in order."""
    DEAD = "DEAD"
    """Ended otherwise: a start that failed, a crash, a deadline."""


class TaskState(enum.StrEnum):
    """Where a task is in its life."""

    NEW = "NEW"
    """Made, not initialised."""
    STARTING = "STARTING"
    """Being initialised or started."""
    ALIVE = "ALIVE"
    """Started."""
    DEGRADED = "DEGRADED"
    """A worker failed and waits to be restarted."""
    DONE = "DONE"
    """Every worker returned by itself."""
    STOPPING = "STOPPING"
    """A stop was requested."""
    STOPPED = "STOPPED"
    """Ended in order."""
    DEAD = "DEAD"
    """Ended by a failure, or not in time."""
    SKIPPED = "SKIPPED"
    """Left out: it, or what it depends on, raised SkipTask."""
