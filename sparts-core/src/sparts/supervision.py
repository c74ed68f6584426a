"""The old import path of `sparts.vtask.RestartPolicy`."""

from sparts.kernel.supervision import RestartPolicy

__all__ = ["RestartPolicy"]
