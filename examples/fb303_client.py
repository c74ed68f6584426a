"""Asks a service how it is: fb303_client.py HOST:PORT [PATTERN] shows its status and counters."""
import sys

from sparts.thrift.client import ThriftClient
from sparts.thrift.fb303 import FacebookService
from sparts.thrift.fb303.ttypes import fb_status
from thrift.transport.TTransport import TTransportException


def main(address: str, pattern: str = "") -> None:
    host, _, port = address.rpartition(":")
    with ThriftClient.for_hostport(
        host, int(port), FacebookService, timeout=5.0, idempotent=True
    ) as service:
        status = fb_status._VALUES_TO_NAMES[service.getStatus()]
        print(service.getName(), service.getVersion(), status, service.getStatusDetails())
        for name, value in sorted(service.getRegexCounters(pattern).items()):
            print(f"{name:40} {value}")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    try:
        main(*sys.argv[1:])
    except TTransportException as error:
        sys.exit(error.message)
