"""An interface with one of everything, and peers of others' that serve it."""
