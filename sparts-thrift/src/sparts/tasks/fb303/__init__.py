"""The fb303 interface of a service: its status, counters, options and exported values."""

from sparts.tasks.fb303.handler import FB303HandlerTask

__all__ = ["FB303HandlerTask"]
