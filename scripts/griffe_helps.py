"""Lets the reference show options and counters: their ``help`` is their docstring.

Loaded by mkdocstrings (see mkdocs.yml). `option(...)`, `counter(...)` and their like say in
``help`` what they are, for users at run time; a docstring beside it would say it twice.
"""

from __future__ import annotations

import ast
from typing import Any

from griffe import Attribute, Docstring, ExprCall, ExprKeyword, Extension


class Helps(Extension):
    """Gives an attribute without a docstring that of the ``help`` of the call it is made by."""

    def on_attribute(self, *, attr: Attribute, **_loading: Any) -> None:
        """Look at one attribute; called by griffe."""
        call = attr.value
        if attr.docstring is not None or not isinstance(call, ExprCall):
            return
        for argument in call.arguments:
            if isinstance(argument, ExprKeyword) and argument.name == "help":
                text = str(ast.literal_eval(str(argument.value)))
                attr.docstring = Docstring(text[0].upper() + text[1:], parent=attr)
