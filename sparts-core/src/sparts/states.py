"""The words for where a service and a task are in their lives."""

from __future__ import annotations

import enum


class ServiceStatus(enum.StrEnum):
    """Where a service is in its life."""

    NEW = "NEW"  #: made, not started
    STARTING = "STARTING"  #: tasks are being initialised and started
    ALIVE = "ALIVE"  #: every task has started
    WARNING = "WARNING"  #: alive, with warnings or with a degraded task
    STOPPING = "STOPPING"  #: told to stop: draining, or stopping its tasks
    STOPPED = "STOPPED"  #: ended in order
    DEAD = "DEAD"  #: ended otherwise: a start that failed, a crash, a deadline


class TaskState(enum.StrEnum):
    """Where a task is in its life."""

    NEW = "NEW"  #: made, not initialised
    STARTING = "STARTING"  #: being initialised or started
    ALIVE = "ALIVE"  #: started
    DEGRADED = "DEGRADED"  #: a worker failed and waits to be restarted
    DONE = "DONE"  #: every worker returned by itself
    STOPPING = "STOPPING"  #: told to stop
    STOPPED = "STOPPED"  #: ended in order
    DEAD = "DEAD"  #: ended by a failure, or not in time
    SKIPPED = "SKIPPED"  #: left out: it, or what it depends on, raised SkipTask
