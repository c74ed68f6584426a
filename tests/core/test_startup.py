"""`sparts.startup`: named tuples do what those of `typing` do."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from sparts.option_types import Endpoint
from sparts.supervision import RestartPolicy


def test_named_tuple_is_made_by_position_and_name() -> None:
    assert Endpoint("a", 1) == Endpoint(port=1, host="a") == Endpoint("a", port=1) == ("a", 1)
    assert RestartPolicy("always", limit=3) == ("always", 0.1, 30.0, 0.1, 3, 60.0)
    host, port = Endpoint("a", 1)
    assert (host, port, hash(Endpoint("a", 1))) == ("a", 1, hash(("a", 1)))


@pytest.mark.parametrize(
    ("values", "named"),
    [(("a",), {}), (("a", 1, 2), {}), (("a", 1), {"port": 2}), (("a",), {"porte": 1})],
    ids=["missing", "too many", "twice", "unknown"],
)
def test_wrong_fields_of_named_tuple_are_refused(values: Any, named: Any) -> None:
    with pytest.raises(TypeError, match="Endpoint has other fields: host, port"):
        Endpoint(*values, **named)


def test_named_tuple_is_changed_copied_and_shown() -> None:
    policy = RestartPolicy(mode="always")
    assert policy._replace(limit=2)._asdict()["limit"] == 2
    assert copy.copy(policy) == pickle.loads(pickle.dumps(policy)) == policy  # noqa: S301
    assert type(pickle.loads(pickle.dumps(policy))) is RestartPolicy  # noqa: S301
    assert repr(policy).startswith("RestartPolicy(mode='always', first_wait=0.1,")
    match Endpoint("a", 1):
        case Endpoint(host, port):
            assert (host, port) == ("a", 1)
    with pytest.raises(AttributeError):
        policy.mode = "never"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        policy.other = 1  # type: ignore[attr-defined]


def test_class_derived_from_named_tuple_keeps_its_fields() -> None:
    class Patient(RestartPolicy):
        def twice(self) -> float:
            return 2 * self.first_wait

    patient = Patient("always", first_wait=3.0)
    assert (patient.mode, patient.twice(), type(patient)) == ("always", 6.0, Patient)
