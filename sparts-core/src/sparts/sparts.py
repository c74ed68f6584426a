"""The old import path of `option`; new code takes it from `sparts.options`."""

from sparts.options import option

__all__ = ["option"]
