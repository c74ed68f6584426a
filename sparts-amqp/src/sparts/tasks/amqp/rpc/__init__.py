"""RPC over AMQP: `RPCAMQPTask` serves calls from queues that many instances share, and
`AMQPClient` is what ``amqp:`` URLs are called with.
"""

from sparts.tasks.amqp.rpc.client import AMQPClient
from sparts.tasks.amqp.rpc.task import RPCAMQPTask

__all__ = ["AMQPClient", "RPCAMQPTask"]
