"""Expressions of clients are matched as Python matches them, and none takes long."""

from __future__ import annotations

import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sparts.errors import SpartsError
from sparts.fb303 import FB303
from sparts.patterns import LONGEST, Simple, matcher
from sparts.testing.running import make_service
from sparts.vservice import VService


@pytest.fixture(params=["re2", "without"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Match with RE2, and without it."""
    if request.param == "without":
        monkeypatch.setitem(sys.modules, "re2", None)
    return str(request.param)


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize(
    ("expression", "names", "others"),
    [
        ("", ["", "x"], []),
        ("Mail", ["Mailer.sent", "Mail"], ["aMail", "mail", ""]),
        ("Mail.*sent$", ["Mailer.sent", "Mailsent"], ["Mailer.sent.more"]),
        (r"Mail\.sent", ["Mail.sent"], ["Mail-sent"]),
        ("^a|b+$|", ["a", "bb", "x"], []),
        ("^a|b+$", ["ab", "bb"], ["bba", "x", ""]),
        ("a?b*c+", ["c", "abbcc", "bc"], ["a", "ab", ""]),
        (r"[a-c|\]]+\d\w?\$", ["a|]1_$", "b1$"], ["d1$", "a1"]),
        ("[^a-z.]+$", ["ABC", "Ä"], ["AbC", "."]),
        ("[]x]y", ["]y", "xy"], ["y"]),
        (".*?b", ["aab", "b"], ["aa"]),
        (r"a\|b", ["a|b"], ["a"]),
        ("ü.*", ["üx"], ["u"]),
        (r"\\$", ["\\"], ["\\x"]),
    ],
)
def test_expression_matches_from_the_start(
    expression: str, names: list[str], others: list[str]
) -> None:
    matches = matcher(expression)
    assert [name for name in [*names, *others] if matches(name)] == names


@pytest.mark.parametrize(
    "expression", [r"([\w.]+)+-", "(a|a)*-", "(.*)*(.*)*-", r"(?:a+)+$b", "(a*)*b|(a*)*c"]
)
def test_exponential_expression_is_matched_by_re2(expression: str) -> None:
    assert not matcher(expression)("a" * 5000)


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize(
    "expression", [r"[\w.]*" * 30 + "-", ".*" * 400 + "-", "a?" * 300 + "a" * 300 + "-", "a+" * 301]
)
def test_repetitions_without_groups_are_matched_soon(expression: str) -> None:
    assert not matcher(expression)("a" * 300)


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize(
    "expression",
    ["(", "[", "a**", "[z-a]", "\\", "*a", "a" * (LONGEST + 1), "(?P<n", "a{2}{3}*"],
)
def test_wrong_expression_is_a_clear_error(expression: str) -> None:
    with pytest.raises(SpartsError, match="regular expression"):
        matcher(expression)


def test_expression_that_needs_the_extra_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    assert matcher("(a|b)c")("bc")
    monkeypatch.setitem(sys.modules, "re2", None)
    for expression in ("(a|b)c", "a{2}", r"\bx", "a^b", "a$b", "a++", "(?i)a", "a]"):
        with pytest.raises(SpartsError, match=r"need the extra sparts-core\[re2\]"):
            matcher(expression)


ITEMS = st.sampled_from(["a", "b", ".", "[ab]", "[^a]", r"\w", r"\W", r"\.", "-", r"\d", "|"])
PARTS = st.tuples(ITEMS, st.sampled_from(["", "", "*", "+", "?", "*?", "+?", "??"]))


@given(
    st.lists(PARTS.map(lambda part: part[0] + part[1] if part[0] != "|" else "|"), max_size=8),
    st.sampled_from(["", "^"]),
    st.sampled_from(["", "$"]),
    st.text("ab.-1", max_size=8),
)
def test_any_simple_expression_matches_as_pythons_does(
    parts: list[str], begin: str, end: str, name: str
) -> None:
    expression = begin + "".join(parts) + end
    expected = re.match(expression, name) is not None
    assert Simple(expression).match(name) is expected
    assert matcher(expression)(name) is expected


@pytest.mark.usefixtures("engine")
def test_fb303_matches_names_by_it() -> None:
    service = make_service(VService)
    service.setExportedValue("a" * 200, "x")
    facts = FB303(service)
    assert facts.getRegexExportedValues("a+$") == {"a" * 200: "x"}
    for ask in (facts.getRegexExportedValues, facts.getRegexCounters):
        assert ask(r"[\w.]*" * 20 + "-") == {}
        with pytest.raises(SpartsError, match="at most 1000 characters"):
            ask("a" * 1001)
