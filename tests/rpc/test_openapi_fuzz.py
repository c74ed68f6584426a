"""The OpenAPI document keeps its word: schemathesis sends what it allows, and what it does not."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.generation import GenerationMode

from tests.rpc.conftest import Web

pytestmark = pytest.mark.one_python
SLOW = settings(
    max_examples=10, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_answers_are_those_that_openapi_says(web: Web, mode: GenerationMode) -> None:
    schema = schemathesis.openapi.from_url(f"{web.url}/openapi.json")
    for found in schema.include(path_regex="/(half|distance|find|route)$").get_all_operations():
        operation: Any = found.ok()  # type: ignore[union-attr]

        @SLOW
        @given(operation.as_strategy(generation_mode=mode))
        def check(case: Any) -> None:
            case.call_and_validate()

        check()
