"""Thrift: services that implement an interface, and servers for them, as tasks."""

from sparts.tasks.thrift.handler import ThriftHandlerTask
from sparts.tasks.thrift.nbserver import NBServerTask
from sparts.tasks.thrift.server import ThriftServerTask

__all__ = ["NBServerTask", "ThriftHandlerTask", "ThriftServerTask"]
