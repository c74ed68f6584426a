"""Thrift without a service: a client, and a compiler for interface files. Not there yet."""
