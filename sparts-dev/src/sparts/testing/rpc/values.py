"""Values of each kind, for tests; made by hypothesis."""

from __future__ import annotations

from datetime import UTC, timedelta

from hypothesis import strategies as st
from sparts.testing.rpc.kit import Account, Circle, Colour, Everything, Level, Point, Square

INTS = st.integers(-(2**63), 2**63 - 1)
TEXTS = st.text(max_size=20)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
POINTS = st.builds(Point, FLOATS, FLOATS)
SHAPES = st.builds(Circle, POINTS, FLOATS) | st.builds(Square, POINTS, FLOATS)
WHEN = st.datetimes(timezones=st.just(UTC))
SPAN = st.timedeltas(timedelta(days=-10000), timedelta(days=10000))


def everything() -> st.SearchStrategy[Everything]:
    """Return a strategy of `Everything`."""
    return st.builds(
        Everything,
        flag=st.booleans(),
        number=INTS,
        real=FLOATS,
        text=TEXTS,
        data=st.binary(max_size=20),
        items=st.lists(INTS, max_size=5),
        pair=st.tuples(INTS, TEXTS),
        names=st.sets(TEXTS, max_size=5),
        counts=st.dictionaries(TEXTS, INTS, max_size=5),
        maybe=st.none() | INTS,
        colour=st.sampled_from(Colour),
        level=st.sampled_from(Level),
        when=WHEN,
        day=st.dates(),
        span=SPAN,
        id=st.uuids(),
        price=st.decimals(-(10**12), 10**12, allow_nan=False, places=3),
        point=POINTS,
        account=st.builds(Account, INTS, st.none() | TEXTS),
        shape=SHAPES,
        points=st.lists(POINTS, max_size=3),
        by_name=st.dictionaries(TEXTS, POINTS, max_size=3),
        nested=st.lists(st.lists(INTS, max_size=3), max_size=3),
        perhaps=st.none() | POINTS,
    )
