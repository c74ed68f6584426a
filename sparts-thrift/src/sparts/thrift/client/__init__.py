"""Clients of thrift services: `ThriftClient` for threads, `AsyncThriftClient` for coroutines.

>>> with ThriftClient.for_hostport("calculator.example", 9090, module=Calculator) as client:
...     client.add(1, 2)
3
"""

from sparts.thrift.client.asynchronous import AsyncThriftClient
from sparts.thrift.client.synchronous import ThriftClient

__all__ = ["AsyncThriftClient", "ThriftClient"]
