"""Feels the pulse of every sparts service."""
