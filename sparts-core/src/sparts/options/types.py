"""The name by which services of before import `sparts.option_types`."""

from sparts.option_types import *  # noqa: F403 - all of it
