"""An attribute of a class that does not do what it was written for."""

from __future__ import annotations

from typing import NamedTuple

from sparts.places import place_of


class Problem(NamedTuple):
    """An attribute of a class that does not do what it was written for."""

    owner: type
    name: str
    text: str
    """What is wrong and what to do, as the rest of a sentence that begins with the name."""
    error: bool = True
    """Whether the service is refused; otherwise it is a warning."""

    def __str__(self) -> str:
        place = place_of(self.owner, self.name)
        return f"{self.owner.__name__}.{self.name} ({place}) {self.text}"
