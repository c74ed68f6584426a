"""The reflection service of gRPC: what services there are, and how their messages look."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf import descriptor_pool
from grpc_reflection.v1alpha import reflection, reflection_pb2

import grpc

if TYPE_CHECKING:
    from collections.abc import Callable

    from sparts.tasks.grpc.methods import Registry

NEWEST = "grpc.reflection.v1.ServerReflection"
"""The same as v1alpha on the wire; newer clients ask for it first."""


class Pools:
    """Several pools of descriptors, looked into one after the other.

    Args:
        pools: a list, which may grow.
    """

    def __init__(self, pools: list[Any]) -> None:
        self._pools = pools

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Return a method of `DescriptorPool`, which asks each."""
        if not name.startswith("Find"):
            raise AttributeError(name)

        def find(*args: Any) -> Any:
            for pool in (*self._pools, descriptor_pool.Default()):
                try:
                    found = getattr(pool, name)(*args)
                except KeyError:
                    continue
                if found or name != "FindAllExtensions":
                    return found
            if name == "FindAllExtensions":
                return []
            raise KeyError(args)

        return find


def add_reflection(registry: Registry) -> None:
    """Add the reflection service, in both its versions, for all services of a registry."""
    names = [*registry.services, reflection.SERVICE_NAME]
    servicer = reflection.aio.ReflectionServicer(names, Pools(registry.pools))
    handler = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    for name in (reflection.SERVICE_NAME, NEWEST):
        registry.add_registered_method_handlers(name, {"ServerReflectionInfo": handler})
