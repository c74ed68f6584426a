"""The test kit for services and for plugins."""
