"""The old import path of what is in `sparts.vtask`."""

from sparts.vtask import TaskReference, Tasks

__all__ = ["TaskReference", "Tasks"]
