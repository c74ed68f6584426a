"""Three hook plugins that wrap the calls of every service."""
