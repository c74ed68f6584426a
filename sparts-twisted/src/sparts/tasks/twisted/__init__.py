"""Tasks that live on a Twisted reactor. None yet."""
