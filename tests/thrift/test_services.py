"""Which services a module has, of both compilers."""

from __future__ import annotations

from types import ModuleType

import pytest
from sparts.errors import UsageError
from sparts.thrift.services import find_service


def test_a_module_without_a_service_is_told() -> None:
    with pytest.raises(UsageError, match="nothing has no thrift service: give what the thrift"):
        find_service(ModuleType("nothing"))
    with pytest.raises(UsageError, match="None has no thrift service"):
        find_service(None)
