"""Values of every type that thrift has, at their edges."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.thrift.echo import ttypes

TEXTS = ["", "a", "héllo wörld", "日本語", "\U0001f980" * 3, "\0 and \x7f", "line\nline"]
INTEGERS = [0, 1, -1, 2**31 - 1, -(2**31), 2**62, 2**63 - 1, -(2**63)]


def mutated(draw: st.DrawFn, content: bytes, most: int) -> bytes:
    """Give a message of which some bytes were changed, taken out or put in."""
    found = bytearray(content)
    for _ in range(draw(st.integers(0, most))):
        place = draw(st.integers(0, max(0, len(found) - 1)))
        what = draw(st.sampled_from(["change", "cut", "put", "end"]))
        if what == "change" and found:
            found[place] = draw(st.integers(0, 255))
        elif what == "cut":
            del found[place : place + draw(st.integers(1, 16))]
        elif what == "put":
            found[place:place] = draw(st.binary(min_size=1, max_size=16))
        elif what == "end":
            del found[place:]
    return bytes(found)


def everything(types: Any = ttypes) -> Any:
    """Give a struct with all of it."""
    point = types.Point(x=-(2**31), y=2**31 - 1)
    shapes = [types.Shape(name="é"), types.Shape(point=types.Point(x=1, y=7))]
    return types.Everything(
        yes=True,
        small=-128,
        short=-(2**15),
        medium=2**31 - 1,
        long=-(2**63),
        real=1.5e-300,
        text="日本語 \U0001f980",
        raw=bytes(range(256)),
        colour=-3,
        point=point,
        shape=types.Shape(group=shapes),
        numbers=INTEGERS,
        words=set(TEXTS),
        places={"": [], "two": [point, types.Point(x=0, y=7)]},
        nested={-1: {"yes": True, "no": False}, 2**31 - 1: {}},
        grid=[[], [0.0, -0.0, float("inf"), 5e-324]],
        shorts={-(2**15), 0, 2**15 - 1},
        blobs=[b"", b"\xff\x00", b"text"],
        far="far",
    )
