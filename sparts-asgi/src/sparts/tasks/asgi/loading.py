"""Finds the application that an option or a class attribute names."""

from __future__ import annotations

import contextlib
import importlib
import inspect
from typing import TYPE_CHECKING, Any

from sparts.errors import StartError, describe

if TYPE_CHECKING:
    from collections.abc import Sequence


def load(target: str, flag: str) -> Any:
    """Import ``module:name``, or call ``module:name()``, and return what it gives.

    Args:
        target: what to import.
        flag: the option that names it, for messages.

    Raises:
        StartError: it cannot be imported, or its call failed; the message says why.
    """
    module, _, attributes = target.strip().partition(":")
    called, attributes = attributes.endswith("()"), attributes.removesuffix("()")
    if not attributes or not all(part.isidentifier() for part in module.split(".")):
        raise StartError(f"{flag}: {target!r} is not of the form module:name.")
    try:
        found: Any = importlib.import_module(module)
        for attribute in attributes.split("."):
            found = getattr(found, attribute)
        found = found() if called else found
    except (Exception, SystemExit) as error:
        raise StartError(
            f"{flag}: {target!r} cannot be used: {describe(error).strip()}."
        ) from error
    if not callable(found):
        raise StartError(f"{flag}: {target!r} is no application: it cannot be called.")
    return found


def check_call(app: Any, words: Sequence[str], advice: str) -> None:
    """Raise StartError for an application that cannot be called so: it is of the other kind.

    Args:
        app: the application.
        words: what its arguments are called, by which the message names them.
        advice: the end of the message.
    """
    try:
        signature = inspect.signature(app)
    except ValueError:  # of C
        return
    try:
        signature.bind(*words)
    except TypeError as error:
        with contextlib.suppress(TypeError):
            signature.bind()
            advice = "If it makes the application, have it called: module:name()."
        arguments = ", ".join(words)
        raise StartError(
            f"The application {app!r} cannot be called with ({arguments}): {error}. {advice}"
        ) from None


def class_attribute(cls: type, name: str) -> Any:
    """Return an attribute of a class as it stands there: a function is not made a method."""
    found = next(vars(base)[name] for base in cls.__mro__ if name in vars(base))
    return found.__func__ if isinstance(found, staticmethod) else found
