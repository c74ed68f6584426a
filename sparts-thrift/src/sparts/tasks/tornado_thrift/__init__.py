"""Thrift over HTTP, on Tornado (``sparts-thrift[tornado]``)."""

from sparts.tasks.tornado_thrift.handler import TornadoThriftHandler
from sparts.tasks.tornado_thrift.http import ThriftHTTPTask

__all__ = ["ThriftHTTPTask", "TornadoThriftHandler"]
