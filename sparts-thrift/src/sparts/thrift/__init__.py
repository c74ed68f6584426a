"""Thrift without a service: clients, a compiler for interface files, and what servers share."""
