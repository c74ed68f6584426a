"""Names that the thrift compiler takes, and Python too."""

from __future__ import annotations

import keyword
import re

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_RESERVED = """
    BEGIN END __CLASS__ __DIR__ __FILE__ __FUNCTION__ __LINE__ __METHOD__ __NAMESPACE__ abstract
    alias and args arguments as assert async begin binary bool break byte case catch class clone
    const continue cpp_include cpp_type debugger declare def default del delete do double
    dynamic elif else elseif elsif end enddeclare endfor endforeach endif endswitch endwhile
    ensure enum eval except exception exec export extends false finally float for foreach from
    function global goto i16 i32 i64 i8 if implements import in include inline instanceof
    interface is lambda let list map module namespace native new next nil not null oneway
    optional or package pass print private protected public raise redo reference register
    required rescue retry return self service set sizeof smalltalk_prefix static string struct
    super switch synchronized then this throw throws transient true try typedef typeof undef
    union unless unsigned until use uuid var virtual void volatile when while with xor xsd_all
    xsd_attrs xsd_namespace xsd_nillable xsd_optional yield
"""
RESERVED = frozenset(_RESERVED.split())
"""Words of the IDL, and those of languages that its compiler writes; it knows not all of them."""


def safe(name: str) -> str:
    """Return a name as the IDL has it: with ``_`` after it, if it is a reserved word.

    Raises:
        TypeError: it can be no name there.
    """
    if not _NAME.fullmatch(name):
        raise TypeError(f"{name!r} can be no name in the IDL")
    return f"{name}_" if name in RESERVED or keyword.iskeyword(name) else name
