"""Thrift over HTTP, through sparts-tornado. Not there yet."""
