"""Finds environment variables that were meant for a service, and are spelt otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparts.builtin.overrides.spelling import is_one_edit
from sparts.options import state_of
from sparts.shown import ours

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sparts.vservice import VService

OF_ALL = {
    *("SPARTS_DISABLE_PLUGINS", "SPARTS_LOAD_PLUGINS", "SPARTS_RUNTIME_DIR"),
    *("SPARTS_STATUS_TOKEN", "SPARTS_STATUS_CA", "SPARTS_COPY", "SPARTS_RELOADED_BY"),
}
"""The variables that sparts reads beside those of options."""


def misspelt(names: Iterable[str], service: VService) -> Iterator[tuple[str, str]]:
    """Give each of these variables that nothing reads, with the one that was probably meant."""
    state = state_of(ours(service).options)
    bindings = state.bindings.values() if state else ()
    read = OF_ALL | {each.env for each in bindings}
    read |= {f"{each.env}_FILE" for each in bindings if each.option.secret}
    allowed = getattr(service, "SPARTS_ALLOW_NAMES", ())
    for name in names:
        near = [each for each in read if name.upper() == each or is_one_edit(name, each)]
        if near and name not in read and name not in allowed:
            yield name, min(near)
