"""A task that runs commands and watches what they say. Not there yet."""
