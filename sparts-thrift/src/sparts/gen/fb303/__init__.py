"""The generated code of fb303, by its import path of sparts 0.7; the modules are the same."""

import sys

from sparts.thrift.fb303 import FacebookService, constants, ttypes

for _module in (FacebookService, constants, ttypes):
    sys.modules[f"{__name__}.{_module.__name__.rpartition('.')[2]}"] = _module

__all__ = ["FacebookService", "constants", "ttypes"]
